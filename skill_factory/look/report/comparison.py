"""The page of a comparison of models: figures, and responses side by side."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from skill_factory.core import markup
from skill_factory.core.columns import Column
from skill_factory.core.terminal import visible
from skill_factory.look.grading import correctness
from skill_factory.look.measured import is_right, response_spans
from skill_factory.look.report.figures import Figures, figures_of
from skill_factory.look.report.options import LONGEST_RESPONSE, ROOM
from skill_factory.look.spans import Kind, Span
from skill_factory.measure.comparison import Comparison, Example, ExampleResponse


class ShownSpan(NamedTuple):
    """A part of a response, named; `truth`: right or true; None: that is not known."""

    kind: str
    name: str
    text: str
    truth: bool | None


class ShownResponse(NamedTuple):
    """What a model answered, in parts; `right` None: it is not decided."""

    column: str
    grade: str
    right: bool | None
    spans: list[ShownSpan]


class ShownExample(NamedTuple):
    """A question with two responses to it."""

    question_set: str
    question: str | None
    gold: str | None
    responses: list[ShownResponse]


class ComparisonPage(NamedTuple):
    """What the page says. `without_room`: examples that the page would be too large with."""

    figures: Figures
    examples: list[ShownExample]
    without_room: int


def comparison_contents(found: Comparison) -> ComparisonPage:
    """What a page says of a comparison."""
    shown, left = list[ShownExample](), ROOM
    for one in found.examples:
        example = _example(one)
        if (size := _size(example)) <= left:
            shown.append(example)
            left -= size
    return ComparisonPage(figures_of(found), shown, len(found.examples) - len(shown))


_AROUND = 200
"""Bytes that stand around a part of a response in a page."""


def _size(example: ShownExample) -> int:
    """About how many bytes an example takes in a page."""
    texts = [span.text for one in example.responses for span in one.spans]
    texts += [example.question or "", example.gold or ""]
    shown = (escape(visible(text[:LONGEST_RESPONSE])) for text in texts)
    sizes = (len(text.encode("utf-8", "replace")) + _AROUND for text in shown)
    return sum(sizes)


def _example(one: Example) -> ShownExample:
    responses = [_response(response, one) for response in one.responses]
    return ShownExample(one.question_set, one.question, one.gold, responses)


def _response(one: ExampleResponse, example: Example) -> ShownResponse:
    beside = {Column.TASK: example.task, Column.GOLD: example.gold, Column.FACTS: example.facts}
    right = is_right(one.grade)
    attempts = correctness(markup.read(one.response), example.question or "", beside)
    spans = response_spans(one.response, attempts, right)
    return ShownResponse(one.column, one.grade or "not graded", right, list(_shown(spans)))


def _shown(spans: list[Span]) -> Iterator[ShownSpan]:
    for span in spans:
        if span.kind is not Kind.TAG:
            truth = span.true if span.kind is Kind.REFLECTION else span.correct
            graded = span.kind not in (Kind.GLUE, Kind.CLOSING, Kind.LEAD, Kind.OTHER)
            yield ShownSpan(span.kind, span.name, span.text, truth if graded else None)
