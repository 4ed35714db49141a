"""Datasets in files: parquet, JSON and CSV, or a folder of them, local or in a store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

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
from skill_factory.core.sources.annotated_columns import TypedRows, find_columns, read_columns
from skill_factory.core.sources.batches import (
    BATCH_BYTES,
    DAMAGED,
    MAX_BATCH_ROWS,
    Batch,
    UnreadIn,
    add_unread,
    first_line,
    no_origin,
)
from skill_factory.core.sources.csv_files import read_csv
from skill_factory.core.sources.dataset_cards import configs_of
from skill_factory.core.sources.json_files import read_json
from skill_factory.errors import InputError

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

    def batches(self, columns: Columns) -> Iterator[Batch]:
        total = 0
        for path in self.files:
            count = 0
            for table, unread in _read_file(path, columns):
                add_unread(self.unread, unread, str(path), count)
                yield Batch(table, str(path), count, total + count)
                count += table.num_rows
            self.rows[str(path)] = count
            total += count
        if total == 0:
            raise InputError(f"{self.name}: the dataset has no rows")


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


def _read_file(path: Place, columns: Columns) -> Iterator[TypedRows]:
    try:
        if bytes_of(path) == 0:
            raise InputError(f"{path}: the file is empty")
        yield from _READERS.get(kind_of(path), read_json)(path, columns)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeEncodeError:
        raise InputError(f"{str(path)!a}: cannot be read: its name is not UTF-8") from None


def _read_parquet(path: Place, columns: Columns) -> Iterator[TypedRows]:
    try:
        # Not buffered ahead: that holds a whole row group, and a file may be a single one.
        file = pq.ParquetFile(to_parquet(path), pre_buffer=False, buffer_size=1 << 20)
    except DAMAGED as error:
        raise InputError(f"{path}: not a parquet file ({first_line(error)})") from None
    with file:
        inputs = find_columns(file.schema_arrow, columns, str(path))
        # A row group is decoded a few rows at a time: its size is the writer's choice, not ours.
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        bytes_a_row = max(
            (g.total_byte_size / g.num_rows for g in groups if g.num_rows), default=1.0
        )
        size = int(min(MAX_BATCH_ROWS, max(16, BATCH_BYTES / max(bytes_a_row, 1.0))))
        names, count = [input_column.name for input_column in inputs], 0
        try:
            for batch in file.iter_batches(size, columns=names):
                yield read_columns(batch, inputs, str(path), count)
                count += batch.num_rows
        except DAMAGED as error:
            raise InputError(f"{path}: the parquet file is damaged ({first_line(error)})") from None


_READERS = {"parquet": _read_parquet, **dict.fromkeys(CSV_KINDS, read_csv)}
"""How each kind of file is read; all others as JSON."""
