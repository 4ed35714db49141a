"""Countdown: reach a target from some numbers with + - * /, each number at most once.

The answer is one equation or expression, or lines "Step k: a + b = c" that end in the target.
Graded with exact fractions by a parser of our own, which neither recurses nor calls `eval`: what is
not arithmetic is simply wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import gcd
from typing import Any, NamedTuple

LONGEST = 20_000
"""Characters of an answer that is still read; a solution has fewer than 1,000."""

MOST_NUMBERS = 64
"""Numbers in one side of an equation that are still added up."""

MOST_STEPS = 64
"""Steps of an answer that are still read."""

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,20}(?!\d))(?:\.\d{1,9}(?!\d))?"
_TOKEN = re.compile(rf"(?P<number>{_NUMBER})|(?P<mark>[-+*/(){{}}]|\\frac)|(?P<space>\s+)")
_STEPS = re.compile(r"\bstep\s*\d+\s*[:.)-]?|[\n;]|\\\\|,\s+(?=[^,]*=)", re.IGNORECASE)
_LABEL = re.compile(r"[A-Za-z][A-Za-z ]{0,30}(?::|\bis\b)")
_LISTED = re.compile(r"^\d{1,2}[.)]\s+(?=.*=)")
_BOXED = re.compile(r"[\s$*]*\\boxed\{(.*)\}[\s$*.]*", re.DOTALL)
_TIMES = re.compile(r"(?<=[\d)\s])[xX](?=[\d(\s])")
_LATEX = re.compile(r"\\(?:[a-zA-Z]+|[,;:!() \[\]])|\{,\}|[$&`]")
_WORDS = {
    **dict.fromkeys((r"\times", r"\cdot", r"\ast"), "*"),
    **dict.fromkeys((r"\div", r"\slash"), "/"),
    **dict.fromkeys((r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"), r"\frac"),
    **dict.fromkeys((r"\left", r"\right", r"\big", r"\Big", r"\quad", r"\qquad"), " "),
    **dict.fromkeys((r"\displaystyle", r"\,", r"\;", r"\:", r"\!", r"\ ", r"\(", r"\)"), " "),
    **dict.fromkeys((r"\[", r"\]", "$", "&", "`"), " "),
    "{,}": "",
}
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("×✕✖·⋅∙•∗＊⨉", "*"),
        **dict.fromkeys("÷∕⁄／", "/"),
        **dict.fromkeys("−–—‒－﹣", "-"),
        **dict.fromkeys("＋﹢", "+"),
        **dict.fromkeys("＝﹦", "="),
        **dict.fromkeys("[（", "("),
        **dict.fromkeys("]）", ")"),
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
        "\N{NO-BREAK SPACE}": " ",
    }
)

Exact = tuple[int, int]
"""A fraction: numerator and denominator, not reduced; the denominator is not 0."""


_Count = Counter[Fraction | int]


class Facts(NamedTuple):
    """What a solution may use, and what it must reach. `numbers` counts each value."""

    numbers: _Count
    target: Exact


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether an answer reaches the target; None where neither `facts` nor `gold` tell it.

    `facts["numbers"]` (or `nums`) and `facts["target"]` are the question's; without both, the
    numbers and the value of the gold expression are taken.

    >>> grade("(3 + 5) * 3 = 24", "", {"numbers": [3, 3, 5], "target": 24})
    True
    >>> grade("Step 1: 5 - 3 = 2, Step 2: 2 * 12 = 24", "24", {"numbers": [3, 5, 12], "target": 24})
    True
    """
    known = known_facts(gold, facts)
    return None if known is None else _reaches(answer, known)


def known_facts(gold: str, facts: Mapping[str, Any]) -> Facts | None:
    """Numbers and target of a question; None if they are not to be had.

    Raises nothing: facts that are no numbers are as good as none.
    """
    numbers = facts.get("numbers")
    given = _values(facts.get("nums") if numbers is None else numbers)
    wanted = _values(facts.get("target"))
    if given and wanted and len(wanted) == 1:
        target = Fraction(wanted[0])
        return Facts(Counter(given), (target.numerator, target.denominator))
    steps = _read(gold)
    if steps is None or len(steps) != 1:
        return None
    sides = [side for side in steps[0] if len(side.numbers) > 1]
    if not sides:  # a target alone does not tell the numbers
        return None
    value = sides[0].value
    if any(not _same(side.value, value) for side in steps[0]):
        return None
    numbers_of = [number if number >= 0 else -number for number in sides[0].numbers]
    return Facts(_Count(numbers_of), value)


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    if known_facts(gold, facts) is None:
        return "neither numbers and a target, nor a gold expression to take them from"
    return None


def sound(gold: str, facts: Mapping[str, Any]) -> bool:
    """Whether a gold answer does not contradict the facts: it is a solution, or the target alone,
    or says nothing that can be read."""
    known = known_facts(gold, facts)
    if known is None:
        return False
    return _values(gold) == [Fraction(*known.target)] or grade(gold, gold, facts) is not False


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """An answer that misses the target by one."""
    known = known_facts(gold, facts)
    return str(Fraction(*known.target) + 1) if known else "0 = 1"


