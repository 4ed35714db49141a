"""The tags of a trace: write one, read one back, and know which texts would break it.

Every tag of the project stands in this module. A written trace looks like this::

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
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

THINK_OPEN = "<think>\n"
SAMPLE_OPEN = "<sample>\n"
SAMPLE_CLOSE = "\n</sample>\n"
REFLECT_OPEN = "<reflect>\n"
REFLECT_CLOSE = "\n</reflect>\n"
PHRASE_CLOSE = "\n"
THINK_CLOSE = "</think>\n\n"
ANSWER_OPEN = "\n\n<answer>\n"
ANSWER_CLOSE = "\n</answer>"

# The patterns below are read by Python's `re` and by Arrow's RE2 alike. Each begins with one
# literal character: RE2 then jumps from one to the next (7 GB/s here), which an alternation would
# stop.

ANY_TAG = r"</?(?:think|sample|reflect|verdict|answer)>"
"""Every tag of ours. No phrase and no final answer may hold one."""

FOREIGN_IN_ATTEMPT = r"</?(?:think|sample|reflect|verdict)>"
"""Tags that break an attempt; its own ``<answer>`` pairs may stay, if they are pairs."""

FOREIGN_IN_REFLECTION = r"</?(?:think|sample|reflect|answer)>"
"""Tags that break a reflection; its own ``<verdict>`` pair may stay."""

CHAT_TOKENS = (
    r"<(?:\|[^\s<>|]+\|?|[^\s<>|]+\||｜[^<>\s]+｜|/?s|<SYS>|</SYS>"
    r"|(?i:bos|eos|pad|unk|eot|eod|sop|eop|mask|cls|sep|bos_token|eos_token|pad_token|im_start|im_end)"
    r"|(?:start|end)_of_\w+|fim_\w+|repo_name|file_sep|extra_id_\d+|unused_?\d+|reserved_\w+"
    r"|/?tool_call|/?tool_response)>",
    r"\[(?:/?INST|[gs]?MASK|PAD|CLS|SEP|UNK|BOS|EOS|IMG|IMG_BREAK|IMG_END|/?SYSTEM_PROMPT|/?THINK"
    r"|ARGS|CALL_ID|/?TOOL_[A-Z_]+|/?AVAILABLE_TOOLS|UNUSED_TOKEN_\d+)\]",
)
"""Special tokens of ChatML, Llama, Qwen, DeepSeek, Gemma, GLM, Mistral, StarCoder, T5, InternLM and
others, by their shapes: which of them a tokenizer has is not known here. A trainer's tokenizer
turns them into real special tokens even in the middle of a text (measured with LLaMA-Factory
0.9.5)."""

ANSWER_TAG = r"</?answer>"
VERDICT_TAG = r"</?verdict>"
SPACE_RE2 = r"\s\v\x1c-\x1f\x{85}\pZ"
"""The inside of an RE2 character class for what Python calls white space; RE2's own ``\\s`` is
ASCII only."""


class Verdict(StrEnum):
    """What a reflection says of its attempt. No verdict is `None`, which is not `INCORRECT`."""

    CORRECT = "Correct"
    INCORRECT = "Incorrect"


def _any_case(word: str) -> str:
    """Spelt out, as the engines' own ways differ in what they take for an I."""
    return "".join(f"[{letter.upper()}{letter.lower()}]" for letter in word)


def verdict_re2(verdict: Verdict) -> str:
    """RE2 pattern of a verdict pair that says `verdict`, in any case, with white space around."""
    return f"<verdict>[{SPACE_RE2}]*{_any_case(verdict)}[{SPACE_RE2}]*</verdict>"


_TAG = re.compile(r"<(/?)(think|sample|reflect|verdict|answer)>")
_BLOCK = re.compile(r"<(/?)(sample|reflect)>")
_ANSWER = re.compile(ANSWER_TAG)
_VERDICT = re.compile(VERDICT_TAG)
_ASKED_FOR = re.compile(r"</?(answer|verdict)>")
_ASKED_PAIR = re.compile(r"<(answer|verdict)>((?:(?!</?\1>).)*)</\1>", re.DOTALL)
_BETWEEN = {"", "and", "...", "…"}
"""What stands in a pair that is only spoken of, as in "between <answer> and </answer>"."""
_VERDICT_PAIR = re.compile(
    rf"<verdict>\s*({_any_case(Verdict.CORRECT)}|{_any_case(Verdict.INCORRECT)})\s*</verdict>"
)


