"""Between NumPy and Arrow without pandas.

`pa.array()` and `Array.to_numpy()` import pandas whenever it is installed: 0.25 s and 50 MB in
every process (pyarrow 26). These do not, and copy nothing but text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_TYPES = {
    np.dtype(np.int32): pa.int32(),
    np.dtype(np.int64): pa.int64(),
}


def numbers(values: npt.NDArray[Any], missing: Mask | None = None) -> pa.Array:
    """An Arrow array over the memory of an int32 or int64 array; null where `missing`."""
    values = np.ascontiguousarray(values)
    valid = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(_TYPES[values.dtype], len(values), [valid, pa.py_buffer(values)])


def bounds(lengths: npt.ArrayLike) -> Ints:
    """Where items of these lengths begin and end when they lie one behind the other: one more than
    there are items, from 0."""
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))])


def strings(texts: Sequence[str]) -> pa.Array:
    """An Arrow string array."""
    encoded = [text.encode() for text in texts]
    ends = bounds([len(text) for text in encoded]).astype(np.int32)
    return pa.StringArray.from_buffers(
        len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))
    )


def digests(ids: npt.NDArray[np.uint8]) -> pa.Array:
    """An Arrow array of the rows of an (n, 16) array."""
    return pa.Array.from_buffers(
        pa.binary(16), len(ids), [None, pa.py_buffer(np.ascontiguousarray(ids))]
    )


def view(array: pa.Array | pa.ChunkedArray, missing: int = 0) -> npt.NDArray[Any]:
    """A NumPy array of an Arrow array's numbers or bools, with `missing` for nulls; not to be
    written to."""
    if isinstance(array, pa.ChunkedArray):
        parts = [view(chunk, missing) for chunk in array.chunks]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)
    valid, data = array.buffers()
    if pa.types.is_boolean(array.type):
        values: npt.NDArray[Any] = _bits(data, array)
    else:
        kind = np.dtype(f"i{array.type.bit_width // 8}")
        values = np.frombuffer(data or b"", kind)[array.offset : array.offset + len(array)]
    return (
        np.where(_bits(valid, array), values, values.dtype.type(missing))
        if array.null_count
        else values
    )


def given(array: pa.Array) -> Mask:
    """Which items are not null."""
    return _bits(array.buffers()[0], array) if array.null_count else np.ones(len(array), bool)


def _bits(bitmap: pa.Buffer | None, array: pa.Array) -> Mask:
    start, stop = array.offset, array.offset + len(array)
    if bitmap is None:
        return np.zeros(len(array), bool)
    return np.unpackbits(np.frombuffer(bitmap, np.uint8), count=stop, bitorder="little")[
        start:
    ].view(bool)


def offsets(array: pa.Array) -> npt.NDArray[np.int32]:
    """Where the items of a string, binary or list array begin in its data; one more than there are
    items."""
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array) + 1, np.int32)
    return np.frombuffer(buffer, np.int32)[array.offset : array.offset + len(array) + 1]


# -- different values -----------------------------------------------------------------------------


class Distinct(NamedTuple):
    """The different values of a column, and for each row which of them is its own."""

    values: list[pa.Scalar]
    which: Ints


def distinct(column: pa.Array) -> Distinct:
    """The different values of a column of any type."""
    column = _widened(column)
    _, first, which = np.unique(_codes(column), return_index=True, return_inverse=True)
    return Distinct([column[at] for at in first.tolist()], which.astype(np.int64))


def _widened(column: pa.Array) -> pa.Array:
    """Numbers of half or single precision in double, with only the digits that name them: 0.1, not
    0.10000000149011612."""
    as_text, as_double = (_for_narrow(column.type, kind) for kind in (pa.string(), pa.float64()))
    return column if as_text == column.type else column.cast(as_text).cast(as_double)


def _for_narrow(kind: pa.DataType, other: pa.DataType) -> pa.DataType:
    """A type with another one in place of half and single precision."""
    if is_list(kind):
        value_type = _for_narrow(kind.value_type, other)
        return kind if value_type == kind.value_type else pa.list_(value_type)
    return other if pa.types.is_float16(kind) or pa.types.is_float32(kind) else kind


def _codes(column: pa.Array) -> Ints:
    """Numbers that are the same only for the same values, and mostly so; Arrow has none for what is
    nested."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _codes(column.storage)
    if pa.types.is_dictionary(kind):
        return _codes(column.dictionary_decode())
    if pa.types.is_struct(kind):
        codes = given(column).astype(np.int64)
        for child in column.flatten():
            _, codes = np.unique(codes, return_inverse=True)
            more = _codes(child)
            codes = codes * (more.max(initial=0) + 2) + more + 1
        return codes
    if is_list(kind):
        column = column.cast(pa.list_(kind.value_type))
        inside, ends = _codes(column.values).tobytes(), (offsets(column) * 8).tolist()
        there = given(column).tolist()
        lists = [
            inside[a:b] if one else None for one, (a, b) in zip(there, pairwise(ends), strict=True)
        ]
        numbers_of: dict[bytes | None, int] = {}
        return np.array([numbers_of.setdefault(one, len(numbers_of)) for one in lists], np.int64)
    try:
        return view(column.dictionary_encode().indices, missing=-1).astype(np.int64)
    except pa.ArrowNotImplementedError:
        return np.arange(len(column))


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's five kinds of lists."""
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )
