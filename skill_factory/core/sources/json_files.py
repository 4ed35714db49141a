"""Rows of JSON files: lines or one array, by Arrow, and by Python where Arrow gives up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from skill_factory.core.columns import Columns
from skill_factory.core.places import Place
from skill_factory.core.sources.annotated_columns import (
    InputColumn,
    TypedRows,
    find_columns,
    read_columns,
)
from skill_factory.core.sources.json_rows import FoundTypes, PlacedRow, from_objects
from skill_factory.core.whole_files import open_unpacked
from skill_factory.errors import ColumnError, InputError

CHUNK_BYTES = 16 << 20
"""How much of a file is parsed at a time, or less."""

_EXACT = 2.0**53
"""From here on a double may be a whole number that was written in other digits."""


def read_json(path: Place, columns: Columns, at_once: int) -> Iterator[TypedRows]:
    """The rows of a JSON file in batches of up to `at_once` bytes of it, as
    `annotated_columns.find_columns` says; an array is read as a whole.

    Types come from the values that are there. Raises `InputError` for what is not JSON, or not
    objects, and `ColumnError` for a missing or mistyped column; both name the line.
    """
    with open_unpacked(path) as stream:
        start = stream.read(1024)
        if _is_array(start):
            yield from _read_json_array(path, start + stream.read(), columns)
        else:
            yield from _read_json_lines(path, _whole_lines(start, stream, at_once), columns)


def read_objects(path: Place) -> Iterator[dict[str, Any]]:
    """The objects of a JSON file as they are, whatever types they hold.

    Raises `InputError`, naming the line, for what is not JSON, or not objects.
    """
    with open_unpacked(path) as stream:
        start = stream.read(1024)
        if _is_array(start):
            yield from (row for _, row in _array_rows(path, start + stream.read()))
            return
        line = 1
        for chunk in _whole_lines(start, stream):
            yield from (row for _, row in _json_lines(path, chunk, line))
            line += chunk.count(b"\n")


def _is_array(start: bytes) -> bool:
    return start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def _read_json_lines(path: Place, chunks: Iterable[bytes], columns: Columns) -> Iterator[TypedRows]:
    found, inputs, line = FoundTypes(columns), list[InputColumn](), 1
    for chunk in chunks:
        read = _by_arrow(path, chunk, found, inputs) if inputs else None
        if read is None:
            rows = list(_json_lines(path, chunk, line))
            if found.add(row for _, row in rows) or not inputs:
                inputs = find_columns(found.schema(), columns, str(path))
                read = _by_arrow(path, chunk, found, inputs)
            if read is None:
                read = [from_objects(path, rows, inputs)]
        yield from read
        line += chunk.count(b"\n")


def _whole_lines(rest: bytes, stream: pa.NativeFile, at_once: int = CHUNK_BYTES) -> Iterator[bytes]:
    while block := stream.read(min(at_once, CHUNK_BYTES)):
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block
    if rest.strip():
        yield rest


# -- by Arrow -------------------------------------------------------------------------------------


def _by_arrow(
    path: Place, chunk: bytes, found: FoundTypes, inputs: Sequence[InputColumn]
) -> list[TypedRows] | None:
    """Whole lines; None if Arrow cannot read all of them as they are."""
    types = found.for_arrow(inputs)
    if types is None or chunk.lstrip().startswith(b"null") or b"\nnull" in chunk:
        return None  # a line that is null alone makes pyarrow 26.0.1 crash, or passes as a row
    try:
        table = pj.read_json(
            pa.BufferReader(chunk),
            pj.ReadOptions(use_threads=False, block_size=len(chunk) + 1),
            pj.ParseOptions(explicit_schema=types, unexpected_field_behavior="ignore"),
        )
        batches = table.combine_chunks().to_batches()
        if not all(map(_is_exact, batches)):
            return None
        return [read_columns(batch, inputs, str(path), 0) for batch in batches if batch.num_rows]
    except (pa.ArrowInvalid, UnicodeDecodeError, ColumnError):
        return None  # by Python, which knows the line


def _is_exact(batch: pa.RecordBatch) -> bool:
    """Whether all whole numbers are what was written, where Arrow has read doubles."""
    doubles = [column for column in batch.columns if pa.types.is_floating(column.type)]
    largest = [pc.max(pc.abs(column)).as_py() for column in doubles]
    return all(number is None or number < _EXACT for number in largest)


def _parsed(text: bytes, what: str) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig", "surrogateescape"), parse_int=_integer)
    except ValueError as error:
        raise InputError(f"{what} JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{what} JSON that can be read: it is nested too deeply") from None


def _integer(digits: str) -> int | Decimal:
    try:
        return int(digits)
    except ValueError:  # Python refuses to make an int of 5,000 digits
        return Decimal(digits)


def _json_lines(path: Place, chunk: bytes, first_line: int) -> Iterator[PlacedRow]:
    for number, line in enumerate(chunk.split(b"\n"), first_line):
        if line.strip():
            value = _parsed(line, f"{path}: line {number} is not")
            if not isinstance(value, dict):
                raise InputError(f"{path}: line {number} is not a JSON object")
            yield f"line {number}", value


def _array_rows(path: Place, content: bytes) -> list[PlacedRow]:
    values = _parsed(content, f"{path}: not")
    rows = [(f"row {number}", value) for number, value in enumerate(values)]
    for place, value in rows:
        if not isinstance(value, dict):
            raise InputError(f"{path}: {place} is not a JSON object")
    return rows


def _read_json_array(path: Place, content: bytes, columns: Columns) -> Iterator[TypedRows]:
    rows = _array_rows(path, content)
    found = FoundTypes(columns)
    found.add(row for _, row in rows)
    inputs = find_columns(found.schema(), columns, str(path))
    for start in range(0, len(rows), 1024):
        yield from_objects(path, rows[start : start + 1024], inputs)
