"""The settings of every stage, a class a stage, each setting said once.

Config files, the options of the commands and docs/reference.md are made from these classes; a
class's docstring says what it is about, a setting's own docstring what its help has no room for.
"""

from __future__ import annotations

import re
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.settings.fields import Section, SettingError, Settings, same_as
from skill_factory.core.settings.value_types import (
    Address,
    Beside,
    Between,
    Commas,
    Count,
    Digits,
    Engine,
    Few,
    KnownTask,
    Matches,
    Names,
    NotEmpty,
    Price,
    Range,
    RayAddress,
    Seconds,
    SourceName,
    Texts,
    Word,
    Workers,
    as_json,
)
from skill_factory.models import Sampling
from skill_factory.models.thinking import Thinking
from skill_factory.plugins import is_named
from skill_factory.stages.create.settings import CreateConfig

GYM = "reasoning-gym:"
"""What stands before the name of a reasoning-gym dataset in `source`."""

DATASET_KEYS = (
    *("input_config", "input_split", "revision", "task"),
    *("question_column", "answer_column", "task_column", "facts_column", "choices_column"),
    *("several_answers", "all_numbers", "rounded"),
)
USES: dict[str, tuple[str, ...]] = {
    "countdown": ("numbers", "target_max", "number_max", "all_numbers"),
    "multiplication": ("digits",),
    "addition": ("low", "high"),
    "letter_countdown": ("letters", "extra_letters"),
    "acronym": ("letters", "extra_words"),
    "reasoning-gym": ("gym",),
    "own": ("task",),
    "dataset": DATASET_KEYS,
}
"""The settings of each kind of source, besides `source`, `count` and `seed`, which all have."""


_QUESTIONS = Section("Questions")
_COUNTDOWN = Section("Countdown")
_SUMS = Section("Multiplication and addition")
_WORDS = Section("Letter countdown and acronym")
_GYM = Section("reasoning-gym")
_DATASET = Section("A dataset of questions")


class QuestionsConfig(Settings):
    """Which questions are asked. A setting that the source has no use for is refused."""

    source: SourceName = _QUESTIONS.required(
        "countdown, ..., or a dataset; `skill-factory list sources` shows them.",
        metavar="SOURCE",
    )
    count: Annotated[int, Between(1, 10_000_000)] | None = _QUESTIONS(
        None, "Questions wanted.", unset="1000, all of a dataset", common=True
    )
    seed: int = _QUESTIONS(0, "Which questions those are.")
    """The first of many are those of few."""

    numbers: Annotated[int, Between(2, 6)] = _COUNTDOWN(3, "Numbers in a question.")
    target_max: Count = _COUNTDOWN(100, "Largest target.")
    number_max: Count = _COUNTDOWN(99, "Largest of the numbers.")
    all_numbers: bool = _COUNTDOWN(
        False,
        "Every number must be used exactly once, or each at most once.",
        off="--at-most-once",
    )
    """True is as TinyZero and reasoning-gym have it."""
    digits: Digits = _SUMS(Range(2, 5), "Multiplication: digits of both factors.", metavar="N|A..B")
    low: Annotated[int, Between(0)] = _SUMS(3, "Addition: smallest number.")
    high: Annotated[int, Between(0)] = _SUMS(19, "Addition: largest number.")
    letters: Annotated[int, Between(3, 8)] = _WORDS(4, "Letters of the word.")
    extra_letters: Annotated[int, Between(0, 10)] = _WORDS(
        2, "Letter countdown: letters that are given besides them."
    )
    extra_words: Annotated[int, Between(0, 30)] = _WORDS(
        6, "Acronym: words that are given besides those that spell it."
    )
    gym: Annotated[dict[str, Any], as_json] = _GYM(
        {}, "A setting of the dataset, as its config class names it; again for more."
    )

    input_config: str | None = same_as(
        CreateConfig, "input_config", section=_DATASET.title, in_run=True
    )
    input_split: str | None = same_as(
        CreateConfig, "input_split", section=_DATASET.title, in_run=True
    )
    revision: str | None = same_as(CreateConfig, "revision", section=_DATASET.title, in_run=True)
    task: KnownTask | None = same_as(
        CreateConfig, "task", section=_DATASET.title, unset="what it says"
    )
    question_column: str = _DATASET("question", "Questions.", metavar="NAME")
    answer_column: str = _DATASET("answer", "Gold answers.", metavar="NAME")
    """Text, a number, a bool, a list or struct of these, or the worked solutions of GSM8K and
    MATH."""
    task_column: str = _DATASET(
        "task_source", "Tasks; need not be there if --task is.", metavar="NAME"
    )
    facts_column: str = _DATASET(
        "metadata", "Facts that graders need; need not be there.", metavar="NAME"
    )
    """JSON or a struct."""
    choices_column: str | None = _DATASET(
        None, "What there is to choose from.", unset="choices or options", metavar="NAME"
    )
    """A list of texts, perhaps with letters of their own, a struct of `label` and `text`, or a
    mapping from one to the other."""
    several_answers: Literal["any", "all"] | None = _DATASET(
        None, "Of a list of gold answers, any is right, or all are asked for.", unset="by task"
    )
    """None: all in mathematics, integers and choices, else any."""
    rounded: bool = _DATASET(
        False,
        "Mathematics: a rounded decimal is right for an exact value, or not.",
        off="--exact",
    )

    @property
    def kind(self) -> str:
        """One of `USES`: what kind of source it is."""
        if self.source.startswith(GYM):
            return "reasoning-gym"
        name = self.source.replace("-", "_")
        if name in USES and name not in ("own", "dataset"):
            return name
        is_gym = self.source.replace("_", "-").startswith(GYM)  # written otherwise: `_check_source`
        return "own" if is_named("source", self.source) and not is_gym else "dataset"

    def __post_init__(self) -> None:
        known = {"source", "count", "seed", *USES[self.kind]}
        if self.kind == "dataset":
            _check_source(self.source)
        if strange := [name for name in self.model_fields if name in self._strangers(known)]:
            has = ", ".join(USES[self.kind])
            raise SettingError((strange[0],), f"{self.source} has no use for it; it has {has}")
        if self.source == GYM:
            raise SettingError(("source",), f"name the dataset, as {GYM}basic_arithmetic")
        if self.low > self.high:
            raise SettingError(("low",), f"{self.low} is more than high, {self.high}")

    def _strangers(self, known: set[str]) -> set[str]:
        """The settings that are something else than the default, and not known."""
        defaults = {name: setting.default for name, setting in self.model_fields.items()}
        defaults["gym"] = {}
        return {
            name
            for name, default in defaults.items()
            if name not in known and getattr(self, name) != default
        }


