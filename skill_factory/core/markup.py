"""A trace as text: its layout, and how it is written and read back.

The layout is data, which `write` and the weaving of whole batches share. A written trace looks
like this::

    <think>
    <sample>
    attempt, keeping its own <answer>..</answer>
    </sample>
    <reflect>
    reflection, keeping its <verdict>..</verdict>
    </reflect>
    glue phrase
    <sample>
    ...
    </think>

    lead phrase             only when there is one: a backtrack or a confirmation
    the attempt again       only after a backtrack
    closing phrase

    <answer>
    answer
    </answer>

Phrases are single lines, so the text after ``</think>`` can be read back without tags of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from skill_factory.core.trace_tags import (
    ANSWER,
    END_ANSWER,
    END_REFLECT,
    END_SAMPLE,
    END_THINK,
    REFLECT,
    SAMPLE,
    THINK,
    VerdictReading,
    are_pairs,
    read_verdict,
)


class Piece(NamedTuple):
    """A part of a trace by its name, and what is written before and after it. A part that is absent
    leaves nothing."""

    part: str
    before: str = ""
    after: str = ""


BEGIN = f"{THINK}\n"
"""What a trace begins with."""

STEP_LAYOUT = (
    Piece("attempt", f"{SAMPLE}\n", f"\n{END_SAMPLE}\n"),
    Piece("reflection", f"{REFLECT}\n", f"\n{END_REFLECT}\n"),
    Piece("glue", after="\n"),
)
"""Each step, in this order; the last one has no glue phrase."""

MIDDLE = f"{END_THINK}\n\n"
"""What stands between the last step and the end."""

END_LAYOUT = (
    Piece("lead", after="\n"),
    Piece("restated", after="\n"),
    Piece("closing"),
    Piece("answer", f"\n\n{ANSWER}\n", f"\n{END_ANSWER}"),
)
"""What stands after the thinking, in this order."""

_TAG = re.compile(r"<(/?)(think|sample|reflect|verdict|answer)>")
_BLOCK = re.compile(r"<(/?)(sample|reflect)>")


class Part(NamedTuple):
    """A piece of a text with its place: ``source[start:end] == text`` (characters, end
    exclusive)."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt and the reflection on it; None where the format has no reflections."""

    attempt: str
    reflection: str | None


@dataclass(frozen=True, slots=True)
class Trace:
    """The parts of a trace, in the order in which they are written.

    `glue` has one phrase less than there are `steps`. `lead` is the backtrack or confirmation
    phrase; `restated` the attempt that is given again in full after a backtrack.
    """

    steps: tuple[Step, ...]
    glue: tuple[str, ...]
    closing: str
    answer: str
    lead: str | None = None
    restated: str | None = None


def write(trace: Trace) -> str:
    """The text of a trace; the texts in it are taken byte for byte.

    Raises `ValueError` for a trace that could not be read back: no step, a wrong number of glue
    phrases, a phrase that is empty or longer than a line, `restated` empty or without `lead`. Tags
    inside the texts are not looked for: `tags` has the patterns that find them.
    """
    if not trace.steps or len(trace.glue) != len(trace.steps) - 1:
        raise ValueError("a trace has at least one step, and one glue phrase between any two")
    phrases = [*trace.glue, trace.closing, *([] if trace.lead is None else [trace.lead])]
    if not all(phrases) or any("\n" in phrase for phrase in phrases):
        raise ValueError("a phrase is one line and not empty")
    if trace.restated is not None and (trace.lead is None or not trace.restated):
        raise ValueError("a restated attempt is not empty and comes after a lead phrase")
    steps = [
        {"attempt": step.attempt, "reflection": step.reflection, "glue": glue}
        for step, glue in zip(trace.steps, (*trace.glue, None), strict=True)
    ]
    end = {name: getattr(trace, name) for name in ("lead", "restated", "closing", "answer")}
    thinking = "".join(_written(STEP_LAYOUT, step) for step in steps)
    return BEGIN + thinking + MIDDLE + _written(END_LAYOUT, end)


def _written(layout: Sequence[Piece], texts: Mapping[str, str | None]) -> str:
    return "".join(
        f"{piece.before}{texts[piece.part]}{piece.after}"
        for piece in layout
        if texts[piece.part] is not None
    )


