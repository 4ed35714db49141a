"""The numbers of a measured folder: how many responses are of which kind, by columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from skill_factory.checks.audit import Confusion
from skill_factory.core.arrays import view
from skill_factory.core.columns import Column
from skill_factory.look.measured import NOT_GRADED
from skill_factory.look.report.contents import Bin, Figure, Histogram, LabelRow, Mean
from skill_factory.measure.comparison import Series
from skill_factory.measure.figures import Group, measure_of
from skill_factory.measure.layout import percent_of, shown
from skill_factory.measure.measures import MAIN, Rows, Unit
from skill_factory.stages.grade import Outcome

_TOP = ("accuracy", "attempts", "explicit_reflections", "true_verdicts")


def top_figures(series: Sequence[Series]) -> list[Figure]:
    """The numbers at the top: those of one model and set, or how much there is."""
    if len(series) > 1:
        points = [point for one in series for point in one.points]
        return [
            Figure("sets of questions", f"{len({one.question_set for one in series}):,}"),
            Figure("models", f"{len({one.column for one in series}):,}"),
            Figure("steps", f"{len({point.group.step for point in points}):,}"),
            Figure("responses", f"{sum(point.responses for point in points):,}"),
        ]
    last = series[0].points[-1]
    found = []
    for name in _TOP:
        figure, measure = last.figures.get(name), measure_of(name)
        if figure is not None and figure.value is not None:
            text = shown(figure.value, measure.unit) + percent_of(measure.unit)
            ends = [
                shown(end, measure.unit) for end in (figure.low, figure.high) if end is not None
            ]
            found.append(Figure(measure.title, text, " to ".join(ends)))
    return found


def main_numbers(series: Sequence[Series]) -> Iterator[tuple[str, float]]:
    """The main figures by name, for a comparison of two reports."""
    for one in series:
        for name in MAIN:
            figure, measure = one.points[-1].figures.get(name), measure_of(name)
            if figure is not None and figure.value is not None:
                title = measure.title[0].upper() + measure.title[1:]
                more = f", {one.question_set}" if len(series) > 1 else ""
                is_share = measure.unit is Unit.SHARE
                yield title + more, figure.value if is_share else Mean(figure.value)


def accuracies(last: Sequence[tuple[Group, pa.Table]]) -> Histogram | None:
    """Questions by the share of right ones among their decided responses, for each set."""
    names = list(dict.fromkeys(group.question_set for group, _ in last))
    counts = np.zeros((11, len(names)), np.int64)
    for group, rows in last:
        right = Rows(rows).right(Column.GRADE)
        coded = rows[Column.QUESTION_ID].combine_chunks().dictionary_encode()
        decided, which = ~np.isnan(right), np.asarray(coded.indices)
        hits = np.bincount(which[decided], right[decided], len(coded.dictionary)).astype(np.int64)
        of = np.bincount(which[decided], minlength=len(coded.dictionary))
        at = 10 * hits[of > 0] // of[of > 0]
        counts[:, names.index(group.question_set)] += np.bincount(at, minlength=11)
    if not counts.any():
        return None
    bins = [*(f"{10 * at}-{10 * at + 9}%" for at in range(10)), "100%"]
    listed = [Bin(bin, tuple(map(int, row))) for bin, row in zip(bins, counts, strict=True)]
    return Histogram("questions", "accuracy", tuple(names), listed)


def grades(rows: pa.Table) -> list[LabelRow]:
    """Responses by grade and number of attempts."""
    keys = rows.select([Column.GRADE, "attempts"]).group_by([Column.GRADE, "attempts"])
    found: dict[str, dict[int, int]] = {}
    for row in keys.aggregate([([], "count_all")]).sort_by("attempts").to_pylist():
        found.setdefault(row[Column.GRADE] or NOT_GRADED, {})[row["attempts"]] = row["count_all"]
    order = [*Outcome, NOT_GRADED]
    return [
        LabelRow(grade, sum(lengths.values()), lengths)
        for grade, lengths in sorted(found.items(), key=lambda item: order.index(item[0]))
    ]


def confusion(rows: pa.Table) -> Confusion | None:
    """The verdicts on decided attempts."""
    found = Confusion()
    for says, verdict in enumerate(("incorrect", "correct")):
        for truth, grade in enumerate((Outcome.WRONG, Outcome.RIGHT)):
            found.cells[truth, says] = view(rows[f"{verdict}_on_{grade}"]).sum()
    return found if found.reflections else None
