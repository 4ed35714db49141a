"""Whole numbers in English words: twenty-one, two hundred and five, a dozen."""

from __future__ import annotations

import re
from fractions import Fraction

_ONES = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen
"""
_TENS = "ten twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {name: value for value, name in enumerate(_ONES.split())}
_SMALL |= {name: value * 10 for value, name in enumerate(_TENS.split(), start=1)}
SCALES = {
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
    "lakh": 10**5,
    "crore": 10**7,
}
_WORD = re.compile(r"[A-Za-z]+")
_PARTS = {"half", "halves", "third", "thirds", "quarter", "quarters", "fifth", "tenth", "point"}


def in_words(text: str) -> Fraction | None:
    """The one number that stands in a text in words; None if there is none, or several. "One" alone
    is a number only among few words.

    >>> [in_words(text) for text in ("Twenty-one cats", "two hundred and five", "one or two")]
    [Fraction(21, 1), Fraction(205, 1), None]
    """
    words = [word.lower() for word in _WORD.findall(text)]
    if words[-1:] == ["half"] and words[:-1] in ([], ["one"], ["a"]):
        return Fraction(1, 2)
    runs = _runs(words)
    if len(runs) != 1 or not _PARTS.isdisjoint(words) or (runs[0] == ["one"] and len(words) > 3):
        return None
    value = _value(runs[0])
    negative = not {"minus", "negative"}.isdisjoint(words)
    return None if value is None else Fraction(-value if negative else value)


def _runs(words: list[str]) -> list[list[str]]:
    """The words of each number: those beside each other, and with "and" after a hundred or more."""
    runs: list[list[str]] = []
    last = ""
    for place, word in enumerate(words):
        if word in _SMALL or word in SCALES:
            joined = last == "and" and place > 1 and words[place - 2] in SCALES
            if runs and (joined or last in _SMALL or last in SCALES):
                runs[-1].append(word)
            else:
                runs.append([word])
        last = word
    return runs


def _value(run: list[str]) -> int | None:
    """The value of a number's words; None if they are not one number, as in "two three"."""
    total, current, largest = 0, None, 10**15
    for word in run:
        if word in _SMALL:
            value = _SMALL[word]
            room = 100 if current is None or current % 100 == 0 else 10
            if value >= room or (current is not None and (current % room or not value)):
                return None
            current = (current or 0) + value
        elif word == "hundred":
            if current is not None and not 0 < current < 100:
                return None
            current = 100 * (current or 1)
        elif SCALES[word] < largest:
            largest = SCALES[word]
            total, current = total + largest * (1 if current is None else current), None
        else:
            return None
    return total + (current or 0)
