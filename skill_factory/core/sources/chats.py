"""Chats in files or on the Hub: who says what, and what was asked and answered, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skill_factory.core.arrays import Ints, Mask, bounds, is_list, numbers, offsets, strings, view
from skill_factory.core.columns import Column
from skill_factory.core.places import Place, in_parallel, to_parquet
from skill_factory.core.sources.batches import (
    BATCH_BYTES,
    DAMAGED,
    MAX_BATCH_ROWS,
    Source,
)
from skill_factory.core.sources.find_source import find_source
from skill_factory.core.sources.hf_datasets import LoadedSource
from skill_factory.core.sources.json_files import read_objects
from skill_factory.core.sources.local_files import CSV_KINDS, FileSource, kind_of
from skill_factory.core.sources.validate import not_unicode
from skill_factory.errors import ColumnError, InputError, first_line

REWARD_MODEL = "reward_model"
"""Where verl has the gold answer."""

_TURN_COLUMNS = (Column.CONVERSATIONS, Column.MESSAGES)
_TURN_KEYS = (("role", "content"), ("from", "value"))
"""How datasets name the speaker of a turn and what is said."""

_ASKING, _ANSWERING = ("user", "human"), ("assistant", "gpt")
_BESIDE = (
    *(Column.DATA_SOURCE, Column.GROUND_TRUTH, Column.EXTRA_INFO),
    *(Column.TASK, Column.GOLD, Column.FACTS, REWARD_MODEL),
)
_ROWS = 1024
"""Of JSON and of the Hub, at a time."""

Row = Mapping[str, Any]


Turn = tuple[str | None, str | None]
"""Who speaks, and what is said."""


class _Turns(NamedTuple):
    """The turns of some chats: those of chat i are `roles[starts[i]:ends[i]]`, and `said` so."""

    roles: pa.Array
    said: pa.Array
    starts: Ints
    ends: Ints


@dataclass(frozen=True)
class ChatBatch:
    """Chats of one file, in its order.

    `where` is the file, or the dataset on the Hub; `file_row` the first chat's place in it and
    `number` its place among all chats, from 0. `label` and `trace_id` are null where the data does
    not say.
    """

    where: Place
    file_row: int
    number: int
    label: pa.Array
    trace_id: pa.Array
    _turns: _Turns | None
    _beside: pa.RecordBatch | Sequence[Row]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def text(self) -> pa.Array:
        """The last turn of an assistant; null where there is none, and everywhere if texts were not
        asked for."""
        return self._last_turns[1]

    @property
    def question(self) -> pa.Array:
        """The user's turn before it; null as `text`."""
        return self._last_turns[0]

    @cached_property
    def _last_turns(self) -> tuple[pa.Array, pa.Array]:
        if self._turns is None:
            return (pa.nulls(len(self), pa.string()),) * 2
        roles, said, starts, ends = self._turns
        answered = _last_before(roles, _ANSWERING, starts, ends)
        asked = _last_before(roles, _ASKING, starts, np.where(answered < 0, ends, answered))
        return _taken(said, asked), _taken(said, answered)

    def turns(self) -> Iterator[list[Turn]]:
        """All turns of each chat, roles as they are in the data. Raises `InputError`, naming the
        row, for a text that is not UTF-8."""
        assert self._turns is not None
        roles, said, starts, ends = self._turns
        broken = not_unicode(roles) | not_unicode(said)
        if broken.any():
            row = self.file_row + int(np.searchsorted(ends, broken.argmax(), side="right"))
            raise InputError(f"{self.where}: row {row}: a text is not UTF-8: mend the file")
        pairs = list(zip(roles.to_pylist(), said.to_pylist(), strict=True))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            yield pairs[start:end]

    def beside(self, row: int) -> Row:
        """What a row says of its grading, as it is in the data."""
        if isinstance(self._beside, pa.RecordBatch):
            return dict(self._beside.slice(row, 1).to_pylist()[0])
        return self._beside[row]

    def all_beside(self) -> Sequence[Row]:
        """`beside` of every row."""
        if isinstance(self._beside, pa.RecordBatch):
            rows: list[Row] = self._beside.to_pylist()
            return rows or [{}] * len(self)
        return self._beside