class ReflectionReading(NamedTuple):
    """A reflection, its verdict (None: it has none), and the index of the attempt it is about
    (None: of none)."""

    part: Part
    verdict: VerdictReading | None
    attempt: int | None


class Broken(StrEnum):
    """Which rule of a trace a problem is against."""

    THINKING = "thinking"
    """One thinking block, at the beginning."""
    BLOCKS = "blocks"
    """Blocks that are closed and in order, at least one attempt."""
    ANSWER = "answer"
    """One final answer, at the end."""
    TAGS = "tags"
    """No tag inside a text."""
    LAYOUT = "layout"
    """Line ends and phrases as `write` has them."""


class Problem(NamedTuple):
    """Something malformed, the character where it was noticed, and the rule that it is against."""

    what: str
    at: int
    rule: Broken


class Reading(NamedTuple):
    """What `read` found, in the order of the text. A part that is missing is None or not in its
    tuple."""

    attempts: tuple[Part, ...]
    reflections: tuple[ReflectionReading, ...]
    glue: tuple[Part, ...]
    lead: Part | None
    restated: Part | None
    closing: Part | None
    answer: Part | None
    problems: tuple[Problem, ...]

    @property
    def trace(self) -> Trace | None:
        """The trace, or None if anything is malformed."""
        if self.problems or self.closing is None or self.answer is None:
            return None
        about = {r.attempt: r.part.text for r in self.reflections}
        return Trace(
            steps=tuple(Step(a.text, about.get(i)) for i, a in enumerate(self.attempts)),
            glue=tuple(g.text for g in self.glue),
            closing=self.closing.text,
            answer=self.answer.text,
            lead=self.lead.text if self.lead else None,
            restated=self.restated.text if self.restated else None,
        )


