"""Figures of models before they are drawn: tables with intervals, charts over steps or models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from skill_factory.measure.comparison import Cell, ComparedRow, Comparison, Difference, Series
from skill_factory.measure.figures import Figure, Measured, in_order, measure_of
from skill_factory.measure.layout import percent_of, shown, signed
from skill_factory.measure.measures import Measure, Unit, is_main

CHARTS = (
    *("accuracy", "rescued", "harmed", "attempts", "explicit_answers", "explicit_reflections"),
    *("f1_correct", "f1_incorrect", "tokens", "characters"),
)
"""The figures that are drawn, in this order."""

_WHOLE = (Unit.SHARE, Unit.SCORE)
"""Units that go from 0 to 1."""


class Span(NamedTuple):
    """A figure and its interval as texts (None: there is no interval), and as places on an axis,
    from 0 to 100 (`at` None: there is no axis)."""

    text: str
    low: str | None = None
    high: str | None = None
    at: float | None = None
    start: float | None = None
    end: float | None = None

    @property
    def interval(self) -> str:
        """The interval in brackets; empty: none."""
        return "" if self.low is None else f"[{self.low}, {self.high}]"


class Change(NamedTuple):
    """A difference to the first column: its texts, and what it means in a word, "better" say; empty
    where its interval holds 0."""

    span: Span
    meaning: str


class FigureCell(NamedTuple):
    """A figure of a column, and its difference to the first one's (None: none)."""

    figure: Span
    change: Change | None


class FigureRow(NamedTuple):
    """A measure: its title, what it counts, and a cell for each column (None: it has none)."""

    title: str
    about: str
    cells: list[FigureCell | None]


class FigureTable(NamedTuple):
    """Rows under the title of their section."""

    title: str
    rows: list[FigureRow]


class Point(NamedTuple):
    """A figure at a training step; `x` and `y` are places from 0 to 100, `y` from above. `x` None:
    its series has no steps, and it is drawn as a level."""

    step: int | None
    x: float | None
    y: float
    low: float
    high: float
    span: Span


class Curve(NamedTuple):
    """The points of a series, in order of the steps."""

    name: str
    points: list[Point]

    @property
    def line(self) -> str:
        """The line through its points; a level goes from end to end."""
        if self.points[0].x is None:
            return f"M0 {self.points[0].y} H100"
        return "M" + " L".join(f"{point.x} {point.y}" for point in self.points)

    @property
    def band(self) -> str:
        """The outline of its intervals."""
        ends = [(point.x or 0, point.low, point.high) for point in self.points]
        if self.points[0].x is None:
            ends = [*ends, (100, *ends[0][1:])]
        outline = [(x, high) for x, _, high in ends] + [(x, low) for x, low, _ in reversed(ends)]
        return "M" + " L".join(f"{x} {y}" for x, y in outline) + " Z"


class Chart(NamedTuple):
    """A figure over steps, or by model: `curves` have more than one step somewhere, `bars` have
    none. `ends` are the axis' ends as texts, `steps` the first and the last step."""

    title: str
    about: str
    curves: list[Curve]
    bars: list[tuple[str, Span]]
    ends: tuple[str, str]
    steps: tuple[int, int] | None


class SetFigures(NamedTuple):
    """What is drawn of a set of questions: the main table, the whole one by sections, charts."""

    name: str
    main: FigureTable
    sections: list[FigureTable]
    charts: list[Chart]


class Figures(NamedTuple):
    """What is drawn of a comparison, or of a measured folder. `across` are charts over its sets."""

    columns: tuple[str, ...]
    sets: list[SetFigures]
    across: list[Chart]
    notes: tuple[str, ...]

    @property
    def compares(self) -> bool:
        """Whether there are differences to the first column."""
        return any(
            cell is not None and cell.change is not None
            for one in self.sets
            for row in one.main.rows
            for cell in row.cells
        )


def figures_of(found: Comparison) -> Figures:
    """What is drawn of a comparison."""
    sets = [_of_set(found, name) for name in found.sets()]
    models = {one.column for one in found.series}
    by_set = len(models) == 1 and len(sets) > 1 and not any(len(s.points) > 1 for s in found.series)
    named = [(one.question_set, one) for one in found.series] if by_set else []
    return Figures(found.columns, sets, list(_charts(named)), found.notes)


def comparison_of(groups: Sequence[Measured]) -> Comparison:
    """What a measured folder says of its models by itself, as a comparison without differences; of
    each model and set the last step is in the rows."""
    models = list(dict.fromkeys(one.group.model for one in groups))
    series = [
        Series(model or _ONE, name, tuple(points))
        for model in models
        for name in dict.fromkeys(one.group.question_set for one in groups)
        if (points := [one for one in groups if one.group[:2] == (name, model)])
    ]
    columns = tuple(model or _ONE for model in models)
    names = in_order(
        name for one in groups for name, figure in one.figures.items() if figure.value is not None
    )
    rows = [
        ComparedRow(question_set, measure_of(name), cells)
        for question_set in dict.fromkeys(one.question_set for one in series)
        for name in names
        if any(cells := _cells(series, question_set, name, columns))
    ]
    return Comparison(columns, tuple(rows), tuple(series))


