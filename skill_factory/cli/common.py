"""What all commands share: how they end, how their help looks, several values after one flag."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from skill_factory.cli.paths import PATH
from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.terminal import Guarded, echo, one_line
from skill_factory.errors import NothingMadeError, OptionError, SkillFactoryError, of_disk

F = TypeVar("F", bound=Callable[..., Any])
SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 110,
}
_WIDEST = 32
"""Columns for the names of options; longer names have a line of their own."""

_OTHERS = "Other"


class Command(Guarded):
    """A command whose help has sections, and which takes several values after one flag."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, under the headings that they name, in the order of the first of
        each."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record and isinstance(param, click.Option):
                sections.setdefault(getattr(param, "section", _OTHERS), []).append(record)
        others = sections.pop(_OTHERS, [])
        width = min(_WIDEST, max(len(name) for rows in (*sections.values(), others)
                                 for name, _ in rows))  # fmt: skip
        for title, rows in [*sections.items(), (_OTHERS, others)]:
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), words) for name, words in rows], _WIDEST)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `--formats A B` as `--formats A --formats B`, once the command has its arguments."""
        return super().parse_args(ctx, list(_spread(self, args)))


class Group(Guarded, click.Group):
    """A group of commands that says which one a mistyped one may be."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, names = args[0], self.list_commands(ctx)
        if name not in names and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r}{did_you_mean(name, names)}")
        return super().resolve_command(ctx, args)


def _spread(command: click.Command, args: list[str]) -> Iterator[str]:
    options = {
        name: param
        for param in command.params
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
    lacking = sum(isinstance(param, click.Argument) for param in command.params)
    rest, several = iter(args), ""
    for arg in rest:
        option = options.get(arg.partition("=")[0])
        if option is not None:
            several = option.opts[-1] if option.multiple else ""
            yield arg
            if "=" not in arg and not option.is_flag:
                yield from [value for value in [next(rest, None)] if value is not None]
        elif several and not lacking and not (arg.startswith("-") and arg != "-"):
            yield from (several, arg)
        else:
            several = ""
            lacking -= 1 if arg == "-" or not arg.startswith("-") else 0
            yield arg


class _Other(click.Option):
    """An option that is no setting, under the heading `section`."""

    def __init__(self, *args: Any, section: str = _OTHERS, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.section = section


def other_option(*names: str, section: str = _OTHERS, **attributes: Any) -> Callable[[F], F]:
    """A decorator: an option that is no setting."""
    return click.option(*names, cls=_Other, section=section, **attributes)


def config_option(words: str) -> Callable[[F], F]:
    """A decorator: -c, a config file."""
    return other_option("-c", "--config", "config_file", metavar="FILE", type=PATH, help=words)


@contextmanager
def clear_errors(stopped: str = "Stopped; nothing was left half-made.") -> Iterator[None]:
    """Turn our errors, and those of the disk, into one line and an exit code: 2 for options, 1 for
    all else; Ctrl-C into what is told of it, and 130."""
    try:
        yield
    except OptionError as error:
        raise click.UsageError(one_line(error)) from None
    except NothingMadeError as error:
        echo(error.reasons)
        raise click.ClickException(one_line(error)) from None
    except SkillFactoryError as error:
        raise click.ClickException(one_line(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(one_line(of_disk(error))) from None
    except KeyboardInterrupt:
        echo(stopped, err=True)
        sys.exit(130)
