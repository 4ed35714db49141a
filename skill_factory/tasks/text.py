"""Free text: the answer's words are the gold answer's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Literal

from skill_factory.tasks.clean_text import typed, unmarked

_RUN = 200
"""Characters without a space that are normalized at a time: its time grows with their square."""

_MARKS = " .,;:!?\"'`*"
_LEAD_IN = re.compile(
    r"(?:(?:so|thus|therefore|hence),? )?(?:(?:the|my) )?(?:(?:final|correct|right|short) )*"
    r"(?:answer|result|solution)(?: is ?:?| ?[:=]) ?"
)
_WORD = re.compile(r"\w+")
_ARTICLE = re.compile(r"^(?:an?|the) ")


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether two texts are the same but for case, spacing, typography, and marks at their ends;
    None if the gold answer is empty, and for what may say the same: the gold answer inside a longer
    text, without its article, its accents, or with other marks between its letters.

    >>> grade(" The  Seine. ", "the Seine", {})
    True
    >>> grade("It is the Seine, in Paris", "the Seine", {}), grade("the Rhine", "the Seine", {})
    (None, False)
    """
    wanted = normal(gold)
    if not wanted or len(answer) > 4 * len(gold) + 1000:  # not the gold answer and its typography
        return None
    said = {normal(text) for text in (answer, unmarked(answer))}
    said |= {normal(_LEAD_IN.sub("", text, count=1)) for text in said if _LEAD_IN.match(text)}
    if not said.isdisjoint({wanted, normal(unmarked(gold)) or wanted}):
        return True
    return None if any(_may_say(text, wanted) for text in said) else False


def normal(text: str) -> str:
    r"""A text as it is compared: compatible forms, quotes and dashes of the keyboard, no case,
    single spaces, no marks at its ends.

    >>> normal(" \N{LEFT DOUBLE QUOTATION MARK}L\N{RIGHT SINGLE QUOTATION MARK}an  2.")
    "l'an 2"
    """
    folded = text.casefold() if text.isascii() else _folded(text)
    plain = " ".join(folded.split())
    return plain.strip(_MARKS) or plain


def _folded(text: str) -> str:
    return " ".join(typed(_normalized("NFKC", run)).casefold() for run in typed(text).split())


def _normalized(form: Literal["NFKC", "NFKD"], run: str) -> str:
    pieces = (run[at : at + _RUN] for at in range(0, len(run), _RUN))
    return "".join(unicodedata.normalize(form, piece) for piece in pieces)


def _may_say(text: str, wanted: str) -> bool:
    """Whether a text holds the wanted words, or differs from them in no letter or digit but the
    article."""
    words, wanted_words = _words(text), _words(wanted)
    if wanted_words.strip() and wanted_words in words:
        return True
    letters, wanted_letters = (_letters(_ARTICLE.sub("", one, count=1)) for one in (text, wanted))
    return letters == wanted_letters if wanted_letters else wanted in text


def _words(text: str) -> str:
    """The words of a text between single spaces, with one at each end."""
    return f" {' '.join(_WORD.findall(text))} "


def _letters(text: str) -> str:
    plain = text if text.isascii() else _normalized("NFKD", text)
    return "".join(filter(str.isalnum, plain))


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if normal(gold) else "it is empty"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """A word that the gold answer is not a part of."""
    return next(word for word in ("zzz", "qqq") if grade(word, gold, facts) is not True)
