"""Figures as text: for a person, in Markdown, in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from skill_factory.measure.figures import Figure, Measured, measure_of
from skill_factory.measure.measures import MAIN, Section, Unit


def shown(value: float | None, unit: Unit) -> str:
    """A figure for a person: a share in percent, a difference in points, a mean as it is.

    >>> shown(0.5, Unit.SHARE), shown(-0.021, Unit.DIFFERENCE), shown(1234.5, Unit.LENGTH)
    ('50.0', '-2.1', '1,234')
    """
    if value is None:
        return "-"
    if unit is Unit.SHARE:
        return f"{100 * value:.1f}"
    if unit is Unit.DIFFERENCE:
        return f"{100 * value:+.1f}"
    return f"{value:,.0f}" if unit is Unit.LENGTH else f"{value:.2f}"


def signed(value: float, unit: Unit) -> str:
    """A difference of two figures for a person, with its sign."""
    text = shown(abs(value), Unit.SHARE if unit is Unit.DIFFERENCE else unit)
    return f"{'-' if value < 0 else '+'}{text}"


def percent_of(unit: Unit) -> str:
    """What stands after the title of a figure that `shown` gives in percent or points."""
    return " %" if unit in (Unit.SHARE, Unit.DIFFERENCE) else ""


def with_interval(figure: Figure, unit: Unit) -> str:
    """A figure and its interval: "50.0 [41.2, 58.9]"."""
    text = shown(figure.value, unit)
    if figure.low is None:
        return text
    return f"{text} [{shown(figure.low, unit)}, {shown(figure.high, unit)}]"


def title_of(one: Measured) -> str:
    """What a group is, for a person."""
    group = one.group
    step = "" if group.step is None else f", step {group.step}"
    return f"{group.question_set}{f', {group.model}' if group.model else ''}{step}"


def summary_text(found: Sequence[Measured]) -> str:
    """All groups for a person: every measure of a single one, the main ones of several."""
    return _whole(found[0]) if len(found) == 1 else _rows(found)


def _whole(one: Measured) -> str:
    lines = [
        title_of(one),
        f"{one.responses:,} responses to {one.questions:,} questions; in brackets: 95 % intervals",
    ]
    for section in Section:
        there = [
            (name, figure)
            for name, figure in one.figures.items()
            if measure_of(name).section is section and figure.value is not None
        ]
        if there:
            lines += ["", section]
            lines += [_line(name, figure) for name, figure in there]
    return "\n".join(lines)


def _line(name: str, figure: Figure) -> str:
    measure = measure_of(name)
    return f"  {measure.title + percent_of(measure.unit):34}{with_interval(figure, measure.unit)}"


def _rows(found: Sequence[Measured]) -> str:
    names = [name for name in MAIN if any(one.figures[name].value is not None for one in found)]
    heads = ["set, model, step", "responses", *(measure_of(name).title for name in names)]
    rows = [
        [
            title_of(one),
            f"{one.responses:,}",
            *(shown(one.figures[name].value, measure_of(name).unit) for name in names),
        ]
        for one in found
    ]
    return aligned(heads, rows)


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of text; the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *rows)
    )
