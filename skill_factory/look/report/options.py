"""How a report is made."""

from __future__ import annotations

from dataclasses import dataclass

PAGE_BYTES = 5_000_000
"""The most that a page has."""

ROOM = 4_400_000
"""Bytes for the samples of a page; the rest is what is drawn, at most half a megabyte."""


LONGEST_RESPONSE = 12_000
"""Characters of a part of a response that are shown where two stand side by side."""


@dataclass(frozen=True)
class Options:
    """`room`: bytes for the sample of questions and traces; `seed` draws it. `check`: whether
    faults are looked for."""

    seed: int = 0
    room: int = ROOM
    check: bool = True
