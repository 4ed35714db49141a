"""Mathematics: answers that are equal, however they are written (extra `math`).

An answer is taken out of what stands around it, read, and compared; math-verify's parser reads
the LaTeX in it. It is wrong only if it was understood and differs. A rounded decimal is undecided
for an exact value, unless the question's facts say `rounded`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skill_factory.tasks.judging import Judges
from skill_factory.tasks.mathematics.alternatives import readings
from skill_factory.tasks.mathematics.comparing import Comparison, needs_engine
from skill_factory.tasks.mathematics.markup import bare, letters
from skill_factory.tasks.mathematics.verdicts import Verdict

SECONDS = 2.0
"""How long one judgement may take."""

_JUDGES = Judges("math_judge.py", "math_verify", "math-verify", "math", "grading mathematics")


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether two answers are equal; None if that could not be decided, or not in time.

    Answers of the same letters are equal without being understood. Raises `TaskError` if
    math-verify is needed and is not installed.
    """
    wanted, given = letters(bare(gold)), letters(bare(answer))
    if not wanted or not given:
        return None
    if wanted == given:
        return True
    golds, givens = readings(gold, True), readings(answer, False)
    rounded = bool(facts.get("rounded"))
    if any(map(needs_engine, (*golds, *givens))):
        verdict: bool | None = _JUDGES.ask(golds, givens, rounded, seconds=SECONDS)
        return verdict
    return Comparison(_NoLatex(), rounded).any_same(golds, givens)


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if bare(gold) else "it is empty, or too long to be read"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """Something that is not equal, whatever the gold answer is."""
    return "7919" if "7919" not in gold else "7907"


class _NoLatex:
    """Says that LaTeX cannot be compared, where there is none."""

    def _undecided(self, *latex: str) -> Verdict:
        return None

    equal = same_equation = same_set = same_family = _undecided

    def rounds_to(self, exact: str, decimal: str) -> bool:
        return False