def _check_source(source: str) -> None:
    """Raises `SettingError` for what is nearly the name of a source, and no file: it is not looked
    for on the Hub."""
    stem, colon, name = source.partition(":")
    if stem.replace("_", "-") == GYM[:-1] and not name and not Path(source).exists():
        raise SettingError(("source",), f"name the dataset, as {GYM}basic_arithmetic")
    if not re.fullmatch(r"[\w-]+", stem):
        return
    kinds = [kind for kind in USES if kind not in ("own", "dataset")]
    made = [kind for kind in kinds if (kind in GYM) == bool(colon)]
    word = stem.lower().replace("_", "-") if colon else stem.lower().replace("-", "_")
    hint = did_you_mean(word, made)
    if not hint or Path(source).exists():
        return
    if colon:
        raise SettingError(("source",), f"no source is called {source!r}{hint[:-1]}:{name}?")
    raise SettingError(
        ("source",),
        f"no source is called {source!r}{hint} A dataset is written ./{source} or org/{source}",
    )


_OURS = {"messages", "model", "n", "seed", "stream"}


def _body(extra: dict[Any, Any]) -> dict[str, Any]:
    body = as_json(extra)
    if taken := _OURS & body.keys():
        raise ValueError(f"{min(taken)} is not for this place: it has a meaning here")
    return body


_MODEL = Section("Model")


class ModelConfig(Settings):
    """The model that is asked: behind an OpenAI-compatible server, or in this process."""

    base_url: Address | None = _MODEL(
        None,
        "The server.",
        unset="$OPENAI_BASE_URL, else http://localhost:8000/v1",
        metavar="URL",
        common=True,
    )
    name: str | None = _MODEL(
        None,
        "The model's name.",
        unset="the server's only one",
        metavar="NAME",
        flag="--model",
        common=True,
    )
    api_key_env: Annotated[
        str, Matches(r"^[A-Za-z_]\w*$", "the name of a variable, and no key", secret=True)
    ] = _MODEL(
        "OPENAI_API_KEY", "Environment variable with the key.", metavar="VARIABLE", common=True
    )
    """It need not be there for servers without a key."""
    local: str | None = _MODEL(
        None, "No server: a GGUF file, or smollm2, in this process.", metavar="GGUF", common=True
    )
    """It needs the extra `local`."""
    context: Count = _MODEL(2048, "Tokens of a prompt with its answer, in this process.")
    identity: str | None = _MODEL(
        None,
        "What the journal knows the model by.",
        unset="address and name",
        metavar="TEXT",
        common=True,
    )
    """Give the old one when the same model has moved, and nothing is asked again."""
    timeout: Seconds = _MODEL(600.0, "Seconds for a request.", metavar="SECONDS")
    concurrency: Few = _MODEL(256, "Requests in flight at most.", common=True)
    """How many are best is found out."""
    patience: Seconds = _MODEL(1800.0, "Seconds that the server may be away.", metavar="SECONDS")
    tries: Few = _MODEL(6, "How often a request that fails is sent.")
    skip_too_long: bool = _MODEL(
        False, "Count questions that are too long, instead of ending the run."
    )
    """Reflections that do not fit the model's context are always counted."""
    retry_refused: bool = _MODEL(False, "Ask again what the server refused before.")
    """Refused by status 400, 413 or 422, or by its content filter."""
    ask_again: bool = _MODEL(
        False, "Ask anew where the model, a prompt or the sampling changed.", common=True
    )
    """Else a run stops before the first request, and says what it would ask anew."""
    grammar: Literal["llama.cpp", "vllm"] = _MODEL(
        "llama.cpp", "How the server takes the grammar of a prompt."
    )
    chat_template: str | None = _MODEL(
        None,
        "Ask for completions of prompts that this tokenizer's chat template makes.",
        unset="ask for chat completions",
        metavar="PATH|REPO",
    )
    """It has to be the model's own: the journal does not tell the two ways of asking apart."""
    prompt_price: Price | None = _MODEL(None, "Price of a million tokens of prompts.")
    completion_price: Price | None = _MODEL(None, "Price of a million tokens of answers.")

    def __post_init__(self) -> None:
        if self.local and (self.base_url or self.name):
            raise SettingError(("local",), "a model in this process has no base_url and no name")
        if self.local and self.chat_template:
            raise SettingError(("chat_template",), "a model in this process has its own")


