"""What all commands share: how they end, and how their help looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from skill_factory.core.terminal import echo, one_line
from skill_factory.errors import NothingMadeError, OptionError, SkillFactoryError

SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 110,
}
COUNT = click.IntRange(min=1)


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
        raise click.ClickException(one_line(_of_disk(error))) from None
    except KeyboardInterrupt:
        echo(stopped, err=True)
        sys.exit(130)


def _of_disk(error: OSError) -> str:
    """What the system says, and of which file."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
