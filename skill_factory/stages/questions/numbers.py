"""Questions about numbers: Countdown, long multiplication, addition."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from skill_factory.stages.questions.datasets import Question
from skill_factory.stages.settings import QuestionsConfig


class _Term(NamedTuple):
    """An expression, its value, and how strongly its outermost operator binds (3: a number)."""

    text: str
    value: int
    binds: int


_BINDS = {"+": 1, "-": 1, "*": 2, "/": 2}


def countdown(settings: QuestionsConfig, random: Random) -> Question | None:
    """A Countdown puzzle with the expression it was made from, in which every step gives a positive
    whole number; None if what was drawn gives no target that fits."""
    numbers = [random.randint(1, settings.number_max) for _ in range(settings.numbers)]
    terms = [_Term(str(number), number, 3) for number in numbers]
    random.shuffle(terms)
    while len(terms) > 1:
        a = terms.pop(random.randrange(len(terms)))
        b = terms.pop(random.randrange(len(terms)))
        terms.append(_joined(a, b, random))
    (made,) = terms
    if made.value > settings.target_max or made.value in numbers:
        return None
    listed = ", ".join(map(str, numbers))
    use = "must be used exactly once" if settings.all_numbers else "may be used at most once"
    text = (
        f"Make {made.value} from the numbers {listed}. You may add, subtract, multiply and divide, "
        f"and use parentheses. Each of the numbers {use}, and no other number. "
        f"The answer is one equation that ends in = {made.value}."
    )
    facts: dict[str, Any] = {"numbers": numbers, "target": made.value}
    if settings.all_numbers:
        facts["all_numbers"] = True
    return Question(text, made.text, f"countdown_{settings.numbers}arg", facts)


def _joined(a: _Term, b: _Term, random: Random) -> _Term:
    """Two terms joined by an operator that keeps to positive whole numbers."""
    if a.value < b.value:
        a, b = b, a
    signs = ["+", "*"]
    if a.value > b.value:
        signs.append("-")
    if a.value % b.value == 0:
        signs.append("/")
    sign = random.choice(signs)
    value = {
        "+": a.value + b.value,
        "*": a.value * b.value,
        "-": a.value - b.value,
        "/": a.value // b.value,
    }[sign]
    binds = _BINDS[sign]
    left = f"({a.text})" if a.binds < binds else a.text
    right = f"({b.text})" if b.binds < binds + (sign in "-/") else b.text
    return _Term(f"{left} {sign} {right}", value, binds)


def multiplication(settings: QuestionsConfig, random: Random) -> Question:
    """A product of two numbers of as many digits each."""
    digits = random.randint(*settings.digits)
    a, b = (random.randint(10 ** (digits - 1), 10**digits - 1) for _ in range(2))
    return Question(f"What is {a} * {b}?", str(a * b), f"multiplication_{digits}", {})


def addition(settings: QuestionsConfig, random: Random) -> Question:
    """A sum of two numbers."""
    a, b = (random.randint(settings.low, settings.high) for _ in range(2))
    return Question(f"What is {a} + {b}?", str(a + b), "addition", {})
