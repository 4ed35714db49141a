"""The run command: all stages of a config in one folder."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from skill_factory.cli.common import SETTINGS, Command
from skill_factory.cli.options_from_settings import options, options_of_all_stages, read, without
from skill_factory.cli.paths import PATH
from skill_factory.cli.stages import kept_answers, load_settings
from skill_factory.core.settings.fields import Section, Settings
from skill_factory.core.terminal import echo
from skill_factory.errors import OptionError

if TYPE_CHECKING:
    from skill_factory.look.report.live import LiveReport
    from skill_factory.stages.settings import RunConfig

StageName = Literal["questions", "sample", "grade", "reflect", "create"]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)  # of `runs.Stage`, which is heavy
_RUN = Section("Run")


class RunSettings(Settings):
    """Which stages of a run are made, and where."""

    output: Path | None = _RUN(
        None,
        "The run's folder.",
        unset="that of a run's own config.yaml, else outputs/ and the config's name",
        short="-o",
        metavar="RUN",
    )
    first: StageName | None = _RUN(
        None,
        "First stage, which is made anew: questions, sample, grade, ...",
        flag="--from",
        metavar="STAGE",
    )
    last: StageName = _RUN("create", "Last stage.", flag="--to", metavar="STAGE")
    dry_run: bool = _RUN(False, "Show the first prompts and what all would take.")
    report: Path | None = _RUN(
        None,
        "A page that shows how the run goes, and at its end what it made.",
        metavar="FILE",
    )


@click.command(
    cls=Command,
    context_settings=SETTINGS,
    params=[*options("run", RunSettings), *options_of_all_stages()],
    epilog="Any other setting of a stage is an option too: --STAGE.SETTING, as "
    "--sample.temperature 0.9, or its plain name where only one stage has it. "
    "docs/reference.md has them all.",
)
@click.argument("config_file", metavar="CONFIG", type=PATH)
def run(config_file: Path, **given: Any) -> None:
    """All stages of CONFIG in one folder: questions, sample, grade, reflect, create.

    Whatever stops it, the same command goes on from there: nothing is asked twice. A stage whose
    settings and input have not changed is not made again.
    """
    going = read(RunSettings, "run", given)
    folder = going.output or _folder_of(config_file)
    with kept_answers(folder):
        if STAGE_NAMES.index(going.first or STAGE_NAMES[0]) > STAGE_NAMES.index(going.last):
            raise OptionError(f"--from {going.first} comes after --to {going.last}")
        _run(folder, load_settings(folder, config_file, without(given, "run")), going)


def _folder_of(config_file: Path) -> Path:
    """The folder of a run: that of a run's own config.yaml, else one under outputs/."""
    if config_file.name == "config.yaml" and (config_file.parent / "manifest.json").is_file():
        return config_file.parent
    return Path("outputs") / config_file.stem


def _run(folder: Path, config: RunConfig, going: RunSettings) -> None:
    """Make the stages from the first to the last, and push what was made where that is asked."""
    from skill_factory.runs.folder import Stage
    from skill_factory.runs.run import Run

    first, last = Stage(going.first or "questions"), Stage(going.last)
    page = _page(folder, going)
    made = Run(folder, config, echo, page)
    if going.dry_run:
        made.preview(first, last)
        return
    pushed = config.create.repository if last is Stage.CREATE and config.create.push else None
    if pushed:
        from skill_factory.handoff.hub_access import check_access

        check_access(pushed)
    with page or nullcontext():
        made.go(first, last, anew=going.first is not None)
    if pushed:
        from skill_factory.handoff import hub

        echo(hub.push(made.folder.sft, pushed, private=config.create.private).summary())


def _page(folder: Path, going: RunSettings) -> LiveReport | None:
    """The page that shows how the run goes; None: none was asked for."""
    if going.report is None or going.dry_run:
        return None
    from skill_factory.look.report.live import LiveReport

    return LiveReport(folder, going.report, echo)
