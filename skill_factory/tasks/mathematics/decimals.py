"""Comparing numbers by their digits: rounded decimals, other bases, ratios."""

from __future__ import annotations

from fractions import Fraction

from skill_factory.tasks.mathematics.nodes import Node
from skill_factory.tasks.mathematics.verdicts import Verdict


def significant(decimal: str) -> int:
    """The digits that count of a decimal, none of a whole number or a fraction.

    >>> significant("0.0320"), significant("4.5e33"), significant("120")
    (3, 2, 0)
    """
    if "." not in decimal and "e" not in decimal:
        return 0
    return len(decimal.split("e")[0].lstrip("-").replace(".", "").lstrip("0"))


def last_place(decimal: str) -> Fraction:
    """What one more in a decimal's last digit is worth.

    >>> last_place("0.25"), last_place("4.5e3")
    (Fraction(1, 100), Fraction(100, 1))
    """
    digits, _, power = decimal.partition("e")
    return Fraction(10) ** (int(power or 0) - len(digits.partition(".")[2]))


def rounds_to(exact: Fraction, decimal: str) -> bool:
    """Whether a decimal is an exact value, rounded to the places it shows.

    >>> rounds_to(Fraction(1, 3), "0.333"), rounds_to(Fraction(1, 3), "0.334")
    (True, False)
    """
    if not significant(decimal):
        return False
    return abs(exact - Fraction(decimal)) * 2 <= last_place(decimal)


def same_in_base(gold: Node, given: Node) -> Verdict:
    """Numbers of which one is not in base ten: those of the same digits may mean the same."""
    (digits, base), (others, other) = _digits(gold), _digits(given)
    if base == other:
        return digits == others
    try:
        same = int(digits, int(base)) == int(others, int(other))
    except ValueError:
        return None
    return None if same or (digits == others and 0 in (int(base), int(other))) else False


def _digits(node: Node) -> tuple[str, str]:
    """The digits of a whole number and its base, 0 where that is not said."""
    digits, _, base = node.text.partition("_")
    return digits, base or "0"


def proportional(gold: Node, given: Node) -> Verdict:
    """Whether ratios are equal; a ratio of two may be written as one number."""
    terms, others = _terms(gold), _terms(given)
    if terms is None or others is None:
        return None
    if len(terms) != len(others):
        return False
    pairs = list(zip(terms, others, strict=True))
    return all(a * pairs[0][1] == b * pairs[0][0] for a, b in pairs)


def _terms(node: Node) -> list[Fraction] | None:
    if node.kind == "number":
        value = Fraction(node.text)
        return [Fraction(value.numerator), Fraction(value.denominator)]
    if node.kind != "ratio" or any(part.kind != "number" for part in node.parts):
        return None
    terms = [Fraction(part.text) for part in node.parts]
    return terms if all(terms[1:]) else None
