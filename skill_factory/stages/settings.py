"""The settings of every stage, a class a stage: types, defaults and what they mean.

Each is a key of a config file, and an option on the command line.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from skill_factory.errors import PluginError
from skill_factory.models import Sampling
from skill_factory.models.thinking import Thinking
from skill_factory.plugins import is_named, whole
from skill_factory.stages.create.settings import CreateConfig
from skill_factory.stages.fields import Count, Few, KnownTask, Origin, Texts, Word, Workers
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
    "own": ("task",),
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


def _settled(source: str, info: ValidationInfo[Any]) -> str:
    """A source as it stands in settings: a reference gets the whole path of its file."""
    if source.startswith(GYM):
        return source
    try:
        return whole(source, "source", *Origin.of(info))
    except PluginError as error:
        raise ValueError(f"source: {str(error).removeprefix('source ')}") from None


class QuestionsConfig(BaseModel):
    """Which questions are asked, the key `questions` of a config file. Each is an option of
    `skill-factory questions` too.

    A setting that its source has no use for is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: Annotated[str, AfterValidator(_settled)]
    """What is made: countdown, multiplication, addition, letter_countdown, acronym or
    reasoning-gym:NAME; a source of your own, file.py:NAME or module:NAME; else the dataset that is
    read, a file, a folder or its name on the Hub."""
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
    task: KnownTask | None = None
    """The task of all questions of a dataset, or of a source of your own; None: what it says of
    each."""
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
        if name in USES and name not in ("own", "dataset"):
            return name
        return "own" if is_named("source", self.source) else "dataset"

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
        return self

    def _strangers(self, known: set[str]) -> set[str]:
        """The settings that were made, to something else than the default, and are not known."""
        fields = type(self).model_fields
        made = self.model_fields_set - known
        return {name for name in made if getattr(self, name) != fields[name].default}


def is_address(url: str) -> bool:
    """Whether this can be a server's address."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _address(url: str) -> str:
    if not is_address(url):  # not shown: there may be a password in it
        raise ValueError("base_url: is no address of a server: http://HOST:PORT/v1")
    return url


_OURS = {"messages", "model", "n", "seed", "stream"}


def _body(extra: dict[Any, Any]) -> dict[str, Any]:
    """As JSON has it: from a config and from the run's own, the same."""
    try:
        body: dict[str, Any] = json.loads(json.dumps(extra, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"extra_body: is not JSON: {error}") from None
    if taken := _OURS & body.keys():
        raise ValueError(f"extra_body: {min(taken)} is not for this place: it has a meaning here")
    return body


class ModelConfig(BaseModel):
    """The model that is asked, the key `model`: behind an OpenAI-compatible server, or in this
    process. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    base_url: Annotated[str, AfterValidator(_address)] | None = None
    """The server's address, http://HOST:PORT/v1; None: $OPENAI_BASE_URL, else localhost:8000."""
    name: str | None = None
    """The model's name; None: the only one that the server has."""
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] = "OPENAI_API_KEY"
    """The environment variable with the key; it need not be there for servers without one."""
    local: str | None = None
    """Instead of a server: a GGUF file, or `smollm2`, in this process (extra `local`)."""
    context: Count = 2048
    """Tokens that a prompt and its answer may have together, in this process."""
    identity: str | None = None
    """What the journal knows the model by; None: address and name. Give the old one when the same
    model has moved, and nothing is asked again."""
    timeout: Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)] = 600.0
    """For a whole request."""
    concurrency: Few = 256
    """Requests in flight at most; how many are best is found out."""
    patience: Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)] = 1800.0
    """How long the server may be away until the run ends."""
    tries: Few = 6
    """How often a request that fails is sent."""
    skip_too_long: bool = False
    """Count questions that do not fit the model's context, instead of ending the run."""
    retry_refused: bool = False
    """Ask again what the server refused before, or its content filter."""
    grammar: Literal["llama.cpp", "vllm"] = "llama.cpp"
    """How the server takes the grammar of a prompt that has one."""
    prompt_price: Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)] | None = None
    """Of a million tokens; None: not known."""
    completion_price: Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)] | None = None
    """Of a million tokens; None: not known."""

    @model_validator(mode="after")
    def _fits_together(self) -> ModelConfig:
        if self.local and (self.base_url or self.name):
            raise ValueError("local: a model in this process has no base_url and no name")
        return self


class _Drawing(BaseModel):
    """How answers are drawn; null: left to the server."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    temperature: Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)] | None = 0.7
    top_p: Annotated[float, Field(gt=0, le=1, strict=False)] | None = 0.8
    top_k: int | None = 20
    repetition_penalty: Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)] | None = (
        1.1
    )
    max_tokens: Count | None = 4096
    stop: Texts = ()
    """Texts that end an answer."""
    seed: int | None = None
    """Seed of each prompt's first sample, the next one has the next."""
    extra_body: Annotated[dict[Any, Any], AfterValidator(_body)] = {}
    """Anything else that the server takes."""

    @property
    def sampling(self) -> Sampling:
        """As models take it."""
        return Sampling(**{name: getattr(self, name) for name in _Drawing.model_fields})


class SampleConfig(_Drawing):
    """How attempts are asked for, the key `sample`."""

    thinking: Thinking = "keep"
    """A model's thinking is kept as the beginning of the attempt, or dropped."""

    prompt_variants: Annotated[Texts, Field(min_length=1)] = (
        "original",
        "plan_and_execute",
        "alternatively",
        "rephrase",
    )
    samples: Few = 16
    """Attempts at a question under each prompt variant."""
    prompts: str | None = None
    """A file with other prompts, which replace or join the built-in ones; None: those. It may lie
    beside the config."""


class GradeConfig(BaseModel):
    """How attempts are graded, the key `grade`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    task: KnownTask | None = None
    """The task of all questions; None: each question's own."""
    keep_cut_off: bool = False
    """Grade answers that were cut off by a length limit like any other, instead of setting them
    aside."""
    hint_words: Annotated[tuple[Word, ...], Field(strict=False)] = ("hint",)
    """An attempt under a hint variant with one of these in it, in any case, leaks the hint."""
    workers: Workers | None = None
    """Processes; None: one for each core, at most 8. The result does not depend on it."""


class ReflectConfig(_Drawing):
    """How reflections are asked for, the key `reflect`."""

    thinking: Thinking = "drop"
    """A model's thinking is kept as the beginning of the reflection, or dropped."""

    reflections: Few = 4
    """Reflections on each attempt that can be used."""
    until_valid: bool = False
    """Ask for one after the other, until an attempt has a reflection whose verdict is true."""
    all_questions: bool = False
    """Reflect on attempts at questions that no attempt got right, too: no format uses them."""


class RunConfig(BaseModel):
    """A config file. Each stage has a key of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    questions: QuestionsConfig | None = None
    model: ModelConfig = ModelConfig()
    sample: SampleConfig = SampleConfig()
    grade: GradeConfig = GradeConfig()
    reflect: ReflectConfig = ReflectConfig()
    create: CreateConfig = CreateConfig()


STAGES: dict[str, type[BaseModel]] = {
    "questions": QuestionsConfig,
    "model": ModelConfig,
    "sample": SampleConfig,
    "grade": GradeConfig,
    "reflect": ReflectConfig,
    "create": CreateConfig,
}
"""The settings by the keys of a config file."""
