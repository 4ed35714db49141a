"""Multiple choice: the answer is a letter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LONGEST = 10_000
"""Characters of an answer that is still read."""

_LATEX = re.compile(r"\\(?:boxed|textbf|text|mathrm|mathbf)\b|\\[()\[\]]|[${}*`]")
_LETTER = re.compile(
    r"""(?:the\s+)?(?:(?:correct|final|best|right)\s+)*
        (?:(?:answer|option|choice)\s*(?:is\b\s*)?:?\s*)?(?:(?:the\s+)?(?:option|choice)\s+)?
        [(\[]?\s*(?P<letter>[a-z])\s*
        (?:$ | [)\].:]+\s*(?P<text>.*) | \n\s*(?P<below>.*)
        | (?:,|/|&|\s[-–—]|-)\s*(?P<after>.*))""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_ANOTHER = re.compile(r"^\W*(?:or|and)\b|(?<!\w)[(\[][a-z][)\]]|(?:^|\s)[a-z]\)", re.IGNORECASE)
"""Another letter in the text of a choice: "B) or C)", "(B) is wrong, so (A)"."""

_ALONE = re.compile(r"\W*(?:or\b|and\b)?\W*[a-z]\b\W*(?:[).:].*)?", re.IGNORECASE | re.DOTALL)
"""Another letter after a comma or a dash: "B, C", "B - A"."""


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether an answer names the gold letter, in any case; None if the gold answer is no letter.

    The choice's own text may follow the letter; a second letter makes it wrong.

    >>> [grade(answer, "B", {}) for answer in ("(b)", "B. a dog", "A or B", "Both")]
    [True, True, False, False]
    """
    wanted = letter_of(gold)
    return None if wanted is None else letter_of(answer) == wanted


def letter_of(text: str) -> str | None:
    """The one letter an answer names, as a capital; None if it names none, or several."""
    if len(text) > LONGEST:
        return None
    match = _LETTER.fullmatch(_LATEX.sub("", text).strip())
    if match is None:
        return None
    said = match["text"] or match["below"] or ""
    if _ANOTHER.search(said) or (match["after"] and _ALONE.fullmatch(match["after"])):
        return None
    return match["letter"].upper()


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if letter_of(gold) else "not one letter"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """Another letter."""
    return "B" if letter_of(gold) == "A" else "A"
