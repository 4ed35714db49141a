"""Splitting a text at what stands outside its brackets."""

from __future__ import annotations

import re

_OPEN_OR_CLOSED = (
    r"(?P<open>\\\{|[(\[{]|\\(?:langle|lfloor|lceil|begin)(?![A-Za-z]))"
    r"|(?P<close>\\\}|[)\]}]|\\(?:rangle|rfloor|rceil|end)(?![A-Za-z]))"
)


def _splitter(separators: str) -> re.Pattern[str]:
    return re.compile(f"{_OPEN_OR_CLOSED}|(?P<separator>{separators})")


LISTED = _splitter(r"[,;]|(?<![\\A-Za-z])(?:and|or)(?![A-Za-z])")
RELATIONS = _splitter(
    r"[=<>]|\\(?:le|ge|ne|approx|in|notin|equiv|subset|subseteq|to|implies|mid|sim)(?![A-Za-z])"
)
SUCH_THAT = _splitter(r"\||:|\\mid(?![A-Za-z])")
COLONS = _splitter(r":|\\colon(?![A-Za-z])")
ROWS = _splitter(r"\\\\")
CELLS = _splitter("&")


def split(text: str, splitter: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """The parts between the separators that stand in no brackets, and the separators."""
    parts, separators, depth, start = [], [], 0, 0
    for found in splitter.finditer(text):
        if found["open"]:
            depth += 1
        elif found["close"]:
            depth -= 1
        elif depth <= 0:
            parts.append(text[start : found.start()].strip())
            separators.append(found[0])
            start = found.end()
    return [*parts, text[start:].strip()], separators


def depth_of(text: str) -> int:
    """How many brackets stand within one another at most."""
    depth = deepest = 0
    for found in BRACKET.finditer(text):
        depth += 1 if found["open"] else -1
        deepest = max(deepest, depth)
    return deepest


BRACKET = re.compile(_OPEN_OR_CLOSED)


def closes_at_end(text: str) -> bool:
    """Whether the bracket that begins a text closes at its end."""
    depth = 0
    for found in BRACKET.finditer(text):
        depth += 1 if found["open"] else -1
        if depth == 0:
            return found.end() == len(text)
    return False
