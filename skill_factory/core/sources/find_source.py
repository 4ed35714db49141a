"""Which dataset an input option names: files, a folder, or a dataset on the Hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.core.places import (
    Place,
    RemotePath,
    is_remote,
    place,
    repository_in,
    to_parquet,
)
from skill_factory.core.sources.batches import DAMAGED, Source
from skill_factory.core.sources.csv_files import read_csv_objects
from skill_factory.core.sources.dataset_cards import card_header, license_of
from skill_factory.core.sources.hf_datasets import LoadedSource, load
from skill_factory.core.sources.json_files import read_objects
from skill_factory.core.sources.local_files import (
    CSV_KINDS,
    DATA_SUFFIX,
    FileSource,
    data_files,
    kind_of,
)
from skill_factory.core.whole_files import looks_local
from skill_factory.errors import InputError, first_line

_REPO_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")


def find_source(name: str, config: str | None, split: str | None, revision: str | None) -> Source:
    """What an input option names: a file or folder, by its path or URL, if there is one, else a
    dataset on the Hub.

    A folder is read with all its files, or, where `config` or `split` is given, as
    `datasets.load_dataset` reads it; one of `Dataset.save_to_disk` as that. Raises `InputError` for
    a path that does not exist or holds no data, a folder with several splits, options that a path
    has no use for, and a dataset that is not to be had.
    """
    if (repository := repository_in(name)) is not None:
        return load(repository[0], config, split, revision or repository[1])
    try:
        path = place(name) if is_remote(name) else Path(name).expanduser()
        there = path.exists()
    except (OSError, RuntimeError) as error:
        raise InputError(f"{name}: no such file or folder: {error}") from None
    if there and revision:
        what = "URL" if is_remote(name) else "local path"
        raise InputError(f"{path}: --revision is for datasets on the Hub, and this is a {what}")
    name = str(path) if isinstance(path, RemotePath) else name
    if path.is_file():
        if config or split:
            raise InputError(f"{name}: a file has no configs and splits to choose from")
        if not DATA_SUFFIX.search(path.name):
            raise InputError(
                f"{name}: expected a .parquet, .jsonl, .json or .csv file (or .jsonl.gz)"
            )
        return FileSource(name, (path,))
    if path.is_dir():
        return _folder_source(name, path, config, split)
    if (
        isinstance(path, RemotePath)
        or looks_local(name)
        or not _REPO_ID.match(name)
        or DATA_SUFFIX.search(name)
    ):
        raise InputError(f"{name}: no such file or folder")
    return load(name, config, split, revision)


def _folder_source(name: str, folder: Place, config: str | None, split: str | None) -> Source:
    if (folder / "sft_train").is_dir() and (folder / "manifest.json").is_file():
        raise InputError(f"{name}: is an SFT folder: its traces are made already")
    saved = (folder / "state.json").exists() or (folder / "dataset_dict.json").exists()
    if config or split or saved:
        return load(folder, config, split, None)
    return FileSource(name, data_files(folder), license_of(card_header(folder)))


@dataclass(frozen=True)
class Rows:
    """All rows of a dataset, its values as they are: a column may hold several types."""

    names: tuple[str, ...]
    count: int
    column: Callable[[str], list[Any]]

    def values(self, name: str | None) -> list[Any]:
        """A column's value of each row; all None for one that is not there."""
        return self.column(name) if name in self.names else [None] * self.count


def read_questions(name: str, config: str | None, split: str | None, revision: str | None) -> Rows:
    """All of a dataset, with all its columns; `name` and the others as `find_source` takes them.

    Raises `InputError` as that does, and for a dataset without rows.
    """
    found = find_source(name, config, split, revision)
    if isinstance(found, LoadedSource):
        rows = _rows_of(name, found.dataset.with_format("arrow")[:])
    else:
        assert isinstance(found, FileSource)
        kind = kind_of(found.files[0])
        if kind == "parquet":
            rows = _rows_of(name, _parquet_files(name, found.files))
        else:
            read = read_csv_objects if kind in CSV_KINDS else read_objects
            rows = _rows_of(name, [row for path in found.files for row in read(path)])
    if not rows.count:
        raise InputError(f"{name}: the dataset has no rows")
    return rows


def read_some(
    name: str, config: str | None, split: str | None, revision: str | None, rows: int
) -> Iterator[list[dict[str, Any]]]:
    """All of a dataset with all its columns, so many rows at a time; `name` and the others as
    `find_source` takes them. Raises `InputError` as that does."""
    found = find_source(name, config, split, revision)
    if isinstance(found, LoadedSource):
        for table in found.dataset.with_format("arrow").iter(rows):
            yield table.to_pylist()
        return
    assert isinstance(found, FileSource)
    for path in found.files:
        yield from _rows_of_file(path, rows)


def _rows_of_file(path: Place, rows: int) -> Iterator[list[dict[str, Any]]]:
    kind = kind_of(path)
    if kind == "parquet":
        try:
            with pq.ParquetFile(to_parquet(path), pre_buffer=False, buffer_size=1 << 20) as file:
                for batch in file.iter_batches(rows):
                    yield batch.to_pylist()
        except (*DAMAGED, OSError) as error:
            raise InputError(f"{path}: cannot be read: {first_line(error)}") from None
        return
    objects = read_csv_objects(path) if kind in CSV_KINDS else read_objects(path)
    while some := list(islice(objects, rows)):
        yield some


def _rows_of(source: str, found: pa.Table | list[dict[str, Any]]) -> Rows:
    if isinstance(found, pa.Table):
        return Rows(tuple(found.column_names), found.num_rows, partial(_column, source, found))
    names = tuple(dict.fromkeys(name for row in found for name in row))
    return Rows(names, len(found), lambda name: [row.get(name) for row in found])


def _column(source: str, table: pa.Table, name: str) -> list[Any]:
    try:
        values: list[Any] = table[name].to_pylist()
    except (*DAMAGED, ValueError) as error:  # not UTF-8, or a date that Python has not
        raise InputError(f"{source}: column {name!r} cannot be read: {first_line(error)}") from None
    return values


def _parquet_files(name: str, files: tuple[Place, ...]) -> pa.Table:
    try:
        return pa.concat_tables(
            (pq.read_table(to_parquet(one)) for one in files), promote_options="permissive"
        )
    except (*DAMAGED, OSError) as error:
        raise InputError(f"{name}: cannot be read: {first_line(error)}") from None
