"""A run's settings: read from YAML, overlaid with flags, checked once, then frozen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from skill_factory.columns import Columns
from skill_factory.errors import ConfigError, OptionError, TaskError
from skill_factory.formats import FORMATS, NEEDS_TWO_ATTEMPTS, Lengths
from skill_factory.models import Sampling
from skill_factory.questions.settings import QuestionsConfig
from skill_factory.store import is_repository
from skill_factory.tasks import task_of
from skill_factory.thinking import Thinking
from skill_factory.yaml_files import NO_TEXT, UNREADABLE, parse

Texts = Annotated[tuple[str, ...], Field(strict=False)]
Word = Annotated[str, Field(pattern=r"\S")]
Count = Annotated[int, Field(ge=1)]
Few = Annotated[int, Field(ge=1, le=10_000)]
"""A number of things that are there one by one, in memory, for every question."""
Workers = Annotated[int, Field(ge=1, le=1024)]


def _known(task: str) -> str:
    try:
        task_of(task)
    except TaskError as error:
        raise ValueError(f"task: {error}") from None
    return task


KnownTask = Annotated[str, AfterValidator(_known)]


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:  # not shown: there may be a password in it
        raise ValueError("base_url: is no address of a server: http://HOST:PORT/v1")
    return url


_OURS = {"messages", "model", "n", "seed", "stream"}


def _body(extra: dict[Any, Any]) -> dict[str, Any]:
    """As JSON has it: from a config and from the run's own, the same."""
    try:
        body: dict[str, Any] = json.loads(json.dumps(extra, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"extra_body: is not JSON: {error}") from None
    if taken := _OURS & body.keys():
        raise ValueError(f"extra_body: {min(taken)} is not for this place: it has a meaning here")
    return body


class CreateConfig(BaseModel):
    """Settings of step 2, the key `create` of a config file. Each is an option of `skill-factory
    create` too."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    input_dataset: str | None = None
    """A local file or folder, else a dataset on the Hub."""
    input_config: str | None = None
    """None: the dataset's only or default config."""
    input_split: str | None = None
    """None: all of a local folder, `train` of a Hub dataset."""
    revision: str | None = None
    """Branch, tag or commit of a Hub dataset; None: its main branch."""
    output_dataset: str | None = None
    """A local folder, else a repository on the Hub: then the folder is made under outputs/."""

    attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    """Attempts in the longest trace; a question needs as many valid ones."""
    repeats: Few = 1
    """How often each format goes over a question."""
    formats: Annotated[Texts, Field(min_length=1)] = ("*C_full",)
    sample_lengths: bool = False
    """Formats with one trace a question draw its length from 2 to `attempts`, instead of taking
    `attempts`."""
    unique_variants: bool = False
    """The attempts of one trace all come from different prompt variants."""
    prompt_variants: Annotated[Texts, Field(min_length=1)] | None = None
    """Use attempts of these prompt variants only; None: of all."""
    subsample: Count | None = None
    """Keep so many traces, drawn from all; None: keep all."""
    drop_reflections_containing: Texts = ()
    """Drop reflections that contain one of these texts, in any case."""
    task: KnownTask | None = None
    """The task of all questions; None: what the input says of each."""
    max_tokens: Count | None = None
    """Drop traces that are longer than this with `tokenizer`; None: drop none."""
    tokenizer: str | None = None
    """A tokenizer's folder, or its name on the Hub."""
    layout: Literal["conversations", "messages"] = "conversations"
    """What the column of the turns is called."""
    phrases: str | None = None
    """A file with other phrases; None: the built-in ones."""
    seed: int = 0

    question_column: str = Columns.question
    variant_column: str = Columns.variant
    response_column: str = Columns.response
    correctness_column: str = Columns.correctness
    extracted_answer_column: str = Columns.extracted_answer
    reflection_column: str = Columns.reflection
    answer_column: str = Columns.gold
    """Gold answers; need not be there."""
    task_column: str = Columns.task
    """Tasks of the questions; need not be there."""
    facts_column: str = Columns.facts
    """Facts that graders need, JSON or a struct; need not be there."""

    license: str | None = None
    """License of the dataset, for its card; None: that of the input's card."""
    model: str | None = None
    """The model whose texts these are, for the card."""
    push: bool = True
    """Push to the repository that `output_dataset` names; else only make the folder."""
    private: bool = False
    """A repository that the push makes is private."""
    workers: Workers | None = None
    """Threads; None: one for each core, at most 4. The result does not depend on it."""
    overwrite: bool = False
    """Replace the output folder once the new one is whole."""
    dry_run: bool = False
    """Say what would be made, write nothing."""

    @model_validator(mode="after")
    def _fits_together(self) -> CreateConfig:
        if unknown := [name for name in self.formats if name not in FORMATS]:
            raise ValueError(
                f"formats: unknown format {unknown[0]!r}; the formats are {', '.join(FORMATS)}"
            )
        if len(set(self.formats)) < len(self.formats):
            raise ValueError("formats: a format is named twice; use repeats for more traces of it")
        if self.attempts < 2 and self.sample_lengths:
            raise ValueError(
                "sample_lengths: draws lengths from 2 to attempts, so attempts must be 2 or more"
            )
        if self.attempts < 2 and (short := NEEDS_TWO_ATTEMPTS.intersection(self.formats)):
            raise ValueError(f"formats: {min(short)} needs attempts to be 2 or more")
        if (self.max_tokens is None) != (self.tokenizer is None):
            raise ValueError("max_tokens: goes with tokenizer, and tokenizer with max_tokens")
        if not all(word.strip() for word in self.drop_reflections_containing):
            raise ValueError(
                "drop_reflections_containing: a blank text would drop every reflection"
            )
        return self

    @property
    def repository(self) -> str | None:
        """The repository on the Hub that `output_dataset` names; None: it is a local folder."""
        output = self.output_dataset or ""
        local = not is_repository(output) or Path(output).is_dir()
        return None if local else output

    @property
    def folder(self) -> str:
        """Where the SFT folder is made; empty: nowhere."""
        return f"outputs/{self.repository}" if self.repository else self.output_dataset or ""

    @property
    def columns(self) -> Columns:
        """The input's column names."""
        return Columns(
            self.question_column,
            self.variant_column,
            self.response_column,
            self.correctness_column,
            self.extracted_answer_column,
            self.reflection_column,
            self.answer_column,
            self.task_column,
            self.facts_column,
        )

    @property
    def lengths(self) -> Lengths:
        """How long traces are."""
        return Lengths(self.attempts, self.sample_lengths)


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


def load_config(path: Path | None, flags: Mapping[str, Any]) -> CreateConfig:
    """The settings of step 2: the defaults, under those of a config file (None: no file), under
    flags.

    Raises `ConfigError` with the file's line for a key that is unknown or there twice and a value
    of the wrong type or out of range, `OptionError` where it takes the flags to see the fault.
    """
    return load_run(path, {"create": flags}).create


def load_run(path: Path | None, flags: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """The settings of all stages, as `load_config`; `flags` are by the stage's key."""
    config = load_run_file(path) if path else RunConfig()
    settings = config.model_dump(exclude_unset=True)
    for stage, given in flags.items():
        _see_texts(given)
        if given:
            # Another source is another set of questions: settings of the last are not its own.
            before = None if stage == "questions" and "source" in given else settings.get(stage)
            settings[stage] = (before or {}) | dict(given)
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        key, message = _message(error.errors()[0])
        raise OptionError(message.removeprefix(f"{key[0]}.")) from None


def _see_texts(flags: Mapping[str, Any]) -> None:
    """Raises `OptionError` for text that was not UTF-8 on the command line; a dataset may have such
    a name."""
    for name, value in flags.items():
        if name != "input_dataset" and NO_TEXT.search(
            json.dumps(value, ensure_ascii=False, default=str)
        ):
            raise OptionError(f"{name}: is not UTF-8")


def load_run_file(path: Path) -> RunConfig:
    """The settings in a config file; raises `ConfigError` as `load_config` does."""
    try:
        content, root = parse(path.read_text(encoding="utf-8"))
        lines = _lines(root, str(path)) if root else {}
        content = content or {}
        if isinstance(content, dict):  # a key with nothing under it, or all of that commented out
            content = {
                key: {} if value is None and key != "questions" else value
                for key, value in content.items()
            }
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config: {error.strerror}") from None
    except UNREADABLE as error:
        hint = "; put names with a * in quotes" if "alias" in str(error) else ""
        raise ConfigError(
            f"{path}: not a YAML file{hint}: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected settings under a key such as 'create:'")
    try:
        return _beside(RunConfig.model_validate(content), path)
    except ValidationError as error:
        key, message = _message(error.errors()[0])
        line = next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), 1)
        raise ConfigError(f"{path}: line {line}: {message}") from None


