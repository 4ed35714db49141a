"""A trace as spans: what each stretch of its text is, and whether it is true."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from skill_factory.core import markup
from skill_factory.core.trace_tags import ANY_TAG, Verdict


class Kind(StrEnum):
    """What a span is. `TAG` is markup and the line ends around it; `OTHER` is text that stands
    where none of a trace's parts does, as in what a model wrote itself; `RESPONSE` is all that a
    model answered without parts."""

    TAG = "tag"
    ATTEMPT = "attempt"
    REFLECTION = "reflection"
    GLUE = "glue"
    LEAD = "lead"
    RESTATED = "restated attempt"
    CLOSING = "closing"
    ANSWER = "answer"
    OTHER = "other"
    RESPONSE = "response"


class Span(NamedTuple):
    """A stretch of a trace: ``trace[start:end] == text`` (characters, end exclusive).

    `step` counts attempts from 0: the one that an attempt is, that a reflection is about, that a
    glue phrase comes after, that is restated or that the answer is of; None: of none, or not known.
    `correct`: whether that attempt is right; None: not known. `verdict` is what a reflection says;
    None: nothing, or it is no reflection.
    """

    kind: Kind
    text: str
    start: int
    end: int
    step: int | None = None
    correct: bool | None = None
    verdict: Verdict | None = None

    @property
    def true(self) -> bool | None:
        """Whether a reflection's verdict is the truth about its attempt; None: not known."""
        if self.verdict is None or self.correct is None:
            return None
        return (self.verdict is Verdict.CORRECT) == self.correct

    @property
    def name(self) -> str:
        """What it is, in words: "attempt 2, wrong", "reflection on attempt 2, true: Incorrect"."""
        if self.kind is Kind.REFLECTION:
            about = "" if self.step is None else f" on attempt {self.step + 1}"
            truth = {None: "", True: ", true", False: ", false"}[self.true]
            return f"reflection{about}{truth}: {self.verdict or 'no verdict'}"
        of_attempt = self.kind in (Kind.ATTEMPT, Kind.RESTATED)
        number = f" {self.step + 1}" if of_attempt and self.step is not None else ""
        right = "" if self.correct is None else (", right" if self.correct else ", wrong")
        graded = of_attempt or self.kind in (Kind.ANSWER, Kind.RESPONSE)
        return f"{self.kind}{number}{right if graded else ''}"


def spans_of(
    text: str,
    correct: Sequence[bool | None] = (),
    answer_of: int | None = None,
    restated: int | None = None,
) -> list[Span]:
    """The spans of a trace, or of anything a model wrote in its place; joined they are the text.

    `correct` says of each attempt whether it is right (shorter than the attempts: the rest is not
    known); `answer_of` and `restated` are steps, as `tables.PLAN` has them.

    >>> [span.name for span in spans_of("<think>\\n<sample>\\n4\\n</sample>\\n", [True])]
    ['tag', 'attempt 1, right', 'tag']
    """
    parts = _parts(markup.read(text), correct, answer_of, restated)
    return list(_filled(text, sorted(parts, key=lambda part: part[0])))


def _parts(
    found: markup.Reading,
    correct: Sequence[bool | None],
    answer_of: int | None,
    restated: int | None,
) -> Iterator[tuple[int, Span]]:
    """The parts of a trace beside where they start."""

    def span(
        kind: Kind, part: markup.Part, step: int | None, verdict: Verdict | None = None
    ) -> tuple[int, Span]:
        right = correct[step] if step is not None and step < len(correct) else None
        return part.start, Span(kind, *part, step, right, verdict)

    for step, part in enumerate(found.attempts):
        yield span(Kind.ATTEMPT, part, step)
    for part, verdict, about in found.reflections:
        yield span(Kind.REFLECTION, part, about, verdict.verdict if verdict else None)
    for part in found.glue:
        before = sum(attempt.end <= part.start for attempt in found.attempts)
        yield span(Kind.GLUE, part, before - 1 if before else None)
    for kind, end_part, of in (
        (Kind.LEAD, found.lead, None),
        (Kind.RESTATED, found.restated, restated),
        (Kind.CLOSING, found.closing, None),
        (Kind.ANSWER, found.answer, answer_of),
    ):
        if end_part is not None:
            yield span(kind, end_part, of)


def _filled(text: str, parts: Sequence[tuple[int, Span]]) -> Iterator[Span]:
    """The parts with what stands between them; an empty part gives no span."""
    at = 0
    for start, span in parts:
        if start > at:
            yield from _between(text, at, start)
        if span.end > start:
            yield span
        at = span.end
    if at < len(text):
        yield from _between(text, at, len(text))


def _between(text: str, start: int, end: int) -> Iterator[Span]:
    """Tags with the white space around them, and any text that stands between tags."""
    at = start
    for words_start, words_end in _words(text, start, end):
        if words_start > at:
            yield Span(Kind.TAG, text[at:words_start], at, words_start)
        yield Span(Kind.OTHER, text[words_start:words_end], words_start, words_end)
        at = words_end
    if at < end:
        yield Span(Kind.TAG, text[at:end], at, end)


def _words(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where there is text between tags, without the white space around it."""
    tags = [tag.span() for tag in _TAG.finditer(text, start, end)]
    for before, after in pairwise([(start, start), *tags, (end, end)]):
        words = text[before[1] : after[0]]
        if stripped := words.strip():
            first = before[1] + words.index(stripped)
            yield first, first + len(stripped)


_TAG = re.compile(ANY_TAG)
