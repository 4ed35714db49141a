"""The commands of one stage of a run: sample, grade, reflect."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skill_factory.cli.common import (
    SETTINGS,
    Command,
    clear_errors,
    config_option,
    other_option,
)
from skill_factory.cli.options_from_settings import (
    Given,
    given_by_stage,
    option,
    options,
    read,
    without,
)
from skill_factory.cli.paths import PATH
from skill_factory.core.settings.fields import Section, Settings
from skill_factory.core.terminal import echo
from skill_factory.errors import InputError, OptionError
from skill_factory.stages.settings import (
    GradeConfig,
    ModelConfig,
    QuestionsConfig,
    ReflectConfig,
    SampleConfig,
)

if TYPE_CHECKING:
    from skill_factory.stages.settings import RunConfig

_RUN_FOLDER = click.argument("folder", metavar="RUN", type=PATH)
_OUTPUT = other_option(
    *("-o", "--output", "folder"),
    section="Input and output",
    metavar="RUN",
    type=PATH,
    required=True,
    help="The run's folder.",
)
_CONFIG = config_option("YAML file with settings; flags win.  [default: the run's own config.yaml]")
_ASKING = Section("Instead of asking")


class AskingSettings(Settings):
    """What a stage that asks does instead."""

    dry_run: bool = _ASKING(False, "Show the first prompts and what all would take.")
    write_requests: Path | None = _ASKING(
        None, "Write a file in the OpenAI batch format.", metavar="FILE"
    )
    read_responses: Path | None = _ASKING(None, "Take the answers of such a file.", metavar="FILE")


def kept_answers(folder: Path) -> AbstractContextManager[None]:
    """As `clear_errors`; Ctrl-C is told that nothing is lost."""
    return clear_errors(
        f"Stopped. All answers are kept in {folder}; the same command goes on from here."
    )


def load_settings(folder: Path, config_file: Path | None, given: Given) -> RunConfig:
    """A run's settings: those it has, or a file's, under flags."""
    from skill_factory.runs.config import load_run

    own = folder / "config.yaml"
    file = config_file or (own if own.is_file() else None)
    return load_run(file, given, trusted=config_file is not None)


@click.command(
    cls=Command,
    context_settings=SETTINGS,
    params=[
        option(
            "questions",
            QuestionsConfig,
            "source",
            section="Input and output",
            flag="--questions",
            short="-i",
            metavar="PATH|REPO",
            help="Questions: what `skill-factory questions` made, or any with its columns.",
        ),
        *options("sample", SampleConfig),
        *options("model", ModelConfig),
        *options("asking", AskingSettings),
    ],
)
@_OUTPUT
@_CONFIG
def sample(folder: Path, config_file: Path | None, **given: Any) -> None:
    """Ask a model for attempts at questions; what the run's journal has is not asked again."""
    _ask("sample", folder, config_file, given)


@click.command(cls=Command, context_settings=SETTINGS, params=options("grade", GradeConfig))
@_RUN_FOLDER
@_CONFIG
def grade(folder: Path, config_file: Path | None, **given: Any) -> None:
    """Grade a run's attempts, again perhaps, without asking the model.

    Where they were reflected on, the annotated table follows.
    """
    with kept_answers(folder):
        _require_run(folder)
        config = load_settings(folder, config_file, given_by_stage(given))
        from skill_factory.runs.run import Run

        Run(folder, config, echo).regrade()


@click.command(
    cls=Command,
    context_settings=SETTINGS,
    params=[
        *options("reflect", ReflectConfig),
        option("sample", SampleConfig, "prompts", section="Reflections"),
        *options("model", ModelConfig),
        *options("asking", AskingSettings),
    ],
)
@_RUN_FOLDER
@_CONFIG
def reflect(folder: Path, config_file: Path | None, **given: Any) -> None:
    """Ask a model for reflections on the attempts of a run that can be used."""
    _ask("reflect", folder, config_file, given)


def _ask(name: str, folder: Path, config_file: Path | None, values: dict[str, Any]) -> None:
    """One stage that asks: for real, by files, or only said."""
    with kept_answers(folder):
        if name == "reflect":
            _require_run(folder)
        asking = read(AskingSettings, "asking", values)
        given = without(values, "asking")
        config = load_settings(folder, config_file, given)
        if not (config_file or asking.dry_run or asking.read_responses):
            from skill_factory.runs.settings import validate_key

            validate_key(config.model, given.get("model", {}))
        if asking.dry_run + bool(asking.write_requests) + bool(asking.read_responses) > 1:
            raise OptionError("choose one of --dry-run, --write-requests and --read-responses")
        _run_stage(name, folder, config, asking)


def _require_run(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run; `skill-factory sample` begins one")


def _run_stage(name: str, folder: Path, config: RunConfig, asking: AskingSettings) -> None:
    from skill_factory.runs.folder import Stage
    from skill_factory.runs.run import Run

    stage, run = Stage(name), Run(folder, config, echo)
    first = Stage.QUESTIONS if stage is Stage.SAMPLE else stage
    if asking.dry_run:
        run.preview(first, stage)
    elif asking.write_requests is not None:
        run.write_requests(stage, asking.write_requests)
    elif asking.read_responses is not None:
        run.read_responses(stage, asking.read_responses)
    else:
        run.go(first, stage)
