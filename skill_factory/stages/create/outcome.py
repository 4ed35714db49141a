"""What became of what is in some pools: the ledger, and what each of its losses is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from skill_factory.core.arrays import Ints, bounds
from skill_factory.core.ledger import Ledger, Reason
from skill_factory.core.sources.validate import KEPT, Codes, code_of, count_reasons


class LostTrace(NamedTuple):
    """A place for a trace that has none: the id it would have, the format, how often that has gone
    over the question before, which of its traces it would be, and the reason; and a row of the
    pools' attempts at its question."""

    id: str
    format: str
    repeat: int
    number: int
    reason: str
    row: int


class LostQuestion(NamedTuple):
    """The rows of a question's attempts, and why there is no trace of it."""

    rows: list[int]
    reason: Reason


def _no_codes() -> Codes:
    return np.zeros(0, np.int8)


@dataclass
class Outcome:
    """The ledger of some pools, and its losses one by one.

    `attempts` has the code of why an attempt is in no trace, or KEPT, for each row of the pools'
    attempts; `reflections` for each of their valid reflections, those of the first attempt, of the
    second, and so on.
    """

    ledger: Ledger = field(default_factory=Ledger)
    questions: list[LostQuestion] = field(default_factory=list)
    traces: list[LostTrace] = field(default_factory=list)
    attempts: Codes = field(default_factory=_no_codes)
    reflections: Codes = field(default_factory=_no_codes)

    def lose_trace(self, lost: LostTrace) -> None:
        """Count a place that gets no trace."""
        self.traces.append(lost)
        self.ledger.traces.lose(lost.reason)

    def lose_question(self, rows: list[int], reason: Reason) -> None:
        """Count a question without a trace."""
        self.questions.append(LostQuestion(rows, reason))
        self.ledger.questions.lose(reason)

    @property
    def excluded(self) -> list[str]:
        """The ids of traces that could be made and are left out."""
        return [lost.id for lost in self.traces if lost.reason == Reason.EXCLUDED]

    def count_use(
        self, picked: Sequence[int], shown_at: Sequence[int], duplicates: Ints, shown: Ints
    ) -> None:
        """Say of each attempt and reflection whether it is in a trace, and if not, why: `picked`
        are the attempts of all steps and `shown_at` the place of each one's reflection (-1: none);
        attempt i has `shown[i]` reflections."""
        steps, places = np.array(picked, np.int64), np.array(shown_at, np.int64)
        idle = np.array([row for lost in self.questions for row in lost.rows], np.int64)
        self.attempts = np.full(len(shown), code_of(Reason.NOT_DRAWN), np.int8)
        self.attempts[idle] = code_of(Reason.QUESTION_SET_ASIDE)
        self.attempts[duplicates] = code_of(Reason.DUPLICATE)
        of_reflections = self.attempts.copy()
        of_reflections[duplicates] = code_of(Reason.ATTEMPT_SET_ASIDE)
        self.attempts[steps] = KEPT
        self.reflections = np.repeat(of_reflections, shown)
        self.reflections[(bounds(shown)[steps] + places)[places >= 0]] = KEPT
        for codes, account in (
            (self.attempts, self.ledger.attempts),
            (self.reflections, self.ledger.reflections),
        ):
            account.kept = count_reasons(codes, account.losses)
