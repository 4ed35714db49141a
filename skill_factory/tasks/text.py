"""Free text: the answer's words are the gold answer's."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether two texts are the same but for case, spacing, and marks at their ends; None if the
    gold answer is empty.

    >>> grade(" The  Seine. ", "the Seine", {})
    True
    """
    wanted = normal(gold)
    if len(answer) > 4 * len(gold) + 1000:  # spacing and marks do not fill a page
        return False if wanted else None
    return normal(answer) == wanted if wanted else None


def normal(text: str) -> str:
    """A text as it is compared: compatible forms, no case, single spaces, no marks at its ends."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return plain.strip(" .,;:!?\"'`*“”‘’") or plain


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if normal(gold) else "it is empty"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """A text that says something else."""
    return f"not {gold}"