_ONE = "responses"
"""What a model is called whose name is not known."""


def _cells(
    series: Sequence[Series], question_set: str, figure: str, columns: Sequence[str]
) -> tuple[Cell | None, ...]:
    """What each model has of a figure at its last step; None: nothing."""
    last = {one.column: one.points[-1] for one in series if one.question_set == question_set}
    found = [last[name].figures.get(figure) if name in last else None for name in columns]
    return tuple(None if one is None or one.value is None else Cell(one) for one in found)


# -- tables ---------------------------------------------------------------------------------------


def _of_set(found: Comparison, name: str) -> SetFigures:
    rows = [row for row in found.rows if row.question_set == name]
    named = [(one.column, one) for one in found.series if one.question_set == name]
    several = len(named) > 1 or any(len(one.points) > 1 for _, one in named)
    return SetFigures(
        name,
        FigureTable("Main figures", [_row(row) for row in rows if is_main(row.measure.name)]),
        [
            FigureTable(section, [_row(row) for row in rows if row.measure.section == section])
            for section in dict.fromkeys(row.measure.section for row in rows)
        ],
        list(_charts(named)) if several else [],
    )


def _row(row: ComparedRow) -> FigureRow:
    measure = row.measure
    cells = [None if cell is None else _figure_cell(cell, measure) for cell in row.cells]
    return FigureRow(measure.title + percent_of(measure.unit), measure.about, cells)


def _figure_cell(cell: Cell, measure: Measure) -> FigureCell:
    whole = (0.0, 1.0) if measure.unit in _WHOLE else None
    change = None if cell.difference is None else _change(cell.difference, measure)
    return FigureCell(_span(cell.figure, measure.unit, whole), change)


def _change(found: Difference, measure: Measure) -> Change | None:
    if found.value is None:
        return None
    low, high = (
        None if end is None else signed(end, measure.unit) for end in (found.low, found.high)
    )
    return Change(Span(signed(found.value, measure.unit), low, high), _meaning(found, measure))


def _meaning(found: Difference, measure: Measure) -> str:
    if not found.is_sure or found.value is None:
        return ""
    rises = found.value > 0
    if measure.less_is_better is None:
        return "more" if rises else "less"
    return "worse" if rises is measure.less_is_better else "better"


def _span(figure: Figure, unit: Unit, axis: tuple[float, float] | None) -> Span:
    numbers = (figure.value, figure.low, figure.high)
    text, low, high = (None if one is None else shown(one, unit) for one in numbers)
    span = Span(text or "-", low, high)
    if axis is None:
        return span
    at, start, end = (None if one is None else _place(one, axis) for one in numbers)
    return span._replace(at=at, start=start, end=end)


def _place(value: float, axis: tuple[float, float]) -> float:
    low, high = axis
    return round(100 * min(1.0, max(0.0, (value - low) / ((high - low) or 1.0))), 2)


# -- charts ---------------------------------------------------------------------------------------


def _charts(named: Sequence[tuple[str, Series]]) -> Iterator[Chart]:
    """A chart of each figure that some series has."""
    for name in CHARTS:
        there = [(title, points) for title, one in named if (points := _points(one, name))]
        if there:
            yield _chart(measure_of(name), there)


_Step = tuple[int | None, Figure]


def _points(one: Series, name: str) -> list[_Step]:
    return [
        (point.group.step, figure)
        for point in one.points
        if (figure := point.figures.get(name)) is not None and figure.value is not None
    ]


def _chart(measure: Measure, there: list[tuple[str, list[_Step]]]) -> Chart:
    axis = _axis(measure, (figure for _, points in there for _, figure in points))
    ends = shown(axis[0], measure.unit), shown(axis[1], measure.unit)
    about = measure.title[0].upper() + measure.title[1:] + percent_of(measure.unit), measure.about
    if all(len(points) == 1 for _, points in there):
        bars = [(title, _span(points[0][1], measure.unit, axis)) for title, points in there]
        return Chart(*about, [], bars, ends, None)
    several = [points for _, points in there if len(points) > 1]
    steps = [step for points in several for step, _ in points if step is not None]
    between = min(steps), max(steps)
    curves = [
        Curve(title, [_point(one, measure.unit, axis, between, len(points)) for one in points])
        for title, points in there
    ]
    return Chart(*about, curves, [], ends, between)


def _axis(measure: Measure, figures: Iterable[Figure]) -> tuple[float, float]:
    """From 0, or below it, up to the highest interval's end; of shares to a round tenth."""
    values = [
        one for found in figures for one in (found.value, found.low, found.high) if one is not None
    ]
    low, high = min(0.0, *values), max(values)
    if measure.unit in _WHOLE:
        return low, min(1.0, -(-high // 0.1) / 10) or 1.0
    return low, high or 1.0


def _point(
    one: _Step, unit: Unit, axis: tuple[float, float], steps: tuple[int, int], count: int
) -> Point:
    step, figure = one
    span = _span(figure, unit, axis)
    x = _place(step, steps) if step is not None and count > 1 else None
    y, low, high = (
        round(100 - (place if place is not None else span.at or 0), 2)
        for place in (span.at, span.start, span.end)
    )
    return Point(step, x, y, low, high, span)
