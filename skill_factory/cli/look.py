"""The commands that read what was made: show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skill_factory.cli.common import PATH, SETTINGS, Command, clear_errors
from skill_factory.cli.options_from_settings import options, read
from skill_factory.look.settings import ShowSettings

if TYPE_CHECKING:
    from skill_factory.look.folders import ChatFiles


@click.command(cls=Command, context_settings=SETTINGS, params=options("show", ShowSettings))
@click.argument("folder", metavar="DIR|FILE", type=PATH)
def show(folder: Path, **given: Any) -> None:
    """Read traces: of an SFT folder, of a run's, or of any parquet or JSON file of chats.

    Each part is named: attempt 2, wrong; reflection on attempt 2, true: Incorrect.
    """
    with clear_errors():
        settings = read(ShowSettings, "show", given)
        from skill_factory.core.terminal import echo_lines
        from skill_factory.look import show as showing
        from skill_factory.look.choosing import Wanted

        traces = _traces_in(folder)
        wanted = Wanted(settings.trace, settings.question, settings.label, settings.grep)
        chosen = showing.chosen_traces(traces, wanted, settings.number, settings.seed)
        echo_lines(showing.trace_lines(traces, chosen, settings.grep), settings.color)


def _traces_in(path: Path) -> ChatFiles:
    """The traces that a path names; raises `InputError` for a run that has none yet."""
    from skill_factory.errors import InputError
    from skill_factory.look.folders import RunView, open_folder

    found = open_folder(path)
    if not isinstance(found, RunView):
        return found
    if found.sft is None:
        raise InputError(
            f"{path}: this run has no traces yet; `--questions` shows what has become of its "
            "questions"
        )
    return found.sft
