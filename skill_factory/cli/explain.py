"""The commands that say what a dataset was made from: explain, verify, diff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skill_factory.cli.common import SETTINGS, Command, clear_errors
from skill_factory.cli.options_from_settings import options, read
from skill_factory.cli.paths import PLACE
from skill_factory.core.copies import all_fetched, fetched
from skill_factory.core.places import Place
from skill_factory.core.terminal import echo, echo_lines
from skill_factory.errors import OptionError
from skill_factory.look.settings import DiffSettings, ExplainSettings, VerifySettings

if TYPE_CHECKING:
    from skill_factory.look.folders import SftFolder

_FOLDER = click.argument("folder", metavar="DIR", type=PLACE)


@click.command(cls=Command, context_settings=SETTINGS, params=options("explain", ExplainSettings))
@_FOLDER
@click.argument("trace", required=False)
@click.pass_context
def explain(context: click.Context, /, folder: Place, trace: str | None, **given: Any) -> None:
    """Tell where every word of the trace TRACE is from: of a phrase, or of a row of the input, and
    for a run's traces what the model was asked. Exit code 1 if a source says something else.

    TRACE is a trace_id, or how one begins. DIR may be a run's folder.
    """
    with clear_errors():
        settings = read(ExplainSettings, "explain", given)
        if (trace is None) == (settings.source is None):
            raise OptionError("name a trace, or a row with --source")
        with fetched(folder) as here:
            holds = _explain(here, trace or "", settings)
    if holds is False:
        context.exit(1)


def _explain(folder: Path, trace: str, settings: ExplainSettings) -> bool | None:
    """Tell where a trace is from, or which traces use a row; whether the sources say what the trace
    has, None: there is nothing to hold it against."""
    from skill_factory.look import explain as explaining
    from skill_factory.look import explain_text
    from skill_factory.look.diff import sft_of

    sft = sft_of(folder)
    if settings.source is not None:
        _tell_uses(sft, settings.source, settings.json)
        return None
    found = explaining.explain(sft, trace)
    if settings.json:
        echo(explain_text.explanation_json(found))
    else:
        echo_lines(explain_text.explanation_lines(found))
    return found.holds


def _tell_uses(folder: SftFolder, source: str, as_json: bool) -> None:
    """Tell which traces use a row."""
    from skill_factory.look import explain_text, origins

    row = origins.row_of(folder, source)
    uses = origins.uses_of(folder, row)
    if as_json:
        echo(explain_text.as_json({"row": row, "traces": uses}))
    else:
        echo(explain_text.of_uses(uses, row))


@click.command(cls=Command, context_settings=SETTINGS, params=options("verify", VerifySettings))
@_FOLDER
@click.pass_context
def verify(context: click.Context, /, folder: Place, **given: Any) -> None:
    """Make the SFT folder DIR again from its manifest and its input, and compare; exit code 1 if
    it is not the same, with what differs and why.

    It is made in a temporary folder. DIR may be a run's folder.
    """
    with clear_errors():
        settings = read(VerifySettings, "verify", given)
        from skill_factory.core import threads
        from skill_factory.look import explain_text
        from skill_factory.look import verify as verifying

        threads.save_memory()
        with fetched(folder) as here:
            found = verifying.verify(here, settings)
            if settings.json:
                echo(explain_text.as_json(found, same=found.same))
            else:
                echo(explain_text.of_verification(found))
    if not found.same:
        context.exit(1)


@click.command(cls=Command, context_settings=SETTINGS, params=options("diff", DiffSettings))
@click.argument("before", metavar="A", type=PLACE)
@click.argument("after", metavar="B", type=PLACE)
@click.pass_context
def diff(context: click.Context, /, before: Place, after: Place, **given: Any) -> None:
    """Compare two SFT folders or two runs; exit code 1 if they differ.

    Of SFT folders: settings, input, and traces that are in one only or have another text. Of runs
    besides: accuracy and true verdicts by question and by prompt variant.
    """
    with clear_errors():
        settings = read(DiffSettings, "diff", given)
        from skill_factory.look import diff_runs, explain_text

        with all_fetched([before, after]) as (old, new):
            found = diff_runs.diff(old, new)
            if settings.json:
                echo(explain_text.as_json(found, differ=found.differ))
            else:
                echo(explain_text.of_diff(found))
    if found.differ:
        context.exit(1)
