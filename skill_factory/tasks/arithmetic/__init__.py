"""Reads the arithmetic in what a model wrote: equations and expressions with + - * / and brackets.

The text is cut into marks, the marks into statements at words, line breaks and the like, and each
statement into the sides of its equation. Values are exact fractions; the parser neither recurses
nor calls `eval`. What is more than arithmetic (powers, roots, variables, "not") is not read at all.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from skill_factory.tasks.arithmetic.evaluating import Exact, Side, Statement, each_way, evaluate
from skill_factory.tasks.arithmetic.marks import NotArithmeticError, Number, read_marks

__all__ = ["Exact", "Number", "Reading", "Side", "Statement", "number", "readings", "same"]

LONGEST = 20_000
"""Characters of a text that is still read; a solution has fewer than 1,000."""


class Reading(NamedTuple):
    """The statements of a text in their order, and whether there is more in it than they say: words
    that are not known here, a comma that may be a decimal point. Then nothing in it is surely
    wrong."""

    statements: list[Statement]
    doubtful: bool


def readings(text: str) -> list[Reading]:
    """The ways to read a text: none if it is not arithmetic, several if an operator at the start of
    a line may go on with the line before, be a sign, or be a bullet.

    >>> [[side.value for side in one] for one in readings("So 3 + 5 = 8.")[0].statements]
    [[(8, 1), (8, 1)]]
    >>> readings("2 ** 3"), readings("x + 3"), readings("not 3 + 5")
    ([], [], [])
    """
    if len(text) > LONGEST:
        return []
    if _EXPRESSIONS.fullmatch(text) and (simple := _simple(text)) is not None:
        return [Reading(simple, doubtful=False)]
    try:
        marks = read_marks(text)
    except NotArithmeticError:
        return []
    return [Reading(found, marks.doubtful) for found in each_way(marks.found)]


def same(one: Exact, other: Exact) -> bool:
    """Whether two values are equal."""
    return one[0] * other[1] == other[0] * one[1]


def number(value: Exact) -> Number:
    """A value as a number: a whole one if it is whole."""
    return value[0] // value[1] if value[0] % value[1] == 0 else Fraction(*value)


# -- what most answers are ------------------------------------------------------------------------

_EXPRESSIONS = re.compile(r"[( ]*[0-9]{1,9}[) ]*(?:[-+*/=][( ]*[0-9]{1,9}[) ]*){1,40}")
_SIMPLE_MARK = re.compile(r"[0-9]+|[-+*/=()]")


def _simple(text: str) -> list[Statement] | None:
    """An equation, or an expression, and nothing else: what all of the below comes to for it, many
    times faster. None: the brackets are not so simple."""
    sides = list[Side]()
    for part in text.split("="):
        side = evaluate(
            [int(mark) if mark.isdigit() else mark for mark in _SIMPLE_MARK.findall(part)]
        )
        if side is None:
            return None
        sides.append(side)
    return [sides]
