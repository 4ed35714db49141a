"""What questions are made of, or read from: the key `questions` of a config."""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from skill_factory.errors import TaskError
from skill_factory.tasks import task_of
from skill_factory.tasks.golds import Several

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
    "dataset": DATASET_KEYS,
}
"""The settings of each kind of source, besides `source`, `count` and `seed`, which all have."""


class Range(NamedTuple):
    """From `low` to `high`, both included."""

    low: int
    high: int


_WRITTEN = re.compile(r"\s*(\d{1,3})(?:\s*\.\.\s*(\d{1,3}))?\s*")


def _range(value: Any) -> Any:
    """A range as it may be written: 3, "3", "2..5" or a list of two."""
    if isinstance(value, str) and (match := _WRITTEN.fullmatch(value)):
        value = [int(number or match[1]) for number in match.groups()]
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value, value]
    whole = isinstance(value, list | tuple) and [type(item) for item in value] == [int, int]
    if not whole or not 1 <= value[0] <= value[1]:
        raise ValueError("digits: expected a number of digits, 3, or a range of them, 2..5")
    return Range(*value)


class QuestionsConfig(BaseModel):
    """Which questions are asked, the key `questions` of a config file. Each is an option of
    `skill-factory questions` too.

    A setting that its source has no use for is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: str
    """What is made: countdown, multiplication, addition, letter_countdown, acronym or
    reasoning-gym:NAME; else the dataset that is read, a file, a folder or its name on the Hub."""
    count: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Questions wanted; None: 1,000 made ones, or what there is; all of a dataset."""
    seed: int = 0
    """Which questions those are; the first of many are those of few."""

    numbers: Annotated[int, Field(ge=2, le=6)] = 3
    """Countdown: how many numbers a question gives."""
    target_max: Annotated[int, Field(ge=1)] = 100
    """Countdown: the largest target."""
    number_max: Annotated[int, Field(ge=1)] = 99
    """Countdown: the largest of the numbers."""
    all_numbers: bool = False
    """Countdown: every number must be used, exactly once, as TinyZero and reasoning-gym have it;
    else at most once."""
    digits: Annotated[Range, BeforeValidator(_range)] = Range(2, 5)
    """Multiplication: how many digits both factors have; a range is drawn from."""
    low: Annotated[int, Field(ge=0)] = 3
    """Addition: the smallest number."""
    high: Annotated[int, Field(ge=0)] = 19
    """Addition: the largest number."""
    letters: Annotated[int, Field(ge=3, le=8)] = 4
    """Letter countdown and acronym: how many letters the word has."""
    extra_letters: Annotated[int, Field(ge=0, le=10)] = 2
    """Letter countdown: letters that are given besides the word's."""
    extra_words: Annotated[int, Field(ge=0, le=30)] = 6
    """Acronym: words that are given besides those that spell the word."""
    gym: dict[str, Any] = {}
    """Settings of the reasoning-gym dataset, as its own config class names them."""

    input_config: str | None = None
    """None: the dataset's only or default config."""
    input_split: str | None = None
    """None: all of a local folder, `train` of a Hub dataset."""
    revision: str | None = None
    """Branch, tag or commit of a Hub dataset; None: its main branch."""
    task: str | None = None
    """The task of all questions of a dataset; None: what it says of each."""
    question_column: str = "question"
    answer_column: str = "answer"
    """Gold answers: text, a number, a bool, a list or struct of these, or the worked solutions of
    GSM8K and MATH."""
    task_column: str = "task_source"
    """Tasks of the questions; need not be there if `task` is set."""
    facts_column: str = "metadata"
    """Facts that graders need, JSON or a struct; need not be there."""
    choices_column: str | None = None
    """What there is to choose from: a list of texts, perhaps with letters of their own, a struct of
    `label` and `text`, or a mapping from one to the other; None: `choices` or `options` if it is
    there and the task is multiple choice."""
    several_answers: Annotated[Several, Field(strict=False)] | None = None
    """What a list of several gold answers asks for, `any` of them or `all`; None: all in
    mathematics, integers and choices, else any."""
    rounded: bool = False
    """Mathematics: a rounded decimal is right where the gold answer is exact, 0.333333 for 1/3."""

    @property
    def kind(self) -> str:
        """One of `USES`: what kind of source it is."""
        if self.source.startswith(GYM):
            return "reasoning-gym"
        name = self.source.replace("-", "_")
        return name if name in USES else "dataset"

    @model_validator(mode="after")
    def _fits_together(self) -> QuestionsConfig:
        known = {"source", "count", "seed", *USES[self.kind]}
        if strange := [name for name in type(self).model_fields if name in self._strangers(known)]:
            has = ", ".join(USES[self.kind])
            raise ValueError(f"{strange[0]}: {self.source} has no use for it; it has {has}")
        if self.source == GYM:
            raise ValueError(f"source: name the dataset, as {GYM}basic_arithmetic")
        if self.low > self.high:
            raise ValueError(f"low: {self.low} is more than high, {self.high}")
        if self.task is not None:
            try:
                task_of(self.task)
            except TaskError as error:
                raise ValueError(f"task: {error}") from None
        return self

    def _strangers(self, known: set[str]) -> set[str]:
        """The settings that were made, to something else than the default, and are not known."""
        fields = type(self).model_fields
        made = self.model_fields_set - known
        return {name for name in made if getattr(self, name) != fields[name].default}
