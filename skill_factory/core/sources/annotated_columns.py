"""The annotated dataset where it enters: which of its columns are read, and as what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from skill_factory.core.arrays import Mask, distinct, is_list, numbers, offsets, strings
from skill_factory.core.columns import COLUMN_OPTIONS, OPTIONAL_COLUMNS, Columns
from skill_factory.core.sources.values import READERS, UNREADABLE, Reader, read_correctness
from skill_factory.errors import ColumnError
from skill_factory.tasks import kept_facts
from skill_factory.tasks.facts import names_in


class Unread(NamedTuple):
    """Rows of a column whose value could not be read: how many, and the first of them, from 0."""

    rows: int
    first: int


# -- columns --------------------------------------------------------------------------------------


class InputColumn(NamedTuple):
    """A column to read, its `role` in `Columns` and the `type` it is read as; `cast`: by Arrow's
    cast, and not value by value."""

    name: str
    role: str
    type: pa.DataType
    cast: bool


class TypedRows(NamedTuple):
    """Rows with typed columns, and which values of some columns, by role, could not be read."""

    table: pa.RecordBatch
    unread: dict[str, Unread]


# How many lists may stand around a value, and what the value is.
_ACCEPTED: dict[str, tuple[tuple[int, ...], pa.DataType]] = {
    "question": ((0,), pa.string()),
    "variant": ((0,), pa.string()),
    "response": ((0, 1), pa.string()),
    "correctness": ((0, 1), pa.bool_()),
    "extracted_answer": ((0, 1), pa.string()),
    "reflection": ((0, 1, 2), pa.string()),
}
_KINDS = {0: "{}", 1: "list of {}", 2: "list of lists of {}"}


def find_columns(schema: pa.Schema, columns: Columns, where: str) -> list[InputColumn]:
    """How to read the columns of an annotated table. Those that need not be there are among them if
    they are, and if something can be in them.

    Raises `ColumnError`, naming the file `where`, the column, the columns there are and the option
    to set.
    """
    there = ", ".join(schema.names) or "none"
    found: dict[str, InputColumn] = {}
    for role, option in COLUMN_OPTIONS.items():
        name, what = getattr(columns, role), role.replace("_", " ")
        if name in found:
            raise ColumnError(
                f"{where}: column {name!r} cannot be two things at once; "
                f"name another {what} column with {option}."
            )
        at = schema.get_all_field_indices(name)
        if len(at) != 1:
            problem = "is missing" if not at else "is there more than once"
            raise ColumnError(
                f"{where}: column {name!r} {problem}. Columns there are: {there}. "
                f"Name the {what} column with {option}."
            )
        kind = schema.field(at[0]).type
        input_column = _required(name, role, kind)
        if input_column is None:
            raise ColumnError(
                f"{where}: column {name!r} has the type {kind}; expected {_expected(role)}. "
                f"Name another {what} column with {option}."
            )
        found[name] = input_column
    for role, option in OPTIONAL_COLUMNS.items():
        name = getattr(columns, role)
        at, asked_for = schema.get_all_field_indices(name), name != getattr(Columns, role)
        if len(at) == 1 and name not in found:
            if (input_column := _optional(name, role, schema.field(at[0]).type)) is not None:
                found[name] = input_column
        elif asked_for:
            raise ColumnError(
                f"{where}: no column {name!r} to take the {role} from; "
                f"columns there are: {there}. Name it with {option}."
            )
    return list(found.values())


def _required(name: str, role: str, kind: pa.DataType) -> InputColumn | None:
    """How to read a column that must be there; None: not at all."""
    depths, wanted = _ACCEPTED[role]
    depth, leaf = _unwrap(kind)
    if role == "question" and depth == 1 and _is_message(leaf):
        return InputColumn(name, role, wanted, cast=False)
    if depth not in depths:
        return None
    same = pa.types.is_boolean(leaf) if role == "correctness" else _is_text(leaf)
    if not same and not (role == "correctness" and _may_be_correctness(leaf)):
        return None
    for _ in range(depth):
        wanted = pa.list_(wanted)
    return InputColumn(name, role, wanted, cast=same or pa.types.is_null(leaf))


def _expected(role: str) -> str:
    depths, leaf = _ACCEPTED[role]
    kinds = [_KINDS[depth].format(leaf) for depth in depths]
    return " or ".join([*kinds, "messages"] if role == "question" else kinds)


def _optional(name: str, role: str, kind: pa.DataType) -> InputColumn | None:
    """How to read a column that need not be there; None: nothing can be in it."""
    if role == "facts" and pa.types.is_struct(kind) and not _holds_facts(kind):
        return None
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return InputColumn(name, role, pa.string(), cast=_is_text(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
    )


def _is_message(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and {"role", "content"} <= {child.name for child in kind}


def _may_be_correctness(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or _is_text(kind)
    )


def _holds_facts(kind: pa.StructType) -> bool:
    """Whether a struct has facts that some task reads."""
    names, groups = {child.name for child in kind}, kept_facts()
    names |= {"numbers"} if "nums" in names else set()
    return groups is None or any(names.issuperset(group) for group in groups)


def list_depth(kind: pa.DataType) -> int:
    """How many lists stand around the values of a type."""
    return _unwrap(kind)[0]


def _unwrap(kind: pa.DataType) -> tuple[int, pa.DataType]:
    depth = 0
    while True:
        if is_list(kind):
            kind, depth = kind.value_type, depth + 1
        elif pa.types.is_dictionary(kind):
            kind = kind.value_type
        else:
            return depth, kind


# -- reading --------------------------------------------------------------------------------------


def read_columns(
    batch: pa.RecordBatch, inputs: Sequence[InputColumn], where: str, first_row: int
) -> TypedRows:
    """A batch with its columns typed; `first_row` is its place in the file `where`.

    Raises `ColumnError` for correctness that is neither true nor false.
    """
    arrays, unread = [], {}
    for name, role, kind, cast in inputs:
        column = batch.column(batch.schema.get_field_index(name))
        if cast:
            arrays.append(column.cast(kind))
        elif role == "correctness":
            arrays.append(
                _correctness(column, kind, f"{where}: row {{}}, column {name!r}", first_row)
            )
        else:
            texts, failed = _texts(_only_facts(column, role), READERS[role])
            arrays.append(texts)
            if failed.any():
                unread[role] = Unread(int(failed.sum()), int(failed.argmax()))
    types = pa.schema([(input_column.name, input_column.type) for input_column in inputs])
    return TypedRows(pa.RecordBatch.from_arrays(arrays, schema=types), unread)


def _only_facts(column: pa.Array, role: str) -> pa.Array:
    """Of structs that hold facts only these: a seed among them makes each row's another value."""
    groups = kept_facts()
    if role != "facts" or groups is None or not pa.types.is_struct(column.type):
        return column
    names = names_in(groups)
    parts = zip(column.type, column.flatten(), strict=True)
    kept = {field.name: part for field, part in parts if field.name in names}
    return pa.StructArray.from_arrays(list(kept.values()), list(kept), mask=column.is_null())


