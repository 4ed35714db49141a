"""The one way to the terminal: what datasets, models and servers say is shown there, never obeyed.

A terminal takes orders from text: to move its cursor, to name its window, to fill the clipboard
(OSC 52), to show words in another order than they have (Unicode's bidirectional controls).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from itertools import chain
from typing import Any, NamedTuple, NoReturn, TextIO, cast

import click

from skill_factory.core.copies import named
from skill_factory.core.redaction import environment_secrets, redact

# C0 but for tab and newline, DEL and C1, separators of lines, bidirectional controls (Unicode's
# property Bidi_Control), halves of characters.
_ORDERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MOVES = re.compile(r"(?:[\r\n]|\x1b\[A)*")
"""What progress bars (tqdm 4) write besides their text."""


def visible(text: str) -> str:
    r"""The text with what would steer a terminal spelt out; newlines and tabs stay.

    >>> print(visible("\x1b[2Jred\r\n\u202etxt"))
    \x1b[2Jred\x0d
    <U+202E>txt
    """
    return _ORDERS.sub(_spelt, text)


def _spelt(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"<U+{code:04X}>"


def one_line(text: object) -> str:
    """What an error says, on one line."""
    return " ".join(str(text).split())


def echo(text: str = "", err: bool = False) -> None:
    """Print a text, visibly, and a newline: on the standard output, or with `err` beside it."""
    click.echo(visible(text), err=err)


# -- our own colours ------------------------------------------------------------------------------


class Style(Enum):
    """How a stretch of a line looks: the parameters of the one kind of order that is ever given to
    a terminal, "select graphic rendition"."""

    PLAIN = ""
    BOLD = "1"
    GREY = "90"
    GREEN = "32"
    RED = "31"
    CYAN = "36"
    MAGENTA = "35"
    YELLOW = "33"
    MARKED = "7"


class Piece(NamedTuple):
    """A stretch of a line; its text is shown, never obeyed, and what would end the line is spelt
    out."""

    text: str
    style: Style = Style.PLAIN


Line = Sequence[Piece]


class _Ours(str):
    """Lines made of `Piece`s: made visible already, and with no order in them but our styles."""


def echo_lines(lines: Iterable[Line], color: bool | None = None) -> None:
    """Print lines; on a terminal through the user's pager (PAGER) if they fill more than a screen.

    `color` None: on a terminal, unless the environment has NO_COLOR or says that it is dumb.
    """
    on_terminal = sys.stdout.isatty()
    colored = on_terminal and _wants_color() if color is None else color
    secrets = environment_secrets()
    ready = (_Ours(_styled(line, colored, secrets) + "\n") for line in lines)
    if not (on_terminal and sys.stdin.isatty()):
        for text in ready:
            sys.stdout.write(text)
        return
    start, left = [], shutil.get_terminal_size()[1] - 1
    for text in ready:
        start.append(text)
        left -= 1 + len(text) // width_of_terminal()
        if left < 0:
            # Of None click makes what the pager can show.
            click.echo_via_pager(chain(start, ready), color=(color or None) if colored else False)
            return
    for text in start:
        sys.stdout.write(text)


def width_of_terminal() -> int:
    """Columns of the terminal, or what COLUMNS says."""
    return max(20, shutil.get_terminal_size().columns)


def prints_to_terminal() -> bool:
    """Whether what is printed goes to a terminal."""
    return sys.stdout.isatty()


def _wants_color() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _styled(line: Line, colored: bool, secrets: list[str]) -> str:
    return "".join(_piece(redact(named(text), secrets), style, colored) for text, style in line)


def _piece(text: str, style: Style, colored: bool) -> str:
    shown = visible(text).replace("\n", "\\x0a")
    if not colored or style is Style.PLAIN or not shown:
        return shown
    return f"\x1b[{style.value}m{shown}\x1b[0m"


# -- the guard ------------------------------------------------------------------------------------


@contextmanager
def guarded() -> Iterator[None]:
    """Let all that is printed while the block runs be visible, also what libraries print, and
    without the secrets of the environment.

    A stream that cannot be written to ends the block with a `click.ClickException`.
    """
    before = sys.stdout, sys.stderr
    guard_process()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def only_this_thread_prints() -> Iterator[None]:
    """What other threads print goes to the standard error: Ray tells of lost nodes so."""
    before = sys.stdout
    sys.stdout = cast(TextIO, _OneThreads(before))
    try:
        yield
    finally:
        sys.stdout = before


def guard_process() -> None:
    """Guard all that this process prints from here on; for one that works for another, and writes
    to its streams what code of a user's own prints."""
    secrets, before = environment_secrets(), (sys.stdout, sys.stderr)
    sys.stdout, sys.stderr = (
        stream and cast(TextIO, _Visible(stream, name, secrets))
        for stream, name in zip(before, ("standard output", "standard error"), strict=True)
    )


def has_terminal() -> bool:
    """Whether the errors' stream is a terminal with a width; some say that they have none."""
    if not sys.stderr.isatty():
        return False
    with suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    return False


class Guarded(click.Command):
    """A command that is an entry point: `guarded`, and with exit code 1 when not even its errors
    can be shown."""

    def main(self, *args: Any, **extra: Any) -> Any:
        with guarded():
            try:
                return super().main(*args, **extra)
            except click.ClickException:
                if not extra.get("standalone_mode", True):
                    raise
                sys.exit(1)


class _Visible:
    """A text stream before another one, which it leaves open."""

    errors = "backslashreplace"

    def __init__(self, stream: TextIO, name: str, secrets: list[str]) -> None:
        self._stream, self._name, self._secrets = stream, name, secrets
        self._codec = stream.encoding or "utf-8"
        # click puts a stream of its own in the place of one that says ascii.
        self.encoding = "utf-8" if self._codec.lower() in ("ascii", "us-ascii") else self._codec

    def write(self, text: str) -> int:
        shown = text if isinstance(text, _Ours) else redact(self._shown(named(text)), self._secrets)
        if not shown:
            return 0  # click asks with an empty text whether this is a stream for text
        try:
            self._stream.write(shown.encode(self._codec, self.errors).decode(self._codec))
        except OSError as error:
            self._fail(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def _shown(self, text: str) -> str:
        """On a terminal, a bar's way back to the start of its line stays."""
        if not self._stream.isatty():
            return visible(text)
        if _MOVES.fullmatch(text):
            return text
        return "\r" * text.startswith("\r") + visible(text.removeprefix("\r"))

    def _fail(self, error: OSError) -> NoReturn:
        """Give the stream up: what is left in it, Python would try to write as it ends."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise error  # nobody reads on, as in `| head`: click ends in silence
        raise click.ClickException(f"the {self._name} cannot be written: {error.strerror}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _OneThreads:
    """A standard output for one thread; what others print goes to the standard error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        mine = threading.get_ident() == self._thread
        return (self._stream if mine else sys.stderr).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
