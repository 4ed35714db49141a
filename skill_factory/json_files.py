"""Rows of JSON files: lines or one array, by Arrow, and by Python where Arrow gives up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pj

from skill_factory.columns import COLUMN_OPTIONS, OPTIONAL_COLUMNS, Columns
from skill_factory.errors import ColumnError, InputError
from skill_factory.tables import check_annotated, facts_of

CHUNK_BYTES = 16 << 20
"""How much of a file is parsed at a time."""


def read_json(path: Path, columns: Columns) -> Iterator[pa.RecordBatch]:
    """The rows of a JSON file in batches, typed as `tables.check_annotated` says.

    Types come from the values that are there. Raises `InputError` for what is not JSON, or not
    objects, and `ColumnError` for a missing or mistyped column; both name the line.
    """
    for batch in _read_json(path, columns):
        yield batch if pa.float64() not in batch.schema.types else _numbers_as_text(batch)


def read_objects(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON file as they are, whatever types they hold.

    Raises `InputError`, naming the line, for what is not JSON, or not objects.
    """
    with _opened(path) as stream:
        start = stream.read(1024)
        if _is_array(start):
            yield from (row for _, row in _array_rows(path, start + stream.read()))
            return
        line = 1
        for chunk in _whole_lines(start, stream):
            yield from (row for _, row in _json_lines(path, chunk, line))
            line += chunk.count(b"\n")


def _opened(path: Path) -> pa.NativeFile:
    packed = {"gz": "gzip", "bz2": "bz2", "zst": "zstd", "lz4": "lz4"}
    return pa.input_stream(str(path), compression=packed.get(path.suffix[1:].lower()))


