"""Multiple choice: the answer is a letter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LONGEST = 10_000
"""Characters of an answer that is still read."""

_LATEX = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf)|[${}*`]")
_LETTER = re.compile(
    r"""(?:the\s+)?(?:(?:correct|final|best)\s+)?(?:(?:answer|option|choice)\s*(?:is\s*)?:?\s*)?
        [(\[]?\s*([a-z])\s*(?:$|[)\].:,]\s*(.*)|[-–—]\s+(.*))""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_ANOTHER = re.compile(
    r"^[(\[]?[a-z][)\]]?$|(?:\b(?:or|and)|[,/&])\s*[(\[]?[b-z][)\]]?\s*(?:$|[.:,)])"
    r"|(?:^|\s)[(\[]?[b-z][)\]]",
    re.IGNORECASE,
)
"""Another letter after the first: "B, C", "B) or (C)". "B. vitamin C" has none."""


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
    if match is None or _ANOTHER.search(match[2] or match[3] or ""):
        return None
    return match[1].upper()


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if letter_of(gold) else "not one letter"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """Another letter."""
    return "B" if letter_of(gold) == "A" else "A"
