"""The attempts in a batch of annotated rows, and the digests that name them by their content."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_128, xxh3_128_digest

from skill_factory.core.arrays import Ints, Mask, bounds, given, numbers, offsets, view
from skill_factory.core.columns import Columns
from skill_factory.core.ledger import Ledger, Reason
from skill_factory.core.sources.annotated_columns import list_depth
from skill_factory.core.sources.batches import Batch
from skill_factory.core.sources.validate import (
    KEPT,
    Codes,
    count_reasons,
    first_reasons,
    question_faults,
    stripped,
)
from skill_factory.errors import InputError


class Attempts(NamedTuple):
    """All attempts of a batch, one item each; reflection i is about attempt `owner[i]`, in whose
    list it stands at `number[i]`; attempt i has `reflection_counts[i]`. `row_codes` has one item
    for each row: why it gives none."""

    row: Ints
    response: Ints
    question: pa.Array
    question_ids: npt.NDArray[np.uint8]
    variant: pa.Array
    text: pa.Array
    correct: pa.Array
    answer: pa.Array
    reflections: pa.Array
    reflection_counts: Ints
    owner: Ints
    number: Ints
    row_codes: Codes


def attempts_of(source: Batch, columns: Columns, ledger: Ledger) -> Attempts:
    """Rows as attempts; rows that give none go to the ledger."""
    batch = source.table
    question, variant = stripped(batch.column(columns.question)), batch.column(columns.variant)
    response = _as_lists(batch.column(columns.response))
    correct = _as_lists(batch.column(columns.correctness))
    answer = _as_lists(batch.column(columns.extracted_answer))
    reflection = batch.column(columns.reflection)
    nested = list_depth(reflection.type) == 2
    per_row = _as_lists(reflection)
    rows = first_reasons(
        batch.num_rows,
        *question_faults(question),
        (Reason.NO_RESPONSE, response.lengths == 0),
        (Reason.LISTS_DIFFER_IN_LENGTH, _differ(response, correct)),
        (Reason.LISTS_DIFFER_IN_LENGTH, _differ(response, answer)),
        (Reason.LISTS_DIFFER_IN_LENGTH, _differ(response, per_row) & nested),
    )
    ledger.rows.read = batch.num_rows
    ledger.rows.kept = count_reasons(rows, ledger.rows.losses)
    kept = np.flatnonzero(rows == KEPT)
    if not nested:
        _check_one_response(source, columns, kept, response.lengths)
    row, place = expand(kept, response.lengths[kept])
    lists = _as_lists(per_row.values) if nested else per_row
    at = per_row.starts[row] + place if nested else row
    listed = per_row.given[row] if nested else np.ones(len(row), bool)
    reflection_counts = _at(lists.lengths, at, listed)
    owner, number = expand(np.arange(len(row)), reflection_counts)
    digests, which = _question_ids(question)
    return Attempts(
        row + source.row,
        place,
        take(question, row),
        digests[which[row]],
        take(variant, row),
        take(response.values, response.starts[row] + place),
        take(correct.values, correct.starts[row] + place, correct.given[row]),
        take(answer.values, answer.starts[row] + place, answer.given[row]),
        take(lists.values, _at(lists.starts, at, listed)[owner] + number),
        reflection_counts,
        owner,
        number,
        rows,
    )


def _check_one_response(source: Batch, columns: Columns, rows: Ints, lengths: Ints) -> None:
    """Raise `InputError` for a row of several responses with one flat list of reflections."""
    if (several := rows[lengths[rows] > 1]).size:
        first = int(several[0])
        raise InputError(
            f"{source.where}: row {source.file_row + first} has {int(lengths[first])} "
            f"responses, but column {columns.reflection!r} is one flat list: make it a list of "
            "lists, one list for each response."
        )


# -- lists ----------------------------------------------------------------------------------------


class _Lists(NamedTuple):
    """A column of lists: row i has `lengths[i]` of the `values` from `starts[i]`; not `given` where
    the list is null."""

    values: pa.Array
    starts: Ints
    lengths: Ints
    given: Mask


def _as_lists(column: pa.Array) -> _Lists:
    """A list column, or a plain one as lists of one."""
    present = given(column)
    if list_depth(column.type) == 0:
        return _Lists(column, np.arange(len(column)), present.astype(np.int64), present)
    starts = offsets(column)[:-1].astype(np.int64)
    lengths = view(pc.list_value_length(column)).astype(np.int64)
    return _Lists(column.values, starts, lengths, present)


def expand(owners: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Each owner as often as its length says, and the count from 0 within it."""
    ends = bounds(lengths)
    return np.repeat(owners, lengths), np.arange(ends[-1]) - np.repeat(ends[:-1], lengths)


