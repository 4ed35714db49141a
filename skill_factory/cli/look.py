"""The commands that read what was made: show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skill_factory.cli.common import SETTINGS, Command, clear_errors, other_option
from skill_factory.cli.options_from_settings import options, read
from skill_factory.cli.paths import PLACE
from skill_factory.core.copies import fetched
from skill_factory.core.places import Place
from skill_factory.errors import OptionError
from skill_factory.look.settings import OTHERS, ShowSettings

if TYPE_CHECKING:
    from skill_factory.core.terminal import Line


@click.command(cls=Command, context_settings=SETTINGS, params=options("show", ShowSettings))
@click.argument("folder", metavar="DIR|FILE", type=PLACE)
@other_option(
    "--lost",
    section=OTHERS,
    metavar="[REASON]",
    is_flag=False,
    flag_value="",
    help="What was lost for a reason; alone, the reasons.",
)
def show(folder: Place, lost: str | None, **given: Any) -> None:
    """Read traces: of an SFT folder, of a run's, or of any parquet or JSON file of chats; or what a
    model answered: a folder of `measure` or `evaluate`.

    Each part is named: attempt 2, wrong; reflection on attempt 2, true: Incorrect. --questions and
    --lost tell of an SFT folder or a run what has become of all that went in.
    """
    with clear_errors():
        settings = read(ShowSettings, "show", given)
        if lost is not None and (problem := settings.not_with_lost()):
            raise OptionError(problem)
        from skill_factory.core.terminal import echo_lines

        with fetched(folder) as here:
            echo_lines(_lines(here, lost, settings), settings.color)


def _lines(path: Path, reason: str | None, settings: ShowSettings) -> Iterator[Line]:
    """What is shown."""
    from skill_factory.look import lost, questions
    from skill_factory.look import show as showing
    from skill_factory.look.choosing import Wanted
    from skill_factory.look.opening import open_folder, open_traces

    number, grep = settings.number, settings.grep
    if reason is not None or settings.questions:
        found = open_folder(path)
        if settings.questions:
            return questions.question_lines(questions.questions_of(found), number, grep)
        return lost.lost_lines(found, reason, number, grep) if reason else lost.reason_lines(found)
    traces = open_traces(path)
    wanted = Wanted(settings.trace, settings.question, settings.label, grep)
    chosen = showing.chosen_traces(traces, wanted, number, settings.seed)
    return showing.trace_lines(traces, chosen, grep)
