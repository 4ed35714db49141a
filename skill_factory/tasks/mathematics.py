"""Mathematics: answers that are equal, however they are written, by math-verify (extra `math`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from skill_factory.tasks.judging import Judges

SECONDS = 2.0
"""How long one judgement may take."""

LONGEST = 2_000
"""Characters of an answer that is still read."""

_JUDGES = Judges("math_judge.py", "math_verify", "math-verify", "math", "grading mathematics")
_TRIVIAL = re.compile(
    r"\\(?:left|right|displaystyle)\b|\\[,;!:]|(?<!\d)\s+|\s+(?!\d)|^\$([^$]*)\$$|\.$"
)


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether two answers are equal; None if that could not be decided, or not in time.

    Answers of the same letters are equal without being parsed. Raises `TaskError` if math-verify is
    not installed.
    """
    wanted, given = _plain(gold), _plain(answer)
    if not wanted:
        return None
    if wanted == given:
        return True
    if not given or len(answer) > LONGEST:
        return False
    decided: bool | None = _JUDGES.ask(gold, answer, seconds=SECONDS)
    return decided


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if _plain(gold) else "it is empty"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """Something that is not equal, whatever the gold answer is."""
    return "7919" if "7919" not in gold else "7907"


def _plain(text: str) -> str:
    text = text.strip()
    boxed = re.fullmatch(r"\$*\\boxed\{(.*)\}\$*", text, re.DOTALL)
    return _TRIVIAL.sub(lambda match: match[1] or "", boxed[1] if boxed else text)
