"""Answers that are one number: sums, long multiplication, GSM8K."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from skill_factory.tasks.clean_text import tidy, unmarked
from skill_factory.tasks.number_words import SCALES, in_words

LONGEST = 5_000
"""Characters of an answer that is still read."""

MOST_DIGITS = 400
"""Characters of a number that is still read."""


MOST_MENTIONS = 20
"""Times that a number may be said in an answer."""


class Reading(NamedTuple):
    """The number that a text says. `others`: what it may mean besides, cents for euros or a dash
    that is no minus. `divided`: it was written as a fraction."""

    value: Fraction
    others: frozenset[Fraction] = frozenset()
    divided: bool = False


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether an answer says the gold number; None if the gold answer has none, and if the answer
    says none, several, or not quite one ("12 or 13", "not 42", "at least 42", "2 + 2").

    Words around it, units and thousands separators are left out. After "the answer is" the words
    before do not count, and of an equation only the last side does. A fraction is a number only
    where the gold answer is not whole: elsewhere it is a division that was not carried out.

    >>> grade("$1,234.00", "6 * 9 = 1234\\n#### 1234", {}), grade("12 or 13", "12", {})
    (True, None)
    >>> grade("3/4 cup", "0.75", {}), grade("twenty-one", "21", {}), grade("7 apples", "8", {})
    (True, True, False)
    """
    wanted, said = number_of(gold), reading(answer)
    if wanted is None or said is None:
        return None
    if said.value == wanted:
        return None if said.divided and wanted.denominator == 1 else True
    in_percent = "%" in gold and said.value * 100 == wanted
    return None if wanted in said.others or in_percent else False


def number_of(text: str) -> Fraction | None:
    """The one number in a text; None if there is none, or several."""
    said = reading(text)
    return said.value if said else None


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if number_of(gold) is not None else "no number in it"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """The number after the right one."""
    return str((number_of(gold) or 0) + 1)


# -- from an answer to the words that say its number ----------------------------------------------

_FRACTION = re.compile(r"\\[dtc]?frac\s?(?:\{(-?[0-9]+)\}\s?\{([0-9]+)\}|([0-9])\s?([0-9]))")
_VULGAR = str.maketrans(
    {"½": " 1/2", "⅓": " 1/3", "⅔": " 2/3", "¼": " 1/4", "¾": " 3/4", "⅕": " 1/5", "⅛": " 1/8"}
)
_THOUSANDS = re.compile(
    r"(?<=[0-9])(?:[\u202f\u2009\u00a0~']|\\[,;: ])(?=[0-9]{3}(?![0-9]))|\\!|\{,\}"
)
_WORKING = re.compile(r"<<[^<>]*>>")
_SPACED = re.compile(
    r"(?:\W*|[^\d\n]*[:=$] ?)(?:[0-9]{2,3}|[0-9](?= [0-9]{3} ))(?: [0-9]{3})+(?:\.[0-9]+)?\W*"
)
_TIMES_POWER = re.compile(
    r"(?<![\w.])([0-9]{1,20})(?:\.([0-9]{1,20}))? ?[×x*·] ?10 ?\^ ?([0-9]{1,2})(?![\w.])"
)
_SIGNS = re.compile(
    r"\\(approx|sim|simeq|neq?|leq?|geq?|lt|gt|times|cdot|div|pm|circ|degree|therefore|implies"
    r"|Rightarrow|rightarrow|to)(?![a-zA-Z])"
)
_SIGN = {
    **dict.fromkeys(("approx", "sim", "simeq"), "≈"),
    **dict.fromkeys(("ne", "neq"), "≠"),
    **dict.fromkeys(("le", "leq", "lt"), "<"),
    **dict.fromkeys(("ge", "geq", "gt"), ">"),
    **dict.fromkeys(("times", "cdot"), "×"),
    **dict.fromkeys(("circ", "degree"), "°"),
    **dict.fromkeys(("therefore", "implies", "Rightarrow", "rightarrow", "to"), "→"),
    "div": "÷",
    "pm": "±",
}
_BOX = re.compile(r"\\(?:boxed|fbox)\s?\{")
_ANSWER = re.compile(r"\banswer\b|→|=>|->", re.I)
_DENIED = re.compile(r"\b(?:not|never|cannot|neither|wrong|incorrect)\b|n't\b|≠|!=", re.I)
_UNSURE = re.compile(
    r"""\b(?: or | between | either | at[ ](?:least|most) | up[ ]to | almost | nearly | if | unless
          | minimum | maximum | unknown | twice | thrice | double | triple
          | (?:more|less|fewer|greater|larger|higher|smaller|lower|other|rather)[ ]than
          | (?:over|under|above|below|beyond|exceeds?|plus|times|no)(?=[ ][$€£]?[0-9])
          | no[ ](?:solution|answer|number) | and[ ](?:a|one)[ ](?:quarter|third|fifth|eighth) )\b
      | [<>≤≥±] | [0-9][ ]?[!?] | [0-9][ ]?\+(?![ ]?[0-9(])""",
    re.I | re.X,
)
_REMARK = re.compile(r"\((?=[^()]*+\))(?=[^()A-Za-z]*+[A-Za-z])[^()]*+\)")
_ASSIGNED = re.compile(r"(?<![\w\\])([A-Za-z]) ?= ?[-+]? ?[0-9]")


