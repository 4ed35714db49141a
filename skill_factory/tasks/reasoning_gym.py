"""reasoning-gym: an answer is right that the dataset's own scorer gives the full score (extra
`gym`), and that does not get it by a gap in that scorer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from skill_factory.tasks import countdown
from skill_factory.tasks.judging import Judges
from skill_factory.tasks.workers.gym_judge import decoded

SECONDS = 3.0
"""CPU time that one judgement may take."""

LONGEST = 20_000
"""Characters of an answer that is still read; the longest gold answers have some thousands."""

WRONG = "zzz 7919"
"""An answer to nothing."""

_FULL = 1 - 1e-9
_NO_NUMBER = re.compile(r"nan|inf(?:inity)?", re.IGNORECASE)
_A_WORD = re.compile(r"[^\W\d_eij]", re.IGNORECASE)  # 2e5, 3i, 3j: parts of numbers
_PROBABILITY = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,60}|/[0-9]{1,20})?(?:[eE]-?[0-9]{1,2})?")


def _is_score(reply: Any) -> bool:
    return reply is None or (isinstance(reply, float) and 0 <= reply <= 1)


_JUDGES = Judges(
    "gym_judge.py", "reasoning_gym", "reasoning-gym", "gym", "this task", valid=_is_score
)


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether the scorer of the dataset `facts["gym"]` gives an answer the full score for
    `facts["entry"]` (its JSON); None without these, and if it fails, takes too long or would run
    what it is given.

    Raises `TaskError` if reasoning-gym is not installed.
    """
    if fault(gold, facts) or len(answer) > LONGEST or _is_no_number(answer, gold):
        return None
    name, entry = str(facts["gym"]), str(facts["entry"])
    score = _JUDGES.ask(name, entry, answer, seconds=SECONDS)
    if score is None:
        return None
    if score < _FULL:
        return False
    return name not in _CLOSED or _CLOSED[name](answer, decoded(json.loads(entry)))


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    known = facts.get("gym") is not None and facts.get("entry") is not None
    return None if known else "the dataset's name and the entry are not given with it"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """An answer to nothing."""
    return WRONG


def _is_no_number(answer: str, gold: str) -> bool:
    """Whether an answer names numbers alone, one of them NaN or infinite. Nothing is further than
    any distance from NaN, so scorers take it for what is right."""
    rest = _NO_NUMBER.sub(" ", answer)
    if rest == answer or _A_WORD.search(rest):
        return False
    return answer.strip().casefold() != gold.strip().casefold()


# -- gaps in the scorers of reasoning-gym 0.1.25, closed here --------------------------------------


def _countdown(answer: str, entry: Mapping[str, Any]) -> bool | None:
    """Takes `0xTARGET + 0x0*3`, as it looks for the numbers with \\b\\d+."""
    return countdown.grade(answer, "", entry["metadata"])


def _puzzle24(answer: str, entry: Mapping[str, Any]) -> bool | None:
    """Takes any four numbers in range, and rounds down."""
    return countdown.grade(answer, "", {"numbers": entry["metadata"]["numbers"], "target": 24})


def _coin_flip(answer: str, entry: Mapping[str, Any]) -> bool | None:
    """Takes the first digits of what is right: `0`."""
    numbers = _PROBABILITY.findall(answer)
    try:
        (given,) = map(Fraction, numbers)
        return abs(given - Fraction(entry["answer"])) <= Fraction(1, 10_000)
    except (ValueError, ZeroDivisionError):  # none, or several
        return None


def _gsm_symbolic(answer: str, entry: Mapping[str, Any]) -> bool | None:
    """Overlooks the sign of the first number."""
    before = re.split(r"\d", answer, maxsplit=1)[0].rstrip(" ({[$*\\")
    return None if before.endswith(("-", "−", "–")) and entry["answer"][0] != "-" else True


_CLOSED: dict[str, Callable[[str, Mapping[str, Any]], bool | None]] = {
    "countdown": _countdown,
    "puzzle24": _puzzle24,
    "coin_flip": _coin_flip,
    "gsm_symbolic": _gsm_symbolic,
}
