"""The `report` command."""

from __future__ import annotations

from typing import Any

import click

from skill_factory.cli.common import SETTINGS, Command, clear_errors
from skill_factory.cli.options_from_settings import options, read
from skill_factory.cli.paths import PLACE
from skill_factory.core.copies import all_fetched
from skill_factory.core.places import Place
from skill_factory.core.terminal import echo
from skill_factory.look.report.settings import ReportSettings


@click.command(cls=Command, context_settings=SETTINGS, params=options("report", ReportSettings))
@click.argument("folder", metavar="DIR", type=PLACE)
@click.argument("other", metavar="[DIR]", type=PLACE, required=False)
def report(folder: Place, other: Place | None, **given: Any) -> None:
    """Draw DIR as one page of HTML: how it was made, what was lost and why, and traces to read.

    DIR is an SFT folder, a run's folder, finished or not, a folder of `measure` or `evaluate`, or a
    file or folder of chats. With two of them the page shows what differs, and both side by side.
    The page needs nothing but itself.
    """
    with clear_errors():
        settings = read(ReportSettings, "report", given)
        from skill_factory.core import threads
        from skill_factory.look.report.build import write_report

        threads.save_memory()
        with all_fetched([folder] if other is None else [folder, other]) as folders:
            echo(write_report(folders, settings).summary())