def bad_correctness(place: str, kind: pa.DataType, value: object) -> ColumnError:
    """The error for correctness that is neither true nor false."""
    return ColumnError(
        f"{place}: expected {kind}, of true and false or 1 and 0, found {str(value)[:60]!r}"
    )


def _correctness(column: pa.Array, kind: pa.DataType, place: str, first_row: int) -> pa.Array:
    nested = pa.types.is_list(kind)
    lists = column.cast(pa.list_(column.type.value_type)) if nested else column
    if nested:  # taken anew, the lists begin at 0 and nothing is beneath their nulls
        lists = lists.take(numbers(np.arange(len(lists))))
    found = distinct(lists.values if nested else lists)
    flags_of = []
    for number, value in enumerate(found.values):
        try:
            flags_of.append(read_correctness(value.as_py()))
        except ValueError:
            at = int((found.which == number).argmax())
            row = int(np.searchsorted(offsets(lists), at, "right")) - 1 if nested else at
            raise bad_correctness(place.format(first_row + row), kind, value) from None
    flags = pa.array(flags_of, pa.bool_()).take(numbers(found.which))
    if not nested:
        return flags
    return pa.ListArray.from_arrays(lists.offsets, flags, mask=lists.is_null())


def _texts(column: pa.Array, read: Reader) -> tuple[pa.Array, Mask]:
    """What is read of each row, null where nothing is; and of which rows it could not be."""
    found = distinct(column)
    texts: list[str] = []
    place = np.full(len(found.values), -1)
    failed = np.zeros(len(found.values), bool)
    for number, value in enumerate(found.values):
        try:
            text = read(_as_py(value))
            (text or "").encode()  # half a surrogate pair cannot be
        except UNREADABLE:
            failed[number] = True
            continue
        if text is not None:
            place[number] = len(texts)
            texts.append(text)
    at = place[found.which]
    return strings(texts).take(numbers(np.maximum(at, 0), missing=at < 0)), failed[found.which]


def _as_py(value: pa.Scalar) -> Any:
    """A value as Python has it; one of Arrow's JSON type as what it says."""
    found = value.as_py(maps_as_pydicts="lossy")
    if not isinstance(value.type, pa.JsonType) or found is None:
        return found
    try:
        return json.loads(found)
    except (ValueError, RecursionError):
        return found