def reading(text: str) -> Reading | None:
    """The one number that a text says; None if it says none, several, or not quite one."""
    return _reading(text) if len(text) <= LONGEST else None


@lru_cache(1024)  # a gold answer is read again for each answer to its question
def _reading(text: str) -> Reading | None:
    plain = _said(text)
    if plain is None:
        return None
    if _has_digits(plain):
        return _in_digits(plain)
    value = in_words(plain)
    return None if value is None else Reading(value)


def _said(text: str) -> str | None:
    """The words of an answer that say its number; None where it denies one, or is not sure."""
    text = _WORKING.sub("", text.rpartition("####")[2]).translate(_VULGAR)
    text = _THOUSANDS.sub("", _FRACTION.sub(_as_division, text)).replace("}{", "} {")
    boxed = _boxed(text)
    if len(boxed) > 1:
        return None
    whole, *inside = (_plain(part) for part in (text, *boxed))
    said = inside[0] if inside else _conclusion(whole)
    if _DENIED.search(whole) or _UNSURE.search(said):
        return None
    without_remarks = _REMARK.sub("", said)
    return _last_side(without_remarks if _has_digits(without_remarks) else said)


def _has_digits(text: str) -> bool:
    return any(map(str.isdecimal, text))


def _as_division(match: re.Match[str]) -> str:
    return f" {match[1] or match[3]}/{match[2] or match[4]} "


def _plain(text: str) -> str:
    signs = _SIGNS.sub(lambda match: _SIGN[match[1]], text)
    plain = tidy(unmarked(signs.replace("^{°}", "°").replace("^°", "°")))
    if _SPACED.fullmatch(plain):
        plain = re.sub("(?<=[0-9]) (?=[0-9])", "", plain)
    return _UNIT_POWER.sub("", _TIMES_POWER.sub(_written_out, plain))


def _written_out(match: re.Match[str]) -> str:
    """A number times a power of ten in digits; as it stands if it is not whole."""
    digits, rest, power = match[1], match[2] or "", int(match[3])
    return digits + rest.ljust(power, "0") if len(rest) <= power else match[0]


def _boxed(text: str) -> set[str]:
    """What stands in the boxes of an answer, if there is a number in each."""
    found = set()
    for match in _BOX.finditer(text):
        content = text[match.end() : match.end() + MOST_DIGITS].partition("}")[0]
        found.add(content.strip())
    return found if all(map(_has_digits, found)) else set()


def _conclusion(plain: str) -> str:
    """What an answer says after "the answer is", or an arrow, if there is a number there."""
    *_, end = (0, *(match.end() for match in _ANSWER.finditer(plain)))
    return plain[end:] if _has_digits(plain[end:]) else plain


def _last_side(plain: str) -> str | None:
    """The last side of an equation, without a sign of approximation before it; None where several
    variables are given, or numbers are said to be about equal."""
    if len({match[1] for match in _ASSIGNED.finditer(plain)}) > 1:
        return None
    sides = [side for side in plain.split("=") if _has_digits(side)]
    if len(sides) == 2 and _ARITHMETIC.search(sides[1]) and _ALONE.fullmatch(sides[0]):
        sides.pop()
    before, about, after = (sides[-1] if sides else plain).rpartition("≈")
    return None if about and _has_digits(before) else after


# -- numbers in digits ----------------------------------------------------------------------------

