"""Whole-number answers: sums, long multiplication, GSM8K."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

LONGEST = 10_000
"""Characters of an answer that is still read."""

_NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?")
_NOTHING = re.compile(r"\\[,!]|\{,\}|(?<=\d)[\u202f\u2009\u00a0~](?=\d{3}(?!\d))")
_SPACE = re.compile(r"\\(?:boxed|textbf|text|mathrm|mathbf|left|right)\b|\\[;: $()\[\]]|[${}*`]")
_UNIT_POWER = re.compile(r"(?<=[A-Za-z])\s*(?:\^\s*\d|[²³])")
_ARITHMETIC = re.compile(
    r"\d\s*[-+*/^×÷·]\s*[(\d]|\d[²³⁰¹⁴-⁹]|\d[eE][-+]?\d|[<>≤≥]\s*-?\d|\\(?:times|cdot|div|d?frac|sqrt)"
)
_TIMES = {"hundred": 100, "thousand": 10**3, "k": 10**3, "million": 10**6, "billion": 10**9}
_TIMES_WORD = re.compile(rf"\s*({'|'.join(_TIMES)})\b", re.IGNORECASE)
_MINUS = str.maketrans(dict.fromkeys("−–‒－﹣", "-"))
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
    plain = _SPACE.sub(" ", _NOTHING.sub("", text.translate(_MINUS))).rpartition("=")[2]
    plain = _UNIT_POWER.sub("", plain)
    if _ARITHMETIC.search(plain):
        return None
    found: set[Fraction] = set()
    for match in _NUMBER.finditer(plain):
        if len(match[0]) > _MOST_DIGITS or len(found) > 1:
            return None
        times = _TIMES_WORD.match(plain, match.end())
        negative = _is_negative(plain[max(0, match.start() - 20) : match.start()])
        value = Fraction(match[0].replace(",", "")) * (_TIMES[times[1].lower()] if times else 1)
        found.add(-value if negative else value)
    return found.pop() if len(found) == 1 else None


def _is_negative(before: str) -> bool:
    """Whether what stands before a number ends in a minus that is its sign."""
    bare = before.rstrip(" (")
    word = re.search(r"\b(?:minus|negative)$", bare, re.IGNORECASE)
    if word is None and not bare.endswith("-"):
        return False
    ahead = bare[: word.start() if word else -1].rstrip()
    return not ahead or not (ahead[-1].isalnum() or ahead[-1] in ")]") or bool(word)


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if number_of(gold.rpartition("####")[2]) is not None else "no number in it"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """The number after the right one."""
    return str((number_of(gold.rpartition("####")[2]) or 0) + 1)
