"""Figures: the measures of a group of responses, each with its interval."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import dataset

from skill_factory.core.columns import Column
from skill_factory.measure.bootstrap import Intervals, intervals
from skill_factory.measure.measures import MEASURES, Measure, word_measures
from skill_factory.measure.question_sums import ByQuestion


@dataclass(frozen=True)
class Figure:
    """A measure's value for some responses, and its 95 % interval.

    `value` None: there is nothing to count it of; `low` and `high` None: less than two questions
    have it. `questions` are those that have it, `counted` the sum that it is counted of.
    """

    value: float | None
    low: float | None
    high: float | None
    questions: int
    counted: float


class Group(NamedTuple):
    """What responses are told apart by; None: their file does not say."""

    question_set: str
    model: str | None
    step: int | None


@dataclass(frozen=True)
class Measured:
    """The figures of a group, by name. `samples` is the median number of samples a question."""

    group: Group
    questions: int
    responses: int
    samples: int
    figures: Mapping[str, Figure]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.group._asdict(),
            "questions": self.questions,
            "responses": self.responses,
            "samples": self.samples,
            "figures": {name: vars(figure) for name, figure in self.figures.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Measured:
        """From what `as_dict` gave; raises `KeyError` and `TypeError` for anything else."""
        return cls(
            Group(*(content[name] for name in Group._fields)),
            questions=content["questions"],
            responses=content["responses"],
            samples=content["samples"],
            figures={name: Figure(**one) for name, one in content["figures"].items()},
        )


_AT_K = re.compile(r"(pass|majority)_at_(\d+)")


def measure_of(name: str) -> Measure:
    """The measure that a figure's name says; raises `KeyError` if there is none."""
    if found := _AT_K.fullmatch(name):
        general = _BY_NAME[f"{found[1]}_at_k"]
        return replace(general, name=name, title=f"{found[1]}@{found[2]}")
    for measure in word_measures([name]):
        return measure
    return _BY_NAME[name]


_BY_NAME = {measure.name: measure for measure in MEASURES}
_PLACES = {measure.name: place for place, measure in enumerate(MEASURES)}


def in_order(names: Iterable[str]) -> list[str]:
    """Names of figures in the order of the tables, each once.

    >>> in_order(["attempts", "pass_at_8", "words_a", "pass_at_2", "accuracy"])
    ['accuracy', 'pass_at_2', 'pass_at_8', 'attempts', 'words_a']
    """

    def place(name: str) -> tuple[int, int]:
        at_k = _AT_K.fullmatch(name)
        general = f"{at_k[1]}_at_k" if at_k else name
        return _PLACES.get(general, len(_PLACES)), int(at_k[2]) if at_k else 0

    return sorted(dict.fromkeys(names), key=place)


def groups_of(table: pa.Table) -> Iterator[tuple[Group, pa.Table]]:
    """The rows of a table of measures for each group, in the order of sets, models and steps."""
    groups = sorted(groups_in(table), key=_order)
    for group in groups:
        yield group, table if len(groups) == 1 else table.filter(_is_of(group))


def each_group(
    path: Path, groups: Collection[Group]
) -> Iterator[tuple[Group, Iterator[pa.RecordBatch]]]:
    """The same of a file that has these groups, a piece at a time."""
    file = dataset(path, format="parquet")
    for group in sorted(groups, key=_order):
        is_of = _is_of(group) if len(groups) > 1 else None
        yield group, file.to_batches(filter=is_of, batch_size=_PIECE, batch_readahead=1)


_PIECE = 1 << 15
"""Rows of measures in memory at a time."""


def groups_in(rows: pa.Table | pa.RecordBatch) -> set[Group]:
    """The groups that some rows of measures are of."""
    named = pa.table({name: rows.column(name) for name in _GROUP})
    found = named.group_by(_GROUP).aggregate([]).to_pylist()
    return {Group(*(one[name] for name in _GROUP)) for one in found}


_GROUP = [Column.QUESTION_SET, Column.MODEL, Column.STEP]


def _is_of(group: Group) -> pc.Expression:
    """Which rows are a group's."""
    is_of = [
        pc.field(name).is_null() if value is None else pc.field(name) == pa.scalar(value)
        for name, value in zip(_GROUP, group, strict=True)
    ]
    return is_of[0] & is_of[1] & is_of[2]


def _order(group: Group) -> tuple[str, str, float]:
    return group.question_set, group.model or "", -1 if group.step is None else group.step


def measured(group: Group, found: ByQuestion, draws: int, seed: int) -> Measured:
    """The figures of one group's sums."""
    return Measured(
        group,
        questions=len(found.ids),
        responses=int(found.answered.sum()),
        samples=int(np.median(found.answered)),
        figures=_figures(found, intervals(found.sums, draws, seed)),
    )


def _figures(found: ByQuestion, between: Intervals) -> dict[str, Figure]:
    sums = found.sums
    columns = zip(
        found.names,
        sums.ratios(),
        *between,
        (sums.below > 0).sum(0),
        sums.below.sum(0),
        strict=True,
    )
    return {
        name: Figure(or_none(value), or_none(low), or_none(high), int(questions), float(counted))
        for name, value, low, high, questions, counted in columns
    }


def or_none(value: float) -> float | None:
    """A number, or None for one that is none."""
    return None if math.isnan(value) else float(value)
