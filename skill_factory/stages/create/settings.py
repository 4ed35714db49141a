"""The settings of step 2, the key `create` of a config file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from skill_factory.core.columns import Columns
from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.settings.fields import Section, SettingError, Settings
from skill_factory.core.settings.value_types import (
    Between,
    Commas,
    Count,
    Engine,
    Few,
    FromOrigin,
    KnownTask,
    Names,
    NotEmpty,
    Origin,
    RayAddress,
    Reads,
    Size,
    Texts,
    Workers,
    beside,
)
from skill_factory.core.whole_files import is_repository
from skill_factory.errors import OptionError, PluginError
from skill_factory.plugins import is_reference

if TYPE_CHECKING:
    from skill_factory.stages.create.formats import Lengths

_INPUT = Section("Input", in_run=False)
_OUTPUT = Section("Output")
_TRACES = Section("Traces")
_COLUMNS = Section("Columns of the input", in_run=False)
_RUNNING = Section("Running")

HUB = "hf://"
"""What may stand before the name of a repository on the Hub."""


def _format(name: str, origin: Origin) -> str:
    if not is_reference(name):
        return name
    from skill_factory.stages.create.formats import settled

    try:
        return settled(name, origin.folder, trusted=origin.trusted)
    except PluginError as error:
        raise ValueError(str(error).removeprefix("format ")) from None


FormatNames = Annotated[tuple[Annotated[str, FromOrigin(_format)], ...], Commas()]
"""Names of formats; one of a user's own file, with its whole path."""


def _exclude(value: Any) -> Any:
    """The path of a file, or entries as such a file has them."""
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected the path of a file, or a list of its lines")
    return value


Excludes = Annotated[Any, Reads(_exclude), FromOrigin(beside)]
"""The path of a file of what to leave out, or the lines of one."""


def without_scheme(name: str) -> str:
    """A repository's name as org/name, where it is written as hf://org/name or
    hf://datasets/org/name."""
    return name.removeprefix(HUB).removeprefix("datasets/")