def _beside(config: RunConfig, path: Path) -> RunConfig:
    """The config, with the prompt file found beside it where it is not in the current folder."""
    name = config.sample.prompts
    if name is None or Path(name).expanduser().exists() or not (path.parent / name).exists():
        return config
    sample = config.sample.model_copy(update={"prompts": str(path.parent / name)})
    return config.model_copy(update={"sample": sample})


def _message(fault: ErrorDetails) -> tuple[tuple[str, ...], str]:
    """The key that a validation error is about, and the error in our words."""
    key = tuple(str(part) for part in fault["loc"])
    if fault["type"] == "value_error":  # one of ours, whose messages begin with the key
        message = str(fault["ctx"]["error"])
        name = message.split(":")[0]
        return (key if key[-1:] == (name,) else (*key, name)), message
    if fault["type"] == "extra_forbidden":
        return key, f"{'.'.join(key)}: unknown key; the keys are {', '.join(_keys(key[:-1]))}"
    if fault["type"] == "missing":
        return key, f"{'.'.join(key)}: is missing"
    expected = _EXPECTED.get(fault["type"]) or fault["msg"].lower()
    return key, f"{'.'.join(key)}: {expected}, not {_repr.repr(fault['input'])}"


def _keys(place: tuple[str, ...]) -> list[str]:
    """The keys that there are under a key of a config; none given: at the top."""
    stages: dict[str, type[BaseModel]] = {
        "questions": QuestionsConfig,
        "model": ModelConfig,
        "sample": SampleConfig,
        "grade": GradeConfig,
        "reflect": ReflectConfig,
        "create": CreateConfig,
    }
    return list((stages[place[0]] if place else RunConfig).model_fields)


_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 200

_EXPECTED = {
    "tuple_type": "expected a list",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "bool_type": "expected true or false",
    "model_type": "expected settings, each on a line of its own",
    "float_type": "expected a number",
    "dict_type": "expected settings, each on a line of its own",
}


def _lines(node: yaml.Node, where: str, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """The line of each key, from 1; the path of a list's item ends in its number."""
    lines: dict[tuple[str, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            line = key.start_mark.line + 1
            if below in lines:
                raise ConfigError(f"{where}: line {line}: the key {'.'.join(below)} is there twice")
            lines |= {below: line} | _lines(value, where, below)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            below = (*path, str(number))
            lines |= {below: value.start_mark.line + 1} | _lines(value, where, below)
    return lines