class Part(NamedTuple):
    """A piece of a text with its place: ``source[start:end] == text`` (characters, end
    exclusive)."""

    text: str
    start: int
    end: int


class VerdictReading(NamedTuple):
    """A verdict and the span of its word."""

    verdict: Verdict
    start: int
    end: int


def answers_are_pairs(text: str) -> bool:
    """Whether the ``<answer>`` tags of `text` (perhaps none) are closed pairs, one after the other.

    >>> answers_are_pairs("<answer>4</answer>"), answers_are_pairs("so <answer>4")
    (True, False)
    """
    return _are_pairs(_ANSWER.findall(text))


def _are_pairs(tags: list[str]) -> bool:
    """Whether tags of one name open and close in turns."""
    opening, closing = tags[::2], tags[1::2]
    return len(opening) == len(closing) and not any(
        one.startswith("</") or not other.startswith("</")
        for one, other in zip(opening, closing, strict=True)
    )


def final_answer(text: str) -> str | None:
    """What a completion gives as its answer, stripped: the text of the last ``<answer>`` pair after
    the last ``</think>``, of the whole text where there is none; None if there is no such pair.

    A pair is an opening tag and the very next answer tag, if that closes it.

    >>> final_answer("<think> <answer>3</answer> </think> <answer> 4 </answer> <answer>5")
    '4'
    """
    opened, found = None, None
    closing = text.rfind(THINK_CLOSE.strip())
    for tag in _ANSWER.finditer(text, max(closing, 0)):
        if tag[0] == ANSWER_OPEN.strip():
            opened = tag.end()
        elif opened is not None:
            opened, found = None, (opened, tag.start())
    return None if found is None else text[slice(*found)].strip()


def untagged(text: str) -> str:
    """A text with the tags that prompts ask for, ``<answer>`` and ``<verdict>``, taken off: a pair
    leaves what is in it, and one that is only spoken of leaves its name.

    >>> untagged("Put it between <answer> and </answer>. So <answer>7</answer>. An <answer> is")
    'Put it between answer. So 7. An answer is'
    """
    if not _ASKED_FOR.search(text):
        return text
    text = _ASKED_FOR.sub(_spoken_of, _ASKED_PAIR.sub(_inside, text))
    return _ASKED_FOR.sub(" ", text)  # what was put together just now


def _inside(pair: re.Match[str]) -> str:
    name, inner = pair.groups()
    return name if inner.strip(" \n`'\"") in _BETWEEN else inner


def _spoken_of(tag: re.Match[str]) -> str:
    """The name of a tag, if it stands as a word of its own."""
    around = (
        tag.string[max(0, tag.start() - 1) : tag.start()] + tag.string[tag.end() : tag.end() + 1]
    )
    return "" if re.search(r"\w", around) else tag[1]


def is_thinking(text: str) -> bool:
    """Whether a ``<think>`` is open at the end of a text: it was cut off before it came to its
    answer.

    >>> is_thinking("<think> is it <answer>3</answer>?"), is_thinking("it </think> is <think>")
    (True, True)
    """
    return text.rfind(THINK_OPEN.strip()) > text.rfind(THINK_CLOSE.strip())


