"""Rows of CSV files: cells are text, and lists are written in them as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from skill_factory.core.columns import LIST_ROLES, Columns
from skill_factory.core.places import Place
from skill_factory.core.sources.annotated_columns import InputColumn, TypedRows, find_columns
from skill_factory.core.sources.json_rows import FoundTypes, PlacedRow, from_objects
from skill_factory.core.whole_files import open_unpacked
from skill_factory.errors import ColumnError, InputError

_AT_ONCE = 1024
"""Rows that are read together, or fewer."""

_LONGEST_CELL = 2**31 - 1
_DELIMITERS = ",;\t"
_UTF_16 = ("\udcff\udcfe", "\udcfe\udcff")
"""How a text in UTF-16 begins where UTF-8 is expected."""


def read_csv(path: Place, columns: Columns, at_once: int) -> Iterator[TypedRows]:
    """The rows of a CSV file in batches of about `at_once` bytes, as
    `annotated_columns.find_columns` types them.

    An empty cell is null. A column of responses, their answers and correctness, or reflections
    holds lists if its first value is in square brackets; an answer in brackets beside a response
    that is no list is a text, as the interval [1, 2]. Raises `InputError` for what is no CSV,
    and `ColumnError` for a missing or mistyped column, a cell that is no JSON list among others;
    both name row and line.
    """
    found, inputs = FoundTypes(columns), list[InputColumn]()
    rows = _with_lists(path, _rows(path), columns)
    while some := list(_some(rows, at_once)):
        if found.add(row for _, row in some) or not inputs:
            inputs = find_columns(found.schema(), columns, str(path))
        yield from_objects(path, some, inputs)


def _some(rows: Iterator[PlacedRow], at_once: int) -> Iterator[PlacedRow]:
    size = 0
    for place, row in islice(rows, _AT_ONCE):
        yield place, row
        size += _length(list(row.values()))
        if size >= at_once:
            return


def _length(cell: Any) -> int:
    """About how many characters there are in a cell, or in a list."""
    return sum(map(_length, cell)) if isinstance(cell, list) else len(str(cell))


def read_csv_objects(path: Place) -> Iterator[dict[str, Any]]:
    """The rows of a CSV file by their columns' names: text, None for an empty cell, and a list
    where a column holds messages. Raises `InputError` and `ColumnError` as `read_csv` does."""
    yield from (row for _, row in _with_lists(path, _rows(path), None))


def _rows(path: Place) -> Iterator[PlacedRow]:
    csv.field_size_limit(_LONGEST_CELL)
    with open_unpacked(path) as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
        header = text.readline()
        if header.startswith(_UTF_16):
            raise InputError(f"{path}: is UTF-16; save it as UTF-8")
        delimiter = _delimiter(path, header)
        reader = csv.reader(chain([header], text), delimiter=delimiter, strict=True)
        try:
            names = _names(path, next(reader, []))
            number, line = 0, reader.line_num + 1
            for cells in reader:
                if cells:  # not a blank line
                    yield _row(path, f"row {number} (line {line})", names, cells)
                    number += 1
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"{path}: line {reader.line_num} is not CSV: {error}") from None


def _delimiter(path: Place, header: str) -> str:
    """What stands between cells: a tab in a .tsv file, else the sign that the header has most."""
    is_tsv = ".tsv" in map(str.lower, path.suffixes)
    return "\t" if is_tsv and "\t" in header else max(_DELIMITERS, key=header.count)


def _names(path: Place, header: list[str]) -> list[str]:
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise InputError(f"{path}: the header names the column {twice[0]!r} twice")
    return header


def _row(path: Place, place: str, names: list[str], cells: list[str]) -> PlacedRow:
    if len(cells) != len(names):
        raise InputError(
            f"{path}: {place} has {len(cells)} cells, but the header names {len(names)} columns; "
            "a cell with a comma or a line break in it must be in quotes"
        )
    return place, {name: cell or None for name, cell in zip(names, cells, strict=True)}


# -- lists in cells -------------------------------------------------------------------------------


def _with_lists(
    path: Place, rows: Iterable[PlacedRow], columns: Columns | None
) -> Iterator[PlacedRow]:
    """Rows with the lists in them read; which columns hold lists is told by their first value.
    `columns` None: those of no annotated dataset, so that only messages are lists."""
    holds: dict[str, bool] = {}
    for place, row in rows:
        for name, cell in row.items():
            if cell is not None and name not in holds:
                holds[name] = _is_list(cell, columns is not None and _may_list(name, row, columns))
            if cell is not None and holds[name]:
                row[name] = _list(cell, f"{path}: {place}, column {name!r}")
        yield place, row


def _may_list(name: str, row: dict[str, Any], columns: Columns) -> bool:
    """Whether a column may hold lists, given the first row with a value in it."""
    response = row.get(columns.response)
    if name == columns.extracted_answer and isinstance(response, str):
        return _is_list(response, True)
    return name in (getattr(columns, role) for role in LIST_ROLES)


def _is_list(cell: str, expected: bool) -> bool:
    """Whether a cell holds a list; where none is expected, only messages are one."""
    begin, end = ("[", "]") if expected else ("[{", "}]")
    return cell.strip().startswith(begin) and cell.strip().endswith(end)


def _list(cell: str, place: str) -> list[Any]:
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise ColumnError(
            f'{place}: expected a list as JSON, such as ["a", "b"], found {cell[:60]!r}; '
            "from pandas, write the column with .map(json.dumps)"
        )
    return found
