"""Where each stretch of a trace comes from: a phrase, or a text of the input; many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from xxhash import xxh3_128_hexdigest

from skill_factory.core.arrays import numbers, offsets, view
from skill_factory.core.columns import Column, Columns
from skill_factory.core.sources.annotated_columns import list_depth
from skill_factory.core.sources.batches import Batch
from skill_factory.core.sources.local_files import FileSource
from skill_factory.core.sources.validate import stripped
from skill_factory.errors import InputError, SkillFactoryError
from skill_factory.look.folders import RunView, SftFolder, SftInput, Trace, is_run
from skill_factory.look.spans import Kind, Span
from skill_factory.stages.create.phrases import Kind as PhraseKind
from skill_factory.stages.create.phrases import PhraseBank

T = TypeVar("T")


class Phrase(NamedTuple):
    """A phrase of the bank that a folder was made with: its `kind`, its `number` in it and its
    `id` among all, from 0."""

    kind: str
    number: int
    id: int
    text: str


class SourceText(NamedTuple):
    """A text of the input.

    `dataset` is the input's name; the text is in `column` of `row`, counted from 0 over all files,
    which is `file_row` of `file` (None: the input is gone). `response` is the place in the row's
    list of responses, `reflection` that in the list of reflections on it; None: it is none of
    these. `digest` is the XXH3-128 of the text, as `question_id` is of a question. `text` None: it
    is not there any more.
    """

    dataset: str
    file: str | None
    file_row: int | None
    row: int
    column: str
    response: int | None
    reflection: int | None
    digest: str | None
    text: str | None


class Origin(NamedTuple):
    """A span and its `source`; None: markup, or text that nothing accounts for (`Kind.OTHER`)."""

    span: Span
    source: Phrase | SourceText | None

    @property
    def holds(self) -> bool | None:
        """Whether the source says what the span says; None: the source is gone, or there is none
        to ask."""
        if self.span.kind is Kind.OTHER:
            return False
        if self.source is None or self.source.text is None:
            return None
        return self.source.text == self.span.text


class TraceOrigins(NamedTuple):
    """A trace, where its question is from, and its spans in order: joined, their texts are the
    trace."""

    trace: Trace
    question: SourceText
    spans: list[Origin]

    @property
    def question_holds(self) -> bool | None:
        """Whether the question is what its source says; None: that is gone."""
        return None if self.question.text is None else self.question.text == self.trace.question


@dataclass(frozen=True)
class Origins:
    """Origins of traces, in their order. `problem` says why the input's texts are not to be had;
    None: they are there. `run` is the run that made the input; None: none did."""

    traces: list[TraceOrigins]
    problem: str | None
    run: RunView | None


def origins_of(folder: SftFolder, traces: Sequence[Trace]) -> Origins:
    """Where some traces of a folder come from.

    The input is read once, up to the last row that is needed, and only these rows are kept: ask for
    many traces in one call.
    """
    rows = {int(step[Column.ROW]) for trace in traces for step in trace.steps}
    source, problem, found = None, None, dict[int, _Row]()
    try:
        source = folder.input()
        found = _read_rows(source, rows)
    except SkillFactoryError as error:
        problem = str(error)
    if source is not None and problem is None and len(found) < len(rows):
        problem = f"{source.source.name}: has fewer rows than when {folder.path} was made"
    names = source.columns if source else folder.columns
    finder = _Finder(folder.manifest["input"]["name"], names, found, phrases_of(folder.phrases))
    return Origins([finder.origins(trace) for trace in traces], problem, source and _run_of(source))


def _run_of(source: SftInput) -> RunView | None:
    """The run whose annotated table the input is."""
    if source.run or not isinstance(source.source, FileSource):
        return source.run
    file = source.source.files[0]
    if not isinstance(file, Path) or file.name != "annotated.parquet" or not is_run(file.parent):
        return None
    return RunView(file.parent)


def phrases_of(bank: PhraseBank) -> list[Phrase]:
    """The phrases by their ids."""
    numbered = (
        (kind, number, text)
        for kind in PhraseKind
        for number, text in enumerate(bank.phrases[kind])
    )
    return [Phrase(kind.value, number, i, text) for i, (kind, number, text) in enumerate(numbered)]


# -- the input ------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A row of the input: its file, its place there, and its texts; `reflections` by response."""

    file: str
    file_row: int
    question: str | None
    responses: list[str | None]
    answers: list[str | None]
    reflections: list[list[str | None]]

    def text(self, kind: Kind, response: int, reflection: int | None) -> str | None:
        """The text that a span of a kind is made of; None: there is none."""
        if kind is Kind.ANSWER:
            return _at(self.answers, response)
        if reflection is None:
            return _at(self.responses, response)
        return _at(_at(self.reflections, response) or [], reflection)


def _read_rows(source: SftInput, rows: set[int]) -> dict[int, _Row]:
    """Some rows of the input, by their numbers."""
    wanted, found = np.array(sorted(rows), np.int64), dict[int, _Row]()
    if not len(wanted):
        return found
    for batch in source.source.batches(source.columns):
        start, stop = np.searchsorted(wanted, (batch.row, batch.row + batch.table.num_rows))
        found.update(_rows_in(batch, wanted[start:stop].tolist(), source.columns))
        if stop == len(wanted):
            break
    return found


