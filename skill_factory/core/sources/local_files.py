"""Datasets in files: parquet, JSON and CSV, or a folder of them, local or in a store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial

import pyarrow.parquet as pq

from skill_factory.core.columns import Columns
from skill_factory.core.places import (
    Place,
    RemotePath,
    bytes_of,
    files_below,
    in_parallel,
    to_parquet,
)
from skill_factory.core.sources.annotated_columns import (
    TypedRows,
    Unread,
    find_columns,
    read_columns,
)
from skill_factory.core.sources.batches import (
    BATCH_BYTES,
    DAMAGED,
    MAX_BATCH_ROWS,
    Batch,
    UnreadIn,
    add_unread,
    no_origin,
)
from skill_factory.core.sources.csv_files import read_csv
from skill_factory.core.sources.dataset_cards import configs_of
from skill_factory.core.sources.json_files import read_json
from skill_factory.errors import InputError, first_line

DATA_SUFFIX = re.compile(
    r"\.(parquet|jsonl|json|ndjson|csv|tsv)(\.gz|\.bz2|\.zst|\.lz4)?$", re.IGNORECASE
)
# Files that tools lay beside the data, never data themselves.
_NOT_DATA = {
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "manifest.json",
}
# As `datasets` finds splits: a word of the path, between characters that are no letters or digits.
_SPLIT = re.compile(r"(?<![a-z0-9])(train|test|val|dev|eval)(?:id|idation|ing)?(?![a-z0-9])", re.I)

CSV_KINDS = ("csv", "tsv")
_PLAIN = {".json", ".jsonl", ".ndjson", ".csv", ".tsv"}


@dataclass
class FileSource:
    """An annotated dataset in files of one kind; a `Source`."""

    name: str
    files: tuple[Place, ...]
    license: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    unread: dict[str, UnreadIn] = field(default_factory=dict)
    origin: dict[str, str | None] = field(default_factory=no_origin)

    def count(self) -> int | None:
        counts = [int(footer.num_rows) for footer in self._footers if footer is not None]
        return sum(counts) if len(counts) == len(self.files) else None

    def size(self) -> int:
        return sum(map(_text_size, self.files, self._footers))

    @cached_property
    def _footers(self) -> list[pq.FileMetaData | None]:
        return in_parallel(_footer, self.files)

    def batches(self, columns: Columns, at_once: int | None = None) -> Iterator[Batch]:
        total = 0
        for path in self.files:
            count = 0
            for table, unread in _read_file(path, columns, at_once or BATCH_BYTES):
                add_unread(self.unread, unread, str(path), count)
                yield Batch(table, str(path), count, total + count)
                count += table.num_rows
            self.rows[str(path)] = count
            total += count
        if total == 0:
            raise InputError(f"{self.name}: the dataset has no rows")

    def pieces(self, most: int) -> list[FilePiece] | None:
        """The input in pieces of at most so many bytes, where its row groups are no larger, for
        readers anywhere; None: only parquet files say where their rows are."""
        if kind_of(self.files[0]) != "parquet":
            return None
        pieces, row = list[FilePiece](), 0
        for path, footer in zip(self.files, self._footers, strict=True):
            pieces += _pieces_of(path, footer, row, most)
            row += footer.num_rows if footer is not None else 0
        return pieces


@dataclass(frozen=True)
class FilePiece:
    """Neighbouring row groups of a parquet file.

    `file_row` is the place of their first row in the file, `row` that in the whole input. `groups`
    None: the file says nothing of itself, and who reads it learns why.
    """

    path: Place
    groups: range | None
    file_row: int
    row: int

    def batches(self, columns: Columns, at_once: int) -> Iterator[tuple[Batch, dict[str, Unread]]]:
        """Its rows, with what of some columns, by role, could not be read in each batch. Raises as
        `Source.batches`."""
        count = 0
        for table, unread in _read_file(self.path, columns, at_once, self.groups, self.file_row):
            yield Batch(table, str(self.path), self.file_row + count, self.row + count), unread
            count += table.num_rows


def _pieces_of(
    path: Place, footer: pq.FileMetaData | None, row: int, most: int
) -> Iterator[FilePiece]:
    if footer is None or not footer.num_row_groups:
        yield FilePiece(path, None, 0, row)
        return
    first = file_row = rows = size = 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        if number > first and size + group.total_byte_size > most:
            yield FilePiece(path, range(first, number), file_row, row + file_row)
            first, file_row, rows, size = number, file_row + rows, 0, 0
        rows += group.num_rows
        size += group.total_byte_size
    yield FilePiece(path, range(first, footer.num_row_groups), file_row, row + file_row)


def _footer(path: Place) -> pq.FileMetaData | None:
    """What a parquet file says of itself; None for others, and where reading will say why."""
    try:
        return pq.read_metadata(to_parquet(path)) if kind_of(path) == "parquet" else None
    except (*DAMAGED, OSError):
        return None


def _text_size(path: Place, footer: pq.FileMetaData | None) -> int:
    if footer is not None:
        groups = map(footer.row_group, range(footer.num_row_groups))
        return sum(max(0, group.total_byte_size) for group in groups)  # below 0 in a damaged one
    if kind_of(path) == "parquet":
        return 0  # it cannot be read
    return bytes_of(path) * (1 if path.suffix.lower() in _PLAIN else 4)  # as gzip shrinks text


def data_files(folder: Place) -> tuple[Place, ...]:
    """The data files of a folder, in order of their paths.

    Raises `InputError` if there are none, files of several kinds, configs or splits, and for a link
    to nothing.
    """
    inside = {
        path: below
        for path, below in files_below(folder)
        if DATA_SUFFIX.search(path.name)
        and path.name not in _NOT_DATA
        and not any(part.startswith((".", "_")) for part in below.parts)
    }
    found = list(inside)
    for path in found:
        if not isinstance(path, RemotePath) and not path.exists():
            raise InputError(f"{path}: a link to a file that is not there")
    if not found:
        raise InputError(f"{folder}: no parquet, jsonl, json or csv file in this folder")
    # A CSV file beside other data is mostly a list that somebody keeps.
    found = [path for path in found if kind_of(path) not in CSV_KINDS] or found
    kinds = {kind_of(path) for path in found}
    if len(kinds) > 1:
        raise InputError(
            f"{folder}: holds {' and '.join(sorted(kinds))} files; "
            "name one file or a folder of one kind"
        )
    if len(configs := configs_of(folder)) > 1:
        raise InputError(
            f"{folder}: holds the configs {', '.join(configs)}; choose one with --input-config"
        )
    words = (_SPLIT.findall(str(inside[path]).lower()) for path in found)
    splits = {word for some in words for word in some}
    if len(splits) > 1:
        raise InputError(
            f"{folder}: holds the splits {', '.join(sorted(splits))}; "
            "choose one with --input-split, or name a file"
        )
    return tuple(found)


def kind_of(path: Place) -> str:
    """What kind of file it is, by its name."""
    match = DATA_SUFFIX.search(path.name)
    return match[1].lower() if match else "parquet"


def _read_file(
    path: Place, columns: Columns, at_once: int, groups: range | None = None, first: int = 0
) -> Iterator[TypedRows]:
    """The rows of a file, or of these row groups of a parquet file, which begin at row `first`."""
    read = _READERS.get(kind_of(path), read_json)
    if groups is not None:
        read = partial(_read_parquet, groups=groups, count=first)
    try:
        if bytes_of(path) == 0:
            raise InputError(f"{path}: the file is empty")
        yield from read(path, columns, at_once)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeEncodeError:
        raise InputError(f"{str(path)!a}: cannot be read: its name is not UTF-8") from None


_FIRST_ROWS = 64
"""Rows that are decoded to see how large they are."""


def _read_parquet(
    path: Place, columns: Columns, at_once: int, groups: range | None = None, count: int = 0
) -> Iterator[TypedRows]:
    """Rows of a file, or of some of its row groups, the first of which is row `count`."""
    try:
        # Not buffered ahead: that holds a whole row group, and a file may be a single one.
        file = pq.ParquetFile(to_parquet(path), pre_buffer=False, buffer_size=1 << 20)
    except DAMAGED as error:
        raise InputError(f"{path}: not a parquet file ({first_line(error)})") from None
    with file:
        inputs = find_columns(file.schema_arrow, columns, str(path))
        names = [input_column.name for input_column in inputs]
        chosen = None if groups is None else list(groups)
        try:
            # A few rows at a time: the size of a row group is the writer's choice, not ours.
            size = int(min(MAX_BATCH_ROWS, max(1, at_once / _bytes_a_row(file, names))))
            for batch in file.iter_batches(size, chosen, columns=names):
                yield read_columns(batch, inputs, str(path), count)
                count += batch.num_rows
        except DAMAGED as error:
            raise InputError(f"{path}: the parquet file is damaged ({first_line(error)})") from None


def _bytes_a_row(file: pq.ParquetFile, names: list[str]) -> float:
    """By the largest row group, or by the first rows: texts that repeat take little in a file."""
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    sizes = [g.total_byte_size / g.num_rows for g in groups if g.num_rows]
    first = next(file.iter_batches(_FIRST_ROWS, columns=names), None)
    return float(max(1.0, *sizes, first.nbytes / first.num_rows if first else 1.0))


_READERS = {"parquet": _read_parquet, **dict.fromkeys(CSV_KINDS, read_csv)}
"""How each kind of file is read; all others as JSON."""
