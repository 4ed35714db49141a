"""Annotated datasets in: local parquet and JSON files, folders of them, or the Hub, a batch at a
time."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.core.annotated import Taken, Unread, check_annotated, take_in
from skill_factory.core.columns import Columns
from skill_factory.core.files import looks_local
from skill_factory.core.json_files import read_json, read_objects
from skill_factory.core.redaction import redact_hub
from skill_factory.core.yaml_files import UNREADABLE, parse
from skill_factory.errors import InputError

BATCH_BYTES = 16 << 20
"""About how much of an input is held decoded at a time."""

MAX_BATCH_ROWS = 16_384
_SUFFIX = re.compile(r"\.(parquet|jsonl|json|ndjson)(\.gz|\.bz2|\.zst|\.lz4)?$", re.IGNORECASE)
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
DAMAGED = (pa.ArrowException, UnicodeDecodeError, OverflowError)
"""What pyarrow raises for a parquet file with wrong bytes in it, besides `OSError`."""

_PLAIN = {".json", ".jsonl", ".ndjson"}
_REPO_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")


class Batch(NamedTuple):
    """Rows of an input, their columns as `annotated.check_annotated` types them.

    `where` names the file; `file_row` is the first row's place in it and `row` its place in the
    whole input, from 0.
    """

    table: pa.RecordBatch
    where: str
    file_row: int
    row: int


class UnreadIn(NamedTuple):
    """Rows in all of an input whose value in a column could not be read, and where the first is:
    `row` of the file `where`, from 0."""

    rows: int
    where: str
    row: int


class Source(Protocol):
    """An annotated dataset, found but not yet read.

    `rows` and `unread` fill as `batches` is read: the number of rows of each file, or of the one
    Hub dataset, and what of some columns, by role, could not be read.
    """

    name: str
    rows: dict[str, int]
    unread: dict[str, UnreadIn]
    license: str | None
    """What the card of the dataset says; None: it has none, or says nothing."""

    @property
    def origin(self) -> dict[str, str | None]:
        """Config, split and commit of a dataset that `datasets` loaded; all None for plain
        files."""

    def count(self) -> int | None:
        """The number of rows if that is known without reading them, else None."""

    def size(self) -> int:
        """A rough guess of the bytes of text in it."""

    def batches(self, columns: Columns) -> Iterator[Batch]:
        """All rows, in order, a batch at a time.

        Raises `InputError` for what cannot be read or is empty, `ColumnError` for a missing or
        mistyped column.
        """


def find_source(name: str, config: str | None, split: str | None, revision: str | None) -> Source:
    """What an input option names: a local path if there is one, else a dataset on the Hub.

    A folder is read with all its files, or, where `config` or `split` is given, as
    `datasets.load_dataset` reads it; one of `Dataset.save_to_disk` as that. Raises `InputError` for
    a path that does not exist or holds no data, a folder with several splits, options that a path
    has no use for, and a dataset that is not to be had.
    """
    try:
        path = Path(name).expanduser()
        there = path.exists()
    except (OSError, RuntimeError) as error:
        raise InputError(f"{name}: no such file or folder: {error}") from None
    if there and revision:
        raise InputError(f"{name}: --revision is for datasets on the Hub, and this is a local path")
    if path.is_file():
        if config or split:
            raise InputError(f"{name}: a file has no configs and splits to choose from")
        if not _SUFFIX.search(name):
            raise InputError(f"{name}: expected a .parquet, .jsonl or .json file (or .jsonl.gz)")
        return _Files(name, (path,))
    if path.is_dir():
        saved = (path / "state.json").exists() or (path / "dataset_dict.json").exists()
        if config or split or saved:
            return _load(path, config, split, None)
        return _Files(name, _data_files(path), _license(_header(path)))
    if looks_local(name) or not _REPO_ID.match(name) or _SUFFIX.search(name):
        raise InputError(f"{name}: no such file or folder")
    return _load(name, config, split, revision)


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
    if isinstance(found, _Loaded):
        rows = _rows_of(name, found.dataset.with_format("arrow")[:])
    else:
        assert isinstance(found, _Files)
        if _kind(found.files[0]) == "parquet":
            rows = _rows_of(name, _parquet_files(name, found.files))
        else:
            rows = _rows_of(name, [row for path in found.files for row in read_objects(path)])
    if not rows.count:
        raise InputError(f"{name}: the dataset has no rows")
    return rows


def _rows_of(source: str, found: pa.Table | list[dict[str, Any]]) -> Rows:
    if isinstance(found, pa.Table):
        return Rows(tuple(found.column_names), found.num_rows, partial(_column, source, found))
    names = tuple(dict.fromkeys(name for row in found for name in row))
    return Rows(names, len(found), lambda name: [row.get(name) for row in found])


def _column(source: str, table: pa.Table, name: str) -> list[Any]:
    try:
        values: list[Any] = table[name].to_pylist()
    except (*DAMAGED, ValueError) as error:  # not UTF-8, or a date that Python has not
        raise InputError(
            f"{source}: column {name!r} cannot be read: {_first_line(error)}"
        ) from None
    return values


def _parquet_files(name: str, files: tuple[Path, ...]) -> pa.Table:
    try:
        return pa.concat_tables(map(pq.read_table, files), promote_options="permissive")
    except (*DAMAGED, OSError) as error:
        raise InputError(f"{name}: cannot be read: {_first_line(error)}") from None


@dataclass
class _Files:
    name: str
    files: tuple[Path, ...]
    license: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    unread: dict[str, UnreadIn] = field(default_factory=dict)
    origin: dict[str, str | None] = field(
        default_factory=lambda: dict.fromkeys(("config", "split", "revision"))
    )

    def count(self) -> int | None:
        known = [int(footer.num_rows) for footer in self._footers if footer is not None]
        return sum(known) if len(known) == len(self.files) else None

    def size(self) -> int:
        return sum(map(_text_size, self.files, self._footers))

    @cached_property
    def _footers(self) -> list[pq.FileMetaData | None]:
        return [_footer(path) for path in self.files]

    def batches(self, columns: Columns) -> Iterator[Batch]:
        total = 0
        for path in self.files:
            count = 0
            for table, unread in _read_file(path, columns):
                _add_unread(self.unread, unread, str(path), count)
                yield Batch(table, str(path), count, total + count)
                count += table.num_rows
            self.rows[str(path)] = count
            total += count
        if total == 0:
            raise InputError(f"{self.name}: the dataset has no rows")


def _add_unread(
    known: dict[str, UnreadIn], unread: dict[str, Unread], where: str, first_row: int
) -> None:
    """Add what could not be read in a batch that begins at this row of a file."""
    for role, (rows, first) in unread.items():
        before = known.get(role, UnreadIn(0, where, first_row + first))
        known[role] = before._replace(rows=before.rows + rows)


def _footer(path: Path) -> pq.FileMetaData | None:
    """What a parquet file says of itself; None for others, and where reading will say why."""
    try:
        return pq.read_metadata(path) if _kind(path) == "parquet" else None
    except (*DAMAGED, OSError):
        return None


def _text_size(path: Path, footer: pq.FileMetaData | None) -> int:
    if footer is not None:
        groups = map(footer.row_group, range(footer.num_row_groups))
        return sum(max(0, group.total_byte_size) for group in groups)  # below 0 in a damaged one
    if _kind(path) == "parquet":
        return 0  # it cannot be read
    return path.stat().st_size * (1 if path.suffix.lower() in _PLAIN else 4)  # as gzip shrinks text


@dataclass
class _Loaded:
    """A dataset from the Hub, or a folder read by the rules of `datasets`."""

    name: str
    origin: dict[str, str | None]
    dataset: Any
    license: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    unread: dict[str, UnreadIn] = field(default_factory=dict)

    def count(self) -> int | None:
        return len(self.dataset)

    def size(self) -> int:
        return int(self.dataset.data.nbytes)

    def batches(self, columns: Columns) -> Iterator[Batch]:
        if not len(self.dataset):
            raise InputError(f"{self.name}: the dataset has no rows")
        intakes = check_annotated(self.dataset.features.arrow_schema, columns, self.name)
        size = max(16, min(MAX_BATCH_ROWS, BATCH_BYTES * len(self.dataset) // max(1, self.size())))
        chosen = self.dataset.select_columns([intake.name for intake in intakes])
        count = 0
        for table in chosen.with_format("arrow").iter(size):
            for batch in table.combine_chunks().to_batches():
                taken = take_in(batch, intakes, self.name, count)
                _add_unread(self.unread, taken.unread, self.name, count)
                yield Batch(taken.table, self.name, count, count)
                count += batch.num_rows
        self.rows[self.name] = count


def _load(name: str | Path, config: str | None, split: str | None, revision: str | None) -> _Loaded:
    # Imported here: `datasets` takes 0.7 s to import, and plain files do not need it.
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    license = _license(_header(name)) if isinstance(name, Path) else None
    nowhere = "" if isinstance(name, Path) else "no local file or folder of this name, and "
    try:
        if isinstance(name, Path) and ((name / "state.json").exists()):
            found = datasets.load_from_disk(str(name))
        elif isinstance(name, Path) and (name / "dataset_dict.json").exists():
            found = _split_of(datasets.load_from_disk(str(name)), name, split)
        elif isinstance(name, Path):
            found = datasets.load_dataset(str(name), config, split=split or "train")
        else:
            # Asked first: it names the commit, and `datasets` serves its cache to any token.
            with suppress(OfflineModeIsEnabled):
                info = HfApi().dataset_info(name, revision=revision)
                revision, license = info.sha, _license(info.card_data)
            found = datasets.load_dataset(name, config, split=split or "train", revision=revision)
    except RepositoryNotFoundError:
        raise InputError(
            f"{name}: {nowhere}no dataset on the Hub that you may read; "
            "for a private one log in with `hf auth login` or set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"{name}: the dataset has no revision {revision!r}") from None
    except InputError:
        raise
    except Exception as error:  # of four libraries' own trees, which have no common root
        if (splits := _UNKNOWN_SPLIT.search(str(error))) is not None:
            raise _no_split(name, split, re.findall(r"[\w.-]+", splits[1])) from None
        said = redact_hub(_first_line(error))
        raise InputError(f"{name}: {nowhere}cannot be loaded: {said}") from None
    origin = {"config": found.info.config_name, "split": str(found.split), "revision": revision}
    return _Loaded(str(name), origin, found, license)


# What `datasets` says of a split that is not there.
_UNKNOWN_SPLIT = re.compile(r"Unknown split .*Should be one of \[(.*)\]")


def _split_of(splits: Mapping[str, Any], name: Path, split: str | None) -> Any:
    if (split or "train") not in splits:
        raise _no_split(name, split, list(splits))
    return splits[split or "train"]


def _no_split(name: str | Path, asked_for: str | None, splits: list[str]) -> InputError:
    problem = f"has no split {asked_for!r}; it " if asked_for else ""
    return InputError(
        f"{name}: {problem}holds the splits {', '.join(sorted(splits))}; "
        "choose one with --input-split"
    )


def _data_files(folder: Path) -> tuple[Path, ...]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if _SUFFIX.search(path.name)
        and path.name not in _NOT_DATA
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        and not path.is_dir()
    )
    for path in found:
        if not path.exists():
            raise InputError(f"{path}: a link to a file that is not there")
    if not found:
        raise InputError(f"{folder}: no parquet, jsonl or json file in this folder")
    kinds = {_kind(path) for path in found}
    if len(kinds) > 1:
        raise InputError(
            f"{folder}: holds {' and '.join(sorted(kinds))} files; "
            "name one file or a folder of one kind"
        )
    if len(configs := _configs(folder)) > 1:
        raise InputError(
            f"{folder}: holds the configs {', '.join(configs)}; choose one with --input-config"
        )
    inside = (str(path.relative_to(folder)).lower() for path in found)
    splits = {word for path in inside for word in _SPLIT.findall(path)}
    if len(splits) > 1:
        raise InputError(
            f"{folder}: holds the splits {', '.join(sorted(splits))}; "
            "choose one with --input-split, or name a file"
        )
    return tuple(found)


def _configs(folder: Path) -> list[str]:
    """The configs that the card of a dataset folder names; none without a card or a header."""
    configs = _header(folder).get("configs")
    return [str(c.get("config_name")) for c in configs or [] if isinstance(c, dict)]


def _header(folder: Path) -> dict[str, Any]:
    """The header of a dataset folder's card; empty without one."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    try:
        header = parse(text.split("---")[1])[0] if text.startswith("---") else None
    except (*UNREADABLE, IndexError):
        return {}
    return header if isinstance(header, dict) else {}


