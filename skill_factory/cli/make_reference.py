"""Print docs/reference.md: `python -m skill_factory.cli.make_reference > docs/reference.md`."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

import click

from skill_factory.cli.main import main
from skill_factory.cli.options_from_settings import (
    SettingOption,
    default_words,
    metavar,
    options_of_all_stages,
)
from skill_factory.core.terminal import echo
from skill_factory.stages.settings import STAGES

_ABOUT = """\
# Reference

Every command, every option with its default and config key, and the exit codes. This page is made
from the code: `python -m skill_factory.cli.make_reference > docs/reference.md`.

A config file is YAML with a key for each stage, `questions`, `sample`, `grade`, `reflect` and
`create`, and `model`. Under them stand the settings, by the config keys of the tables. Flags win
over a file. A run's folder keeps all its settings in `config.yaml`: `sample`, `grade` and `reflect`
begin with those, unless `--config` names others. Paths are relative to where the command runs; a
prompt file may also lie beside the config.

Lists take several values after one flag, `--formats 0C '*C'`, once the command has its arguments.
Names may also be written with commas, and a flag may be repeated. Where a number may be null in a
config, its option takes `none`."""

_EXIT_CODES = """\
## Exit codes

| code | what it means |
|---|---|
| 0 | done |
| 1 | bad input, a fault that was found, or nothing to make |
| 2 | wrong usage: options that there are not, have a wrong value, or do not go together |
| 130 | stopped with Ctrl-C |"""


_HEADS = ("| option | what it is | default | config key |", "|---|---|---|---|")


def reference() -> str:
    """The page, as Markdown."""
    parts = [_ABOUT]
    for name, command in commands().items():
        parts += _command(name, command)
        if name == "run":
            parts += _settings_of_a_run()
    return "\n\n".join([*parts, _EXIT_CODES]) + "\n"


def commands() -> dict[str, click.Command]:
    """Every command by its name; those of a group by both words."""
    context = click.Context(main)
    found: dict[str, click.Command] = {}
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        below = command.commands if isinstance(command, click.Group) else {}
        found |= {f"{name} {word}": one for word, one in below.items()} or {name: command}
    return found


def _command(name: str, command: click.Command) -> Iterator[str]:
    arguments = [
        param.make_metavar(click.Context(command))
        for param in command.params
        if isinstance(param, click.Argument)
    ]
    yield f"## `{' '.join(['skill-factory', name, *arguments])}`"
    yield inspect.cleandoc(command.help or "")
    sections: dict[str, list[str]] = {}
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            is_common = isinstance(param, SettingOption) and name == "run" and param.stage in STAGES
            if not is_common:
                sections.setdefault(getattr(param, "section", "Other"), []).append(_row(param))
    for title, rows in sections.items():
        yield "\n".join([f"**{title}**", "", *_HEADS, *rows])


def _row(param: click.Option) -> str:
    """The row of a table for an option."""
    names = ", ".join(f"`{word}`" for word in (*param.opts, *param.secondary_opts))
    if isinstance(param, SettingOption):
        value = "" if param.is_flag else f" {metavar(param.kind, param.said)}"
        key = f"`{param.stage}.{param.key}`" if param.stage in STAGES else ""
        return _cells(f"{names}{value}", param.said.help, _default(param), key)
    words, _, default = (param.help or "").partition("  [default: ")
    value = "" if param.is_flag else f" {param.metavar}"
    default = default.rstrip("]") or ("must be given" if param.required else "")
    return _cells(f"{names}{value}", words, default, "")


def _default(option: SettingOption) -> str:
    if option.required:
        return "must be given"
    words = default_words(option)
    return (
        f"`{words}`" if words and not option.said.unset and option.standard is not True else words
    )


def _cells(*cells: str) -> str:
    return f"| {' | '.join(re.sub(r'[|]', '&#124;', cell) for cell in cells)} |"


def _settings_of_a_run() -> Iterator[str]:
    """What other settings `run` takes."""
    options = [one for one in options_of_all_stages() if isinstance(one, SettingOption)]
    plain = [[word for word in one.opts if "." not in word] for one in options]
    yield _paragraph(
        "Every setting of a stage is an option of `run`, as `--STAGE.SETTING`: its config key, with"
        " `-` for `_`, as `--sample.max-tokens 2048`. But for the input of `create` and its"
        " columns: its input is the run's own."
    )
    yield _paragraph(
        "These can also be named without their stage: "
        + ", ".join(f"`{words[0]}`" for words in plain if words)
    )
    yield _paragraph(
        "These only with it: "
        + ", ".join(
            f"`{one.opts[0]}`" for one, words in zip(options, plain, strict=True) if not words
        )
    )


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 100, break_on_hyphens=False)


if __name__ == "__main__":
    echo(reference().rstrip("\n"))
