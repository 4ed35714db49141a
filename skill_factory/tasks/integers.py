"""Whole-number answers: sums, long multiplication, GSM8K."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

LONGEST = 10_000
"""Characters of an answer that is still read."""

_NUMBER = re.compile(r"(?<![\w.)])-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?")
_LATEX = re.compile(r"\\(?:boxed|text|mathrm|mathbf|left|right)|\\[,;:! $()\[\]]|\{,\}|[${}*`]")
_MINUS = str.maketrans({**dict.fromkeys("−–‒－﹣", "-"), "\N{NO-BREAK SPACE}": " "})
_MOST_DIGITS = 400


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether an answer says the gold number; None if the gold answer has none.

    Words around it, units and thousands separators are left out; of several equations the last
    side counts. An answer with two different numbers is wrong: nothing tells which is meant.

    >>> grade("$1,234.00", "6 * 9 = 1234\\n#### 1234", {}), grade("12 or 13", "12", {})
    (True, False)
    """
    wanted = number_of(gold.rpartition("####")[2])
    if wanted is None:
        return None
    return number_of(answer) == wanted


def number_of(text: str) -> Fraction | None:
    """The one number in a text; None if there is none, or several."""
    if len(text) > LONGEST:
        return None
    plain = _LATEX.sub("", text.translate(_MINUS)).rpartition("=")[2]
    found = set()
    for match in _NUMBER.finditer(plain):
        if len(match[0]) > _MOST_DIGITS:
            return None
        found.add(Fraction(match[0].replace(",", "")))
    return found.pop() if len(found) == 1 else None


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if number_of(gold.rpartition("####")[2]) is not None else "no number in it"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """The number after the right one."""
    return str((number_of(gold.rpartition("####")[2]) or 0) + 1)