def read_verdict(reflection: str, offset: int = 0) -> VerdictReading | None:
    """The verdict of a reflection, its span shifted by `offset`; None unless there is exactly one.

    Two verdicts are no verdict, even if they agree: nothing tells which one the model meant.

    >>> read_verdict("2+2 is 4. <verdict> correct </verdict>")
    VerdictReading(verdict=<Verdict.CORRECT: 'Correct'>, start=20, end=27)
    """
    if len(_VERDICT.findall(reflection)) != 2:
        return None
    match = _VERDICT_PAIR.search(reflection)
    if match is None:
        return None
    return VerdictReading(
        Verdict(match[1].capitalize()), offset + match.start(1), offset + match.end(1)
    )


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
    inside the texts are not looked for: see `FOREIGN_IN_ATTEMPT`, `FOREIGN_IN_REFLECTION`.
    """
    if not trace.steps or len(trace.glue) != len(trace.steps) - 1:
        raise ValueError("a trace has at least one step, and one glue phrase between any two")
    phrases = [*trace.glue, trace.closing, *([] if trace.lead is None else [trace.lead])]
    if not all(phrases) or any("\n" in phrase for phrase in phrases):
        raise ValueError("a phrase is one line and not empty")
    if trace.restated is not None and (trace.lead is None or not trace.restated):
        raise ValueError("a restated attempt is not empty and comes after a lead phrase")
    out = [THINK_OPEN]
    for i, step in enumerate(trace.steps):
        if i:
            out += [trace.glue[i - 1], PHRASE_CLOSE]
        out += [SAMPLE_OPEN, step.attempt, SAMPLE_CLOSE]
        if step.reflection is not None:
            out += [REFLECT_OPEN, step.reflection, REFLECT_CLOSE]
    out.append(THINK_CLOSE)
    for line in (trace.lead, trace.restated):
        if line is not None:
            out += [line, PHRASE_CLOSE]
    out += [trace.closing, ANSWER_OPEN, trace.answer, ANSWER_CLOSE]
    return "".join(out)


class ReflectionReading(NamedTuple):
    """A reflection, its verdict (None: it has none), and the index of the attempt it is about
    (None: of none)."""

    part: Part
    verdict: VerdictReading | None
    attempt: int | None


class Problem(NamedTuple):
    """Something malformed, and the character where it was noticed."""

    what: str
    at: int


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
                self._problem(f"{tag[0]} where no tag belongs", part.start + tag.start())
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

    def _problem(self, what: str, at: int) -> None:
        self.problems.append(Problem(what, at))

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
        opening, closing = THINK_OPEN.strip(), THINK_CLOSE.strip()
        start = 0
        if self.text.startswith(opening):
            start = len(opening)
        else:
            self._problem("the text does not begin with <think>", 0)
        if self.text.find(opening, start) >= 0:
            self._problem("a second <think>", self.text.find(opening, start))
        end = self.text.rfind(closing)
        if end < start:
            self._problem("no </think>", len(self.text))
            return start, len(self.text), len(self.text)
        if self.text.find(closing) != end:
            self._problem("a second </think>", end)
        return start, end, end + len(closing)

    def _blocks(self, start: int, end: int) -> None:
        opened: str | None = None
        last: str | None = None  # the kind of the last block that was closed
        cursor = start
        for match in _BLOCK.finditer(self.text, start, end):
            slash, name = match.groups()
            if slash:
                if opened != name:
                    self._problem(f"</{name}> closes nothing", match.start())
                    continue
                self._block(name, cursor, match.start(), last)
                opened, last, cursor = None, name, match.end()
                continue
            if opened:
                self._problem(f"<{opened}> is not closed", match.start())
                self._block(opened, cursor, match.start(), last)
                last = opened
            else:
                self._gap(cursor, match.start(), last, name)
            opened, cursor = name, match.end()
        if opened:
            self._problem(f"<{opened}> is not closed", end)
            self._block(opened, cursor, end, last)
        elif self.text[cursor:end] != "\n":
            self._problem("text after the last block of the thinking", cursor)
        if not self.attempts:
            self._problem("no attempt", start)

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
            self._problem("a reflection without an attempt", start)
        self.reflections.append(ReflectionReading(part, read_verdict(part.text, part.start), about))

    def _tags_inside(self, name: str, part: Part) -> None:
        foreign = "verdict" if name == "sample" else "answer"
        for tag in _TAG.finditer(part.text):
            if tag[2] == foreign:
                self._problem(f"<{foreign}> inside <{name}>", part.start + tag.start())
        own = _ANSWER if name == "sample" else _VERDICT
        if not _are_pairs(own.findall(part.text)):
            self._problem(f"unpaired {own.pattern} inside <{name}>", part.start)

    def _tail(self, after: int) -> tuple[Part | None, Part | None, Part | None, Part | None]:
        """Lead, restated attempt, closing phrase, final answer."""
        opening, closing = ANSWER_OPEN.strip(), ANSWER_CLOSE.strip()
        opened = self.text.rfind(opening, after)
        if opened < 0:
            self._problem("no final <answer>", len(self.text))
            return None, None, None, None
        start = opened + len(opening)
        end = self.text.find(closing, start)
        if end < 0:
            self._problem("the final <answer> is not closed", len(self.text))
            return None, None, None, None
        if end + len(closing) != len(self.text):
            self._problem("text after the final answer", end + len(closing))
        answer = self._inner(start, end)
        middle, ahead = self.text[after:opened], THINK_CLOSE.removeprefix("</think>")
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
