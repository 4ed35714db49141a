"""An annotated dataset, read once: its attempts counted, and a sample of its questions kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from skill_factory.core.columns import Columns
from skill_factory.core.ledger import Ledger
from skill_factory.core.sources.attempts import Attempts, attempts_of
from skill_factory.core.sources.batches import Batch
from skill_factory.core.threads import default_workers, in_order
from skill_factory.look.report.attempt_counts import AttemptCounts
from skill_factory.look.report.options import Options
from skill_factory.look.report.question_sample import QuestionSample


class InputRead(NamedTuple):
    """Counts of all attempts, and the rows of the sample's (`QuestionSample.rows`)."""

    counts: AttemptCounts
    rows: list[dict[str, Any]]


def read_attempts(batches: Iterator[Batch], columns: Columns, options: Options) -> InputRead:
    """Read all batches of an input; rows that hold no attempts are left out."""
    counts, sample = AttemptCounts(), QuestionSample(options.room, options.seed)

    def task(batch: Batch) -> tuple[Attempts, AttemptCounts]:
        found, part = attempts_of(batch, columns, Ledger()), AttemptCounts()
        part.add(found)
        return found, part

    for _, (found, part) in in_order(task, batches, default_workers()):
        counts.merge(part)
        sample.add(found)
    return InputRead(counts, sample.rows())
