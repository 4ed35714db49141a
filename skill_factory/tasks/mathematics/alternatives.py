"""The ways to read an answer, of which there may be several: 1,234 is one number or two."""

from __future__ import annotations

import re
from functools import lru_cache

from skill_factory.tasks.mathematics.latex import for_parser
from skill_factory.tasks.mathematics.markup import bare
from skill_factory.tasks.mathematics.nodes import Node
from skill_factory.tasks.mathematics.reading import read

_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_DECIMAL_COMMA = re.compile(
    r"([^()\[\]{},;\d]*)(\d{1,3}(?:\.\d{3})+|\d+),((?!\d{3}(?!\d))\d+|(?<=\b0,)\d{3})(?!\.?\d)([^,;]*)"
)
_SLASHED = re.compile(r"(?<![\w.}^])(\d+)\s*/\s*(\d+)(?=\s*(?:\\[a-z]|[A-Za-z(]))")
_POINT = re.compile(r"[A-Z]'?\s*(\([^()]+,[^()]+\))")
_SHORT_PRODUCT = re.compile(r"(?!(?:no|yes|odd|all|one|two|six|ten)$)[a-z]{2,3}|[A-Z]{2}")


@lru_cache(maxsize=8192)
def readings(text: str, of_gold: bool) -> tuple[Node, ...]:
    """What a text can mean: more than one thing where 1,234 may be a number or two, and 3,14 in an
    answer a decimal."""
    plain = bare(text)
    texts = [plain]
    for pattern, joined in ((_THOUSANDS, _no_commas), (_SLASHED, r"\\frac{\1}{\2}")):
        texts += [pattern.sub(joined, other) for other in texts if pattern.search(other)]
    found = [Node("expression", latex) for latex in _as_product(plain)]
    texts += [found[1] for found in map(_POINT.fullmatch, texts) if found]
    if not of_gold and (decimal := _DECIMAL_COMMA.fullmatch(plain)):
        before, whole, rest, after = decimal.groups()
        texts.append(f"{before}{whole.replace('.', '')}.{rest}{after}" if rest.strip("0") else "?")
    for other in dict.fromkeys(texts):
        found += [read(other, True)] if of_gold else [read(other, True), read(other, False)]
    return tuple(dict.fromkeys(found))


def _no_commas(found: re.Match[str]) -> str:
    return found[0].replace(",", "")


def _as_product(text: str) -> list[str]:
    return [for_parser(text)] if _SHORT_PRODUCT.fullmatch(text) else []
