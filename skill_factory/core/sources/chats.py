"""Chats in parquet and JSON files: what was asked and what was answered, as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skill_factory.core.arrays import Ints, Mask, is_list, numbers, offsets, strings, view
from skill_factory.core.columns import Column
from skill_factory.core.sources.batches import BATCH_BYTES, DAMAGED, MAX_BATCH_ROWS, first_line
from skill_factory.core.sources.json_files import read_objects
from skill_factory.core.sources.local_files import kind_of
from skill_factory.errors import ColumnError, InputError

TURN_COLUMNS = (Column.CONVERSATIONS, Column.MESSAGES)
TURN_KEYS = (("role", "content"), ("from", "value"))
"""How datasets name the speaker of a turn and what is said."""

_ASKING, _ANSWERING = ("user", "human"), ("assistant", "gpt")
_BESIDE = (
    *(Column.DATA_SOURCE, Column.GROUND_TRUTH, Column.EXTRA_INFO),
    *(Column.TASK, Column.GOLD, Column.FACTS),
)
_JSON_ROWS = 1024

Row = Mapping[str, Any]


class ChatBatch(NamedTuple):
    """Chats of one file, in its order.

    `where` is the file, `file_row` the first chat's place in it and `number` its place among all
    chats, from 0. `text` is the last turn of an assistant, `question` the user's before it; null
    where there is none, and everywhere if texts were not asked for. `label` and `trace_id` are null
    where the data does not say. `beside(i)` has of row i what may be said of its grading, as it is
    in the file.
    """

    where: Path
    file_row: int
    number: int
    question: pa.Array
    text: pa.Array
    label: pa.Array
    trace_id: pa.Array
    beside: Callable[[int], Row]

    def __len__(self) -> int:  # of rows, not of the tuple's fields
        return len(self.label)


@dataclass(frozen=True)
class Chats:
    """The chats in some files of one kind, in order."""

    files: tuple[Path, ...]

    @cached_property
    def count(self) -> int:
        """How many there are; of JSON all is read for it."""
        return sum(map(_count, self.files))

    def batches(self, *, texts: bool = True, only: Ints | None = None) -> Iterator[ChatBatch]:
        """All chats, some at a time; with `only`, sorted numbers of chats, just the batches that
        hold some of them.

        Raises `InputError` for what cannot be read, and `ColumnError` for files without chats.
        """
        number = 0
        for path in self.files:
            wanted = None if only is None else only - number
            if wanted is not None and not (wanted >= 0).any():
                return
            with one_line_for_damaged(path):
                if kind_of(path) == "parquet":
                    yield from _parquet(path, number, texts, wanted)
                    number += _count(path)
                else:
                    for batch in _json(path, number):
                        number = batch.number + len(batch)
                        if wanted is None or _any_within(wanted, batch.file_row, len(batch)):
                            yield batch
                        if (
                            wanted is not None
                            and number - batch.number + batch.file_row > wanted[-1]
                        ):
                            break


def _count(path: Path) -> int:
    with one_line_for_damaged(path):
        if kind_of(path) == "parquet":
            return int(pq.read_metadata(path).num_rows)
        return sum(1 for _ in read_objects(path))


@contextmanager
def one_line_for_damaged(path: Path) -> Iterator[None]:
    """What Arrow and the disk say of a file that cannot be read, as an `InputError`."""
    try:
        yield
    except (*DAMAGED, OSError) as error:
        raise InputError(f"{path}: cannot be read: {first_line(error)}") from None


def texts_of(texts: pa.Array) -> list[str | None]:
    """Texts as Python has them; bytes that are no UTF-8 are replaced."""
    found = texts.cast(pa.binary()).to_pylist()
    return [None if one is None else one.decode("utf-8", "replace") for one in found]


def _any_within(wanted: Ints, start: int, count: int) -> bool:
    at = np.searchsorted(wanted, (start, start + count))
    return bool(at[0] < at[1])


# -- parquet --------------------------------------------------------------------------------------


def _parquet(path: Path, number: int, texts: bool, wanted: Ints | None) -> Iterator[ChatBatch]:
    """Row groups without a wanted row are not read."""
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        turns = _turns(file.schema_arrow, path)
        names = [
            name for name in (Column.LABEL, Column.TRACE_ID) if name in file.schema_arrow.names
        ]
        beside = [name for name in _BESIDE if name in file.schema_arrow.names]
        if texts:
            names += [turns.column, *(name for name in beside if name not in names)]
        row = 0
        for group in range(file.num_row_groups):
            meta = file.metadata.row_group(group)
            if wanted is not None and not _any_within(wanted, row, meta.num_rows):
                row += meta.num_rows
                continue
            for batch in file.iter_batches(_rows(meta, texts), [group], columns=names):
                if wanted is None or _any_within(wanted, row, batch.num_rows):
                    yield _batch(path, row, number + row, batch, turns if texts else None, beside)
                row += batch.num_rows


def _rows(group: pq.RowGroupMetaData, texts: bool) -> int:
    """Rows to decode at a time."""
    if not texts:
        return MAX_BATCH_ROWS
    a_row = group.total_byte_size / max(1, group.num_rows)
    return int(min(MAX_BATCH_ROWS, max(16, BATCH_BYTES / max(a_row, 1.0))))


class _Turns(NamedTuple):
    """The column of the turns, and its names for who speaks and what is said."""

    column: str
    role: str
    content: str


def _turns(schema: pa.Schema, path: Path) -> _Turns:
    for name in TURN_COLUMNS:
        for at in schema.get_all_field_indices(name):
            kind = schema.field(at).type
            if is_list(kind) and pa.types.is_struct(kind.value_type):
                keys = {field.name for field in kind.value_type}
                for role, content in TURN_KEYS:
                    if {role, content} <= keys:
                        return _Turns(name, role, content)
    raise ColumnError(
        f"{path}: holds no chats: no column conversations or messages of turns with role and "
        f"content, or from and value. Columns there are: {', '.join(schema.names) or 'none'}."
    )


def _batch(
    path: Path,
    row: int,
    number: int,
    batch: pa.RecordBatch,
    turns: _Turns | None,
    beside: Sequence[str],
) -> ChatBatch:
    nothing = pa.nulls(batch.num_rows, pa.string())
    question, text = (nothing, nothing) if turns is None else _last_turns(batch, turns, path)
    label, trace_id = (
        _as_text(batch.column(name)) if name in batch.schema.names else nothing
        for name in (Column.LABEL, Column.TRACE_ID)
    )
    kept = batch.select(list(beside)) if turns else None
    return ChatBatch(path, row, number, question, text, label, trace_id, partial(_raw, kept))


def _raw(batch: pa.RecordBatch | None, row: int) -> Row:
    return {} if batch is None else batch.slice(row, 1).to_pylist()[0]


def _as_text(column: pa.Array) -> pa.Array:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _last_turns(batch: pa.RecordBatch, turns: _Turns, path: Path) -> tuple[pa.Array, pa.Array]:
    """What was asked last before it was answered last, and the answer."""
    column = batch.column(turns.column)
    column = column.cast(pa.list_(column.type.value_type))
    inside = column.values
    kind = inside.type
    roles, said = (
        pc.struct_field(inside, [kind.get_field_index(name)])
        for name in (turns.role, turns.content)
    )
    try:
        said, roles = _as_text(said), _as_text(roles)
    except DAMAGED:
        raise ColumnError(
            f"{path}: column {turns.column!r}: {turns.content} is {said.type}, not text"
        ) from None
    ends = offsets(column).astype(np.int64)
    starts = np.where(view(pc.is_null(column)), ends[1:], ends[:-1])
    answered = _last_before(roles, _ANSWERING, starts, ends[1:])
    asked = _last_before(roles, _ASKING, starts, np.where(answered < 0, ends[1:], answered))
    return _taken(said, asked), _taken(said, answered)


def _last_before(roles: pa.Array, names: Sequence[str], starts: Ints, ends: Ints) -> Ints:
    """The last place from `starts` up to `ends` whose role is one of these; -1: none."""
    is_one: Mask = view(pc.is_in(pc.utf8_lower(roles), strings(names)))
    last = np.concatenate(
        [[-1], np.maximum.accumulate(np.where(is_one, np.arange(len(is_one)), -1))]
    )
    found = last[ends]
    return np.where(found >= starts, found, -1)


def _taken(said: pa.Array, at: Ints) -> pa.Array:
    return said.take(numbers(np.maximum(at, 0), missing=at < 0))


# -- JSON -----------------------------------------------------------------------------------------


def _json(path: Path, number: int) -> Iterator[ChatBatch]:
    rows: list[dict[str, Any]] = []
    first = 0
    for row in read_objects(path):
        rows.append(row)
        if len(rows) == _JSON_ROWS:
            yield _of_objects(path, first, number + first, rows)
            first, rows = first + len(rows), []
    if rows:
        yield _of_objects(path, first, number + first, rows)


def _of_objects(path: Path, first: int, number: int, rows: list[dict[str, Any]]) -> ChatBatch:
    pairs = [_pair(row, f"{path}: row {first + place}") for place, row in enumerate(rows)]
    return ChatBatch(
        path,
        first,
        number,
        _strings([asked for asked, _ in pairs]),
        _strings([answered for _, answered in pairs]),
        _strings([_text_or_none(row.get(Column.LABEL)) for row in rows]),
        _strings([_text_or_none(row.get(Column.TRACE_ID)) for row in rows]),
        rows.__getitem__,
    )


def _pair(row: Row, place: str) -> tuple[str | None, str | None]:
    """What was asked and what was answered; as `_last_turns` has it."""
    turns = next((row[name] for name in TURN_COLUMNS if isinstance(row.get(name), list)), None)
    if turns is None:
        raise ColumnError(
            f"{place} is no chat: it has no conversations or messages, a list of turns with role "
            f"and content, or from and value; it has {', '.join(row) or 'nothing'}"
        )
    asked = answered = None
    said_last = None
    for turn in turns:
        role, said = _said(turn, place)
        if role in _ASKING:
            said_last = said
        elif role in _ANSWERING:
            asked, answered = said_last, said
    return (said_last, None) if answered is None else (asked, answered)


def _said(turn: object, place: str) -> tuple[str, str]:
    for role, content in TURN_KEYS:
        if isinstance(turn, dict) and role in turn and isinstance(turn.get(content), str | None):
            return str(turn[role]).lower(), turn[content] or ""
    raise ColumnError(f"{place}: a turn has no role and content, or from and value, that is text")


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def _strings(texts: Sequence[str | None]) -> pa.Array:
    """Also of texts with half a surrogate pair, which JSON can escape."""
    missing = np.array([text is None for text in texts])
    encoded = [(text or "").encode("utf-8", "replace").decode() for text in texts]
    return strings(encoded).take(numbers(np.arange(len(texts)), missing=missing))
