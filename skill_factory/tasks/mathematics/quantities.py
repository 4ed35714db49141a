"""Values with units, and answers in words: 5 cm, 2 hours 30 minutes, "does not exist"."""

from __future__ import annotations

import re
from fractions import Fraction

from skill_factory.tasks.mathematics.nodes import Node
from skill_factory.tasks.mathematics.numbers import DECIMAL, number_of
from skill_factory.tasks.mathematics.units import is_single_unit, ratio, unit_of

_RAISED_UNIT = re.compile(r"\s*\^\s*\{\s*([23])\s*\}$")
_DEGREES = re.compile(r"(.*[\d}).a-z])\s*\\degree\s*([CF]?)$", re.DOTALL)
_RATE = re.compile(
    r"(?:(?<=[\d)])|(?<=\d\}))\s*(?:\\frac\s*\{\s*([A-Za-z]+)\s*\}\s*\{\s*([A-Za-z]+)\s*\}"
    r"|([A-Za-z]+)\s*(?:\\cdot\s*)?([A-Za-z]+)\s*\^\s*\{-1\})$"
)
_OF_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_SCALE = re.compile(r"(thousand|million|billion|dozen)\s+(?=\w)")
_TAIL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ /.'-%"
_PIECE = re.compile(
    rf"({DECIMAL}|\\frac\{{\d+\}}\{{\d+\}})\s*(\\degree|'{{1,2}}|[A-Za-z]+)\s*(?:,?\s*and\s+|,\s*)?"
)
_MARKS = {r"\degree": "angle 1 1", "'": "angle 1 1/60", "''": "angle 1 1/3600"}


def unit_at_end(text: str, of_gold: bool) -> tuple[str, str] | None:
    """The unit at the end of a text, empty if it says nothing, and what it is the unit of."""
    if text.count(r"\degree") == 1 and (degrees := _DEGREES.fullmatch(text)):
        if _OF_ANGLE.search(text):
            return None
        return (f"temperature 1 {degrees[2]}" if degrees[2] else "angle 1 1"), degrees[1]
    if not of_gold and text.endswith("}") and (rate := _RATE.search(text)):
        unit = unit_of(f"{rate[1] or rate[3]}/{rate[2] or rate[4]}")
        return (unit, text[: rate.start()]) if unit else None
    raised = _RAISED_UNIT.search(text)
    plain = text[: raised.start()] if raised else text
    value = plain.rstrip(_TAIL)
    tail = plain[len(value) :]
    if value.endswith("\\"):
        command = re.match("[A-Za-z]+", tail)
        value, tail = (
            value + (command[0] if command else ""),
            tail[command.end() if command else 0 :],
        )
    value, tail = value + tail[: len(tail) - len(tail.lstrip(" /.'-"))], tail.lstrip(" /.'-")
    if scale := _SCALE.match(tail):
        value, tail = f"{value} {scale[1]} ", tail[scale.end() :]
    spaced, value = value.endswith(" "), value.strip(" ")
    if not tail or not value or not re.search(r"[\d})\]a-z.]$", value):
        return None
    if len(tail) == 1 and tail != "%" and (of_gold or not is_single_unit(tail)):
        return None
    if value.endswith(("_", "^")) or (not spaced and len(tail) > 1 and not _is_known(tail)):
        return None
    unit = unit_of(tail, int(raised[1]) if raised else 1)
    return None if unit is None else (unit, value)


def _is_known(tail: str) -> bool:
    unit = unit_of(tail)
    return unit is not None and len(unit.split()) == 3


def compound_quantity(text: str) -> Node | None:
    """Hours and minutes, feet and inches, degrees and minutes, in the first of these units."""
    pieces, place = [], 0
    while found := _PIECE.match(text, place):
        unit = _MARKS.get(found[2]) or unit_of(found[2])
        pieces.append((number_of(found[1]), unit))
        place = found.end()
    if len(pieces) < 2 or place < len(text):
        return None
    total, first = Fraction(0), pieces[0][1]
    for number, unit in pieces:
        factor = ratio(unit, first) if unit and first else None
        if number is None or factor is None or (unit == first and total):
            return None
        total += Fraction(number) * factor
    return Node("quantity", str(first), (Node("number", str(total)),))


_WORDS = re.compile(r"[A-Za-z0-9 ,.'()/!&\"%-]+")
_WORD = re.compile("[A-Za-z]{2}")
_TOKEN = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\b")
_ARTICLE = re.compile(r"A(?= [a-z]{2})")
_EMPTY_WORDS = frozenset(["a", "an", "the", "of"])
_SMALL_WORDS_TEXT = "by to of at in on is no am pm AM PM the and or may May"
_SMALL_WORDS = frozenset(_SMALL_WORDS_TEXT.split())


def words_of(text: str) -> Node | None:
    """Words, as names and dates are; None if this is mathematics."""
    if not (_WORDS.fullmatch(text) and _WORD.search(text)) or _is_product(text):
        return None
    tokens = _TOKEN.findall(_ARTICLE.sub("", _ORDINAL.sub(r"\1", text)))
    plain = [token if len(token) == 1 else token.lower() for token in tokens]
    kept = [token for token in plain if token not in _EMPTY_WORDS or len(plain) == 1]
    return Node("words", " ".join(kept)) if kept else None


def _is_product(text: str) -> bool:
    """Whether letters are variables that stand beside each other, rather than a word."""
    runs = re.findall("[A-Za-z]+", text)
    if not _SMALL_WORDS.isdisjoint(runs):
        return False
    if any(sign in text for sign in "/-(") and all(len(run) < 3 for run in runs):
        return True
    return bool(re.match(r"[\d(.]", text)) and all(len(run) < 4 for run in runs) and len(runs) < 3


_PHRASES = [
    (phrase, re.compile(pattern, re.IGNORECASE))
    for phrase, pattern in (
        ("does not exist", r"(?:(?:the )?(?:limit|it) )?(?:does not|doesn't) exist|dne"),
        (
            "infinitely many",
            r"(?:there (?:are|exist) )?(?:infinitely many|an infinite number of)(?: solutions)?",
        ),
        (
            "cannot be determined",
            r"(?:it )?(?:cannot|can not|can't) be determined(?: from the (?:given )?information)?",
        ),
        ("impossible", r"(?:it is )?(?:impossible|not possible)"),
        ("empty set", r"\\emptyset|(?:the )?empty set"),
        ("empty set", r"(?:there (?:is|are|exists?) )?no solutions?(?: exists?)?"),
    )
]


def phrase_of(text: str) -> str | None:
    """What an answer says that is a phrase, such as "does not exist"; None: it is none."""
    return next((phrase for phrase, form in _PHRASES if form.fullmatch(text)), None)
