"""reasoning-gym: an answer is right that the dataset's own scorer gives the full score (extra
`gym`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skill_factory.tasks.judging import Judges

SECONDS = 3.0
"""How long one judgement may take."""

LONGEST = 20_000
"""Characters of an answer that is still read; the longest gold answers have some thousands."""

WRONG = "zzz 7919"
"""An answer to nothing; a question whose scorer takes it is not made."""

_JUDGES = Judges("gym_judge.py", "reasoning_gym", "reasoning-gym", "gym", "this task")
_FULL = 1 - 1e-9


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether the scorer of the dataset `facts["gym"]` gives an answer the full score for
    `facts["entry"]` (its JSON); None without these, and if it fails or takes too long.

    A scorer may run what it is given: it does so in a process of its own. Raises `TaskError` if
    reasoning-gym is not installed.
    """
    if fault(gold, facts):
        return None
    if len(answer) > LONGEST:
        return False
    score = _JUDGES.ask(str(facts["gym"]), str(facts["entry"]), answer, seconds=SECONDS)
    return None if score is None else score >= _FULL


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    known = facts.get("gym") is not None and facts.get("entry") is not None
    return None if known else "the dataset's name and the entry are not given with it"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """An answer to nothing."""
    return WRONG