def _is_array(start: bytes) -> bool:
    return start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def _numbers_as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Gold answers may be numbers in JSON; they are text here."""
    fields = [pa.field(f.name, _text_of(f.type)) for f in batch.schema]
    columns = [column.cast(f.type) for column, f in zip(batch.columns, fields, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _text_of(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_floating(kind) else kind


def _read_json(path: Path, columns: Columns) -> Iterator[pa.RecordBatch]:
    with _opened(path) as stream:
        start = stream.read(1024)
        if _is_array(start):
            yield from _read_json_array(path, start + stream.read(), columns)
            return
        types, line, samples = None, 1, dict[str, Any]()
        for chunk in _whole_lines(start, stream):
            table = _by_arrow(chunk, types) if types else None
            if table is None:
                rows = list(_json_lines(path, chunk, line))
                types = _json_types(path, rows, columns, samples)
                table = _by_arrow(chunk, types)
            if table is None:
                table = pa.Table.from_batches([_to_arrow(path, rows, types)])
            if table.num_rows:
                yield from table.combine_chunks().to_batches()
            line += chunk.count(b"\n")


def _by_arrow(chunk: bytes, types: pa.Schema) -> pa.Table | None:
    """Whole lines as a table; None if Arrow cannot read all of them."""
    if chunk.lstrip().startswith(b"null") or b"\nnull" in chunk:
        return None  # a line that is null alone makes pyarrow 26.0.1 crash, or passes as a row
    try:
        return pj.read_json(
            pa.BufferReader(chunk),
            pj.ReadOptions(use_threads=False, block_size=len(chunk) + 1),
            pj.ParseOptions(explicit_schema=types, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None


def _whole_lines(rest: bytes, stream: pa.NativeFile) -> Iterator[bytes]:
    while block := stream.read(CHUNK_BYTES):
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block
    if rest.strip():
        yield rest


_Row = tuple[str, dict[str, Any]]
"""An object and where it stands: "line 7" or "row 6"."""


def _parsed(text: bytes, what: str) -> Any:
    try:
        # No number of ours is that large, and Python refuses to make an int of 5,000 digits.
        return json.loads(text.decode("utf-8-sig", "surrogateescape"), parse_int=float)
    except ValueError as error:
        raise InputError(f"{what} JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{what} JSON that can be read: it is nested too deeply") from None


def _json_lines(path: Path, chunk: bytes, first_line: int) -> Iterator[_Row]:
    for number, line in enumerate(chunk.split(b"\n"), first_line):
        if line.strip():
            value = _parsed(line, f"{path}: line {number} is not")
            if not isinstance(value, dict):
                raise InputError(f"{path}: line {number} is not a JSON object")
            yield f"line {number}", value


def _json_types(
    path: Path, rows: Iterable[_Row], columns: Columns, samples: dict[str, Any]
) -> pa.Schema:
    """Types of the columns, from the deepest value that `samples` and some rows have for each."""
    needed = {getattr(columns, role) for role in [*COLUMN_OPTIONS, *OPTIONAL_COLUMNS]}
    for _, row in rows:
        for name, value in row.items():
            if name not in needed:
                samples.setdefault(name, None)
            elif samples.get(name) is None or _json_depth(value) > _json_depth(samples[name]):
                samples[name] = value
    fields = [
        pa.field(name.encode("utf-8", "replace").decode(), _json_type(value))
        for name, value in samples.items()
    ]
    found = pa.schema(fields)
    types = check_annotated(found, columns, str(path))
    numeric = {f.name: f.type for f in found if pa.types.is_floating(f.type)}
    return pa.schema([pa.field(f.name, numeric.get(f.name, f.type)) for f in types])


def _json_depth(value: object) -> int:
    """How many lists stand around a value; half more if that is known to be something."""
    if isinstance(value, list):
        return 2 + max((_json_depth(item) for item in value), default=0)
    return int(value is not None)


def _json_type(value: object) -> pa.DataType:
    if isinstance(value, list):
        return pa.list_(_json_type(max(value, key=_json_depth, default=None)))
    if isinstance(value, dict):
        known = {*(facts_of(value) or {})}
        named = known | {"nums"} if "numbers" in known else known
        return pa.struct([(key, _json_type(value[key])) for key in sorted(named & value.keys())])
    kinds = {str: pa.string(), bool: pa.bool_(), float: pa.float64()}
    return kinds.get(type(value), pa.null())


def _array_rows(path: Path, content: bytes) -> list[_Row]:
    values = _parsed(content, f"{path}: not")
    rows = [(f"row {number}", value) for number, value in enumerate(values)]
    for place, value in rows:
        if not isinstance(value, dict):
            raise InputError(f"{path}: {place} is not a JSON object")
    return rows


def _read_json_array(path: Path, content: bytes, columns: Columns) -> Iterator[pa.RecordBatch]:
    rows = _array_rows(path, content)
    types = _json_types(path, rows, columns, {})
    for start in range(0, len(rows), 1024):
        yield _to_arrow(path, rows[start : start + 1024], types)


def _to_arrow(path: Path, rows: list[_Row], types: pa.Schema) -> pa.RecordBatch:
    arrays = []
    for column in types:
        values = []
        for place, row in rows:
            value = row.get(column.name)
            if not _json_fits(value, column.type):
                raise ColumnError(
                    f"{path}: {place}, column {column.name!r}: "
                    f"expected {column.type}, found {_json_type(value)}"
                )
            values.append(_as_bytes(value))
        # Text goes in as bytes, so that what is no Unicode gets through to be counted; Arrow's
        # strings refuse it.
        arrays.append(_relabel(pa.array(values, _bytes_type(column.type)), column.type))
    return pa.RecordBatch.from_arrays(arrays, schema=types)


def _json_fits(value: object, kind: pa.DataType) -> bool:
    if value is None:
        return True
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(_json_fits(item, kind.value_type) for item in value)
    if pa.types.is_struct(kind):
        return isinstance(value, dict) and all(_json_fits(value.get(f.name), f.type) for f in kind)
    kinds = {pa.bool_(): bool, pa.float64(): float}
    return isinstance(value, kinds.get(kind, str))


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
