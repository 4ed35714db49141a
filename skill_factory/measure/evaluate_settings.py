"""The settings of `evaluate`: which questions are asked, how, and what makes a model go on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from skill_factory.core.places import is_remote
from skill_factory.core.settings.fields import Section, SettingError, Settings, same_as
from skill_factory.core.settings.value_types import (
    Beside,
    Between,
    Count,
    Few,
    KnownTask,
    Reads,
    SetName,
    Texts,
)
from skill_factory.core.trace_tags import END_THINK
from skill_factory.stages.settings import (
    DATASET_KEYS,
    Drawing,
    ModelConfig,
    QuestionsConfig,
    SampleConfig,
)

_ASKED = Section("What is asked")
_OVERLAP = Section("Questions of the training data")
_FORCING = Section("Budget forcing")


class Budgets(NamedTuple):
    """Tokens: up to where a response is asked for at first, and up to where it has to go on."""

    first: int
    second: int


def _budgets(value: Any) -> Budgets:
    """Two budgets as they may be written: "4096,8192", or a list of two."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}\s*,\s*\d{1,9}\s*", value):
        value = [int(number) for number in value.split(",")]
    whole = isinstance(value, list | tuple) and [type(item) for item in value] == [int, int]
    if not whole or not 0 < value[0] < value[1]:
        raise ValueError("expected two numbers of tokens, the second one larger: 4096,8192")
    return Budgets(*value)


def _forced_text(text: str) -> str:
    if not text.strip() or END_THINK in text:
        raise ValueError(f"expected a text that does not end the thinking ({END_THINK})")
    return text


class EvaluateSettings(Drawing):
    """Which questions a model is asked, and how."""

    questions: tuple[SetName, ...] = _ASKED((), "Sets of questions.", metavar="SET")
    """Each a source of `skill-factory questions`, or NAME=SOURCE to name the set."""
    samples: Few = _ASKED(1, "Responses to each question.", common=True)
    prompt_variant: str | None = _ASKED(
        None, "Prompt variant, for a model that was not trained.", unset="the bare question",
        metavar="NAME",
    )  # fmt: skip
    """The bare question is what SFT data has as the user's turn."""
    prompts: Beside | None = same_as(SampleConfig, "prompts", section=_ASKED.title)
    label: str | None = _ASKED(
        None, "What the model is called in tables.", unset="its name", metavar="TEXT"
    )
    count: Annotated[int, Between(1, 10_000_000)] | None = _ASKED(
        None, "Questions of each set.", unset="all, 1000 of those that are made"
    )

    exclude_sft: Texts = _OVERLAP(
        (), "An SFT folder that the model was trained on; again for more.", metavar="DIR"
    )
    overlap: Literal["refuse", "drop", "keep"] = _OVERLAP(
        "refuse", "What becomes of questions that are in one."
    )

    force_budget: Annotated[Budgets, Reads(_budgets)] | None = _FORCING(
        None,
        "Tokens to begin with, and tokens up to which a response goes on.",
        metavar="N,M",
    )
    """In place of `max_tokens`. A response that ends its thinking before the second is cut before
    `</think>`, `force_with` is put there, and the model goes on."""
    force_with: Annotated[str, _forced_text] = _FORCING(
        "<sample>", "What is put before </think>.", metavar="TEXT"
    )
    force_times: Count = _FORCING(1, "How often at most, in one response.")

    input_config: str | None = same_as(QuestionsConfig, "input_config")
    input_split: str | None = same_as(QuestionsConfig, "input_split")
    revision: str | None = same_as(QuestionsConfig, "revision")
    task: KnownTask | None = same_as(QuestionsConfig, "task")
    question_column: str = same_as(QuestionsConfig, "question_column")
    answer_column: str = same_as(QuestionsConfig, "answer_column")
    task_column: str = same_as(QuestionsConfig, "task_column")
    facts_column: str = same_as(QuestionsConfig, "facts_column")
    choices_column: str | None = same_as(QuestionsConfig, "choices_column")
    several_answers: Literal["any", "all"] | None = same_as(QuestionsConfig, "several_answers")
    all_numbers: bool = same_as(
        QuestionsConfig, "all_numbers", section="A dataset of questions",
        help="Countdown: every number must be used.",
    )  # fmt: skip
    rounded: bool = same_as(QuestionsConfig, "rounded")

    def __post_init__(self) -> None:
        if self.overlap != "refuse" and not self.exclude_sft:
            raise SettingError(("overlap",), "name the SFT folders with exclude_sft")
        if any(map(is_remote, self.exclude_sft)):
            raise SettingError(("exclude_sft",), "expected a path on a local disk, not a URL")
        defaults = EvaluateSettings.model_fields
        if self.force_budget is None:
            for name in ("force_with", "force_times"):
                if getattr(self, name) != defaults[name].default:
                    raise SettingError((name,), "has no use without force_budget")
        elif self.max_tokens != defaults["max_tokens"].default:
            raise SettingError(("max_tokens",), "force_budget says how long a response may be")

    @property
    def sft_folders(self) -> tuple[Path, ...]:
        """The SFT folders that the model was trained on."""
        return tuple(Path(name).expanduser() for name in self.exclude_sft)

    def source(self, name: str) -> QuestionsConfig:
        """The settings of one set's questions; those that only a dataset has a use for are left out
        where questions are made."""
        made = QuestionsConfig(source=name, count=self.count)
        if made.kind != "dataset":
            return made
        return made.model_copy(update={name: getattr(self, name) for name in DATASET_KEYS})


class EvaluateConfig(Settings):
    """The config.yaml of an evaluation: how it asks, and whom."""

    evaluate: EvaluateSettings = EvaluateSettings()
    model: ModelConfig = ModelConfig()
