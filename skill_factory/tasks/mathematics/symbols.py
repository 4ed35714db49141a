"""The names that values have in answers: x, f(x), AB, angle ABC."""

from __future__ import annotations

import re

_LETTER = (
    r"(?:[A-Za-z]|\\(?:hat|bar|vec|tilde|dot|overline)\s*\{[^{}]*\}"
    r"|\\(?!frac|sqrt|cdot|times|pi\b|infty)[a-z]+\s*)"
)
_SCRIPT = (
    r"(?:_(?:\{[^{}]*\}|\w|\\[a-z]+))?'*(?:\^\{(?:\\prime|\\cdot|-1|[a-z]+)\s*\}|\^\\cdot\s*)?"
)
_SYMBOL = rf"{_LETTER}{_SCRIPT}"
NAME = re.compile(
    rf"(?:m?\s*\\(?:angle|triangle|overline|widehat|measuredangle)\s*)?\s*(?:{_SYMBOL}|[A-Z]{{2,4}}"
    rf"|\{{[A-Z]+\}}|\|[A-Z]{{2}}\||\[[A-Z]{{3,6}}\]|[A-Za-z][A-Za-z ]{{2,60}})"
    r"(?:\s*\([^=<>]{1,40}\))?|[A-Z]\([^()]{1,60}\)"
    r"|\\(?:sin|cos|tan|cot|sec|csc)\s*(?:\^\{\d\})?\s*\(?(?:\\angle\s*)?(?:[A-Za-z]+|\\[a-z]+)\)?"
)
TUPLE_NAME = re.compile(rf"\(\s*{_SYMBOL}(?:\s*,\s*{_SYMBOL})+\s*\)")
COMPUTED = re.compile(
    r"\\(?:lim|max|min|sup|inf|deg|dim|det|ker|Pr)(?![A-Za-z])[^=<>]*[A-Za-z]"
    r"|\|\s*[A-Zvwz]\s*\|$"
    r"|\\frac\s*\{\s*d\^?\{?\d?\}?\s*[a-z]\s*\}\s*\{\s*d\s*[a-z]\s*(?:\^\{\d\})?\s*\}$"
)
HAS_VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-df-z]|\\(?:alpha|beta|theta|lambda|omega|angle)")


def plain_name(name: str) -> str:
    """A name without the spaces and braces, and without what only says that it is extreme."""
    return re.sub(r"[\s{}\\]|_\{?\s*\\?(?:max|min)\s*\}?", "", name)