def key(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Names the puzzle, however it is worded; None if numbers and target are not known.

    >>> key("(5 + 3) * 3", {})
    '3 3 5 -> 24'
    """
    known = known_facts(gold, facts)
    if known is None:
        return None
    numbers = " ".join(map(str, sorted(known.numbers.elements())))
    return f"{numbers} -> {Fraction(*known.target)}"


def _values(given: Any) -> list[Fraction | int] | None:
    """Numbers as they may stand in facts: a list or array of them, one of them, or text."""
    if given is None or isinstance(given, bytes):
        return None
    if isinstance(given, str):
        items: list[Any] = re.findall(r"-?\d+(?:\.\d+|/\d+)?", given[:LONGEST])
    elif isinstance(given, Iterable):
        items = list(given)
    else:
        items = [given]
    try:
        return [item if type(item) is int else Fraction(str(item)) for item in items]
    except (ValueError, ZeroDivisionError):
        return None


class _Side(NamedTuple):
    """One side of an equation: its value and the numbers that stand in it."""

    value: Exact
    numbers: list[Fraction | int]


def _reaches(answer: str, facts: Facts) -> bool:
    """Whether every step is true, uses what is there, and the last one has the target's value."""
    steps = _read(answer)
    if steps is None:
        return False
    left, value, before = facts.numbers, None, None
    for number, sides in enumerate(steps):
        before, value = value, sides[0].value
        if any(not _same(side.value, value) for side in sides):
            return False
        used = next((used for side in sides if (used := _used(side, left)) is not None), None)
        if used is None:
            # After its steps an answer may say the whole of it once more, in one equation.
            return (
                number == len(steps) - 1
                and before is not None
                and _same(before, facts.target)
                and any(_used(side, facts.numbers) is not None for side in sides)
                and _same(value, facts.target)
            )
        left = left - used + _Count([_number(value)])
    return value is not None and _same(value, facts.target)


def _used(side: _Side, left: _Count) -> _Count | None:
    """What a side takes of the numbers that are left; None if they are not there. A minus before a
    number may be its sign, or an operation on it."""
    used = _Count()
    for number in side.numbers:
        signed = number if left[number] > used[number] or number >= 0 else -number
        if left[signed] <= used[signed]:
            return None
        used[signed] += 1
    return used


def _same(one: Exact, other: Exact) -> bool:
    return one[0] * other[1] == other[0] * one[1]


def _number(value: Exact) -> Fraction | int:
    return value[0] // value[1] if value[0] % value[1] == 0 else Fraction(*value)


def _read(answer: str) -> list[list[_Side]] | None:
    """The steps of an answer, each with the sides of its equation; None if any is no arithmetic."""
    if len(answer) > LONGEST:
        return None
    text = answer.translate(_SIGNS)
    boxed = _BOXED.fullmatch(text)
    text = boxed[1] if boxed else text
    if "\\" in text or "$" in text or "`" in text or "{," in text:
        text = _LATEX.sub(lambda match: _WORDS.get(match[0], match[0]), text)
    steps: list[list[_Side]] = []
    chunks = [chunk for part in _STEPS.split(text) if (chunk := part.strip(" \t\r*,.;"))]
    if len(chunks) > MOST_STEPS:
        return None
    for chunk in chunks:
        if len(chunks) > 1:
            chunk = _LISTED.sub("", chunk, count=1)
        found = _LABEL.match(chunk)
        chunk = chunk[found.end() :] if found else chunk
        sides = [_evaluate(_TIMES.sub("*", side)) for side in chunk.split("=")]
        if not all(sides):
            return None
        steps.append([side for side in sides if side])
    if any(len(sides) == 1 for sides in steps[:-1]):  # a step that says nothing
        return None
    return steps or None


def _exact(digits: str) -> Fraction | int:
    plain = digits.replace(",", "")
    return Fraction(plain) if "." in plain else int(plain)


_RANK = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "(": 0, "{": 0, "frac": 0, "over": 0}


def _evaluate(text: str) -> _Side | None:
    """The value of an expression, by two stacks (shunting-yard); None if it is none."""
    values: list[Exact] = []
    waiting: list[str] = []
    numbers: list[Fraction | int] = []
    operand = True  # whether an operand must come next
    place, end = 0, len(text)
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            return None
        place = match.end()
        if match["space"]:
            continue
        if match["number"]:
            if len(numbers) == MOST_NUMBERS:
                return None
            if not operand:  # (3 + 4)2, but not 3 4
                if text[: match.start()].rstrip()[-1:] not in ")}":
                    return None
                if not _apply(values, waiting, _RANK["*"]):
                    return None
                waiting.append("*")
            exact = _exact(match["number"])
            values.append((exact.numerator, exact.denominator))
            negative = bool(waiting) and waiting[-1] == "neg"
            numbers.append(-exact if negative else exact)
            operand = False
            continue
        mark = match["mark"]
        if mark in ("(", "{", r"\frac"):
            if not operand:  # 2(3 + 4)
                if not _apply(values, waiting, _RANK["*"]):
                    return None
                waiting.append("*")
            if mark == r"\frac":
                opened = re.compile(r"\s*\{").match(text, place)
                if opened is None:
                    return None
                place, mark = opened.end(), "frac"
            waiting.append(mark)
            operand = True
        elif mark in (")", "}"):
            if operand or not _apply(values, waiting, 1):
                return None
            opening = waiting.pop() if waiting else None
            if (mark == ")" and opening != "(") or (mark == "}" and opening in (None, "(")):
                return None
            if opening == "frac":
                opened = re.compile(r"\s*\{").match(text, place)
                if opened is None:
                    return None
                place, operand = opened.end(), True
                waiting.append("over")
            elif opening == "over" and not _combine(values, "/"):
                return None
        elif operand:
            if mark not in "+-":
                return None
            if mark == "-":
                waiting.append("neg")
        else:
            if not _apply(values, waiting, _RANK[mark]):
                return None
            waiting.append(mark)
            operand = True
    if operand or not _apply(values, waiting, 1) or waiting:
        return None
    return _Side(values[0], numbers)


def _apply(values: list[Exact], waiting: list[str], rank: int) -> bool:
    """Carry out the operators that bind at least as strongly as `rank`; False: not possible."""
    while waiting and _RANK[waiting[-1]] >= rank:
        if not _combine(values, waiting.pop()):
            return False
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
