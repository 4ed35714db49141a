"""Countdown: reach a target from some numbers with + - * /, each number at most once.

The answer is one equation or expression, or several that go on from each other, with words around
them. Graded with exact fractions. Right: every equation is true, the last value is the target, and
it is made of the question's numbers. Wrong: the arithmetic was understood, and it is not so.
Undecided: what is no arithmetic, the target alone, and what other words may make right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

from skill_factory.tasks.arithmetic import (
    Exact,
    Number,
    Reading,
    Side,
    Statement,
    number,
    readings,
    same,
)

_Leaves = tuple[Number, ...]
"""The question's numbers that a value was made of."""

_Stock = dict[Number, list[_Leaves]]
"""What may be used: for each value, the ways it is there; those that were made stand last."""


class Facts(NamedTuple):
    """What a solution may use, and what it must reach. `numbers` counts each value; `whole`: all of
    them must be used."""

    numbers: Counter[Number]
    target: Exact
    whole: bool = False


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether an answer reaches the target; None where neither `facts` nor `gold` tell it, or the
    answer is not understood.

    `facts["numbers"]` (or `nums`) and `facts["target"]` are the question's; without both, the
    numbers and the value of the gold expression are taken. With `facts["all_numbers"]` a solution
    must use each of them.

    >>> grade("So (3 + 5) * 3 = 24.", "", {"numbers": [3, 3, 5], "target": 24})
    True
    >>> grade("Step 1: 5 - 3 = 2, Step 2: 2 * 12 = 24", "24", {"numbers": [3, 5, 12], "target": 24})
    True
    >>> grade("3 * 5 + 3", "(3 + 5) * 3", {}), grade("24", "(3 + 5) * 3", {})
    (False, None)
    """
    known = known_facts(gold, facts)
    if known is None:
        return None
    grades = [
        _grade(statements, reading.doubtful, known)
        for reading in readings(answer)
        for statements in _without_repeats(reading)
    ]
    if True in grades:
        return True
    return None if None in grades or not grades else False


def known_facts(gold: str, facts: Mapping[str, Any]) -> Facts | None:
    """Numbers and target of a question; None if they are not to be had.

    Raises nothing: facts that are no numbers are as good as none.
    """
    numbers, target = facts.get("numbers"), facts.get("target")
    numbers = facts.get("nums") if numbers is None else numbers
    whole = str(facts.get("all_numbers")).lower() in ("true", "1")
    if type(target) is int and isinstance(numbers, list) and {*map(type, numbers)} == {int}:
        return _puzzle(tuple(numbers), target, whole)
    given, wanted = _values(numbers), _values(target)
    if given and wanted and len(wanted) == 1:
        return Facts(Counter(given), (wanted[0].numerator, wanted[0].denominator), whole)
    solution = _solution(gold)
    if solution is None:
        return None
    return Facts(
        Counter(value if value >= 0 else -value for value in solution.numbers),
        solution.value,
        whole,
    )


@lru_cache(maxsize=4096)
def _puzzle(numbers: tuple[int, ...], target: int, whole: bool) -> Facts | None:
    """The facts of a puzzle in whole numbers: many answers come to each."""
    if max(map(abs, (*numbers, target))) >= _MOST:
        return None
    return Facts(Counter(numbers), (target, 1), whole)


def _solution(gold: str) -> Side | None:
    """The expression of a gold answer; None if there is none, or several. A target alone does not
    tell the numbers."""
    found = readings(gold)
    said = (
        [statement for statement in found[0].statements if _calculates(statement)] if found else []
    )
    if len(said) != 1 or not _is_true(said[0]):
        return None
    return next(side for side in said[0] if not side.is_number)


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


# -- facts ----------------------------------------------------------------------------------------

_WRITTEN = re.compile(r"-?[0-9]{1,300}(?:\.[0-9]{1,300}|/[0-9]{1,300})?")
_MOST = 10**300
_FLOAT = re.compile(rf"{_WRITTEN.pattern}(?:[eE][-+]?[0-9]{{1,3}})?")


def _values(given: Any) -> list[Number] | None:
    """Numbers as they may stand in facts: a list or array of them, one of them, or text; None for
    what is no number, or has over 300 digits."""
    if type(given) is int:
        items: list[Any] = [given]
    elif isinstance(given, str):
        items = _WRITTEN.findall(given[:10_000])
    elif isinstance(given, Iterable):
        items = list(given)
    else:
        items = [given]
    values = [_value(item) for item in items]
    return None if None in values else [value for value in values if value is not None]


def _value(item: Any) -> Number | None:
    if type(item) is int and -_MOST < item < _MOST:
        return item
    try:
        text = str(item)
        return Fraction(text) if _FLOAT.fullmatch(text) else None
    except (ValueError, ZeroDivisionError):  # a number of over 4,300 digits, 1/0
        return None


# -- grading --------------------------------------------------------------------------------------


def _grade(statements: list[Statement], doubtful: bool, facts: Facts) -> bool | None:
    """The grade of an answer that was read in one way."""
    steps, beside = list[Statement](), list[Number]()
    for statement in statements:
        if _calculates(statement):
            steps.append(statement)
        else:
            beside += _numbers(statement)
    if not steps:
        return None if doubtful else _grade_alone(set(beside), facts)
    reached = _follow(steps, facts)
    if reached:
        return _explained(statements, beside, facts) or None
    vague = any(value != number(facts.target) for value in beside) and min(map(len, steps)) == 1
    return None if doubtful or vague else reached


def _calculates(statement: Statement) -> bool:
    return max(map(len, [side.numbers for side in statement])) > 1


def _numbers(statement: Statement) -> list[Number]:
    return [value for side in statement for value in side.numbers]


def _grade_alone(values: set[Number], facts: Facts) -> bool | None:
    """The grade of an answer without an operator. The target is a solution only where it is among
    the numbers: otherwise it does not say how it is reached."""
    if len(values) != 1:
        return None
    (value,) = values
    if value != number(facts.target):
        return False
    if value not in facts.numbers:
        return None
    return not facts.whole or facts.numbers.total() == 1


def _explained(statements: list[Statement], beside: list[Number], facts: Facts) -> bool:
    """Whether the numbers beside the equations are the question's, or values in the equations, and
    one after the last of them is the target."""
    if not beside:
        return True
    target = number(facts.target)
    steps = filter(_calculates, statements)
    known = {target, *facts.numbers, *(value for step in steps for value in _values_in(step))}
    ending = list(takewhile(lambda one: not _calculates(one), reversed(statements)))
    return known.issuperset(beside) and (len(ending) != 1 or _numbers(ending[0])[-1] == target)


def _values_in(step: Statement) -> Iterator[Number]:
    """The numbers of an equation, and the values of its parts."""
    for side in step:
        yield from map(abs, side.numbers)
        yield from map(number, (side.value, *side.parts))


def _follow(steps: list[Statement], facts: Facts) -> bool | None:
    """Whether steps that go on from each other reach the target.

    A step that the numbers left cannot make starts anew, from all of them: an answer may say the
    whole of it after its steps. What was said before must then be a solution itself, or a part of
    this one. After a solution, steps with its own values explain it.
    """
    stock, block, parts = _stock(facts), list[_Leaves](), list[_Leaves]()
    reached = solved = anew = False
    for place, step in enumerate(steps):
        if not _is_true(step):
            return None if _is_run_on(step) or _is_rounded(step) else False
        if solved and _explains(step, steps[:place], facts.target):
            continue
        leaves = _take(step, stock)
        if leaves is None:
            parts, anew = parts if reached else parts + block, True
            stock, block = _stock(facts), []
            leaves = _take(step, stock)
        if leaves is None:
            return None if reached or _comes_later(steps, place, facts) else False
        value = step[0].value
        stock.setdefault(number(value), []).append(leaves)
        block.append(leaves)
        reached = same(value, facts.target)
        solved = reached and not (facts.whole and Counter(leaves) != facts.numbers)
    if not solved:
        return False if reached or not anew else None
    return all(Counter(part) <= Counter(block[-1]) for part in parts) or None


def _explains(step: Statement, before: list[Statement], target: Exact) -> bool:
    """Whether a step only says how the steps before were worked out: their numbers and values give
    one of their values, and it does not go on from the target."""
    used = {abs(value) for side in step if not side.is_number for value in side.numbers}
    known = {value for one in before for value in _values_in(one)}
    made = {number(part) for one in before for side in one for part in (side.value, *side.parts)}
    return number(step[0].value) in made and known >= used and abs(number(target)) not in used


def _stock(facts: Facts) -> _Stock:
    return {value: [(value,)] * count for value, count in facts.numbers.items()}


def _take(step: Statement, stock: _Stock) -> _Leaves | None:
    """Take the numbers of a side out of a stock; None, and nothing is taken, if it can make none of
    the sides."""
    for side in step:
        if side.is_number:
            continue
        taken: list[tuple[Number, _Leaves]] = []
        for given in side.numbers:
            value = given if given >= 0 or stock.get(given) else -given
            if not stock.get(value):
                break
            taken.append((value, stock[value].pop()))
        else:
            return tuple(leaf for _, leaves in taken for leaf in leaves)
        for value, leaves in reversed(taken):
            stock[value].append(leaves)
    return None


def _comes_later(steps: list[Statement], place: int, facts: Facts) -> bool:
    """Whether a step that uses what is not there may be explained by a later one: that makes the
    number, or is a solution by itself."""
    later = steps[place + 1 :]
    made = {abs(number(side.value)) for step in later for side in step}
    solved = bool(later) and _is_true(later[-1]) and same(later[-1][0].value, facts.target)
    return not made.isdisjoint(map(abs, _numbers(steps[place]))) or (
        solved and _take(later[-1], _stock(facts)) is not None
    )


def _is_true(step: Statement) -> bool:
    return all(same(side.value, step[0].value) for side in step)


def _is_run_on(step: Statement) -> bool:
    """Whether an equation goes on from each value, as in 3 + 5 = 8 * 3 = 24."""
    return all(
        same(one.value, other.value) or other.numbers[0] == number(one.value)
        for one, other in pairwise(step)
    )


def _is_rounded(step: Statement) -> bool:
    """Whether an equation is true but for a decimal number that was rounded or cut off."""
    values = [Fraction(*side.value) for side in step]
    decimals = [value for side, value in zip(step, values, strict=True) if side.is_number]
    furthest = max(values) - min(values)
    return any(value.denominator > 1 and furthest * _scale(value) <= 1 for value in decimals)


def _scale(decimal: Fraction) -> int:
    """The power of ten that makes a decimal number whole."""
    scale = 10
    while scale % decimal.denominator:
        scale *= 10
    return scale


def _without_repeats(reading: Reading) -> Iterator[list[Statement]]:
    """The statements, and, where one is said twice, the statements without it."""
    statements = reading.statements
    yield statements
    once = [one for place, one in enumerate(statements) if one not in statements[:place]]
    if len(once) < len(statements):
        yield once
