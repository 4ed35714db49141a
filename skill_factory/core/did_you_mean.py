"""What a mistyped name was meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """What to add to an error about an unknown name; empty where no name is like it.

    >>> did_you_mean("countdwon", ["countdown", "addition"])
    '; did you mean countdown?'
    """
    near = get_close_matches(word, list(names), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""
