"""Figures: the measures of a group of responses, each with its interval."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skill_factory.core.columns import Column
from skill_factory.measure.bootstrap import Floats, Intervals, Sums, intervals
from skill_factory.measure.measures import MEASURES, Measure, Rows, word_measures
from skill_factory.measure.several_samples import majority_at_k, pass_at_k, sizes


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


class ByQuestion(NamedTuple):
    """The sums of a group: `ids` name the rows, `names` the columns. `answered` has the number of
    responses to each question."""

    ids: list[str]
    names: list[str]
    sums: Sums
    answered: npt.NDArray[np.int64]


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


def each_group(path: Path, groups: Collection[Group]) -> Iterator[tuple[Group, pa.Table]]:
    """The same of a file that has these groups; only one group's rows are in memory."""
    for group in sorted(groups, key=_order):
        yield group, pq.read_table(path, filters=_is_of(group) if len(groups) > 1 else None)


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


def by_question(table: pa.Table) -> ByQuestion:
    """What the questions of one group's rows add to each figure."""
    coded = table[Column.QUESTION_ID].combine_chunks().dictionary_encode()
    ids, which = coded.dictionary.to_pylist(), np.array(coded.indices)
    rows = Rows(table)
    measures = [*MEASURES, *word_measures(table.column_names)]
    columns = _at_k(rows, table, which, len(ids))
    columns |= dict(_summed(rows, measures, which, len(ids)))
    names = in_order(columns)
    above, below = (np.stack([columns[name][part] for name in names], 1) for part in (0, 1))
    return ByQuestion(ids, names, Sums(above, below), np.bincount(which))


def added(several: Sequence[ByQuestion]) -> ByQuestion:
    """The sums of several groups as those of one: each figure is counted over all of them, and
    pass@k is their mean. Figures that one of them lacks are left out."""
    first, *others = several
    if not others:
        return first
    ids = list(dict.fromkeys(name for one in several for name in one.ids))
    names = [name for name in first.names if all(name in other.names for other in others)]
    sums = Sums(*(np.zeros((len(ids), len(names))) for _ in Sums._fields))
    answered = np.zeros(len(ids), np.int64)
    places = {name: place for place, name in enumerate(ids)}
    for one in several:
        at = [places[name] for name in one.ids]
        columns = [one.names.index(name) for name in names]
        for whole, part in zip(sums, one.sums, strict=True):
            whole[at] += part[:, columns]
        answered[at] += one.answered
    return ByQuestion(ids, names, sums, answered)


_Column = tuple[Floats, Floats]


def _summed(
    rows: Rows, measures: Sequence[Measure], which: npt.NDArray[np.int64], questions: int
) -> Iterator[tuple[str, _Column]]:
    for measure in measures:
        if measure.of is not None:
            above, below = measure.of(rows)
            yield measure.name, (_by(which, above, questions), _by(which, below, questions))


def _by(which: npt.NDArray[np.int64], values: Floats, questions: int) -> Floats:
    return np.bincount(which, values, questions).astype(np.float64)


def _at_k(
    rows: Rows, table: pa.Table, which: npt.NDArray[np.int64], questions: int
) -> dict[str, _Column]:
    """pass@k and majority@k from two samples on; a question with less than k decided ones has no
    say."""
    right = rows.right(Column.GRADE)
    order = np.lexsort((rows.number(Column.SAMPLE), which))
    order = order[~np.isnan(right[order])]
    counts = np.bincount(which[order], minlength=questions)
    parts = np.split(order, np.cumsum(counts)[:-1])
    votes = table["vote"].to_pylist()
    ks = [k for k in sizes(int(np.median(counts[counts > 0]))) if k > 1] if len(order) else []
    return {
        f"{name}_at_{k}": _each(parts, k, one)
        for name, one in (
            ("pass", lambda part, k: pass_at_k(len(part), int(right[part].sum()), k)),
            ("majority", lambda part, k: majority_at_k([votes[at] for at in part], k)),
        )
        for k in ks
    }


def _each(parts: list[npt.NDArray[np.int64]], k: int, one: Any) -> _Column:
    enough = [len(part) >= k for part in parts]
    values = [one(part, k) if there else 0.0 for part, there in zip(parts, enough, strict=True)]
    return np.array(values), np.array(enough, np.float64)
