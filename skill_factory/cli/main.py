"""The `skill-factory` command; each verb is imported only when it is called."""

from __future__ import annotations

import importlib

import click

from skill_factory import __version__
from skill_factory.core.terminal import Guarded

_VERBS = {
    "run": ("skill_factory.cli.run", "All stages of a config in one folder, resumable."),
    "questions": ("skill_factory.cli.questions", "Make questions, or take a dataset's."),
    "sample": ("skill_factory.cli.run", "Ask a model for attempts at questions."),
    "grade": ("skill_factory.cli.run", "Grade attempts, without asking the model."),
    "reflect": ("skill_factory.cli.run", "Ask a model for reflections on its attempts."),
    "create": (
        "skill_factory.cli.create",
        "Make an SFT dataset from a reflection-annotated dataset.",
    ),
    "check": ("skill_factory.cli.handoff", "Look for faults in an SFT dataset."),
    "export": (
        "skill_factory.cli.handoff",
        "Write what LLaMA-Factory or verl want.",
    ),
    "push": ("skill_factory.cli.handoff", "Push an SFT dataset to the Hub."),
}


class _Verbs(Guarded, click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module, _ = _VERBS[cmd_name]
        command = getattr(importlib.import_module(module), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _VERBS.items()])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="skill-factory")
def main() -> None:
    """Prime a language model with retry, reflect and verify, on traces made of its own text."""
