"""A measured folder: what a model answered, with grades, as traces that can be read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.core import markup
from skill_factory.core.arrays import Ints
from skill_factory.core.columns import Column
from skill_factory.core.places import Place, to_parquet
from skill_factory.core.sft_manifest import read_manifest
from skill_factory.core.sources.chats import ChatBatch, Chats, one_line_for_damaged
from skill_factory.core.tables import RESPONSES
from skill_factory.errors import InputError
from skill_factory.look.folders import ChatFiles, Trace
from skill_factory.look.grading import correctness
from skill_factory.look.spans import Kind, Span, spans_of
from skill_factory.measure.compared_models import measures_table
from skill_factory.measure.figures import Measured
from skill_factory.measure.write import MEASURES_FILE, RESPONSES_FILE, SUMMARY_FILE
from skill_factory.stages.grade import Outcome

NOT_GRADED = "not graded"
"""What stands for a grade where there is none."""

_DECIDED = (Outcome.RIGHT, Outcome.WRONG, Outcome.CUT_OFF)
_ROWS = 512
_WITH_TEXTS = (
    *(Column.QUESTION, Column.GOLD, Column.TASK, Column.FACTS, Column.QUESTION_SET, Column.MODEL),
    *(Column.STEP, Column.SAMPLE, Column.RESPONSE),
)


@dataclass(frozen=True)
class Response(Trace):
    """What a model answered. `label` is its grade; `about` also has the set, the model and the step
    where the folder has several; `right` None: it is not decided."""

    names: tuple[str, ...]
    right: bool | None
    gold: str | None
    question_set: str
    model: str | None
    step: int | None
    sample: int

    @property
    def about(self) -> list[str]:
        return list(self.names)

    def spans(self) -> list[Span]:
        """As `response_spans`."""
        return response_spans(self.text, self.correct, self.right)


def response_spans(text: str, attempts: Sequence[bool | None], right: bool | None) -> list[Span]:
    """The spans of a response: the answer is as right as all of it, and one without parts of ours
    is one span."""
    found = spans_of(text, attempts)
    if any(span.kind in (Kind.ATTEMPT, Kind.REFLECTION) for span in found):
        return [
            span._replace(correct=right) if span.kind is Kind.ANSWER else span for span in found
        ]
    return [Span(Kind.RESPONSE, text, 0, len(text), None, right)] if text else []


def is_right(grade: str | None) -> bool | None:
    """What a grade says of a response; None: it is not decided. What is cut off is not right."""
    return grade == Outcome.RIGHT if grade in _DECIDED else None


class _ResponseFile(Chats):
    """The responses of a folder, as chats are read; a label is a grade."""

    def batches(self, *, texts: bool = True, only: Ints | None = None) -> Iterator[ChatBatch]:
        """As `Chats.batches`."""
        (path,) = self.files
        columns = [Column.GRADE, *(_WITH_TEXTS if texts else ())]
        row = 0
        with one_line_for_damaged(path), pq.ParquetFile(to_parquet(path)) as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if only is not None and not _any_within(only, row, count):
                    row += count
                    continue
                for batch in file.iter_batches(_ROWS, [group], columns=columns):
                    if only is None or _any_within(only, row, batch.num_rows):
                        yield _chat_batch(path, row, batch, texts)
                    row += batch.num_rows


def _any_within(wanted: Ints, start: int, count: int) -> bool:
    at = np.searchsorted(wanted, (start, start + count))
    return bool(at[0] < at[1])


@dataclass(frozen=True)
class _ResponseBatch(ChatBatch):
    """Responses and what was asked; null where texts were not asked for."""

    _asked: pa.Array
    _answered: pa.Array

    @property
    def question(self) -> pa.Array:
        return self._asked

    @property
    def text(self) -> pa.Array:
        return self._answered


def _chat_batch(path: Place, row: int, batch: pa.RecordBatch, texts: bool) -> _ResponseBatch:
    nothing = pa.nulls(batch.num_rows, pa.string())
    asked, answered = (
        batch.column(name) if texts else nothing for name in (Column.QUESTION, Column.RESPONSE)
    )
    label = batch.column(Column.GRADE).fill_null(NOT_GRADED)
    return _ResponseBatch(path, row, row, label, nothing, None, batch, asked, answered)


class MeasuredFolder(ChatFiles):
    """A folder that `measure` or `evaluate` made. Raises `InputError` for files that are damaged or
    of different numbers of responses."""

    thing: ClassVar = "response"

    def __init__(self, path: Path) -> None:
        super().__init__(path, [path / RESPONSES_FILE])
        self.chats = _ResponseFile((path / RESPONSES_FILE,))
        self._validate()

    def _validate(self) -> None:
        where = self.path / RESPONSES_FILE
        with one_line_for_damaged(where):
            schema = pq.read_schema(where)
        missing = [name for name in RESPONSES.names if name not in schema.names]
        if missing:
            raise InputError(f"{where}: has no column {missing[0]!r}; measure it again")
        if self.count != self.measures.num_rows:
            raise InputError(
                f"{where}: has {self.count:,} responses, and {MEASURES_FILE} "
                f"{self.measures.num_rows:,}; measure it again"
            )

    @cached_property
    def measures(self) -> pa.Table:
        """Its `tables.MEASURES`."""
        return measures_table(self.path / MEASURES_FILE)

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """What says how it was made."""
        return read_manifest(self.path)

    @cached_property
    def groups(self) -> list[Measured]:
        """The figures of each group of responses, as they were measured."""
        where = self.path / SUMMARY_FILE
        try:
            content = json.loads(where.read_text(encoding="utf-8"))
            return [Measured.from_dict(one) for one in content["groups"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise InputError(f"{where}: is not what `measure` writes; measure it again") from None

    @cached_property
    def _several(self) -> list[str]:
        """Which columns tell responses apart here."""
        names = (Column.QUESTION_SET, Column.MODEL, Column.STEP, Column.SAMPLE)
        return [name for name in names if len(self.measures[name].unique()) > 1]

    def read(self, wanted: Iterable[int]) -> Iterator[Response]:
        """As `ChatFiles.read`."""
        for one in super().read(wanted):
            assert isinstance(one, Response)
            yield one

    def labels_of(self, batch: ChatBatch) -> list[pa.Array]:
        """Grades, and names of sets."""
        sets = self.measures[Column.QUESTION_SET].slice(batch.number, len(batch))
        return [batch.label, sets.combine_chunks()]

    def _traces(
        self, batch: ChatBatch, places: Sequence[int], ids: list[str]
    ) -> Iterator[Response]:
        for place in places:
            row = batch.beside(place)
            text, grade = row[Column.RESPONSE], row[Column.GRADE]
            question = row[Column.QUESTION] or ""
            yield Response(
                id=ids[place],
                number=batch.number + place,
                label=grade or NOT_GRADED,
                question=question,
                text=text,
                plan=None,
                correct=correctness(markup.read(text), question, row),
                names=tuple(self._names(row)),
                right=is_right(grade),
                gold=row[Column.GOLD],
                question_set=row[Column.QUESTION_SET],
                model=row[Column.MODEL],
                step=row[Column.STEP],
                sample=row[Column.SAMPLE],
            )

    def _names(self, row: Mapping[str, Any]) -> Iterator[str]:
        yield row[Column.GRADE] or NOT_GRADED
        for name in self._several:
            if (value := row[name]) is not None:
                yield f"{name} {value}" if name in (Column.STEP, Column.SAMPLE) else str(value)
