"""Grading on a Ray cluster: chunks of answers are tasks; each worker asks a judge of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import NamedTuple

import pyarrow as pa

from skill_factory.core.own_parts import own_parts
from skill_factory.core.ray_cluster import joined

CHUNK_ROWS = 256
"""Answers in a task: a judge may take a second over one of them."""

Grade = Callable[[pa.RecordBatch], pa.RecordBatch]
"""Grades a batch: from the columns that it needs to the columns that come to them."""


class _Chunk(NamedTuple):
    """Some rows of the batch with this number, in bytes: a slice would travel with all of it."""

    batch: int
    rows: pa.Buffer


@contextmanager
def graded_on_ray(
    grade: Grade, batches: Iterable[pa.RecordBatch], address: str | None, workers: int | None
) -> Iterator[Iterator[pa.RecordBatch]]:
    """The grades of each batch, in order, by the workers of a cluster (`ray_cluster.joined`)."""
    with joined(address, workers) as cluster:
        chunks = _chunks(batches)
        done = cluster.in_order("grade", partial(_graded, grade), own_parts(), chunks)
        yield (
            pa.Table.from_batches(found for _, found in some).combine_chunks().to_batches()[0]
            for _, some in groupby(done, key=lambda one: one[0].batch)
        )


def _chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[_Chunk]:
    for number, batch in enumerate(batches):
        for start in range(0, batch.num_rows, CHUNK_ROWS):
            rows = batch.slice(start, CHUNK_ROWS)
            yield _Chunk(number, _bytes(rows))


def _bytes(rows: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return sink.getvalue()


def _graded(grade: Grade, chunk: _Chunk) -> pa.RecordBatch:
    with pa.ipc.open_stream(chunk.rows) as reader:
        return grade(reader.read_next_batch())