def read_chats(
    name: str, config: str | None, split: str | None, revision: str | None
) -> Iterator[ChatBatch]:
    """The chats of a file, a folder or a dataset on the Hub, as `find_source` takes them.

    Raises `InputError` for what cannot be read or has no rows, and `ColumnError` where there are no
    chats.
    """
    found, rows = find_source(name, config, split, revision), 0
    batches = Chats(found.files).batches() if isinstance(found, FileSource) else _loaded(found)
    for batch in batches:
        rows += len(batch)
        yield batch
    if not rows:
        raise InputError(f"{name}: the dataset has no rows")


@dataclass(frozen=True)
class Chats:
    """The chats in some files of one kind, in order."""

    files: tuple[Place, ...]

    @cached_property
    def count(self) -> int:
        """How many there are; of JSON all is read for it."""
        return sum(in_parallel(_count, self.files))

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
                if kind_of(path) in CSV_KINDS:
                    raise InputError(f"{path}: expected a parquet or JSON file of chats")
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


def _count(path: Place) -> int:
    with one_line_for_damaged(path):
        if kind_of(path) == "parquet":
            return int(pq.read_metadata(to_parquet(path)).num_rows)
        return sum(1 for _ in read_objects(path))


@contextmanager
def one_line_for_damaged(path: Place) -> Iterator[None]:
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


# -- columns --------------------------------------------------------------------------------------


def _parquet(path: Place, number: int, texts: bool, wanted: Ints | None) -> Iterator[ChatBatch]:
    """Row groups without a wanted row are not read."""
    with pq.ParquetFile(to_parquet(path), pre_buffer=False, buffer_size=1 << 20) as file:
        columns = _columns(file.schema_arrow, path, texts)
        row = 0
        for group in range(file.num_row_groups):
            meta = file.metadata.row_group(group)
            if wanted is not None and not _any_within(wanted, row, meta.num_rows):
                row += meta.num_rows
                continue
            for batch in file.iter_batches(_rows(meta, texts), [group], columns=columns.names):
                if wanted is None or _any_within(wanted, row, batch.num_rows):
                    yield _batch(path, row, number + row, batch, columns)
                row += batch.num_rows


def _loaded(source: Source) -> Iterator[ChatBatch]:
    """What `datasets` has loaded."""
    assert isinstance(source, LoadedSource)
    where, row = Path(source.name), 0
    columns = _columns(source.dataset.features.arrow_schema, where, True)
    chosen = source.dataset.select_columns(columns.names).with_format("arrow")
    with one_line_for_damaged(where):
        for table in chosen.iter(_ROWS):
            for batch in table.combine_chunks().to_batches():
                yield _batch(where, row, row, batch, columns)
                row += batch.num_rows


def _rows(group: pq.RowGroupMetaData, texts: bool) -> int:
    """Rows to decode at a time."""
    if not texts:
        return MAX_BATCH_ROWS
    a_row = group.total_byte_size / max(1, group.num_rows)
    return int(min(MAX_BATCH_ROWS, max(16, BATCH_BYTES / max(a_row, 1.0))))


class _Columns(NamedTuple):
    """The column of the turns (None: not read) with its names for who speaks and what is said, and
    those read besides."""

    turns: tuple[str, str, str] | None
    named: list[str]
    beside: list[str]

    @property
    def names(self) -> list[str]:
        """All columns that are read."""
        turns = [] if self.turns is None else [self.turns[0]]
        return list(dict.fromkeys([*self.named, *turns, *self.beside]))


def _columns(schema: pa.Schema, where: Place, texts: bool) -> _Columns:
    turns = _turn_column(schema, where)
    named = [name for name in (Column.LABEL, Column.TRACE_ID) if name in schema.names]
    beside = [name for name in _BESIDE if name in schema.names]
    return _Columns(turns, named, beside) if texts else _Columns(None, named, [])


def _turn_column(schema: pa.Schema, where: Place) -> tuple[str, str, str]:
    for name in _TURN_COLUMNS:
        for at in schema.get_all_field_indices(name):
            kind = schema.field(at).type
            if is_list(kind) and pa.types.is_struct(kind.value_type):
                keys = {field.name for field in kind.value_type}
                for role, content in _TURN_KEYS:
                    if {role, content} <= keys:
                        return name, role, content
    raise ColumnError(
        f"{where}: holds no chats: no column conversations or messages of turns with role and "
        f"content, or from and value; columns: {', '.join(schema.names) or 'none'}"
    )


