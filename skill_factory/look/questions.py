"""A line for each question: what became of its attempts and reflections, why it has no trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from skill_factory.core.arrays import given, view
from skill_factory.core.columns import Column, Columns
from skill_factory.core.ledger import Ledger
from skill_factory.core.sources.attempts import attempts_of
from skill_factory.core.sources.batches import Source
from skill_factory.core.sources.chats import one_line_for_damaged, texts_of
from skill_factory.core.sources.local_files import FileSource
from skill_factory.core.sources.validate import KEPT, validate_reflections
from skill_factory.core.terminal import Line, Piece, Style, prints_to_terminal, width_of_terminal
from skill_factory.errors import InputError
from skill_factory.look.folders import ChatFiles, RunView, SftFolder
from skill_factory.look.text_lines import marked, marks_of
from skill_factory.runs.folder import Stage
from skill_factory.stages.create.losses import lost
from skill_factory.stages.grade import Outcome


@dataclass
class QuestionRow:
    """What became of a question: its attempts by their grade (`undecided`: all that are neither),
    all its reflections and those that are `true`, that is whole, with one verdict, which is the
    truth; `traces` None: none were made yet; `why` it has none; empty: it has some, or that is not
    known."""

    text: str
    right: int = 0
    wrong: int = 0
    undecided: int = 0
    true: int = 0
    reflections: int = 0
    traces: int | None = None
    why: str = ""


def questions_of(folder: ChatFiles | RunView) -> list[QuestionRow]:
    """The questions of a folder, in the input's order. Raises `InputError` if its attempts are not
    at hand."""
    sft = folder.sft if isinstance(folder, RunView) else folder
    if isinstance(sft, SftFolder):
        return _with_traces(sft)
    if not isinstance(folder, RunView):
        raise InputError(f"{folder.path}: has no questions of ours; name an SFT folder or a run's")
    if (annotated := folder.table(Stage.REFLECT)) is not None:
        found = _by_question(FileSource(str(annotated), (annotated,)), Columns())
    elif (graded := folder.table(Stage.GRADE)) is not None:
        found = _graded(graded)
    else:
        raise InputError(
            f"{folder.path}: this run has no graded attempts yet; `skill-factory run` goes on with "
            "it, and `skill-factory report` shows how far it is"
        )
    return list(found.values())


def _with_traces(folder: SftFolder) -> list[QuestionRow]:
    source, columns, _ = folder.same_input()
    found = _by_question(source, columns)
    traces = Counter[str]()
    for batch in folder.plan_batches([Column.QUESTION_ID]):
        traces.update(batch.column(0).to_pylist())
    for name, row in found.items():
        row.traces = traces[name]
    if not all(row.traces for row in found.values()):
        by_text = {row.text: row for row in found.values()}
        for group in lost(folder.config(), source, folder.phrases):
            for loss in group.losses(group.size) if group.kind == "questions" else ():
                by_text[loss.question or ""].why = group.reason
    return list(found.values())


def _by_question(source: Source, columns: Columns) -> dict[str, QuestionRow]:
    """What became of each question of an annotated dataset, by its id."""
    found: dict[str, QuestionRow] = {}
    for batch in source.batches(columns):
        attempts = attempts_of(batch, columns, Ledger())
        decided, right = given(attempts.correct), view(attempts.correct).astype(bool)
        codes = validate_reflections(
            attempts.reflections, ~decided[attempts.owner], right[attempts.owner], ()
        )
        true = np.bincount(attempts.owner[codes == KEPT], minlength=len(right))
        _, first, which = np.unique(
            attempts.question_ids, axis=0, return_index=True, return_inverse=True
        )
        of_each = [
            np.bincount(which, weights, len(first)).astype(int).tolist()
            for weights in (right, decided & ~right, ~decided, true, attempts.reflection_counts)
        ]
        for number in np.argsort(first).tolist():
            place = int(first[number])
            name = attempts.question_ids[place].tobytes().hex()
            if name not in found:
                found[name] = QuestionRow(texts_of(attempts.question.slice(place, 1))[0] or "")
            row = found[name]
            counts = [column[number] for column in of_each]
            row.right += counts[0]
            row.wrong += counts[1]
            row.undecided += counts[2]
            row.true += counts[3]
            row.reflections += counts[4]
    return found


def _graded(path: Path) -> dict[str, QuestionRow]:
    """What became of each question of a graded table, by its text."""
    found: dict[str, QuestionRow] = {}
    with one_line_for_damaged(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=[Column.QUESTION, Column.GRADE]):
            texts, grades = texts_of(batch.column(0)), texts_of(batch.column(1))
            for (text, grade), count in Counter(zip(texts, grades, strict=True)).items():
                row = found.setdefault(text or "", QuestionRow(text or ""))
                row.right += count * (grade == Outcome.RIGHT)
                row.wrong += count * (grade == Outcome.WRONG)
                row.undecided += count * (grade not in (Outcome.RIGHT, Outcome.WRONG))
    return found


def question_lines(rows: list[QuestionRow], number: int | None, grep: str | None) -> Iterator[Line]:
    """The questions as lines, of those that hold `grep` the first `number` (None: all). Raises
    `InputError` if none does."""
    chosen = [row for row in rows if (grep or "").lower() in row.text.lower()]
    if not chosen:
        raise InputError(f"no question holds {grep!r}" if grep else "there are no questions")
    table, mark = _Table(rows), marks_of(grep)
    yield [Piece(table.line(*_HEADS) + "question", Style.BOLD)]
    for row in chosen[:number]:
        cells = table.line(
            *(row.right, row.wrong, row.undecided, row.true, row.reflections, row.traces, row.why)
        )
        text = " ".join(row.text.split())
        if prints_to_terminal():
            text = text[: max(20, width_of_terminal() - len(cells) - 1)]
        style = Style.RED if row.traces == 0 else Style.PLAIN
        yield [Piece(cells, style), *marked([Piece(text)], mark)]
    shown = min(len(chosen), number or len(chosen))
    yield [Piece(f"{shown:,} of {len(rows):,} questions", Style.GREY)]


_HEADS = ("right", "wrong", "undecided", "true", "reflections", "traces", "why none")


class _Table:
    """Lines of cells under `_HEADS`; without those that no question has something in."""

    def __init__(self, rows: list[QuestionRow]) -> None:
        longest = max(len(row.why) for row in rows)
        self._widths = [
            *map(len, _HEADS[:5]),
            len(_HEADS[5]) if rows[0].traces is not None else 0,
            max(longest, len(_HEADS[6])) if longest else 0,
        ]

    def line(self, *cells: object) -> str:
        """The cells of one line; the last one is text, to the left."""
        shown = [
            f"{cell!s:>{width}}  " for cell, width in zip(cells, self._widths, strict=True) if width
        ]
        if self._widths[-1]:
            shown[-1] = f"{cells[-1]!s:<{self._widths[-1]}}  "
        return "".join(shown)
