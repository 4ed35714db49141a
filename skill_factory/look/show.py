"""Traces as lines for a terminal: each part named in words, and coloured by what it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from skill_factory.core.columns import Column
from skill_factory.core.places import to_parquet
from skill_factory.core.sources.chats import one_line_for_damaged, texts_of
from skill_factory.core.sources.local_files import FileSource, kind_of
from skill_factory.core.terminal import Line, Piece, Style
from skill_factory.errors import InputError
from skill_factory.look.choosing import Wanted, choose
from skill_factory.look.folders import ChatFiles, SftFolder, Trace
from skill_factory.look.spans import Kind, Span
from skill_factory.look.text_lines import heading_and_text, marked, marks_of

TRACES = 3
"""How many are shown, unless told otherwise."""


class Chosen(NamedTuple):
    """Traces to show: their numbers, how many there were to choose from, and how many there are."""

    numbers: list[int]
    among: int
    total: int


def chosen_traces(folder: ChatFiles, wanted: Wanted, number: int | None, seed: int) -> Chosen:
    """Which traces are shown, drawn if there are more than `number` (None: a few). Raises
    `InputError` if none is as it is wanted."""
    found, count = choose(folder, wanted), folder.count
    among = count if found is None else len(found)
    if not among:
        raise InputError(f"{folder.path}: holds no {folder.thing}s")
    drawn = folder.sample(TRACES if number is None else number, seed, found)
    return Chosen(drawn, among, count)


def trace_lines(folder: ChatFiles, chosen: Chosen, grep: str | None = None) -> Iterator[Line]:
    """The chosen traces as lines; of `grep` each place is marked."""
    mark = marks_of(grep)
    for trace in folder.read(chosen.numbers):
        variants = _variants(folder, trace)
        title = f"{folder.thing} {trace.id}"
        for line in _lines_of(trace, title, chosen.total, variants):
            yield marked(line, mark)
        yield ()
    yield [Piece(_summary(chosen, folder.thing), Style.GREY)]


def _summary(chosen: Chosen, thing: str) -> str:
    shown, among = len(chosen.numbers), chosen.among
    of = f"{among:,} {thing}s" + ("" if among == chosen.total else " that match")
    return f"{shown:,} of {of}" + ("; others with --seed, more with -n" if shown < among else "")


def _lines_of(trace: Trace, title: str, count: int, variants: Mapping[int, str]) -> Iterator[Line]:
    about = [*trace.about, f"{trace.number + 1:,} of {count:,}"]
    yield [Piece(title, Style.BOLD), Piece(f"  {', '.join(about)}", Style.GREY)]
    yield from heading_and_text("question", Style.BOLD, trace.question)
    for span in trace.spans():
        if span.kind is not Kind.TAG:
            yield from heading_and_text(
                _title(span), style_of(span), span.text, _origin(span, trace, variants)
            )


def _title(span: Span) -> str:
    return "text outside the parts" if span.kind is Kind.OTHER else span.name


def style_of(span: Span) -> Style:
    """How a span looks: green for what is right, red for what is wrong; a reflection that is not
    true stands out."""
    if span.kind is Kind.REFLECTION:
        return {True: Style.CYAN, False: Style.MAGENTA, None: Style.PLAIN}[span.true]
    if span.kind in (Kind.ATTEMPT, Kind.RESTATED, Kind.ANSWER, Kind.RESPONSE):
        return {True: Style.GREEN, False: Style.RED, None: Style.PLAIN}[span.correct]
    return Style.PLAIN if span.kind is Kind.OTHER else Style.YELLOW


def _origin(span: Span, trace: Trace, variants: Mapping[int, str]) -> str:
    """Where an attempt or a reflection came from, as the plan says."""
    if span.kind not in (Kind.ATTEMPT, Kind.REFLECTION) or not trace.steps or span.step is None:
        return ""
    step = trace.steps[span.step]
    if span.kind is Kind.REFLECTION:
        return f"reflection {step['reflection']} of row {step[Column.ROW]}"
    row = f"row {step[Column.ROW]}, response {step[Column.RESPONSE]}"
    return ", ".join(filter(None, (variants.get(step[Column.ROW], ""), row)))


# -- prompt variants ------------------------------------------------------------------------------


def _variants(folder: ChatFiles, trace: Trace) -> dict[int, str]:
    """The prompt variants of a trace's attempts by row, where its input is a file at hand that has
    them by columns; empty: they are not known."""
    rows = {step[Column.ROW] for step in trace.steps}
    if not isinstance(folder, SftFolder) or not rows or folder.manifest["input"].get("revision"):
        return {}
    with suppress(InputError):  # it is gone, or another one; nothing else depends on it
        source, columns, _ = folder.input()
        if isinstance(source, FileSource) and kind_of(source.files[0]) == "parquet":
            return dict(_read_variants(source, columns.variant, rows))
    return {}


def _read_variants(
    source: FileSource, column: str, rows: Iterable[int]
) -> Iterator[tuple[int, str]]:
    """A column's texts at some rows, counted over all files."""
    wanted, first = np.array(sorted(rows)), 0
    for path in source.files:
        with one_line_for_damaged(path), pq.ParquetFile(to_parquet(path)) as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                here = wanted[(wanted >= first) & (wanted < first + count)]
                if len(here) and column in file.schema_arrow.names:
                    texts = file.read_row_group(group, [column])[column].take(here - first)
                    found = texts_of(texts.combine_chunks())
                    yield from (
                        (row, text) for row, text in zip(here.tolist(), found, strict=True) if text
                    )
                first += count
