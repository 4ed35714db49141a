"""The commands for the journal of a run: copy, merge, export."""

from __future__ import annotations

from pathlib import Path

import click

from skill_factory.cli.common import SETTINGS, Command, Group, clear_errors, other_option
from skill_factory.cli.paths import PATH
from skill_factory.core.terminal import echo
from skill_factory.errors import OptionError, OutputError

_FILE = click.Path(path_type=Path)
_OVERWRITE = other_option(
    "--overwrite", section="Output", is_flag=True, help="Replace the file OUT."
)


@click.group(cls=Group, context_settings=SETTINGS)
def journal() -> None:
    """Copy, merge or export what a model said: the journals of runs and evaluations."""


@journal.command(cls=Command, context_settings=SETTINGS)
@click.argument("source", metavar="RUN|JOURNAL", type=PATH)
@click.argument("output", metavar="OUT", type=_FILE)
@_OVERWRITE
def copy(source: Path, output: Path, overwrite: bool) -> None:
    """Copy a journal to the file OUT, also while a run is writing it.

    RUN is the folder of a run or an evaluation. The copy has all that was answered when it began;
    it is checked before it takes its name.
    """
    with clear_errors():
        _validate_output(output, overwrite)
        from skill_factory.asking.journal_copy import copy_journal
        from skill_factory.runs.merging import journal_at

        copied = copy_journal(journal_at(source), output)
    echo(f"{output}: {copied.samples:,} samples, {copied.size / 1e6:,.1f} MB")


@journal.command(cls=Command, context_settings=SETTINGS)
@click.argument("sources", metavar="RUN|JOURNAL...", type=PATH, nargs=-1, required=True)
@other_option(
    *("-o", "--output"),
    section="Output",
    metavar="OUT",
    type=_FILE,
    required=True,
    help="A new folder for the run, or a new file that ends in .sqlite.",
)
def merge(sources: tuple[Path, ...], output: Path) -> None:
    """Bring together what several machines were answered for one run.

    Of several answers for one sample, the one of the journal that is named first is taken. The
    journals are left as they are. A folder OUT has the settings of the first run too, for `sample`
    or `run` to go on with: what any of them was answered is not asked again.
    """
    with clear_errors():
        if len(sources) < 2:
            raise OptionError("name two runs or journals, or more")
        from skill_factory.runs.merging import merge as merge_runs

        merged = merge_runs(sources, output)
    for source, taken in zip(sources, merged.taken, strict=True):
        echo(f"{source}: {taken:,} samples")
    twice = f"{merged.had:,} were in several; {merged.conflicts:,} of them with other answers"
    echo(f"{output}: {merged.samples:,} samples; {twice}")
    if merged.conflicts:
        echo("Note: of other answers, those of the journal that is named first were taken")


@journal.command(cls=Command, context_settings=SETTINGS)
@click.argument("folder", metavar="RUN", type=PATH)
@click.argument("output", metavar="OUT", type=_FILE)
@_OVERWRITE
def export(folder: Path, output: Path, overwrite: bool) -> None:
    """Write all that a run or an evaluation asked and was answered to the parquet file OUT.

    One row a sample: the messages, the sampling and the model that was asked, the answer and its
    reasoning, finish reason, tokens, and when it came.
    """
    with clear_errors():
        if output.suffix != ".parquet":
            raise OptionError(f"{output}: expected a .parquet file")
        _validate_output(output, overwrite)
        from skill_factory.look.journal_export import export_journal

        exported = export_journal(folder, output)
    echo(f"{output}: {exported.written:,} samples")
    if exported.others:
        echo(
            f"Note: {exported.others:,} more are in the journal, which the run would not ask for "
            "with its settings as they are now"
        )


def _validate_output(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path}: exists already; choose another output, or replace it with --overwrite"
        )
