"""Index: what of the annotated rows can stand in a trace, and why the rest cannot.

A batch is validated column by column: each row, attempt and reflection gets the code of the first
reason against it, or KEPT.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core.arrays import Ints, Mask, bounds, digests, given, numbers, view
from skill_factory.core.columns import Columns
from skill_factory.core.ledger import Ledger, Reason
from skill_factory.core.sources.attempts import (
    Attempts,
    attempt_ids,
    attempts_of,
    expand,
    sum_of_digests,
    take,
)
from skill_factory.core.sources.batches import Batch
from skill_factory.core.sources.validate import (
    KEPT,
    Codes,
    code_of,
    count_reasons,
    not_unicode,
    validate_attempts,
    validate_reflections,
)
from skill_factory.core.tables import USABLE
from skill_factory.stages.create.gold_columns import RewardColumns, count_tasks, reward_columns


@dataclass(frozen=True)
class Choice:
    """What of the input may be used. `variants` None: all prompt variants. `without`: reflections
    that contain one of these texts, in any case, are dropped. `task`: what task all questions are;
    None: what the input says. `excluded`: rows that are left out, sorted."""

    variants: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    task: str | None = None
    excluded: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


class Indexed(NamedTuple):
    """What `index` found in one batch.

    `usable` has the schema `USABLE` and is sorted by the first half of `question_id`. `digest` sums
    the 128-bit digests of all attempts: added up over all batches it names the content of the
    input, whatever the order of its rows. Rows that are excluded are lost in the ledger, but else
    are as the others: a subsample is drawn as if they were there. `asked` has 64 bits of the digest
    of each question that has an attempt, each once; `variants` counts the attempts of each prompt
    variant, and `tasks` the valid ones of each task (None: the input does not say it, or not the
    gold answer). `found` are all attempts, `attempts` and `reflections` the codes of why they
    cannot be used.
    """

    usable: pa.RecordBatch
    ledger: Ledger
    digest: int
    asked: npt.NDArray[np.uint64]
    variants: Counter[str | None]
    tasks: Counter[str | None]
    found: Attempts
    attempts: Codes
    reflections: Codes


def index(source: Batch, columns: Columns, choice: Choice) -> Indexed:
    """Validate a batch of annotated rows.

    Raises `InputError` for a row with several responses whose reflections are one flat list:
    nothing says whose they are.
    """
    ledger = Ledger()
    found = attempts_of(source, columns, ledger)
    wanted = reward_columns(source, columns, choice.task)
    ids = attempt_ids(found)
    attempts = validate_attempts(
        found.text, found.answer, found.variant, given(found.correct), choice.variants
    )
    truth = view(found.correct)[found.owner]
    reflections = validate_reflections(
        found.reflections, attempts[found.owner] != KEPT, truth, choice.without
    )
    valid = reflections == KEPT
    counts = np.bincount(found.owner[valid], minlength=len(attempts))
    attempts[(attempts == KEPT) & (counts == 0)] = code_of(Reason.NO_VALID_REFLECTION)
    kept = np.flatnonzero(attempts == KEPT)
    _exclude(found, source.row, choice.excluded, attempts, reflections, ledger)
    ledger.attempts.read = len(attempts)
    count_reasons(attempts, ledger.attempts.losses)
    ledger.reflections.read = len(reflections)
    count_reasons(reflections, ledger.reflections.losses)
    usable = _usable(found, wanted, source.row, ids, kept, valid, counts)
    return Indexed(
        usable,
        ledger,
        sum_of_digests(ids),
        np.unique(found.question_ids.view(">u8")[:, 0]).astype(np.uint64),
        _variants(found.variant),
        count_tasks(usable),
        found,
        attempts,
        reflections,
    )


def _exclude(
    found: Attempts,
    first_row: int,
    rows: Ints,
    attempts: Codes,
    reflections: Codes,
    ledger: Ledger,
) -> None:
    """Count the attempts of excluded rows as lost, and those rows."""
    if not len(rows) or not len(attempts):
        return
    excluded = np.isin(found.row, rows)
    attempts[excluded] = code_of(Reason.EXCLUDED)
    reflections[excluded[found.owner]] = code_of(Reason.ATTEMPT_SET_ASIDE)
    lost = np.unique(found.row[excluded])
    found.row_codes[lost - first_row] = code_of(Reason.EXCLUDED)
    ledger.rows.kept -= len(lost)
    ledger.rows.lose(Reason.EXCLUDED, len(lost))


def _usable(
    found: Attempts,
    wanted: RewardColumns,
    first_row: int,
    ids: npt.NDArray[np.uint8],
    kept: Ints,
    valid: Mask,
    counts: Ints,
) -> pa.RecordBatch:
    """The kept attempts with their valid reflections, `counts` of them, sorted by question."""
    kept = kept[np.argsort(found.question_ids.view(">u8")[kept, 0], kind="stable")]
    before = bounds(counts)[:-1]
    shown = np.flatnonzero(valid)[np.add(*expand(before[kept], counts[kept]))]
    ends = numbers(bounds(counts[kept]).astype(np.int32))
    return pa.RecordBatch.from_arrays(
        [
            digests(found.question_ids[kept]),
            digests(ids[kept]),
            numbers(found.row[kept]),
            numbers(found.response[kept].astype(np.int32)),
            take(found.question, kept),
            take(found.variant, kept),
            take(found.correct, kept),
            take(found.text, kept),
            take(found.answer, kept),
            pa.ListArray.from_arrays(ends, take(found.reflections, shown)),
            pa.ListArray.from_arrays(ends, numbers(found.number[shown].astype(np.int32))),
            *(column.take(numbers(found.row[kept] - first_row)) for column in wanted),
        ],
        schema=USABLE,
    )


def _variants(variant: pa.Array) -> Counter[str | None]:
    if not_unicode(variant).any():  # those attempts are lost, and a name must be printed
        return Counter()
    return Counter({v["values"]: v["counts"] for v in pc.value_counts(variant).to_pylist()})