def take(values: pa.Array, at: Ints, present: Mask | None = None) -> pa.Array:
    """The values at these places, null where not `present`; a run of neighbours is not copied."""
    if present is not None and not present.all():
        return values.take(numbers(at, missing=~present))
    if len(at) and at[-1] - at[0] == len(at) - 1 and (np.diff(at) == 1).all():
        return values.slice(int(at[0]), len(at))
    return values.take(numbers(at))


def _differ(one: _Lists, other: _Lists) -> Mask:
    """Where another list is there, but not of the same length."""
    unequal: Mask = other.given & (one.lengths != other.lengths)
    return unequal


def _at(values: Ints, at: Ints, present: Mask) -> Ints:
    """The values at these places; 0 where not `present`."""
    out = np.zeros(len(at), np.int64)
    out[present] = values[at[present]]
    return out


def sum_of_digests(ids: npt.NDArray[np.uint8]) -> int:
    """The sum of 128-bit numbers, by quarters: those cannot overflow."""
    total = 0
    for quarter in ids.view(">u4").sum(axis=0, dtype=np.uint64):
        total = (total << 32) + int(quarter)
    return total


# -- digests --------------------------------------------------------------------------------------


def _question_ids(question: pa.Array) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Digests of the different questions, and for each row which of them is its own."""
    encoded = question.dictionary_encode()
    texts = encoded.dictionary.cast(pa.binary())
    ids = b"".join(xxh3_128_digest(text.as_py()) for text in texts)
    indices = view(encoded.indices).astype(np.int64)
    return np.frombuffer(ids, np.uint8).reshape(-1, 16), indices


class _Bytes(NamedTuple):
    """The bytes of a string array, where its items begin in them, and their lengths (null: -1)."""

    data: memoryview
    starts: list[int]
    lengths: npt.NDArray[np.int32]


def _bytes(texts: pa.Array) -> _Bytes:
    if texts.null_count:  # there may be bytes beneath a null; taken again, there are none
        texts = texts.take(numbers(np.arange(len(texts))))
    data = texts.buffers()[2]
    starts = offsets(texts)
    lengths = np.where(given(texts), np.diff(starts), -1).astype("<i4")
    return _Bytes(memoryview(b"" if data is None else data), starts.tolist(), lengths)


def attempt_ids(found: Attempts) -> npt.NDArray[np.uint8]:
    """128-bit digests of all that an attempt says; equal only for attempts with equal content."""
    if not len(found.text):
        return np.zeros((0, 16), np.uint8)
    parts = [_bytes(part) for part in (found.variant, found.answer, found.text)]
    reflections = _bytes(found.reflections)
    sizes = reflections.lengths.tobytes()
    decided = view(found.correct.cast(pa.int8()), missing=-1).astype("<i4")
    heads = np.column_stack(
        [
            found.question_ids.view("<i4"),
            decided,
            found.reflection_counts.astype("<i4"),
            *(part.lengths for part in parts),
        ]
    )
    head, width = heads.astype("<i4").tobytes(), heads.shape[1] * 4
    owned = bounds(found.reflection_counts).tolist()
    out = []
    for i in range(len(found.text)):
        digest = xxh3_128(head[i * width : (i + 1) * width])
        for data, starts, _ in parts:
            digest.update(data[starts[i] : starts[i + 1]])
        a, b = owned[i], owned[i + 1]
        digest.update(sizes[4 * a : 4 * b])
        digest.update(reflections.data[reflections.starts[a] : reflections.starts[b]])
        out.append(digest.digest())
    return np.frombuffer(b"".join(out), np.uint8).reshape(-1, 16)
