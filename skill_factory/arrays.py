"""Between NumPy and Arrow without pandas.

`pa.array()` and `Array.to_numpy()` import pandas whenever it is installed: 0.25 s and 50 MB in
every process (pyarrow 26). These do not, and copy nothing but text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
