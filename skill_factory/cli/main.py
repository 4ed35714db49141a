"""The `skill-factory` command; each verb is imported only when it is called."""

from __future__ import annotations

import importlib

import click

from skill_factory import __version__
from skill_factory.cli.common import SETTINGS, Group

_VERBS = {
    "run": ("run:run", "All stages of a config in one folder, resumable."),
    "questions": ("questions:questions", "Make questions, or take a dataset's."),
    "sample": ("stages:sample", "Ask a model for attempts at questions."),
    "grade": ("stages:grade", "Grade attempts, without asking the model."),
    "reflect": ("stages:reflect", "Ask a model for reflections on its attempts."),
    "create": ("create:create", "Make an SFT dataset from a reflection-annotated dataset."),
    "show": ("look:show", "Read traces in the terminal."),
    "report": ("report:report", "Draw a dataset or a run as one page, or two side by side."),
    "explain": ("explain:explain", "Tell where every word of a trace is from."),
    "verify": ("explain:verify", "Make an SFT dataset again, and compare."),
    "diff": ("explain:diff", "Compare two SFT datasets or two runs."),
    "check": ("check:check", "Look for faults in traces."),
    "export": ("handoff:export", "Write what LLaMA-Factory or verl want, or a run's tables."),
    "evaluate": ("evaluate:evaluate", "Ask a model questions, and measure what it answers."),
    "measure": ("measure:measure", "Measure a model's responses, anyone's files."),
    "compare": ("measure:compare", "Compare models that are measured."),
    "journal": ("journal:journal", "Copy, merge or export what a model said."),
    "push": ("handoff:push", "Push an SFT dataset to the Hub."),
    "list": ("listing:list_parts", "Show the tasks, formats, sources, prompt variants or checks."),
}
"""The verbs: where each is, in this folder, and what it does."""


class _Verbs(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module, _, name = _VERBS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"skill_factory.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _VERBS.items()])


@click.group(cls=_Verbs, context_settings=SETTINGS)
@click.version_option(__version__, prog_name="skill-factory")
def main() -> None:
    """Prime a language model with retry, reflect and verify, on traces made of its own text."""
