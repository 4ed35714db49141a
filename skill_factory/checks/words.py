"""The words of words.yaml: which texts say that an attempt is wrong, or that it was given away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from skill_factory.core.arrays import Mask, strings
from skill_factory.core.sources.validate import holds
from skill_factory.core.trace_tags import Verdict

_WORDS = Path(__file__).with_name("words.yaml")


@cache
def pattern(kind: str) -> str:
    """The expressions of a kind as one, which RE2 and Python read."""
    found = yaml.safe_load(_WORDS.read_text(encoding="utf-8"))[kind]
    return "(?im)" + "|".join(f"(?:{one})" for one in found)


@cache
def _compiled(kind: str) -> re.Pattern[str]:
    return re.compile(pattern(kind))


def say(kind: str, texts: Sequence[str]) -> Mask:
    """Which texts hold an expression of this kind."""
    different = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    found = holds(strings(list(different)), pattern(kind))
    return found[np.array([different[text] for text in texts], np.int64)] if len(texts) else found


def says(kind: str, text: str) -> bool:
    """Whether a text holds an expression of this kind."""
    return bool(_compiled(kind).search(text))


def first(kind: str, text: str) -> str:
    """Where a text holds an expression of this kind, with what stands around it; empty: nowhere."""
    match = _compiled(kind).search(text)
    return text[max(0, match.start() - 40) : match.end() + 60] if match else ""


_PART_BEFORE = re.compile(r"[\w.]")
_PART_BEHIND = re.compile(r"\w|\.\d")


def places(text: str, inside: str) -> Iterator[range]:
    """Where a text stands in another, not as a part of a longer word or number. Without an
    expression of its own: to compile one for each answer took a tenth of the time of all checks.

    >>> list(places("2", "12 + 2 = 2.0, or 2."))
    [range(5, 6), range(17, 18)]
    """
    at = inside.find(text)
    while at >= 0 and text:
        end = at + len(text)
        before = at and _PART_BEFORE.match(inside, at - 1)
        if not before and not _PART_BEHIND.match(inside, end):
            yield range(at, end)
        at = inside.find(text, at + 1)


_SENTENCE = re.compile(r"[.!?\n]+(?:\s+|$)")
_GOES_ON = re.compile(r"\s+(?:that|to|in|for|as|about)\b")
"""After "it is correct": it is not the attempt that is."""


def conclusion(text: str) -> tuple[Verdict, str] | None:
    """What a text says last of its attempt, and the sentence; None: nothing that is sure.

    The last sentence counts that calls the attempt right or wrong, if neither it nor what follows
    has a word that may take it back.

    >>> conclusion("2 + 2 is 4. So this answer is wrong.")
    (<Verdict.INCORRECT: 'Incorrect'>, 'So this answer is wrong.')
    >>> conclusion("This answer is wrong if 2 + 2 is 4.") is None
    True
    """
    last = max(
        (
            (match.start(), match.end(), verdict)
            for kind, verdict in (
                ("says_wrong", Verdict.INCORRECT),
                ("says_right", Verdict.CORRECT),
            )
            for match in _compiled(kind).finditer(text)
        ),
        default=None,
    )
    if last is None or _GOES_ON.match(text, last[1]):
        return None
    before = [end.end() for end in _SENTENCE.finditer(text, 0, last[0])]
    sentence = text[before[-1] if before else 0 :]
    said = text[last[0] : last[1]]
    if _compiled("turns").search(sentence.replace(said, "", 1)):
        return None
    return last[2], sentence.strip()