class CreateConfig(Settings):
    """Which traces are made, of what, and where they go."""

    input_dataset: str | None = _INPUT(
        None,
        "Annotated dataset: a file, a folder, a run, or org/name on the Hub.",
        metavar="PATH|REPO",
        short="-i",
        was="--input_reflection_dataset_name",
    )
    input_config: str | None = _INPUT(
        None, "Config of the dataset.", unset="its only one, or `default`", metavar="NAME"
    )
    input_split: str | None = _INPUT(
        None, "Split of the dataset.", unset="all of a folder, train on the Hub", metavar="NAME"
    )
    revision: str | None = _INPUT(
        None, "Branch, tag or commit of a dataset on the Hub.", unset="main", metavar="REV"
    )
    output_dataset: str | None = _OUTPUT(
        None,
        "Where the SFT folder goes: a path (./sft), or org/name on the Hub.",
        metavar="PATH|REPO",
        short="-o",
        was="--output_dataset_name",
    )

    attempts: Annotated[int, Between(1, 1000)] = _TRACES(
        5,
        "Attempts in the longest trace; a question needs as many.",
        was="--num_responses_ignore_correctness",
        common=True,
    )
    repeats: Few = _TRACES(
        1, "How often each format goes over a question.", was="--num_repeats_per_question"
    )
    formats: Annotated[FormatNames, NotEmpty()] = _TRACES(
        ("*C_full",), "Formats; `skill-factory list formats` shows them.", common=True
    )
    sample_lengths: bool = _TRACES(
        False,
        "Formats with one trace a question draw its length, from 2.",
        was="--sampling_response_counts",
    )
    unique_variants: bool = _TRACES(
        False,
        "The attempts of a trace have different prompt variants.",
        was="--force_unique_prompting_types",
    )
    prompt_variants: Annotated[Names, NotEmpty()] | None = _TRACES(
        None,
        "Use attempts of these prompt variants only.",
        unset="all",
        was="--prompt_variants_to_use",
    )
    subsample: Count | None = _TRACES(
        None, "Keep so many traces, drawn from all.", unset="all", was="--subsample_size"
    )
    drop_reflections_containing: Texts = _TRACES(
        (), "Drop reflections with one of these texts, in any case.", metavar="TEXT"
    )
    task: KnownTask | None = _TRACES(
        None, "Task of all questions.", unset="what the input says", metavar="NAME"
    )
    max_tokens: Count | None = _TRACES(
        None, "Drop traces of more tokens, the chat template's included."
    )
    tokenizer: str | None = _TRACES(
        None, "Tokenizer to count --max-tokens with.", metavar="PATH|REPO"
    )
    layout: Literal["conversations", "messages"] = _OUTPUT(
        "conversations", "Column of the turns; TRL wants messages."
    )
    phrases: str | None = _TRACES(
        None,
        "YAML file with other phrases.",
        unset="the built-in ones",
        metavar="FILE",
    )
    exclude: Excludes | None = _TRACES(
        None,
        "File of rows, questions and traces to leave out.",
        unset="nothing",
        metavar="FILE",
    )
    seed: int = _TRACES(0, "Another seed is another dataset.")

    question_column: str = _COLUMNS(Columns.question, "Questions.", metavar="NAME")
    variant_column: str = _COLUMNS(Columns.variant, "Prompt variants.", metavar="NAME")
    response_column: str = _COLUMNS(
        Columns.response, "Attempts.", metavar="NAME", was="--response_column"
    )
    correctness_column: str = _COLUMNS(
        Columns.correctness,
        "Whether they are right.",
        metavar="NAME",
        was="--responses_correctness_column",
    )
    extracted_answer_column: str = _COLUMNS(
        Columns.extracted_answer,
        "Their answers.",
        metavar="NAME",
        was="--extracted_answer_column",
    )
    reflection_column: str = _COLUMNS(
        Columns.reflection, "Reflections on them.", metavar="NAME", was="--reflection_column"
    )
    answer_column: str = _COLUMNS(Columns.gold, "Gold answers; need not be there.", metavar="NAME")
    task_column: str = _COLUMNS(Columns.task, "Tasks; need not be there.", metavar="NAME")
    facts_column: str = _COLUMNS(
        Columns.facts, "Facts that graders need; need not be there.", metavar="NAME"
    )

    license: str | None = _OUTPUT(
        None, "License for the card.", unset="that of the input's card", metavar="NAME"
    )
    model: str | None = _OUTPUT(
        None, "For the card: the model whose texts these are.", metavar="NAME"
    )
    push: bool = _OUTPUT(True, "Push to the repository that -o names.")
    private: bool = _OUTPUT(False, "A repository that the push makes is private.")
    workers: Workers | None = _RUNNING(
        None, "Threads; the result is the same.", unset="cores, at most 4"
    )
    memory: Size | None = _RUNNING(
        None,
        "Memory to stay within; the result is the same.",
        unset="a quarter of the machine's",
        metavar="SIZE",
    )
    work_dir: str | None = _RUNNING(
        None,
        "Folder for what is sorted on disk.",
        unset="beside the output",
        metavar="DIR",
    )
    engine: Engine = _RUNNING("local", "Where it runs; the result is the same.")
    ray_address: RayAddress | None = _RUNNING(
        None, "Ray cluster to run on.", unset="one on this machine", metavar="HOST:PORT"
    )
    check: bool = _RUNNING(True, "Refuse to make traces with a fault of structure.")
    overwrite: bool = _OUTPUT(
        False, "Replace the output folder, once the new one is whole.", in_run=False
    )
    dry_run: bool = _RUNNING(False, "Say what would be made, write nothing.", in_run=False)

    def __post_init__(self) -> None:
        _check_formats(self)
        if self.attempts < 2 and self.sample_lengths:
            raise SettingError(
                ("sample_lengths",),
                "draws lengths from 2 to attempts, so attempts must be 2 or more",
            )
        if bool(self.max_tokens) != bool(self.tokenizer):
            raise SettingError(
                ("max_tokens",), "goes with tokenizer, and tokenizer with max_tokens"
            )
        if not all(word.strip() for word in self.drop_reflections_containing):
            raise SettingError(
                ("drop_reflections_containing",), "a blank text would drop every reflection"
            )

    @property
    def repository(self) -> str | None:
        """The repository on the Hub that `output_dataset` names, as org/name; None: it is a local
        folder."""
        output = self.output_dataset or ""
        if output.startswith(HUB):
            return without_scheme(output)
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
        from skill_factory.stages.create.formats import Lengths

        return Lengths(self.attempts, self.sample_lengths)


def _check_formats(config: CreateConfig) -> None:
    # Not at the top: the help of `create` needs the settings and not what makes traces.
    from skill_factory.stages.create.formats import FORMATS, format_of

    formats = []
    for name in config.formats:
        try:
            formats.append(format_of(name))
        except OptionError as error:
            raise SettingError(("formats",), f"{error}{did_you_mean(name, FORMATS)}") from None
        except PluginError as error:
            raise SettingError(("formats",), str(error).removeprefix("format ")) from None
    if len({one.name for one in formats}) < len(formats):
        raise SettingError(
            ("formats",), "a format is named twice; use repeats for more traces of it"
        )
    for one in formats:
        if config.attempts < one.least:
            problem = f"{one.name} needs attempts to be {one.least} or more"
            raise SettingError(("formats",), problem)
