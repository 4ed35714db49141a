"""Numbers, as models write them: decimals, powers of ten, fractions, mixed and repeating ones."""

from __future__ import annotations

import re
from fractions import Fraction

DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
_POWER_OF_TEN = (
    r"(?:\s*\\(?:cdot|times)\s*10\s*\^\s*\{\s*([+-]?\s*\d{1,3})\s*\}|[eE]([+-]?\d{1,3}))"
)
_SCIENTIFIC = re.compile(rf"([+-]?)\s*({DECIMAL}){_POWER_OF_TEN}?")
_TEN_TO = re.compile(r"([+-]?)\s*10\s*\^\s*\{\s*([+-]?\s*\d{1,3})\s*\}")
_MIXED = re.compile(
    r"([+-]?)\s*(?:(\d+)\s*)?\\frac\s*\{\s*(-?\s*\d+)\s*\}\s*\{\s*(-?\s*\d+)\s*\}"
    rf"|([+-]?)\s*(?:(\d+)\s+)?({DECIMAL})\s*/\s*(-?\s*{DECIMAL})"
)
_REPEATING = re.compile(r"([+-]?)\s*(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{(\d+)\}")
_SCALED = re.compile(rf"([+-]?\s*{DECIMAL})\s*(thousand|million|billion|dozen)")
_SCALES = {"dozen": 12, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_SPACED = re.compile(r"[+-]?\d{1,3}(?: \d{3})+(?:\.\d+)?")


def number_of(text: str) -> str | None:
    """A number as `Fraction` reads it: a decimal keeps its digits, the rest are fractions.

    >>> [number_of(text) for text in (r"4.5\\times 10^{33}", r"1\\frac{1}{2}", "-2/4", "5 6")]
    ['4.5e33', '3/2', '-1/2', None]
    """
    if _SPACED.fullmatch(text):
        text = text.replace(" ", "")
    if found := _SCIENTIFIC.fullmatch(text):
        sign, digits, *powers = found.groups()
        power = (powers[0] or powers[1] or "").replace(" ", "")
        return _signed_text(sign, digits.strip(".") if "." not in digits[:-1] else digits, power)
    if found := _TEN_TO.fullmatch(text):
        return _signed_text(found[1], "1", found[2].replace(" ", ""))
    if found := _MIXED.fullmatch(text):
        return _mixed(*(found.groups()[:4] if found[3] else found.groups()[4:]))
    if found := _REPEATING.fullmatch(text):
        return _repeating(*found.groups())
    if found := _SCALED.fullmatch(text):
        return str(Fraction(found[1].replace(" ", "").rstrip(".")) * _SCALES[found[2]])
    return None


def _signed_text(sign: str, digits: str, power: str) -> str:
    return f"{sign.strip('+')}{digits}{f'e{power}' if power else ''}"


def _mixed(sign: str | None, whole: str | None, above: str, below: str) -> str | None:
    bottom = Fraction(below.replace(" ", "").rstrip("."))
    top = Fraction(above.replace(" ", "").rstrip("."))
    if not bottom or (whole and (top < 0 or bottom < 0)):
        return None
    value = int(whole or 0) + top / bottom
    return str(-value if sign == "-" else value)


def _repeating(sign: str, whole: str, before: str, period: str) -> str:
    scale = 10 ** len(before)
    value = Fraction(int(whole + before or 0), scale)
    value += Fraction(int(period), scale * (10 ** len(period) - 1))
    return str(-value if sign == "-" else value)
