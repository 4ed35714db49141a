"""The commands that say what a dataset was made from: explain, verify, diff."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from skill_factory.cli.common import PATH, SETTINGS, Command, clear_errors
from skill_factory.cli.options_from_settings import options, read
from skill_factory.core.terminal import echo
from skill_factory.look.explain_settings import DiffSettings, VerifySettings

_FOLDER = click.argument("folder", metavar="DIR", type=PATH)


@click.command(cls=Command, context_settings=SETTINGS, params=options("verify", VerifySettings))
@_FOLDER
@click.pass_context
def verify(context: click.Context, /, folder: Path, **given: Any) -> None:
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
        found = verifying.verify(folder, settings)
        if settings.as_json:
            echo(explain_text.as_json(found, same=found.same))
        else:
            echo(explain_text.of_verification(found))
    if not found.same:
        context.exit(1)


@click.command(cls=Command, context_settings=SETTINGS, params=options("diff", DiffSettings))
@click.argument("before", metavar="A", type=PATH)
@click.argument("after", metavar="B", type=PATH)
@click.pass_context
def diff(context: click.Context, /, before: Path, after: Path, **given: Any) -> None:
    """Compare two SFT folders or two runs; exit code 1 if they differ.

    Of SFT folders: settings, input, and traces that are in one only or have another text. Of runs
    besides: accuracy and true verdicts by question and by prompt variant.
    """
    with clear_errors():
        settings = read(DiffSettings, "diff", given)
        from skill_factory.look import diff as comparing
        from skill_factory.look import explain_text
        from skill_factory.look.diff_runs import diff_runs
        from skill_factory.look.folders import RunView, open_folder

        old, new = open_folder(before), open_folder(after)
        if isinstance(old, RunView) and isinstance(new, RunView):
            runs = diff_runs(old, new)
            differ, text = runs.differ, explain_text.of_run_diff(runs)
            found: Any = runs
        else:
            sft = comparing.diff_sft(comparing.sft_of(before), comparing.sft_of(after))
            differ, text = sft.differ, explain_text.of_sft_diff(sft)
            found = sft
        echo(explain_text.as_json(found, differ=differ) if settings.as_json else text)
    if differ:
        context.exit(1)