def _batch(
    where: Place, row: int, number: int, batch: pa.RecordBatch, columns: _Columns
) -> ChatBatch:
    label, trace_id = (
        _as_text(batch.column(name))
        if name in columns.named
        else pa.nulls(batch.num_rows, pa.string())
        for name in (Column.LABEL, Column.TRACE_ID)
    )
    turns = columns.turns and _turns(batch.column(columns.turns[0]), *columns.turns, where)
    return ChatBatch(where, row, number, label, trace_id, turns, batch.select(columns.beside))


def _turns(column: pa.Array, name: str, role: str, content: str, where: Place) -> _Turns:
    column = column.cast(pa.list_(column.type.value_type))
    inside = column.values
    roles, said = (
        pc.struct_field(inside, [inside.type.get_field_index(key)]) for key in (role, content)
    )
    try:
        roles, said = _as_text(roles), _as_text(said)
    except DAMAGED:
        raise ColumnError(f"{where}: column {name!r}: {content} is {said.type}, not text") from None
    ends = offsets(column).astype(np.int64)
    starts = np.where(view(pc.is_null(column)), ends[1:], ends[:-1])
    return _Turns(roles, said, starts, ends[1:])


def _as_text(column: pa.Array) -> pa.Array:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _last_before(roles: pa.Array, names: Sequence[str], starts: Ints, ends: Ints) -> Ints:
    """The last place from `starts` up to `ends` whose role is one of these; -1: none."""
    is_one: Mask = view(pc.is_in(pc.ascii_lower(roles), strings(names)))
    last = np.concatenate(
        [[-1], np.maximum.accumulate(np.where(is_one, np.arange(len(is_one)), -1))]
    )
    found = last[ends]
    return np.where(found >= starts, found, -1)


def _taken(said: pa.Array, at: Ints) -> pa.Array:
    return said.take(numbers(np.maximum(at, 0), missing=at < 0))


# -- JSON -----------------------------------------------------------------------------------------


def _json(path: Place, number: int) -> Iterator[ChatBatch]:
    objects, first = read_objects(path), 0
    while rows := list(islice(objects, _ROWS)):
        yield _of_objects(path, first, number + first, rows)
        first += len(rows)


def _of_objects(path: Place, first: int, number: int, rows: list[dict[str, Any]]) -> ChatBatch:
    lists = [_said(row, f"{path}: row {first + place}") for place, row in enumerate(rows)]
    ends = bounds(list(map(len, lists)))
    roles, said = zip(*chain(*lists), strict=True) if ends[-1] else ((), ())
    label, trace_id = (
        _strings([None if row.get(name) is None else str(row[name]) for row in rows])
        for name in (Column.LABEL, Column.TRACE_ID)
    )
    turns = _Turns(_strings(roles), _strings(said), ends[:-1], ends[1:])
    return ChatBatch(path, first, number, label, trace_id, turns, rows)


def _said(row: Row, place: str) -> list[Turn]:
    there = [name for name in _TURN_COLUMNS if name in row]
    if not there:
        raise ColumnError(
            f"{place}: has no column {' or '.join(_TURN_COLUMNS)}; columns: "
            f"{', '.join(row) or 'none'}"
        )
    name = next((name for name in there if isinstance(row[name], list)), there[0])
    place = f"{place}, column {name!r}"
    if row[name] is not None and not isinstance(row[name], list):
        raise ColumnError(f"{place}: expected a list of turns")
    return [_turn(turn, place) for turn in row[name] or ()]


def _turn(turn: object, place: str) -> Turn:
    for role, content in _TURN_KEYS:
        if isinstance(turn, dict) and role in turn:
            for what, found in (("role", turn[role]), ("content", turn.get(content))):
                if found is not None and not isinstance(found, str):
                    raise ColumnError(
                        f"{place}: expected the {what} of a turn to be text, not {found!r:.60}"
                    )
            return turn[role], turn.get(content)
    raise ColumnError(f"{place}: expected turns with role and content, or from and value")


def _strings(texts: Sequence[str | None]) -> pa.Array:
    """Half a surrogate pair, which JSON can escape, becomes what is no UTF-8, as in parquet."""
    encoded = [(text or "").encode(errors="surrogatepass") for text in texts]
    ends, data = bounds(list(map(len, encoded))).astype(np.int32), b"".join(encoded)
    plain = pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(data))
    missing = np.array([text is None for text in texts], bool)
    return plain.take(numbers(np.arange(len(texts)), missing=missing))
