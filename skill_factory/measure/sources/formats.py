"""The formats: how each is told from the others by its content, and what reads it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from skill_factory.core.sources.local_files import DATA_SUFFIX
from skill_factory.errors import InputError, OptionError
from skill_factory.measure.sources import harnesses, trainers
from skill_factory.measure.sources.columns import read_columns
from skill_factory.measure.sources.responses import ColumnNames, FoundResponse, Reader, Row, rows_of

Format = Literal["columns", "verl", "trl", "lm-eval", "inspect", "batch"]
FORMATS: tuple[Format, ...] = get_args(Format)

_INSPECT = ".eval"
_BESIDE = ("results_", "manifest.json", "summary.json", "logs.json")
"""How the names of files begin that lie beside the data of some formats."""


_PART = re.compile(r"(?:completions_)?\d+|responses|.*-\d+-of-\d+")
"""Names of files that say nothing of the questions."""


class File(NamedTuple):
    """A file to read, and the name of the set that its questions are of, where it does not say."""

    path: Path
    question_set: str


def files_in(paths: tuple[Path, ...]) -> list[File]:
    """The files that are named, and those in the folders that are, in the order of their names;
    numbers are in their own order. Raises `InputError` for what is not there, and for a folder
    without any."""
    found = []
    for path in paths:
        if path.is_dir():
            inside = _data_in(path)
            if not inside:
                raise InputError(f"{path}: no parquet, jsonl, json or .eval file in this folder")
            found += [File(one, _set_of(path, one)) for one in inside]
        elif path.is_file():
            found.append(File(path, path.parent.name if _is_part(path) else _stem(path)))
        else:
            raise InputError(f"{path}: no such file or folder")
    return found


def _data_in(folder: Path) -> list[Path]:
    if (folder / "responses.parquet").is_file():  # measured before
        return [folder / "responses.parquet"]
    there = [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and (DATA_SUFFIX.search(path.name) or path.suffix == _INSPECT)
        and not path.name.startswith((".", *_BESIDE))
    ]
    return sorted(there, key=lambda path: (str(path.parent), len(path.name), path.name))


def _set_of(folder: Path, path: Path) -> str:
    return folder.resolve().name if _is_part(path) or path.parent != folder else _stem(path)


def _is_part(path: Path) -> bool:
    """Whether a file is one of several: a training step each, or parts of one dataset."""
    return bool(_PART.fullmatch(_stem(path)))


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def format_of(path: Path) -> Format:
    """The format of a file, by its first row."""
    if path.suffix == _INSPECT:
        return "inspect"
    first = next(islice(rows_of(path), 1), None)
    if first is None:
        raise InputError(f"{path}: the file has no rows")
    return _of_row(first)


def _of_row(row: Row) -> Format:
    names = set(row)
    if {"doc_id", "resps", "arguments"} <= names:
        return "lm-eval"
    if {"input", "output", "step"} <= names and names & {"gts", "score"}:
        return "verl"
    if {"custom_id", "response"} <= names:
        return "batch"
    if {"step", "prompt", "completion"} <= names:
        return "trl"
    if {"eval", "plan"} <= names and isinstance(row["eval"], Mapping):
        return "inspect"
    return "columns"


_READERS: Mapping[Format, Reader] = {
    "columns": read_columns,
    "verl": trainers.read_verl,
    "trl": trainers.read_trl,
    "lm-eval": harnesses.read_lm_eval,
    "inspect": harnesses.read_inspect,
}


def read_file(
    path: Path, kind: Format | None, names: ColumnNames, requests: Path | None, failed: Counter[str]
) -> Iterator[FoundResponse]:
    """The responses of a file; `kind` None: as its first row says; `failed` counts
    requests of a batch without an answer. Raises `InputError` for what
    cannot be read, `OptionError` for answers of a batch without the file of requests."""
    kind = kind or format_of(path)
    if kind == "batch":
        if requests is None:
            raise OptionError(
                f"{path}: answers of a batch do not say their questions; name the file of requests "
                "with --requests"
            )
        asked = harnesses.read_requests(requests)
        read: Reader = partial(harnesses.read_batch, requests=asked, failed=failed)
    else:
        read = _READERS[kind]
    return read(path, names)
