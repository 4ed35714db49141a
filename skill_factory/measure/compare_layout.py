"""A comparison as text: for a person, in Markdown, in LaTeX, as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from skill_factory.measure.comparison import Cell, ComparedRow, Comparison
from skill_factory.measure.layout import aligned, percent_of, signed, with_interval

_SURE, _NONE = "*", "-"
_CAPTION = "In brackets: 95 % intervals by bootstrap over questions."
_DIFFERENCES = f"Less the first column, on the same questions; {_SURE}: the interval leaves 0 out."


class _Table(NamedTuple):
    """A table of texts under a title; its rows are measures, a head of each column first."""

    title: str
    heads: list[str]
    rows: list[list[str]]


def _tables(found: Comparison) -> Iterator[_Table]:
    """For each set of questions the figures, and then the differences, where there are any."""
    for question_set in found.sets():
        rows = [row for row in found.rows if row.question_set == question_set]
        heads = ["", *found.columns]
        figures = [[_title(row), *(_figure(row, cell) for cell in row.cells)] for row in rows]
        yield _Table(question_set, heads, figures)
        others = [
            place
            for place in range(1, len(found.columns))
            if any(cell and cell.difference for cell in (row.cells[place] for row in rows))
        ]
        if others:
            heads = ["", *(f"{found.columns[place]} less {found.columns[0]}" for place in others)]
            cells = [[_difference(row, row.cells[place]) for place in others] for row in rows]
            lines = [
                [_title(row), *texts]
                for row, texts in zip(rows, cells, strict=True)
                if set(texts) != {_NONE}
            ]
            yield _Table(f"{question_set}: differences", heads, lines)


def _title(row: ComparedRow) -> str:
    return row.measure.title + percent_of(row.measure.unit)


def _figure(row: ComparedRow, cell: Cell | None) -> str:
    return _NONE if cell is None else with_interval(cell.figure, row.measure.unit)


def _difference(row: ComparedRow, cell: Cell | None) -> str:
    found = cell and cell.difference
    if not found or found.value is None:
        return _NONE
    text = signed(found.value, row.measure.unit)
    if found.low is None or found.high is None:
        return text
    ends = ", ".join(signed(end, row.measure.unit) for end in (found.low, found.high))
    return f"{text}{_SURE if found.is_sure else ''} [{ends}]"


def as_text(found: Comparison) -> str:
    """For a person."""
    parts = [f"{one.title}\n{aligned(one.heads, one.rows)}" for one in _tables(found)]
    return "\n\n".join([*parts, *_remarks(found), *_examples(found)])


def _remarks(found: Comparison) -> list[str]:
    has_differences = any(cell and cell.difference for row in found.rows for cell in row.cells)
    lines = [_CAPTION, *([_DIFFERENCES] if has_differences else []), *found.notes]
    return ["\n".join(lines)]


def _examples(found: Comparison) -> Iterator[str]:
    for example in found.examples:
        yield f"{example.question_set}: {example.question} (gold: {example.gold})"
        for response in example.responses:
            yield f"{response.column}, {response.grade}:\n{_indented(response.response)}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def as_json(found: Comparison) -> str:
    """All of it."""
    return json.dumps(found.as_dict(), indent=2, ensure_ascii=False)


# -- Markdown -------------------------------------------------------------------------------------

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|!~])")


def as_markdown(found: Comparison) -> str:
    """Tables of GitHub's Markdown; what a model wrote stands in code blocks."""
    parts = [f"**{_md(one.title)}**\n\n{_markdown_table(one)}" for one in _tables(found)]
    parts += ["  \n".join(map(_md, one.splitlines())) for one in _remarks(found)]
    for example in found.examples:
        parts.append(f"**{_md(f'{example.question_set}: {example.question}')}**")
        for one in example.responses:
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", one.response)), default=0))
            parts.append(f"{_md(one.column)}, {one.grade}:\n\n{fence}text\n{one.response}\n{fence}")
    return "\n\n".join(parts)


def _markdown_table(one: _Table) -> str:
    rule = ["---", *["---:"] * (len(one.heads) - 1)]
    lines = [[_md(cell) for cell in row] for row in (one.heads, *one.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (lines[0], rule, *lines[1:]))


def _md(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


# -- LaTeX ----------------------------------------------------------------------------------------

_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}"},
}


def as_latex(found: Comparison) -> str:
    """Tables with the rules of booktabs, to be put into a document that has it."""
    remarks = _tex(" ".join("\n".join(_remarks(found)).splitlines()))
    tables = "\n\n".join(map(_latex_table, _tables(found)))
    return f"% needs \\usepackage{{booktabs}}\n{tables}\n\n{remarks}"


def _latex_table(one: _Table) -> str:
    rows = [" & ".join(map(_tex, row)) + r" \\" for row in (one.heads, *one.rows)]
    body = "\n".join([rows[0], r"\midrule", *rows[1:]])
    columns = "l" + "r" * (len(one.heads) - 1)
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        f"\\multicolumn{{{len(one.heads)}}}{{l}}{{{_tex(one.title)}}} \\\\\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}"
    )


def _tex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def written(found: Comparison, kind: str) -> str:
    """A comparison in the form of a file's suffix, .json, .md or .tex; any other: for a person."""
    forms = {".json": as_json, ".md": as_markdown, ".tex": as_latex}
    return forms.get(kind, as_text)(found)
