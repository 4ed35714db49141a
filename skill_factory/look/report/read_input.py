"""An annotated dataset, read once: its attempts counted, its verdicts audited, and a sample of its
questions kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from skill_factory.checks.audit import Audit, AuditSums, audit_attempts, tasks_of, verdicts_of
from skill_factory.core.columns import Columns
from skill_factory.core.ledger import Ledger
from skill_factory.core.sources.attempts import Attempts, attempts_of
from skill_factory.core.sources.batches import Batch
from skill_factory.core.threads import default_workers, in_order
from skill_factory.look.report.attempt_counts import AttemptCounts
from skill_factory.look.report.options import Options
from skill_factory.look.report.question_sample import QuestionSample


class InputRead(NamedTuple):
    """Counts of all attempts, the rows of the sample's (`QuestionSample.rows`), and the audit of
    the verdicts."""

    counts: AttemptCounts
    rows: list[dict[str, Any]]
    audit: Audit


def read_attempts(
    batches: Iterator[Batch], columns: Columns, options: Options, task: str | None = None
) -> InputRead:
    """Read all batches of an input; rows that hold no attempts are left out. `task`: that of all
    questions; None: what the rows say."""
    counts, sample = AttemptCounts(), QuestionSample(options.room, options.seed)
    sums = AuditSums()

    def work(batch: Batch) -> tuple[Attempts, AttemptCounts, Audit]:
        found, part = attempts_of(batch, columns, Ledger()), AttemptCounts()
        verdicts = verdicts_of(found.reflections)
        part.add(found, verdicts)
        tasks = tasks_of(batch, columns, found.row - batch.row, task)
        return found, part, audit_attempts(found, verdicts, tasks)

    for _, (found, part, audited) in in_order(work, batches, default_workers()):
        counts.merge(part)
        sample.add(found)
        sums.add(audited)
    return InputRead(counts, sample.rows(), sums.audit())