_DRAWN = Section("How answers are drawn (`none`: left to the server)")


class Drawing(Settings):
    """How answers are drawn; null: left to the server."""

    temperature: Annotated[float, Between(0)] | None = _DRAWN(0.7, "Temperature.")
    top_p: Annotated[float, Between(0, 1, above=True)] | None = _DRAWN(
        0.8, "Likely tokens of this probability together."
    )
    top_k: int | None = _DRAWN(20, "So many of the likeliest tokens.")
    repetition_penalty: Annotated[float, Between(0, above=True)] | None = _DRAWN(
        1.1, "More than 1: less is said twice."
    )
    max_tokens: Count | None = _DRAWN(4096, "Tokens of an answer.")
    stop: Texts = _DRAWN((), "Text that ends an answer.", metavar="TEXT")
    seed: int | None = _DRAWN(None, "Of each prompt's first sample; the next has the next.")
    extra_body: Annotated[dict[Any, Any], _body] = _DRAWN(
        {}, "Anything else that the server takes.", metavar="JSON"
    )

    @property
    def sampling(self) -> Sampling:
        """As models take it."""
        return Sampling(**{name: getattr(self, name) for name in Drawing.model_fields})


_ATTEMPTS = Section("Attempts")


class SampleConfig(Drawing):
    """How attempts are asked for."""

    thinking: Thinking = _ATTEMPTS(
        "keep", "What becomes of the model's thinking before its answer."
    )
    """`keep`: it is the beginning of the attempt."""

    prompt_variants: Annotated[Names, NotEmpty()] = _ATTEMPTS(
        ("original", "plan_and_execute", "alternatively", "rephrase"), "Prompt variants."
    )
    samples: Few = _ATTEMPTS(16, "Attempts at a question under each prompt variant.", common=True)
    prompts: Beside | None = _ATTEMPTS(
        None, "YAML file with other prompts, or more of them.", metavar="FILE"
    )
    """They replace or join the built-in ones; None: those."""


_GRADES = Section("Grades")


class GradeConfig(Settings):
    """How attempts are graded."""

    task: KnownTask | None = _GRADES(
        None, "Task of all questions.", unset="each one's own", metavar="NAME"
    )
    keep_cut_off: bool = _GRADES(False, "Grade answers that a length limit ended like any other.")
    """Else they are set aside."""
    hint_words: Annotated[tuple[Word, ...], Commas()] = _GRADES(
        ("hint",), "An attempt under a hint variant with one of these leaks it."
    )
    """In any case."""
    workers: Workers | None = _GRADES(
        None, "Processes; the result is the same.", unset="cores, at most 8"
    )
    engine: Engine = same_as(CreateConfig, "engine", section=_GRADES.title)
    ray_address: RayAddress | None = same_as(CreateConfig, "ray_address", section=_GRADES.title)


_REFLECTIONS = Section("Reflections")


class ReflectConfig(Drawing):
    """How reflections are asked for."""

    thinking: Thinking = _REFLECTIONS(
        "drop", "What becomes of the model's thinking before its reflection."
    )

    reflections: Few = _REFLECTIONS(4, "Reflections on each attempt that can be used.", common=True)
    until_valid: bool = _REFLECTIONS(
        False, "One after the other, until an attempt has a valid one.", common=True
    )
    """Valid: its verdict is true."""
    all_questions: bool = _REFLECTIONS(
        False, "Also at questions that no attempt got right; no format uses them."
    )


class RunConfig(Settings):
    """A config file: a key for each stage, and the model."""

    questions: QuestionsConfig | None = None
    model: ModelConfig = ModelConfig()
    sample: SampleConfig = field(default_factory=SampleConfig)
    grade: GradeConfig = GradeConfig()
    reflect: ReflectConfig = field(default_factory=ReflectConfig)
    create: CreateConfig = field(default_factory=CreateConfig)


STAGES: dict[str, type[Settings]] = {
    "questions": QuestionsConfig,
    "model": ModelConfig,
    "sample": SampleConfig,
    "grade": GradeConfig,
    "reflect": ReflectConfig,
    "create": CreateConfig,
}
"""The classes by their key in a config file."""