def _rows_in(batch: Batch, rows: list[int], columns: Columns) -> Iterator[tuple[int, _Row]]:
    places = [row - batch.row for row in rows]
    taken = batch.table.take(numbers(np.array(places, np.int64)))
    questions = stripped(taken.column(columns.question)).to_pylist()
    nested = list_depth(taken.column(columns.reflection).type) == 2
    responses, answers, reflections = (
        map(_listed, taken.column(name).to_pylist())
        for name in (columns.response, columns.extracted_answer, columns.reflection)
    )
    for row, place, question, *texts in zip(
        rows, places, questions, responses, answers, reflections, strict=True
    ):
        said, extracted, judged = texts
        by_response = list(map(_listed, judged)) if nested else [judged]
        yield row, _Row(batch.where, batch.file_row + place, question, said, extracted, by_response)


def _listed(value: Any) -> list[Any]:
    """A list, or a plain value as a list of one."""
    return value if isinstance(value, list) else [] if value is None else [value]


# -- spans ----------------------------------------------------------------------------------------


class _Finder(NamedTuple):
    """Finds origins among rows that were read."""

    dataset: str
    columns: Columns
    rows: dict[int, _Row]
    phrases: list[Phrase]

    def origins(self, trace: Trace) -> TraceOrigins:
        """Where a trace is from."""
        first = trace.steps[0][Column.ROW]
        row = self.rows.get(first)
        question = self._said(first, self.columns.question, row.question if row else None)
        return TraceOrigins(
            trace, question, [Origin(span, self._source_of(trace, span)) for span in trace.spans()]
        )

    def _source_of(self, trace: Trace, span: Span) -> Phrase | SourceText | None:
        plan = trace.plan or {}
        if span.kind in (Kind.LEAD, Kind.CLOSING):
            return self._phrase(plan[str(span.kind)])
        if span.step is None or span.step >= len(trace.steps):
            return None
        step = trace.steps[span.step]
        if span.kind is Kind.GLUE:
            return self._phrase(step["glue"])
        reflection = step["reflection"] if span.kind is Kind.REFLECTION else None
        if span.kind is Kind.REFLECTION and reflection is None:
            return None
        number, response = step[Column.ROW], step[Column.RESPONSE]
        row, names = self.rows.get(number), self.columns
        column = {Kind.ANSWER: names.extracted_answer, Kind.REFLECTION: names.reflection}
        text = row.text(span.kind, response, reflection) if row else None
        return self._said(number, column.get(span.kind, names.response), text, response, reflection)

    def _phrase(self, number: int | None) -> Phrase | None:
        if number is None or not 0 <= number < len(self.phrases):
            return None
        return self.phrases[number]

    def _said(
        self,
        number: int,
        column: str,
        text: str | None,
        response: int | None = None,
        reflection: int | None = None,
    ) -> SourceText:
        row = self.rows.get(number)
        file, file_row = (row.file, row.file_row) if row else (None, None)
        digest = None if text is None else xxh3_128_hexdigest(text.encode())
        return SourceText(
            self.dataset, file, file_row, number, column, response, reflection, digest, text
        )


def _at(items: list[T], place: int) -> T | None:
    return items[place] if 0 <= place < len(items) else None


# -- the other way --------------------------------------------------------------------------------


class Use(NamedTuple):
    """A trace that uses a row: its id, its label, and the steps, from 0, whose attempt it is."""

    trace_id: str
    label: str
    steps: list[int]


def uses_of(folder: SftFolder, row: int) -> list[Use]:
    """The traces that use a row of the input, counted from 0 over all files."""
    found = []
    for batch in folder.plan_batches([Column.TRACE_ID, "label", Column.STEPS]):
        ids, labels, steps = batch.columns
        rows = steps.flatten().field(Column.ROW)
        hits = np.flatnonzero(view(rows) == row)
        owners = np.searchsorted(offsets(steps) - offsets(steps)[0], hits, "right") - 1
        for owner in np.unique(owners).tolist():
            first = int(offsets(steps)[owner] - offsets(steps)[0])
            places = (hits[owners == owner] - first).tolist()
            found.append(Use(ids[owner].as_py(), labels[owner].as_py(), places))
    return found


def row_of(folder: SftFolder, named: str) -> int:
    """The row that is written as ROW, over all files, or as FILE:ROW. Raises `InputError` if there
    is none."""
    file, _, row = named.rpartition(":")
    files: dict[str, int] = folder.manifest["input"]["files"]
    count = folder.manifest["input"]["rows"]
    first = 0
    if file:
        matching = [name for name in files if name == file] or [
            name for name in files if Path(name).name == file
        ]
        if len(matching) != 1:
            there = ", ".join(map(str, files))
            raise InputError(f"{named}: no one file of the input is {file!r}; it has: {there}")
        names = list(files)
        first = sum(files[name] for name in names[: names.index(matching[0])])
        count = files[matching[0]]
    if int(row) >= count:
        raise InputError(f"{named}: there is no such row; the last one is {count - 1}")
    return first + int(row)
