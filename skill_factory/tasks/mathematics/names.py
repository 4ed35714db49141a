"""Whether names of values, other words and units mean the same."""

from __future__ import annotations

import re

from skill_factory.tasks.mathematics.nodes import Node
from skill_factory.tasks.mathematics.symbols import plain_name
from skill_factory.tasks.mathematics.verdicts import Verdict
from skill_factory.tasks.mathematics.write_latex import latex, variables


def by_name(record: Node) -> dict[str, Node]:
    """The values of a record by their plain names."""
    return {plain_name(part.text): part.parts[0] for part in record.parts}


_OF_VARIABLE = re.compile(r"y|[a-zA-Z]\([a-z]\)")


def same_name(name: str, other: str) -> bool:
    """Whether two names stand for the same: y is f(x)."""
    plain, its = plain_name(name), plain_name(other)
    return plain == its or bool(_OF_VARIABLE.fullmatch(plain) and _OF_VARIABLE.fullmatch(its))


def is_word(name: str) -> bool:
    """Whether a name is a word or several, and not a symbol."""
    return bool(re.fullmatch("[A-Z]?[a-z][A-Za-z ]{2,}", name.strip()))


def crossed(one: Node, other: Node) -> bool:
    """Whether one's name is the other's value, as in A = B and B = A."""
    return plain_name(one.text).lower() == plain_name(latex(other.parts[0])).lower()


def both_vary(gold: Node, given: Node) -> bool:
    """Whether both values have variables in them."""
    return bool(variables(gold.parts[0]) and variables(given.parts[0]))


def of_other_units(gold: str, given: str, same: Verdict) -> Verdict:
    """What values of units are that cannot be turned into one another."""
    words, others = set(gold.split()), set(given.split())
    if {"angle", "temperature"} <= words | others:  # degrees
        return same
    longer, shorter = sorted((gold, given), key=len, reverse=True)
    if longer.startswith(f"{shorter} ") or longer.endswith(f" {shorter}"):  # dollars an hour
        return same
    counted = not any(map(str.isdigit, gold + given))
    if counted and (words <= others or others <= words):  # red apples, apples
        return same
    return None


_MONTHS_TEXT = (
    "january february march april may june july august september october november december"
)
_MONTHS = frozenset(_MONTHS_TEXT.split())


def same_words(gold: str, given: str) -> Verdict:
    """Whether words are the same; other words are wrong where they cannot be forms of the same."""
    words, others = gold.split(), given.split()
    if words == others:
        return True
    if sorted(words) == sorted(others):
        return True if not _MONTHS.isdisjoint(words) else None
    if len(words) != len(others) or len(words) > 6:
        return None
    pairs = [(a, b) for a, b in zip(words, others, strict=True) if a != b]
    return False if any(_unlike(a, b) for a, b in pairs) else None


def _unlike(word: str, other: str) -> bool:
    return word[:3].lower() != other[:3].lower() and sorted(word) != sorted(other)