_UNIT_POWER = re.compile(r"(?<=[A-Za-z]) ?(?:\^ ?\(?-?[0-9]\)?|[²³])|(?<=[ kcm]m)[23]\b")
_ARITHMETIC = re.compile(
    r"[0-9)%] ?[-+*^×÷·:] ?\(? ?-?[0-9]|[0-9] ?[xX] ?\(?[0-9]|[0-9]\(|\)[0-9(]|[)a-z] ?/ ?[0-9(]"
    r"|[²³⁰¹⁴-⁹√∛^_|]|\\[a-zA-Z]|\bhal(?:f|ves)\b"
)
_ALONE = re.compile(r"\W*[0-9][0-9,.]*\W*")
_SCALE_NAMES = "|".join((*SCALES, "k", "mn", "mil", "bn"))
_NUMBER = re.compile(
    rf"""(?<![0-9])
        (?P<number>(?:(?>[0-9]{{1,3}}(?:,[0-9]{{3}})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?+|\.[0-9]++))
        (?![.,]?[0-9])
        (?: (?:[ ](?P<mixed>[0-9]++))?+ [ ]?/[ ]?(?P<under>[0-9]++)(?![.,/]?[0-9]) )?+
        (?P<scales>(?:[ -]?(?:{_SCALE_NAMES})s?\b)*+) (?:[ -]?(?P<unit>[^\W\d_]++|[%¢]))?+""",
    re.X | re.I,
)
_SCALE = re.compile(rf"(?:{_SCALE_NAMES})(?=s?\b)", re.I)
_GROUPED = re.compile(r"[0-9]{1,3}\.[0-9]{3}")
_SHORT_SCALES = {"k": 10**3, "mn": 10**6, "mil": 10**6, "bn": 10**9}
_OTHER_SCALES = {
    **dict.fromkeys(("percent", "cents", "cent", "pence", "p", "c", "%", "¢"), Fraction(1, 100)),
    **dict.fromkeys(("quarter", "quarters"), Fraction(1, 4)),
    **dict.fromkeys(("third", "thirds"), Fraction(1, 3)),
    **dict.fromkeys(("pair", "pairs"), Fraction(2)),
    **{"m": Fraction(10**6), "b": Fraction(10**9), "t": Fraction(10**12)},
}
_VARIABLE = re.compile(r"[aceijnoqruxyzα-ω]|pi", re.I)
_AGAIN = re.compile(r"[\n.;:(=]|\b(?:so|is|therefore|thus|hence|total|altogether)\b", re.I)
_TWO_MINUSES = re.compile(r"-[ (]{0,2}-[ (]{0,2}$")
_MINUS_WORD = re.compile(r"\b(?:minus|negative)$", re.I)


def _in_digits(plain: str) -> Reading | None:
    """The one number in a text, all of whose digits must be in it. It may be said again, in another
    sentence or in brackets."""
    if _ARITHMETIC.search(plain):
        return None
    said, end, digits = None, 0, 0
    for match in islice(_NUMBER.finditer(plain), MOST_MENTIONS):
        found = _number(match, plain[max(end, match.start() - 20) : match.start()])
        if found is None:
            return None
        if said and not (said.value == found.value and _AGAIN.search(plain, end, match.start())):
            return None
        said, end = found, match.end()
        digits += sum(map(str.isdecimal, match[0]))
    return said if digits == sum(map(str.isdecimal, plain)) else None


def _number(match: re.Match[str], before: str) -> Reading | None:
    digits, unit = match["number"], (match["unit"] or "").lower()
    glued = match.end("number") == match.start("unit")
    if len(match[0]) > MOST_DIGITS or before[-1:].isalpha() or _TWO_MINUSES.search(before):
        return None
    if glued and _VARIABLE.fullmatch(unit):
        return None
    value = _quotient(match)
    if value is None:
        return None
    for scale in _SCALE.findall(match["scales"]):
        value *= SCALES.get(scale.lower()) or _SHORT_SCALES[scale.lower()]
    others = {value * _OTHER_SCALES.get(unit, 1)}
    if match["under"]:  # "42/7 days": a number by another perhaps
        others.add(Fraction(digits.replace(",", "")))
    if match["scales"].lower() == "k":  # kilo perhaps
        others.add(value / 1000)
    if _GROUPED.fullmatch(digits):  # a point for thousands perhaps
        others.add(value * 1000)
    return _signed(value, others, before, match)


def _quotient(match: re.Match[str]) -> Fraction | None:
    """The value of the digits: a decimal number, a fraction, a mixed number; None for "7/0"."""
    value = Fraction(match["number"].replace(",", ""))
    if match["under"] is None:
        return value
    over, under = Fraction(match["mixed"] or value), int(match["under"])
    if not under or value.denominator > 1 or (match["mixed"] and over >= under):
        return None
    return over / under + (value if match["mixed"] else 0)


def _signed(value: Fraction, others: set[Fraction], before: str, match: re.Match[str]) -> Reading:
    """A number with its sign. A dash after a word, or before a space, may be none; a number that
    stands alone in brackets may be negative in a balance."""
    bare = before.rstrip(" ($€£")
    ahead = bare[:-1].rstrip()
    negative = bool(_MINUS_WORD.search(bare))
    if bare.endswith("-"):
        negative = not ahead or not (ahead[-1].isalnum() or ahead[-1] in ")]")
    doubtful = bare.endswith("-") and (not negative or not before.endswith("-"))
    if negative:
        value, others = -value, {-other for other in others}
    if doubtful or (before.endswith("(") and match.string[match.end() :][:1] == ")"):
        others |= {-other for other in {value, *others}}
    return Reading(value, frozenset(others - {value}), match["under"] is not None)