def read(text: str) -> Reading:
    """Read a trace, or anything a model wrote in its place; never raises.

    What is there is returned even where the structure is broken (an unclosed block ends at the next
    tag of its kind), and `problems` then says what is wrong. `read(write(t)).trace == t` for all
    texts without tags of ours.
    """
    return _Reader(text).reading()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.attempts: list[Part] = []
        self.reflections: list[ReflectionReading] = []
        self.glue: list[Part] = []
        self.problems: list[Problem] = []

    def reading(self) -> Reading:
        start, end, after = self._thinking()
        self._blocks(start, end)
        lead, restated, closing, answer = self._tail(after)
        for part in (*self.glue, lead, closing, answer):
            if part and (tag := _TAG.search(part.text)):
                self._problem(
                    f"{tag[0]} where no tag belongs", part.start + tag.start(), Broken.TAGS
                )
        return Reading(
            tuple(self.attempts),
            tuple(self.reflections),
            tuple(self.glue),
            lead,
            restated,
            closing,
            answer,
            tuple(sorted(self.problems, key=lambda p: p.at)),
        )

    def _problem(self, what: str, at: int, rule: Broken = Broken.LAYOUT) -> None:
        self.problems.append(Problem(what, at, rule))

    def _part(self, start: int, end: int) -> Part:
        return Part(self.text[start:end], start, end)

    def _inner(self, start: int, end: int) -> Part:
        """The span without the line ends that `write` puts around it."""
        if end - start >= 2 and self.text[start] == "\n" and self.text[end - 1] == "\n":
            return self._part(start + 1, end - 1)
        self._problem("a tag is not on a line of its own", start)
        return self._part(start, end)

    def _thinking(self) -> tuple[int, int, int]:
        """Start and end of the thinking, and where the text after it starts."""
        opening, closing = THINK, END_THINK
        start = 0
        if self.text.startswith(opening):
            start = len(opening)
        else:
            self._problem("the text does not begin with <think>", 0, Broken.THINKING)
        if self.text.find(opening, start) >= 0:
            self._problem("a second <think>", self.text.find(opening, start), Broken.THINKING)
        end = self.text.rfind(closing)
        if end < start:
            self._problem("no </think>", len(self.text), Broken.THINKING)
            return start, len(self.text), len(self.text)
        if self.text.find(closing) != end:
            self._problem("a second </think>", end, Broken.THINKING)
        return start, end, end + len(closing)

    def _blocks(self, start: int, end: int) -> None:
        opened: str | None = None
        last: str | None = None  # the kind of the last block that was closed
        cursor = start
        for match in _BLOCK.finditer(self.text, start, end):
            slash, name = match.groups()
            if slash:
                if opened != name:
                    self._problem(f"</{name}> closes nothing", match.start(), Broken.BLOCKS)
                    continue
                self._block(name, cursor, match.start(), last)
                opened, last, cursor = None, name, match.end()
                continue
            if opened:
                self._problem(f"<{opened}> is not closed", match.start(), Broken.BLOCKS)
                self._block(opened, cursor, match.start(), last)
                last = opened
            else:
                self._gap(cursor, match.start(), last, name)
            opened, cursor = name, match.end()
        if opened:
            self._problem(f"<{opened}> is not closed", end, Broken.BLOCKS)
            self._block(opened, cursor, end, last)
        elif self.text[cursor:end] != "\n":
            self._problem("text after the last block of the thinking", cursor)
        if not self.attempts:
            self._problem("no attempt", start, Broken.BLOCKS)

    def _gap(self, start: int, end: int, last: str | None, following: str) -> None:
        gap = self.text[start:end]
        if last is None:
            if gap != "\n":
                self._problem("text before the first attempt", start)
        elif following == "reflect":
            if gap != "\n":
                self._problem("text between an attempt and its reflection", start)
        elif len(gap) < 3:
            self._problem("no glue phrase between two attempts", start)
        else:
            glue = self._inner(start, end)
            if "\n" in glue.text:
                self._problem("a glue phrase of several lines", start)
            self.glue.append(glue)

    def _block(self, name: str, start: int, end: int, last: str | None) -> None:
        part = self._inner(start, end)
        self._tags_inside(name, part)
        if name == "sample":
            self.attempts.append(part)
            return
        about = len(self.attempts) - 1 if last == "sample" else None
        if about is None:
            self._problem("a reflection without an attempt", start, Broken.BLOCKS)
        self.reflections.append(ReflectionReading(part, read_verdict(part.text, part.start), about))

    def _tags_inside(self, name: str, part: Part) -> None:
        foreign = "verdict" if name == "sample" else "answer"
        own, tags = "answer" if name == "sample" else "verdict", list[str]()
        if _TAG.findall(part.text) == [("", own), ("/", own)]:
            return  # as nearly always
        for tag in _TAG.finditer(part.text):
            if tag[2] == foreign:
                self._problem(f"<{foreign}> inside <{name}>", part.start + tag.start(), Broken.TAGS)
            elif tag[2] == own:
                tags.append(tag[0])
        if not are_pairs(tags):
            self._problem(f"unpaired </?{own}> inside <{name}>", part.start, Broken.TAGS)

    def _tail(self, after: int) -> tuple[Part | None, Part | None, Part | None, Part | None]:
        """Lead, restated attempt, closing phrase, final answer."""
        opening, closing = ANSWER, END_ANSWER
        opened = self.text.rfind(opening, after)
        if opened < 0:
            self._problem("no final <answer>", len(self.text), Broken.ANSWER)
            return None, None, None, None
        start = opened + len(opening)
        end = self.text.find(closing, start)
        if end < 0:
            self._problem("the final <answer> is not closed", len(self.text), Broken.ANSWER)
            return None, None, None, None
        if end + len(closing) != len(self.text):
            self._problem("text after the final answer", end + len(closing), Broken.ANSWER)
        answer = self._inner(start, end)
        middle, ahead = self.text[after:opened], MIDDLE.removeprefix(END_THINK)
        if len(middle) < 5 or not middle.startswith(ahead) or not middle.endswith("\n\n"):
            self._problem("no closing phrase between </think> and <answer>", after)
            return None, None, None, answer
        return *self._phrases(after + 2, opened - 2), answer

    def _phrases(self, start: int, end: int) -> tuple[Part | None, Part | None, Part]:
        first = self.text.find("\n", start, end)
        last = self.text.rfind("\n", start, end)
        if first < 0:
            return None, None, self._part(start, end)
        lead, closing = self._part(start, first), self._part(last + 1, end)
        restated = None if first == last else self._part(first + 1, last)
        if not lead.text or not closing.text:
            self._problem("an empty phrase after </think>", start)
        if restated and not restated.text:
            self._problem("an empty attempt given again", restated.start)
        elif restated and restated.text not in {a.text for a in self.attempts}:
            self._problem("the attempt given again is none of those before", restated.start)
        return lead, restated, closing
