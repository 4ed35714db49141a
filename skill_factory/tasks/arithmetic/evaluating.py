"""From marks to statements: the sides of equations and their values, as exact fractions."""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

from skill_factory.tasks.arithmetic.marks import BREAKS, LOOSE, Number

MOST_NUMBERS = 64
"""Numbers in one side of an equation that are still added up."""

MOST_STATEMENTS = 64
"""Statements of a text that are still read."""

Exact = tuple[int, int]
"""A fraction: numerator and denominator, not reduced; the denominator is not 0."""


class Side(NamedTuple):
    """One side of an equation: its value, the numbers in it, negative behind a minus, which may be
    their sign or an operation on them, and the values of its `parts`."""

    value: Exact
    numbers: list[Number]
    parts: list[Exact]

    @property
    def is_number(self) -> bool:
        return len(self.numbers) == 1


Statement = list[Side]
"""An expression, one side, or an equation, several."""


def each_way(marks: list[str | Number]) -> list[list[Statement]]:
    """The statements of marks, for each way to take the operators that begin lines."""
    ways = (_joined, _signed, _bulleted) if any(mark in LOOSE for mark in marks) else (list,)
    found = [_statements(way(marks)) for way in ways]
    return [statements for statements in found if statements is not None]


def _joined(marks: list[str | Number]) -> list[str | Number]:
    """Marks as they are if lines go on with the lines before."""
    found: list[str | Number] = []
    for mark in marks:
        if mark in LOOSE and found[-1:] == ["\n"]:
            found[-1] = LOOSE[str(mark)]
        else:
            found += _signed([mark])
    return found


def _signed(marks: list[str | Number]) -> list[str | Number]:
    """Marks as they are if a dash that begins a line is a sign."""
    return ["-" if mark == "~-" else ";" if mark in LOOSE else mark for mark in marks]


def _bulleted(marks: list[str | Number]) -> list[str | Number]:
    """Marks as they are if the signs that begin lines are bullets."""
    return [";" if mark in LOOSE else mark for mark in marks]


def _statements(marks: list[str | Number]) -> list[Statement] | None:
    """The statements that breaks part; None if one of them is no arithmetic, or they are many."""
    statements: list[Statement] = []
    for chunk in _split(marks, BREAKS):
        sides = [evaluate(side) for side in _split(chunk, frozenset("="))]
        statements.append([side for side in sides if side])
        if not all(sides) or len(statements) > MOST_STATEMENTS:
            return None
    return statements


def _split(marks: list[str | Number], at: frozenset[str]) -> list[list[str | Number]]:
    """The runs of marks between others, without empty ones."""
    runs: list[list[str | Number]] = [[]]
    for mark in marks:
        if mark in at:
            runs.append([])
        else:
            runs[-1].append(mark)
    return [run for run in runs if run]


_RANK = {"(": 0, "+": 1, "-": 1, "*": 2, "/": 2, "neg": 3}


def evaluate(marks: list[str | Number]) -> Side | None:
    """The value of an expression, by two stacks (shunting-yard); None if it is none."""
    values: list[Exact] = []
    parts: list[Exact] = []
    waiting: list[str] = []
    numbers: list[Number] = []
    operand = True  # whether an operand must come next
    for mark in marks:
        if not operand and (mark == "(" or not isinstance(mark, str)):  # 2(3 + 4), (3 + 4)2
            if waiting[-1:] == ["/"] or not _apply(values, parts, waiting, _RANK["*"]):
                return None  # 6 / 2(1 + 2) has two values
            waiting.append("*")
            operand = True
        if not isinstance(mark, str):
            if len(numbers) == MOST_NUMBERS:
                return None
            values.append((mark.numerator, mark.denominator))
            numbers.append(-mark if waiting and waiting[-1] in ("neg", "-") else mark)
            operand = False
        elif mark == "(":
            waiting.append(mark)
        elif mark == ")":
            if operand or not _apply(values, parts, waiting, 1) or not waiting:
                return None
            waiting.pop()
        elif operand:
            if mark not in "+-":
                return None
            waiting.extend(["neg"] if mark == "-" else [])
        else:
            if not _apply(values, parts, waiting, _RANK[mark]):
                return None
            waiting.append(mark)
            operand = True
    if operand or not _apply(values, parts, waiting, 1) or waiting:
        return None
    return Side(values[0], numbers, parts)


def _apply(values: list[Exact], parts: list[Exact], waiting: list[str], rank: int) -> bool:
    """Carry out the operators that bind at least as strongly as `rank`; False: not possible."""
    while waiting and _RANK[waiting[-1]] >= rank:
        if not _combine(values, waiting.pop()):
            return False
        parts.append(values[-1])
    return True


def _combine(values: list[Exact], operator: str) -> bool:
    """Replace the last values by what an operator makes of them; False: a division by zero."""
    c, d = values.pop()
    if operator == "neg":
        values.append((-c, d))
        return True
    a, b = values.pop()
    if operator == "/":
        if c == 0:
            return False
        c, d, operator = d, c, "*"
    if operator == "*":
        top, bottom = a * c, b * d
    else:
        top, bottom = (a * d + c * b if operator == "+" else a * d - c * b), b * d
    shared = gcd(top, bottom)
    values.append((top // shared, bottom // shared))
    return True
