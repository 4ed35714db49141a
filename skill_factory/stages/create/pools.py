"""Pools: the valid attempts of each question, brought together from all over the input.

`Spill` keeps what the index lets through, cut by ranges of the question's digest, and gives it back
a part at a time: memory is bounded, and the order of rows does not matter.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core.arrays import Ints, numbers, view
from skill_factory.core.columns import Column
from skill_factory.core.tables import USABLE


class Spill:
    """Valid attempts on disk, cut into `parts` by ranges of their questions' digests. Use as a
    context manager: the file is complete on leaving.

    An Arrow file. What `add` takes becomes a record batch for each part that has some of it, so
    that a part can be read without the rest (a memory map would count the whole file as memory, as
    the kernel maps far around what is touched). `text_bytes` is the size of all texts in it, in
    UTF-8; it does not depend on how they came in batches.
    """

    def __init__(self, path: Path, parts: int) -> None:
        self.path = path
        self.text_bytes = 0
        self._batches: list[array[int]] = [array("L") for _ in range(parts)]
        self._written = 0
        self._starts = np.array([(part << 64) // parts for part in range(parts)], np.uint64)
        self._lock = threading.Lock()

    def __enter__(self) -> Spill:
        self._writer = pa.ipc.new_file(str(self.path), USABLE)
        return self

    def __exit__(self, *failure: object) -> None:
        self._writer.close()

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self._batches)

    def add(self, usable: pa.RecordBatch) -> None:
        """Take a batch as `index` makes it; from any thread."""
        if not usable.num_rows:
            return
        texts = [
            usable.column(name)
            for name in (Column.QUESTION, Column.ATTEMPT, Column.EXTRACTED_ANSWER)
        ]
        texts.append(usable.column(Column.REFLECTIONS).flatten())
        text_bytes = sum(int(pc.sum(pc.binary_length(text)).as_py()) for text in texts)
        halves = keys(usable.column(Column.QUESTION_ID))[:, 0]
        bounds = [*np.searchsorted(halves, self._starts).tolist(), usable.num_rows]
        with self._lock:
            self.text_bytes += text_bytes
            for part, (start, stop) in enumerate(pairwise(bounds)):
                if start < stop:
                    self._writer.write_batch(usable.slice(start, stop - start))
                    self._batches[part].append(self._written)
                    self._written += 1

    def batches(self, part: int | None = None) -> Iterator[pa.RecordBatch]:
        """What is in a part, or in all of them; each part of what was added is still sorted."""
        chosen = range(self._written) if part is None else self._batches[part]
        with pa.OSFile(str(self.path)) as source:
            reader = pa.ipc.open_file(source)
            for number in chosen:
                yield reader.get_batch(number)


def keys(ids: pa.Array) -> npt.NDArray[np.uint64]:
    """Digests as two numbers each, which sort as the digests do; no copy."""
    start, stop = ids.offset * 2, (ids.offset + len(ids)) * 2
    return np.frombuffer(ids.buffers()[1], ">u8")[start:stop].reshape(-1, 2)


_NO_ROWS: Ints = np.zeros(0, np.int64)


class Pools(NamedTuple):
    """The pools of the questions in one part of a spill: their valid attempts, and whose they are.

    Question q has the attempts `order[bounds[q]:bounds[q + 1]]` (rows of `attempts`, which has the
    schema `USABLE`): in order of their content's digest, so the order of the input's rows does not
    matter. `duplicates` are the rows of attempts whose whole content another one has.
    """

    attempts: pa.Table
    order: Ints
    bounds: Ints
    duplicates: Ints


def read_pools(spill: Spill, part: int, excluded: Ints = _NO_ROWS) -> Pools:
    """The pools in one part of a spill, without the attempts of the input's rows that are
    `excluded`."""
    batches = spill.batches(part)
    if len(excluded):
        batches = (_without(batch, excluded) for batch in batches)
    attempts = pa.Table.from_batches((batch for batch in batches if batch.num_rows), USABLE)
    if not attempts.num_rows:
        nothing = np.zeros(0, np.int64)
        return Pools(attempts, nothing, np.zeros(1, np.int64), nothing)
    question, attempt = (
        np.concatenate([keys(chunk) for chunk in attempts[name].chunks])
        for name in (Column.QUESTION_ID, Column.ATTEMPT_ID)
    )
    place = (view(attempts[Column.RESPONSE]), view(attempts[Column.ROW]))
    order = np.lexsort((*place, attempt[:, 1], attempt[:, 0], question[:, 1], question[:, 0]))
    again = np.zeros(len(order), bool)
    again[1:] = (attempt[order[1:]] == attempt[order[:-1]]).all(axis=1)
    duplicates, order = order[again], order[~again]
    question = question[order]
    starts = np.flatnonzero((question[1:] != question[:-1]).any(axis=1)) + 1
    return Pools(attempts, order, np.concatenate([[0], starts, [len(order)]]), duplicates)


def _without(batch: pa.RecordBatch, rows: Ints) -> pa.RecordBatch:
    kept = ~np.isin(view(batch.column(Column.ROW)), rows)
    return batch if kept.all() else batch.take(numbers(np.flatnonzero(kept)))


def questions(pools: Pools) -> Iterator[list[int]]:
    """The rows of each question's attempts, in order of the questions' digests."""
    order, bounds = pools.order.tolist(), pools.bounds.tolist()
    for start, stop in pairwise(bounds):
        yield order[start:stop]
