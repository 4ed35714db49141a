"""A comparison as data: what a table, a page or JSON is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from skill_factory.measure.figures import Figure, Measured
from skill_factory.measure.measures import Measure, is_main


@dataclass(frozen=True)
class Difference:
    """A model's figure less the first model's, on the `questions` that both answered.

    `value` None: they share no question that has it; `low` and `high` None: less than two.
    """

    value: float | None
    low: float | None
    high: float | None
    questions: int

    @property
    def is_sure(self) -> bool:
        """Whether its 95 % interval leaves 0 out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Cell:
    """A model's figure, and its difference to the first model's (None: it is the first, or the
    paper's)."""

    figure: Figure
    difference: Difference | None = None


@dataclass(frozen=True)
class ComparedRow:
    """A measure on a set of questions: a cell for each column, None where it has no such figure."""

    question_set: str
    measure: Measure
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class ExampleResponse:
    """What a model answered; `grade` None: it is not graded."""

    column: str
    response: str
    grade: str | None


@dataclass(frozen=True)
class Example:
    """A question that one model got right and another one did not; the same sample of each.

    `task` and `facts` are what it is graded by; None: its file does not say.
    """

    question_set: str
    question: str | None
    gold: str | None
    task: str | None
    facts: str | None
    responses: tuple[ExampleResponse, ...]


@dataclass(frozen=True)
class Series:
    """A column's figures over training steps, in their order; one point where it has no steps."""

    column: str
    question_set: str
    points: tuple[Measured, ...]


@dataclass(frozen=True)
class Comparison:
    """Models as columns, measures as rows. `columns` are their titles; the paper's come last.

    `series` has every step of each column, of which the rows show the last; `notes` say what a
    reader must know.
    """

    columns: tuple[str, ...]
    rows: tuple[ComparedRow, ...]
    series: tuple[Series, ...]
    examples: tuple[Example, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "columns": list(self.columns),
            "rows": [_row_as_dict(row) for row in self.rows],
            "series": [
                {
                    "column": one.column,
                    "question_set": one.question_set,
                    "points": [point.as_dict() for point in one.points],
                }
                for one in self.series
            ],
            "examples": [asdict(example) for example in self.examples],
            "notes": list(self.notes),
        }

    def main(self) -> Comparison:
        """The same with the rows of a short table."""
        return replace(self, rows=tuple(row for row in self.rows if is_main(row.measure.name)))

    def sets(self) -> Sequence[str]:
        """The sets of questions, in the order of the rows."""
        return list(dict.fromkeys(row.question_set for row in self.rows))


def _row_as_dict(row: ComparedRow) -> dict[str, Any]:
    measure = row.measure
    return {
        "question_set": row.question_set,
        "measure": measure.name,
        "title": measure.title,
        "section": measure.section.value,
        "unit": measure.unit.value,
        "cells": [None if cell is None else asdict(cell) for cell in row.cells],
    }
