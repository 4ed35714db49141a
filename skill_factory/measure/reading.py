"""Files of others as batches of `tables.RESPONSES`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from skill_factory.core.columns import Column
from skill_factory.core.sources.values import read_correctness
from skill_factory.core.tables import RESPONSES
from skill_factory.measure.settings import ReadingSettings
from skill_factory.measure.sources.formats import File, files_in, read_file
from skill_factory.measure.sources.questions import Joiner, QuestionFile, known_task
from skill_factory.measure.sources.responses import ColumnNames, FoundResponse
from skill_factory.models.replies import storable
from skill_factory.stages.grade import Outcome

_ROWS, _CHARACTERS = 512, 4 << 20
"""A batch has at most so many rows, and little more than so many characters."""

_STEP = re.compile(r"(?:checkpoint|global_step|step)[-_](\d+)(?!\d)")


@dataclass
class ResponseFiles:
    """The responses in some files, read as the settings say.

    `read` counts them. Once `batches` is read, `losses` has, by reason, those that cannot be
    graded, and `failed` those that are not there.
    """

    settings: ReadingSettings
    read: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def files(self, paths: tuple[Path, ...]) -> list[File]:
        """The files that paths name; raises `InputError`."""
        return files_in(paths)

    def batches(self, files: list[File]) -> Iterator[pa.RecordBatch]:
        """The rows of all files, without grades but for those that a column says."""
        settings, names = self.settings, _names(self.settings)
        task = known_task(settings.task)
        questions = QuestionFile(settings.questions, names, task) if settings.questions else None
        joiner = Joiner(questions, task, settings.index_column is not None, self.losses)
        samples = Counter[tuple[Any, ...]]()
        for file in files:
            found = read_file(file.path, settings.format, names, settings.requests, self.failed)
            rows = (self._row(one, file, joiner, samples) for one in found)
            while some := list(_some(rows)):
                self.read += len(some)
                yield pa.RecordBatch.from_pylist(some, schema=RESPONSES)

    def _row(
        self, found: FoundResponse, file: File, joiner: Joiner, samples: Counter[tuple[Any, ...]]
    ) -> dict[str, Any]:
        asked, settings = joiner.asked(found), self.settings
        question = asked.question and storable(asked.question)
        model = settings.model or (found.model and storable(found.model))
        step = found.step if found.step is not None else _step_in(file.path, model)
        question_set = storable(settings.question_set or found.question_set or file.question_set)
        key = (question_set, model, step, question)
        sample = 0 if question is None else samples[key]
        samples[key] += 1
        return {
            Column.QUESTION: question,
            Column.GOLD: asked.gold,
            Column.TASK: asked.task,
            Column.FACTS: asked.facts,
            Column.QUESTION_SET: question_set,
            Column.MODEL: model,
            Column.STEP: step,
            Column.SAMPLE: sample,
            Column.RESPONSE: storable(found.response),
            Column.FINISH_REASON: found.finish_reason,
            Column.COMPLETION_TOKENS: found.completion_tokens,
            Column.GRADE: self._grade(found.correct),
        }

    def _grade(self, correct: Any) -> Outcome | None:
        """What a column of correctness says."""
        if self.settings.correctness_column is None:
            return None
        try:
            right = read_correctness(correct)
        except ValueError:
            self.losses["its correctness is neither 0 nor 1"] += 1
            return None
        return None if right is None else Outcome.RIGHT if right else Outcome.WRONG


def _names(settings: ReadingSettings) -> ColumnNames:
    return ColumnNames(
        question=settings.question_column,
        response=settings.response_column,
        answer=settings.answer_column,
        task=settings.task_column,
        facts=settings.facts_column,
        model=settings.model_column,
        step=settings.step_column,
        correctness=settings.correctness_column,
        row=settings.index_column,
    )


def _some(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    size = 0
    for row in islice(rows, _ROWS):
        yield row
        size += len(row[Column.RESPONSE])
        if size > _CHARACTERS:
            return


def _step_in(path: Path, model: str | None) -> int | None:
    """The step or checkpoint that a model's or a file's name says."""
    found = _STEP.findall(model or "") or _STEP.findall("/".join(path.parts[-3:]))
    return int(found[-1]) if found else None
