"""Rows that are Python objects, from JSON or CSV, as columns of an annotated table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, reduce
from typing import Any

import pyarrow as pa

from skill_factory.core.columns import COLUMN_OPTIONS, OPTIONAL_COLUMNS, Columns
from skill_factory.core.places import Place
from skill_factory.core.sources.annotated_columns import (
    InputColumn,
    TypedRows,
    Unread,
    bad_correctness,
)
from skill_factory.core.sources.values import READERS, UNREADABLE, plain_text, read_correctness
from skill_factory.errors import ColumnError
from skill_factory.tasks import kept_facts
from skill_factory.tasks.facts import FACT_GROUPS, names_in


class FoundTypes:
    """The types that the columns' values have, as far as they were looked at; null: no value."""

    def __init__(self, columns: Columns) -> None:
        self._needed = {getattr(columns, role) for role in COLUMN_OPTIONS}
        self._optional = {getattr(columns, role) for role in OPTIONAL_COLUMNS}
        self._facts = columns.facts
        self._types: dict[str, pa.DataType] = {}

    def add(self, rows: Iterable[dict[str, Any]]) -> bool:
        """Look at more rows; whether that changed what is known."""
        before, read, names = dict(self._types), self._needed | self._optional, _names()
        for row in rows:
            for name, value in row.items():
                kind = _json_type(value, names) if name in read else pa.null()
                self._types[name] = _merged(self._types.get(name, kind), kind)
        return before != self._types

    def schema(self) -> pa.Schema:
        """All columns there are; the types of those that nobody needs are null."""
        names = [name.encode("utf-8", "replace").decode() for name in self._types]
        return pa.schema(zip(names, self._types.values(), strict=True))

    def for_arrow(self, inputs: Sequence[InputColumn]) -> pa.Schema | None:
        """What Arrow's parser is to find; None where it would leave something out.

        What has no value so far gets the type null: Arrow then stops where one comes.
        """
        kinds = {**dict.fromkeys(self._optional, pa.null()), self._facts: _NO_FACTS}
        for name, role, kind, cast in inputs:
            found = self._types[name]
            kinds[name] = kind if cast and role not in OPTIONAL_COLUMNS else found
            if role == "facts" and pa.types.is_struct(found):
                if kept_facts() != FACT_GROUPS:  # those of other tasks have no types here
                    return None
                kinds[name] = _merged(_NO_FACTS, found)
                if not all(_as_written(field.type) for field in found):
                    return None
            elif role in READERS and pa.types.is_nested(found):
                return None
        return pa.schema(kinds.items())


_SCALARS = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
_NO_FACTS = pa.struct([(name, pa.null()) for name in sorted(names_in(FACT_GROUPS))])


def _names() -> tuple[str, ...]:
    """What of an object tells whether it is of use."""
    return ("role", "content", *names_in(kept_facts() or FACT_GROUPS))


def _json_type(value: object, names: Sequence[str]) -> pa.DataType:
    return _type_of(_shape(value, names))


def _shape(value: object, names: Sequence[str], deep: int = 9) -> Any:
    """What the type depends on: hashable, and quicker to make than types. What lies deeper than
    anything that is read has no type."""
    if not deep:
        return None
    if isinstance(value, list):
        return (list, *dict.fromkeys(_shape(item, names, deep - 1) for item in value))
    if isinstance(value, dict):
        known = [name for name in names if name in value]
        return (dict, *((name, _shape(value[name], names, deep - 1)) for name in known))
    return type(value)


@lru_cache(maxsize=4096)
def _type_of(shape: Any) -> pa.DataType:
    if not isinstance(shape, tuple):
        return _SCALARS.get(shape, pa.null())
    if shape[0] is list:
        return pa.list_(reduce(_merged, map(_type_of, shape[1:]), pa.null()))
    return pa.struct([(name, _type_of(inner)) for name, inner in shape[1:]])


def _merged(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type of both. If there is none it is the first, or the one that is no struct."""
    if one is other or one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one) or (one, other) == (pa.int64(), pa.float64()):
        return other
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_merged(one.value_type, other.value_type))
    if not pa.types.is_struct(one):
        return one
    if not pa.types.is_struct(other):
        return other
    kinds = {field.name: field.type for field in one}
    for field in other:
        kinds[field.name] = _merged(kinds.get(field.name, pa.null()), field.type)
    return pa.struct(kinds.items())


def _as_written(kind: pa.DataType) -> bool:
    """Whether Arrow reads all that is written of such facts, and writes it so again."""
    while pa.types.is_list(kind):
        kind = kind.value_type
    return not pa.types.is_nested(kind) and not pa.types.is_floating(kind)


PlacedRow = tuple[str, dict[str, Any]]
"""An object and where it stands: "line 7" or "row 6"."""


def from_objects(
    path: Place, rows: Sequence[PlacedRow], inputs: Sequence[InputColumn]
) -> TypedRows:
    """Rows as typed columns; raises `ColumnError` for a value of another type."""
    arrays, unread = [], dict[str, Unread]()
    for input_column in inputs:
        values, failed = [], []
        for number, (place, row) in enumerate(rows):
            value = row.get(input_column.name)
            try:
                values.append(_as_bytes(_read(value, input_column)))
            except UNREADABLE:
                if input_column.role not in READERS:
                    raise _misfit(f"{path}: {place}", input_column, value) from None
                values.append(None)
                failed.append(number)
        if failed:
            unread[input_column.role] = Unread(len(failed), failed[0])
        # Text goes in as bytes, so that what is no Unicode gets through to be counted; Arrow's
        # strings refuse it.
        arrays.append(_relabel(pa.array(values, _bytes_type(input_column.type)), input_column.type))
    types = pa.schema([(input_column.name, input_column.type) for input_column in inputs])
    return TypedRows(pa.RecordBatch.from_arrays(arrays, schema=types), unread)


def _read(value: object, input_column: InputColumn) -> Any:
    if input_column.role in READERS:
        return READERS[input_column.role](value)
    return _in_lists(
        value,
        input_column.type,
        read_correctness if input_column.role == "correctness" else plain_text,
    )


def _in_lists(value: object, kind: pa.DataType, read: Callable[[object], Any]) -> Any:
    """What is read of each value in as many lists as the type has; raises `ValueError` where there
    are not as many."""
    if value is None or not pa.types.is_list(kind):
        return read(value)
    if not isinstance(value, list):
        raise ValueError("not a list")
    return [_in_lists(item, kind.value_type, read) for item in value]


def _misfit(place: str, input_column: InputColumn, value: object) -> ColumnError:
    place = f"{place}, column {input_column.name!r}"
    if input_column.role == "correctness":
        return bad_correctness(place, input_column.type, value)
    return ColumnError(
        f"{place}: expected {input_column.type}, found {_json_type(value, _names())}"
    )


def _as_bytes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, list):
        return [_as_bytes(item) for item in value]
    return value


def _bytes_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_bytes_type(kind.value_type))
    return pa.binary() if pa.types.is_string(kind) else kind


def _relabel(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind):
        values = _relabel(array.values, kind.value_type)
        return pa.ListArray.from_arrays(array.offsets, values, mask=array.is_null())
    return array.view(kind) if pa.types.is_string(kind) else array
