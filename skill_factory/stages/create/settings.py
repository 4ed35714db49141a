"""The settings of step 2, the key `create` of a config file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from skill_factory.core.columns import Columns
from skill_factory.core.files import is_repository
from skill_factory.errors import OptionError, PluginError
from skill_factory.stages.create.formats import Lengths, format_of, settled
from skill_factory.stages.fields import Count, Few, KnownTask, Origin, Texts, Workers


def _known(formats: tuple[str, ...], info: ValidationInfo[Any]) -> tuple[str, ...]:
    origin = Origin.of(info)
    try:
        return tuple(settled(name, origin.folder, trusted=origin.trusted) for name in formats)
    except (OptionError, PluginError) as error:
        raise ValueError(f"formats: {str(error).removeprefix('format ')}") from None


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
    formats: Annotated[Texts, Field(min_length=1), AfterValidator(_known)] = ("*C_full",)
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
        formats = [format_of(name) for name in self.formats]
        if len({one.name for one in formats}) < len(formats):
            raise ValueError("formats: a format is named twice; use repeats for more traces of it")
        if self.attempts < 2 and self.sample_lengths:
            raise ValueError(
                "sample_lengths: draws lengths from 2 to attempts, so attempts must be 2 or more"
            )
        for one in formats:
            if self.attempts < one.least:
                raise ValueError(f"formats: {one.name} needs attempts to be {one.least} or more")
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
