"""What each question adds to the figures of a group, out of rows of measures, a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from skill_factory.core.columns import Column
from skill_factory.measure.bootstrap import Floats, Sums
from skill_factory.measure.measures import MEASURES, Measure, Rows, word_measures
from skill_factory.measure.several_samples import Vote, majority_at_k, pass_at_k, sizes

Ints = npt.NDArray[np.int64]


class ByQuestion(NamedTuple):
    """The sums of a group: `ids` name the rows, `names` the columns. `answered` has the number of
    responses to each question."""

    ids: list[str]
    names: list[str]
    sums: Sums
    answered: Ints


def by_question(pieces: Iterable[pa.Table | pa.RecordBatch]) -> ByQuestion:
    """What the questions of one group's rows add to each figure; there is at least one row.

    What is held grows with the questions, and by some 40 bytes a row.
    """
    ids, sums, samples = dict[str, int](), _GrowingSums(), _Samples()
    for piece in pieces:
        if not piece.num_rows:
            continue
        table = pa.table(piece)
        coded = table[Column.QUESTION_ID].combine_chunks().dictionary_encode()
        names = coded.dictionary.to_pylist()
        questions = np.array([ids.setdefault(name, len(ids)) for name in names], np.int64)
        which, rows = np.array(coded.indices, np.int64), Rows(table)
        sums.add(rows, [*MEASURES, *word_measures(table.column_names)], questions, which)
        samples.add(rows, table["vote"], questions[which])
    columns = sums.columns(len(ids)) | samples.at_k(len(ids))
    found = {k: v for measure in sums.measures for k, v in columns[measure.name].items()}
    above, below = (np.stack([column[part] for column in found.values()], 1) for part in (0, 1))
    return ByQuestion(list(ids), list(found), Sums(above, below), samples.answered(len(ids)))


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
"""What is counted and what it is counted of, by question."""


class _GrowingSums:
    """The sums of each measure that responses add to, one by one."""

    def __init__(self) -> None:
        self.measures: list[Measure] = []
        self._sums = np.zeros((2, 0, 0))  # above and below, measures, questions

    def add(self, rows: Rows, measures: list[Measure], questions: Ints, which: Ints) -> None:
        """Add some rows; `which` has the place in `questions` of each one's question."""
        self.measures = measures
        counted = [measure.of for measure in measures if measure.of is not None]
        self._grow(len(counted), 1 + int(questions.max()))
        for place, of in enumerate(counted):
            for part, values in enumerate(of(rows)):
                self._sums[part, place, questions] += np.bincount(which, values, len(questions))

    def _grow(self, measures: int, questions: int) -> None:
        there = self._sums.shape[2]
        if questions > there:
            more = np.zeros((2, measures, max(questions, 2 * there)))
            more[:, : self._sums.shape[1], :there] = self._sums
            self._sums = more

    def columns(self, questions: int) -> dict[str, dict[str, _Column]]:
        """For each measure, its figure."""
        names = [measure.name for measure in self.measures if measure.of is not None]
        above, below = self._sums[:, :, :questions]
        pairs = zip(above, below, strict=True)
        return {name: {name: pair} for name, pair in zip(names, pairs, strict=True)}


class _Samples:
    """What pass@k and majority@k need: the question, number, grade and vote of each response."""

    def __init__(self) -> None:
        self._which, self._number, self._right = list[Ints](), list[Floats](), list[Floats]()
        self._votes = list[Vote]()
        self._same = dict[Vote, Vote]()

    def add(self, rows: Rows, votes: pa.ChunkedArray, which: Ints) -> None:
        self._which.append(which)
        self._number.append(rows.number(Column.SAMPLE))
        self._right.append(rows.right(Column.GRADE))
        self._votes += [self._same.setdefault(vote, vote) for vote in votes.to_pylist()]

    def answered(self, questions: int) -> Ints:
        """The number of responses to each question."""
        return np.bincount(np.concatenate(self._which), minlength=questions)

    def at_k(self, questions: int) -> dict[str, dict[str, _Column]]:
        """For each of both measures, its figures from two samples on; a question with less than k
        decided ones has no say."""
        which, right = np.concatenate(self._which), np.concatenate(self._right)
        order = np.lexsort((np.concatenate(self._number), which))
        order = order[~np.isnan(right[order])]
        counts = np.bincount(which[order], minlength=questions)
        parts = np.split(order, np.cumsum(counts)[:-1])
        ks = [k for k in sizes(int(np.median(counts[counts > 0]))) if k > 1] if len(order) else []

        def passed(part: Ints, k: int) -> float:
            return pass_at_k(len(part), int(right[part].sum()), k)

        def majority(part: Ints, k: int) -> float:
            return majority_at_k([self._votes[at] for at in part], k)

        return {
            f"{name}_at_k": {f"{name}_at_{k}": _each(parts, k, one) for k in ks}
            for name, one in (("pass", passed), ("majority", majority))
        }


def _each(parts: list[Ints], k: int, one: Callable[[Ints, int], float]) -> _Column:
    enough = [len(part) >= k for part in parts]
    values = [one(part, k) if there else 0.0 for part, there in zip(parts, enough, strict=True)]
    return np.array(values), np.array(enough, np.float64)
