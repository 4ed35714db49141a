"""Pools: the valid attempts of each question, brought together from all over the input."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from skill_factory.core.arrays import Ints, numbers, view
from skill_factory.core.columns import Column
from skill_factory.core.tables import USABLE
from skill_factory.stages.create.spill import Halves, Parts, halves, keys

_NO_ROWS: Ints = np.zeros(0, np.int64)
_NOBODY = _NO_ROWS, np.zeros(1, np.int64), _NO_ROWS, _NO_ROWS


class Pools(NamedTuple):
    """The pools of questions: their valid attempts, and whose they are.

    Question q has the attempts `order[bounds[q]:bounds[q + 1]]` (rows of `attempts`, which has the
    schema `USABLE`): in order of their content's digest, so the order of the input's rows does not
    matter. `duplicates` are the rows of attempts whose whole content another one has, in order of
    their questions, which are `duplicate_of`. `unanswered` are the questions without a valid
    attempt.
    """

    attempts: pa.Table
    order: Ints
    bounds: Ints
    duplicates: Ints
    duplicate_of: Ints
    unanswered: Halves


def read_pools(spill: Parts, part: int, excluded: Ints = _NO_ROWS) -> Pools:
    """The pools in one part of a spill, without the attempts of the input's rows that are
    `excluded`."""
    batches, asked = list(spill.batches(part)), [spill.asked(part)]
    if len(excluded):
        asked += map(halves, batches)
        batches = [_without(batch, excluded) for batch in batches]
    attempts = pa.Table.from_batches((batch for batch in batches if batch.num_rows), USABLE)
    if not attempts.num_rows:
        return Pools(attempts, *_NOBODY, np.unique(np.concatenate(asked)))
    question, attempt = (
        np.concatenate([keys(chunk) for chunk in attempts[name].chunks])
        for name in (Column.QUESTION_ID, Column.ATTEMPT_ID)
    )
    place = (view(attempts[Column.RESPONSE]), view(attempts[Column.ROW]))
    order = np.lexsort((*place, attempt[:, 1], attempt[:, 0], question[:, 1], question[:, 0]))
    again, starts = (np.zeros(len(order), bool) for _ in range(2))
    again[1:] = (attempt[order[1:]] == attempt[order[:-1]]).all(axis=1)
    starts[1:] = (question[order[1:]] != question[order[:-1]]).any(axis=1)
    number = np.cumsum(starts)
    ends = np.concatenate([[0], np.cumsum(np.bincount(number[~again]))])
    without = np.setdiff1d(np.concatenate(asked), question[:, 0].astype(np.uint64))
    return Pools(attempts, order[~again], ends, order[again], number[again], without)


def few_at_a_time(pools: Pools, most: int, longest: int) -> Iterator[Pools]:
    """The pools of some questions, then of the next ones, and so on: about `most` attempts in the
    traces of a format, whose longest trace has `longest`."""
    ends = np.cumsum(np.maximum(np.diff(pools.bounds), longest))
    if not len(ends) or ends[-1] <= most:
        yield pools
        return
    start, count = 0, len(ends)
    while start < count:
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield _some(pools, start, stop)
        start = stop


def _some(pools: Pools, start: int, stop: int) -> Pools:
    bounds = pools.bounds[start : stop + 1]
    again = slice(*np.searchsorted(pools.duplicate_of, (start, stop)).tolist())
    rows = np.concatenate([pools.order[bounds[0] : bounds[-1]], pools.duplicates[again]])
    places, size = np.arange(len(rows)), bounds[-1] - bounds[0]
    return Pools(
        pools.attempts.take(numbers(rows)),
        places[:size],
        bounds - bounds[0],
        places[size:],
        pools.duplicate_of[again] - start,
        pools.unanswered[:0] if start else pools.unanswered,
    )


def _without(batch: pa.RecordBatch, rows: Ints) -> pa.RecordBatch:
    kept = ~np.isin(view(batch.column(Column.ROW)), rows)
    return batch if kept.all() else batch.take(numbers(np.flatnonzero(kept)))


def questions(pools: Pools) -> Iterator[list[int]]:
    """The rows of each question's attempts, in order of the questions' digests."""
    order, bounds = pools.order.tolist(), pools.bounds.tolist()
    for start, stop in pairwise(bounds):
        yield order[start:stop]
