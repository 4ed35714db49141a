"""What the stages before `create` lost, one by one: from the tables that a run still has."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skill_factory.core.arrays import Ints, numbers, view
from skill_factory.core.columns import Column, Columns
from skill_factory.core.ledger import Ledger
from skill_factory.core.sources.attempts import Attempts, attempts_of
from skill_factory.core.sources.chats import one_line_for_damaged, texts_of
from skill_factory.core.sources.local_files import FileSource
from skill_factory.core.sources.validate import KEPT, reason_of, validate_reflections
from skill_factory.errors import InputError
from skill_factory.look.folders import RunView
from skill_factory.look.unanswered import (
    context_of,
    unanswered_reflections,
    unanswered_samples,
)
from skill_factory.runs.folder import Stage
from skill_factory.runs.reflect_stage import reflect_spec
from skill_factory.stages.create.losses import Group, Loss, losses_of_reflections
from skill_factory.stages.grade import Outcome
from skill_factory.stages.reflect import ReflectSpec, choose_attempts
from skill_factory.stages.settings import RunConfig


def lost_before(run: RunView, stage: Stage) -> Generator[Group]:
    """All that a stage lost, as `losses.lost` has it for `create`. Raises `InputError` if its
    tables are not there; or the journal, for what only that has; or if a run has it."""
    if stage is Stage.SAMPLE:
        yield from unanswered_samples(run)
    elif stage is Stage.GRADE:
        yield from _not_decided(_table(run, Stage.GRADE))
    elif stage is Stage.REFLECT:
        context = context_of(run)
        yield from _not_asked_about(_table(run, Stage.GRADE), reflect_spec(context))
        yield from _not_valid(_table(run, Stage.REFLECT), context.config)
        yield from unanswered_reflections(run)


def _table(run: RunView, stage: Stage) -> Path:
    path = run.table(stage)
    if path is None:
        raise InputError(f"{run.folder.path(stage)}: is missing; make it with `run --from {stage}`")
    return path


def _not_decided(path: Path) -> Iterator[Group]:
    """Attempts that are neither right nor wrong."""
    for first, batch in _batches(path):
        grades = batch.column(Column.GRADE)
        for grade in set(pc.unique(grades).to_pylist()) - {Outcome.RIGHT, Outcome.WRONG}:
            places = np.flatnonzero(view(pc.equal(grades, grade)))
            yield Group("attempts", grade, len(places), partial(_attempts, first, batch, places))


def _not_asked_about(path: Path, spec: ReflectSpec) -> Iterator[Group]:
    """Attempts on which nothing was asked."""
    first = 0
    for table, codes in choose_attempts(path, spec).batches():
        for code in np.unique(codes[codes != KEPT]).tolist():
            places = np.flatnonzero(codes == code)
            take = partial(_attempts, first, table, places)
            yield Group("attempts", reason_of(code), len(places), take)
        first += table.num_rows


def _not_valid(path: Path, config: RunConfig) -> Iterator[Group]:
    """Reflections that say nothing, or nothing true."""
    source = FileSource(str(path), (path,))
    for batch in source.batches(Columns()):
        found = attempts_of(batch, Columns(), Ledger())
        codes = validate_reflections(
            found.reflections,
            np.zeros(len(found.owner), bool),
            view(found.correct)[found.owner],
            config.create.drop_reflections_containing,
        )
        for code in np.unique(codes[codes != KEPT]).tolist():
            places = np.flatnonzero(codes == code)
            take = partial(_reflections, found, places)
            yield Group("reflections", reason_of(code), len(places), take)


def _batches(path: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batches of a table, each with its first row's number."""
    first = 0
    with one_line_for_damaged(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(4096):
            yield first, batch
            first += batch.num_rows


def _attempts(first: int, table: pa.RecordBatch, places: Ints, n: int) -> list[Loss]:
    rows = table.take(numbers(places[:n]))
    names = (Column.QUESTION, Column.VARIANT, Column.RESPONSE, Column.GRADE)
    said = (texts_of(rows.column(name)) for name in names)
    return [
        Loss(row, question, variant, text=text, correct=_DECIDED.get(grade or ""))
        for row, question, variant, text, grade in zip(
            (first + places[:n]).tolist(), *said, strict=True
        )
    ]


_DECIDED = {Outcome.RIGHT.value: True, Outcome.WRONG.value: False}


def _reflections(found: Attempts, places: Ints, n: int) -> list[Loss]:
    return losses_of_reflections(found, places[:n])
