"""The list command: which tasks, formats, sources, prompt variants and checks there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from skill_factory.cli.common import SETTINGS, Command, clear_errors, other_option
from skill_factory.cli.paths import PATH
from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.terminal import echo
from skill_factory.errors import OptionError


def tasks() -> dict[str, str]:
    """What each task grades, in a line."""
    from skill_factory.tasks import known_tasks

    return known_tasks()


def formats() -> dict[str, str]:
    """What stands in a trace of each format, in a line; L is --attempts."""
    from skill_factory.stages.create.formats import known_formats

    return known_formats()


def sources() -> dict[str, str]:
    """What the questions of each source are, in a line."""
    from skill_factory.stages.questions.plugin_sources import known_sources

    return known_sources()


def variants(prompts: Path | None) -> dict[str, str]:
    """The beginning of each prompt, after the question; of those that show a hint, that they do."""
    from skill_factory.asking.prompts import load_prompts

    found = load_prompts(prompts).variants
    return {
        name: "shows the gold answer" if prompt.hint else _begins(prompt.messages[-1][1])
        for name, prompt in found.items()
    }


def _begins(text: str) -> str:
    words = " ".join(text.replace("{question}", "").split())
    return words if len(words) < 70 else words[:70].rsplit(" ", 1)[0] + " ..."


def checks() -> dict[str, str]:
    """How grave what each code stands for is, what it is, and what to do; installed checks too."""
    from skill_factory.checks.codes import CODES
    from skill_factory.checks.own import installed_checks

    found = {
        str(code): f"{code.severity.value}: {code.about}; {code.advice}" for code in CODES.values()
    }
    return found | installed_checks()


_KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "tasks": tasks,
    "formats": formats,
    "sources": sources,
    "checks": checks,
}


@click.command(cls=Command, context_settings=SETTINGS)
@click.argument("kind", metavar="tasks|formats|sources|variants|checks")
@other_option("--prompts", metavar="FILE", type=PATH, help="Prompt variants of this file, too.")
def list_parts(kind: str, prompts: Path | None) -> None:
    """Show the tasks, formats, sources, prompt variants or checks that there are, a line each."""
    with clear_errors():
        if kind not in (*_KINDS, "variants"):
            hint = did_you_mean(kind, [*_KINDS, "variants"])
            raise OptionError(
                f"{kind}: there are tasks, formats, sources, variants and checks{hint}"
            )
        if prompts and kind != "variants":
            raise OptionError("--prompts is for `list variants`")
        found = variants(prompts) if kind == "variants" else _KINDS[kind]()
        width = max(map(len, found))
        for name, words in found.items():
            echo(f"{name.ljust(width)}  {words}".rstrip())
