"""A measured folder: responses with their grades, their measures, the figures and the manifest."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from functools import lru_cache, partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_128_hexdigest

from skill_factory import __version__
from skill_factory.core.arrays import strings
from skill_factory.core.columns import Column
from skill_factory.core.tables import RESPONSES
from skill_factory.core.threads import in_order
from skill_factory.core.whole_files import new_file, sha256
from skill_factory.errors import InputError
from skill_factory.measure.figures import Group, Measured, each_group, groups_in, measured
from skill_factory.measure.question_sums import by_question
from skill_factory.measure.rows import (
    MeasuredBatch,
    has_judges,
    measure_batch,
    measure_elsewhere,
    measures_schema,
)
from skill_factory.measure.rules import MeasureRules
from skill_factory.tasks import references
from skill_factory.tasks.text import normal

RESPONSES_FILE, MEASURES_FILE = "responses.parquet", "measures.parquet"
SUMMARY_FILE, MANIFEST_FILE = "summary.json", "manifest.json"

BATCH_BYTES = 4 << 20
"""About how much text is read and graded at a time."""

IN_PROCESSES = 16 << 20
"""From so many bytes of text on, other processes work too; they take a second to start."""


def measure_responses(
    batches: Iterable[pa.RecordBatch],
    folder: Path,
    rules: MeasureRules,
    *,
    manifest: Callable[[], Mapping[str, Any]] = dict,
    progress: Callable[[int], object] = lambda rows: None,
) -> list[Measured]:
    """Measure batches of `tables.RESPONSES` into a folder that is there, each file whole or not.

    Rows without a grade are graded. `manifest` gives what its file says besides, once all is read;
    `progress` is called with the rows of each batch. Raises `InputError` if there are no rows,
    `TaskError` and `PluginError` as grading does.
    """
    groups = set[Group]()
    with ExitStack() as stack:
        responses = _Table(folder / RESPONSES_FILE, RESPONSES, stack)
        measures = _Table(folder / MEASURES_FILE, measures_schema(rules.words), stack)
        names = _QuestionIds()
        for done in _worked(batches, rules, stack):
            responses.write(done.responses)
            measures.write(names.added(done))
            groups.update(groups_in(done.measures))
            progress(done.responses.num_rows)
        if not groups:
            raise InputError("there are no responses to measure")
    found = [
        measured(group, by_question(pieces), rules.draws, rules.seed)
        for group, pieces in each_group(folder / MEASURES_FILE, groups)
    ]
    _write_json(folder / SUMMARY_FILE, summary(found, rules))
    _write_json(folder / MANIFEST_FILE, _manifest(folder, found, manifest()))
    return found


def is_measured(folder: Path) -> bool:
    """Whether a folder is one that `measure` or `evaluate` made."""
    return all((folder / name).is_file() for name in (RESPONSES_FILE, MEASURES_FILE, SUMMARY_FILE))


def summary(found: Iterable[Measured], rules: MeasureRules) -> dict[str, Any]:
    """What summary.json holds."""
    return {
        "interval": {"level": 0.95, "draws": rules.draws, "seed": rules.seed, "unit": "question"},
        "groups": [one.as_dict() for one in found],
    }


def _manifest(folder: Path, found: list[Measured], more: Mapping[str, Any]) -> dict[str, Any]:
    names = (RESPONSES_FILE, MEASURES_FILE, SUMMARY_FILE)
    return {
        "versions": {
            "skill_factory": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("pyarrow", "numpy")},
        },
        **more,
        "counts": {
            "responses": sum(one.responses for one in found),
            "groups": len(found),
        },
        "output": {
            "files": {
                name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
                for name in names
            }
        },
    }


def _write_json(path: Path, content: Any) -> None:
    with new_file(path) as part:
        text = json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
        part.write_text(text, encoding="utf-8")


_ROWS = 1 << 16
"""Rows of measures in a part of their file."""


class _Table:
    """A parquet file that takes its name when the stack ends well."""

    def __init__(self, path: Path, schema: pa.Schema, stack: ExitStack) -> None:
        part = stack.enter_context(new_file(path))
        self._out = stack.enter_context(pq.ParquetWriter(part, schema, compression="zstd"))
        self._waiting = list[pa.RecordBatch]()
        self._schema = schema
        stack.callback(self._flush)

    def write(self, batch: pa.RecordBatch) -> None:
        """Take some rows; small ones are brought together."""
        self._waiting.append(batch)
        rows = sum(one.num_rows for one in self._waiting)
        if rows >= _ROWS or sum(one.nbytes for one in self._waiting) >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._out.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting.clear()


# -- the work -------------------------------------------------------------------------------------


def _worked(
    batches: Iterable[pa.RecordBatch], rules: MeasureRules, stack: ExitStack
) -> Iterator[MeasuredBatch]:
    """Each batch measured, in order; where there is much, by several processes."""
    rest = _pieces(batches)
    first, size = list[pa.RecordBatch](), 0
    for batch in rest:
        first.append(batch)
        size += batch.nbytes
        if size >= IN_PROCESSES:
            break
    if size < IN_PROCESSES or rules.workers < 2:
        yield from map(partial(measure_batch, rules=rules), _chained(first, rest))
        return
    pool = stack.enter_context(ProcessPoolExecutor(rules.workers, get_context("spawn")))
    work = partial(_work, pool=pool, rules=rules)
    for _, done in in_order(work, _chained(first, rest), rules.workers + 1):
        yield done


def _chained(
    first: list[pa.RecordBatch], rest: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    while first:
        yield first.pop(0)
    yield from rest


def _work(batch: pa.RecordBatch, pool: Executor, rules: MeasureRules) -> MeasuredBatch:
    """A batch done in another process; what waits for judges is done here, as they are processes
    already."""
    if has_judges(batch):
        return measure_batch(batch, rules)
    return pool.submit(measure_elsewhere, batch, references(), rules).result()


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches of not much more text than is worked on at a time; empty ones are left out."""
    for batch in batches:
        rows = batch.num_rows
        size = max(1, int(rows * BATCH_BYTES / max(batch.nbytes, 1)))
        for start in range(0, rows, size):
            yield batch.slice(start, min(size, rows - start))


class _QuestionIds:
    """Names of questions: a digest of the words; a row without a question is one of
    its own."""

    def __init__(self) -> None:
        self._unnamed = 0

    def added(self, done: MeasuredBatch) -> pa.RecordBatch:
        """The measures with the ids of their questions."""
        questions = done.responses.column(Column.QUESTION).to_pylist()
        columns = [strings(list(map(self._of, questions))), *done.measures.columns[1:]]
        return pa.RecordBatch.from_arrays(columns, schema=done.measures.schema)

    def _of(self, question: str | None) -> str:
        if question is None:
            self._unnamed += 1
            return xxh3_128_hexdigest(f"row {self._unnamed}".encode())
        return _id_of(question)


@lru_cache(1 << 14)
def _id_of(question: str) -> str:
    return xxh3_128_hexdigest(f"text: {normal(question)}".encode())