def _license(header: Any) -> str | None:
    """The license that a card's header names; the first of several."""
    named = header.get("license") if header else None
    named = named[0] if isinstance(named, list) and named else named
    return named if isinstance(named, str) else None


def _kind(path: Path) -> str:
    match = _SUFFIX.search(path.name)
    return match[1].lower() if match else "parquet"


def _read_file(path: Path, columns: Columns) -> Iterator[Taken]:
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty")
        yield from (_read_parquet if _kind(path) == "parquet" else read_json)(path, columns)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeEncodeError:
        raise InputError(f"{str(path)!a}: cannot be read: its name is not UTF-8") from None


def _read_parquet(path: Path, columns: Columns) -> Iterator[Taken]:
    try:
        # Not buffered ahead: that holds a whole row group, and a file may be a single one.
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except DAMAGED as error:
        raise InputError(f"{path}: not a parquet file ({_first_line(error)})") from None
    with file:
        intakes = check_annotated(file.schema_arrow, columns, str(path))
        # A row group is decoded a few rows at a time: its size is the writer's choice, not ours.
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        bytes_a_row = max(
            (g.total_byte_size / g.num_rows for g in groups if g.num_rows), default=1.0
        )
        size = int(min(MAX_BATCH_ROWS, max(16, BATCH_BYTES / max(bytes_a_row, 1.0))))
        names, count = [intake.name for intake in intakes], 0
        try:
            for batch in file.iter_batches(size, columns=names):
                yield take_in(batch, intakes, str(path), count)
                count += batch.num_rows
        except DAMAGED as error:
            raise InputError(
                f"{path}: the parquet file is damaged ({_first_line(error)})"
            ) from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
