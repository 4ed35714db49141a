"""What the attempts of an annotated dataset come to, by columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from skill_factory.checks.audit import Confusion
from skill_factory.core.arrays import Ints, given, view
from skill_factory.core.sources.attempts import Attempts
from skill_factory.look.report.contents import Bin, Histogram, Variant

K = TypeVar("K")
QUESTION_NUMBERS = ("right", "wrong", "undecided", "reflections", "true")
"""The numbers of a question, in their order."""


@dataclass
class AttemptCounts:
    """Sums over all attempts of a dataset.

    `variants` has for each prompt variant: attempts, right, wrong, undecided ones, reflections on
    decided ones, true ones, characters. `confusion` counts their verdicts. `questions` has for each
    id (hex) its right, wrong and undecided attempts, reflections on decided ones, and the true ones
    of these.
    """

    variants: dict[str | None, Ints] = field(
        default_factory=lambda: defaultdict(lambda: np.zeros(7, np.int64))
    )
    confusion: Confusion = field(default_factory=Confusion)
    questions: dict[str, Ints] = field(
        default_factory=lambda: defaultdict(lambda: np.zeros(len(QUESTION_NUMBERS), np.int64))
    )

    def add(self, found: Attempts, says: Ints) -> None:
        """Count the attempts of a batch; `says`: what its reflections say (`verdicts_of`)."""
        decided, right = given(found.correct), view(found.correct)
        judged = decided[found.owner]
        truth = right[found.owner].astype(np.int64)
        true = judged & (says == truth)
        places = (truth * 3 + says)[judged]
        self.confusion.cells += np.bincount(places, minlength=6).reshape(2, 3)
        size = len(found.text)
        columns = np.column_stack(
            [
                np.ones(size, np.int64),
                right & decided,
                ~right & decided,
                ~decided,
                np.bincount(found.owner[judged], minlength=size),
                np.bincount(found.owner[true], minlength=size),
                view(pc.utf8_length(found.text)),
            ]
        ).astype(np.int64)
        variants = found.variant.dictionary_encode(null_encoding="encode")
        _sum(self.variants, view(variants.indices), variants.dictionary.to_pylist(), columns)
        ids, which = _distinct_ids(found.question_ids)
        _sum(self.questions, which, [one.hex() for one in ids], columns[:, 1:6])

    def merge(self, other: AttemptCounts) -> None:
        """Add what was counted elsewhere."""
        self.confusion.cells += other.confusion.cells
        for name, row in other.variants.items():
            self.variants[name] = self.variants[name] + row
        for key, numbers_of in other.questions.items():
            self.questions[key] = self.questions[key] + numbers_of

    def by_variant(self) -> list[Variant]:
        """The prompt variants, the most frequent first."""
        rows = [Variant(name, *map(int, row)) for name, row in self.variants.items()]
        return sorted(rows, key=lambda row: (-row.attempts, row.name or ""))

    def pass_rates(self, used: set[str]) -> Histogram:
        """Questions by the share of right ones among their decided attempts; apart those `used` in
        a trace."""
        counts = np.zeros((11, 2), np.int64)
        for name, (right, wrong, *_) in self.questions.items():
            if right + wrong:
                at = 10 if not wrong else 10 * int(right) // int(right + wrong)
                counts[at, 0 if name in used else 1] += 1
        names = [*(f"{10 * at}-{10 * at + 9}%" for at in range(10)), "100%"]
        bins = [Bin(name, tuple(map(int, row))) for name, row in zip(names, counts, strict=True)]
        return Histogram("questions", "share of right attempts", ("in traces", "not used"), bins)


def _sum(
    into: dict[K, Ints], which: npt.NDArray[np.integer[Any]], names: Iterable[K], columns: Ints
) -> None:
    """Add rows to the sums of the names that are theirs."""
    named = list(names)
    sums = np.zeros((len(named), columns.shape[1]), np.int64)
    np.add.at(sums, which, columns)
    for name, row in zip(named, sums, strict=True):
        into[name] = into[name] + row


def _distinct_ids(ids: npt.NDArray[np.uint8]) -> tuple[list[bytes], Ints]:
    """The different ids, and for each row which of them is its own."""
    whole = np.ascontiguousarray(ids).view("V16").ravel()
    found, which = np.unique(whole, return_inverse=True)
    return [one.tobytes() for one in found], which.astype(np.int64)
