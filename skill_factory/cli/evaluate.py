"""The evaluate command: ask a model questions, and measure what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skill_factory.cli.common import SETTINGS, Command, config_option, other_option
from skill_factory.cli.options_from_settings import options, read, without
from skill_factory.cli.paths import PATH
from skill_factory.cli.stages import AskingSettings, kept_answers
from skill_factory.core.terminal import echo
from skill_factory.errors import OptionError
from skill_factory.measure.evaluate_settings import EvaluateConfig, EvaluateSettings
from skill_factory.stages.settings import ModelConfig

if TYPE_CHECKING:
    from skill_factory.measure.figures import Measured


@click.command(
    cls=Command,
    context_settings=SETTINGS,
    params=[
        *options("evaluate", EvaluateSettings, leave_out=["questions"]),
        *options("model", ModelConfig),
        *options("asking", AskingSettings),
    ],
)
@click.argument("sets", metavar="[QUESTIONS]...", nargs=-1)
@other_option(
    *("-o", "--output", "folder"),
    section="Output",
    metavar="DIR",
    type=PATH,
    required=True,
    help="The evaluation's folder.",
)
@config_option(
    "YAML file with the keys evaluate and model; flags win.  "
    "[default: the folder's own config.yaml]"
)
def evaluate(sets: tuple[str, ...], folder: Path, config_file: Path | None, **given: Any) -> None:
    """Ask a model questions, and measure what it answers: accuracy, skill use, lengths.

    QUESTIONS are sets of questions: files that `skill-factory questions` made, or any source that
    it takes; NAME=SOURCE names a set. The model is asked the bare question, as SFT data has it.
    What the folder's journal has is not asked again.
    """
    with kept_answers(folder):
        asking = read(AskingSettings, "asking", given)
        flags = without(given, "asking")
        if sets:
            flags.setdefault("evaluate", {})["questions"] = list(sets)
        config = _settings(folder, config_file, flags)
        if not (config_file or asking.dry_run or asking.read_responses):
            from skill_factory.runs.settings import validate_key

            validate_key(config.model, flags.get("model", {}))
        if asking.dry_run + bool(asking.write_requests) + bool(asking.read_responses) > 1:
            raise OptionError("choose one of --dry-run, --write-requests and --read-responses")
        _evaluate(folder, config, asking)


def _settings(
    folder: Path, config_file: Path | None, flags: dict[str, dict[str, Any]]
) -> EvaluateConfig:
    """The settings: those of the folder, or of a file, under flags."""
    from skill_factory.measure.evaluate_folder import EvaluationFolder
    from skill_factory.runs.config import load_settings

    EvaluationFolder(folder)  # before the settings of another kind of folder are read
    own = folder / "config.yaml"
    file = config_file or (own if own.is_file() else None)
    return load_settings(EvaluateConfig, file, flags, trusted=config_file is not None)


def _evaluate(folder: Path, config: EvaluateConfig, asking: AskingSettings) -> None:
    from skill_factory.measure.evaluate import Evaluation

    evaluation = Evaluation(folder, config, echo)
    if asking.dry_run:
        evaluation.preview()
    elif asking.write_requests is not None:
        evaluation.write_requests(asking.write_requests)
    elif asking.read_responses is not None:
        _show(evaluation.read_responses(asking.read_responses))
    else:
        _show(evaluation.go())


def _show(found: list[Measured]) -> None:
    from skill_factory.measure.layout import summary_text

    echo(f"\n{summary_text(found)}")
