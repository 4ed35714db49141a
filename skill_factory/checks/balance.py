"""Balance: what the traces teach, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from skill_factory.checks.traces import Read, Trace, question_ids
from skill_factory.core.trace_tags import Verdict


@dataclass
class Balance:
    """Counts over traces that have no error of structure.

    `attempts` counts traces by their number of attempts. `wrong_before` counts the traces whose
    attempts' truth is known by how many wrong ones stand before the one that gives the answer.
    `verdicts` counts the verdicts of all reflections. `questions` are 64 bits of the digests of the
    questions, as `Audit.questions` has them, each once.
    """

    traces: int = 0
    attempts: Counter[int] = field(default_factory=Counter)
    wrong_before: Counter[int] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    questions: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))

    def add(self, reads: Sequence[Read]) -> None:
        """Count some traces."""
        self.traces += len(reads)
        for read in reads:
            self.attempts[len(read.parts.attempts)] += 1
            for reflection in read.parts.reflections:
                if reflection.verdict:
                    self.verdicts[reflection.verdict.verdict] += 1
            origin = read.trace.origin
            if origin is not None and None not in read.truths:
                self.wrong_before[read.truths[: origin.answer_of].count(False)] += 1

    def add_questions(self, traces: Sequence[Trace]) -> None:
        """Count the questions of traces, of whatever structure."""
        ids = question_ids([trace for trace in traces if trace.origin])
        self.questions = np.union1d(self.questions, ids)

    @property
    def at_once(self) -> float | None:
        """Share of the traces of a single attempt; None: there are no traces."""
        return self.attempts[1] / self.traces if self.traces else None

    @property
    def incorrect(self) -> float | None:
        """Share of the verdicts that say Incorrect; None: there are no verdicts."""
        total = self.verdicts.total()
        return self.verdicts[Verdict.INCORRECT] / total if total else None

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON can hold it, but for the single questions."""
        return {
            "attempts": {str(n): count for n, count in sorted(self.attempts.items())},
            "at_once": self.at_once,
            "wrong_before": {str(n): count for n, count in sorted(self.wrong_before.items())},
            "verdicts": {str(word): count for word, count in sorted(self.verdicts.items())},
            "incorrect_verdicts": self.incorrect,
            "questions": len(self.questions),
        }
