"""A run's settings: read from YAML, overlaid with flags, checked once, then frozen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from skill_factory.columns import Columns
from skill_factory.errors import ConfigError, OptionError, TaskError
from skill_factory.formats import FORMATS, NEEDS_TWO_ATTEMPTS, Lengths
from skill_factory.store import looks_local
from skill_factory.tasks import task_of
from skill_factory.yaml_files import UNREADABLE, parse

Texts = Annotated[tuple[str, ...], Field(strict=False)]
Count = Annotated[int, Field(ge=1)]


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

    attempts: Count = 5
    """Attempts in the longest trace; a question needs as many valid ones."""
    repeats: Count = 1
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
    task: str | None = None
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
    workers: Count | None = None
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
        if self.task is not None:
            try:
                task_of(self.task)
            except TaskError as error:
                raise ValueError(f"task: {error}") from None
        if not all(word.strip() for word in self.drop_reflections_containing):
            raise ValueError(
                "drop_reflections_containing: a blank text would drop every reflection"
            )
        return self

    @property
    def repository(self) -> str | None:
        """The repository on the Hub that `output_dataset` names; None: it is a local folder."""
        output = self.output_dataset or ""
        local = looks_local(output) or Path(output).is_dir() or output.count("/") != 1
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


class RunConfig(BaseModel):
    """A config file. Each stage has a key of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    create: CreateConfig = CreateConfig()


def load_config(path: Path | None, flags: Mapping[str, Any]) -> CreateConfig:
    """The settings of step 2: the defaults, under those of a config file (None: no file), under
    flags.

    Raises `ConfigError` with the file's line for a key that is unknown or there twice and a value
    of the wrong type or out of range, `OptionError` where it takes the flags to see the fault.
    """
    settings = load_config_file(path).model_dump(exclude_unset=True) if path else {}
    try:
        return CreateConfig.model_validate(settings | dict(flags))
    except ValidationError as error:
        raise OptionError(_message(error.errors()[0])[1]) from None


def load_config_file(path: Path) -> CreateConfig:
    """The settings of step 2 in a config file; raises `ConfigError` as `load_config` does."""
    try:
        content, root = parse(path.read_text(encoding="utf-8"))
        lines = _lines(root, str(path)) if root else {}
        content = content or {}
        if isinstance(content, dict):  # a key with nothing under it, or all of that commented out
            content = {key: {} if value is None else value for key, value in content.items()}
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
        return RunConfig.model_validate(content).create
    except ValidationError as error:
        key, message = _message(error.errors()[0])
        line = next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), 1)
        raise ConfigError(f"{path}: line {line}: {message}") from None


def _message(fault: ErrorDetails) -> tuple[tuple[str, ...], str]:
    """The key that a validation error is about, and the error in our words."""
    key = tuple(str(part) for part in fault["loc"])
    if fault["type"] == "value_error":  # one of `_fits_together`, whose messages begin with the key
        message = str(fault["ctx"]["error"])
        return (*key, message.split(":")[0]), message
    if fault["type"] == "extra_forbidden":
        known = RunConfig.model_fields if len(key) == 1 else CreateConfig.model_fields
        return key, f"{'.'.join(key)}: unknown key; the keys are {', '.join(known)}"
    expected = _EXPECTED.get(fault["type"]) or fault["msg"].lower()
    return key, f"{'.'.join(key)}: {expected}, not {fault['input']!r}"


_EXPECTED = {
    "tuple_type": "expected a list",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "bool_type": "expected true or false",
    "model_type": "expected settings, each on a line of its own",
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
