"""The check command: look for faults in traces."""

from __future__ import annotations

import json
from typing import Any

import click

from skill_factory.checks.settings import CheckSettings
from skill_factory.cli.common import SETTINGS, Command, clear_errors
from skill_factory.cli.options_from_settings import options, read
from skill_factory.core.terminal import echo


@click.command(cls=Command, context_settings=SETTINGS, params=options("check", CheckSettings))
@click.argument("dataset", metavar="DIR|FILE|REPO")
@click.pass_context
def check(context: click.Context, /, dataset: str, **given: Any) -> None:
    """Look at every trace of an SFT folder, or of any chats with its tags; exit code 1 if there is
    an error.

    Structure, wording, the model's verdicts against the truth, the balance of the traces, questions
    that are shared with other sets, rewards (1.0, and 0.0 when the final answer is made wrong,
    taken away, or moved before the thinking's end), and lengths. docs/checks.md has all codes.
    """
    with clear_errors():
        settings = read(CheckSettings, "check", given)
        from skill_factory.checks.check import check as look
        from skill_factory.checks.check import checks_of

        report = look(dataset, checks_of(settings))
    if settings.json:
        echo(json.dumps(report.as_json(), indent=2))
    else:
        echo(report.summary(report.traces if settings.verbose else 0))
    if report.errors or (settings.strict and report.warnings):
        context.exit(1)
