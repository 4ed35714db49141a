"""Text of others as lines of ours: indented below a heading, with what was looked for marked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from skill_factory.core.terminal import Line, Piece, Style

_INDENT = Piece("  ")


def heading_and_text(title: str, style: Style, text: str, origin: str = "") -> Iterator[Line]:
    """A heading, with where the text came from in grey, and the text below it, indented: no line of
    it looks like one of ours. A bold heading has a plain text."""
    yield [Piece(title, style), Piece(f"  {origin}" if origin else "", Style.GREY)]
    for line in text.split("\n"):
        yield [_INDENT, Piece(line, Style.PLAIN if style is Style.BOLD else style)]


def marks_of(text: str | None) -> re.Pattern[str] | None:
    """What to mark where a text, in any case, is looked for; None: nothing."""
    return re.compile(re.escape(text), re.IGNORECASE) if text else None


def marked(line: Line, mark: re.Pattern[str] | None) -> Line:
    """The line with each match as a piece of its own."""
    return line if mark is None else [part for piece in line for part in _parts(piece, mark)]


def _parts(piece: Piece, mark: re.Pattern[str]) -> Iterator[Piece]:
    at = 0
    for found in mark.finditer(piece.text):
        yield piece._replace(text=piece.text[at : found.start()])
        yield Piece(found[0], Style.MARKED)
        at = found.end()
    yield piece._replace(text=piece.text[at:])
