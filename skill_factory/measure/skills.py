"""What one response does: its attempts, its verdicts, its final answer, its loops."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from skill_factory.core import markup
from skill_factory.core.trace_tags import (
    ANSWER,
    END_THINK,
    Verdict,
    final_answer,
    is_thinking,
)

_ANSWER_TAG = re.compile("<(/?)answer>")


class Judgement(NamedTuple):
    """A verdict, and the attempt that it is about (None: of none), from 0."""

    verdict: Verdict
    attempt: int | None


class Skills(NamedTuple):
    """What is read of a response before anything is graded.

    `answers` are those of the attempts, None for one without; a response without a `<sample>` block
    has one attempt, whose answer is the final one. `unfinished`: it ends in its thinking.
    `stopped`: a verdict Correct on the last attempt ends the thinking.
    """

    answers: tuple[str | None, ...]
    final: str | None
    unfinished: bool
    tagged: bool
    well_formed: bool
    explicit_answers: int
    explicit_reflections: int
    judgements: tuple[Judgement, ...]
    stopped: bool
    before_answer: int | None


def read_skills(response: str, answer_pattern: re.Pattern[str] | None = None) -> Skills:
    """Read a response, whatever a model wrote; never raises.

    An attempt is a `<sample>` block, its answer the last `<answer>` pair in it; the final answer is
    the last pair after the thinking (`trace_tags.final_answer`). Where a response has no pair at
    all, `answer_pattern` finds the final answer: the first group of its last match.

    >>> found = read_skills("<think>\\n<sample>\\n<answer>3</answer>\\n</sample>\\n</think>")
    >>> found.answers, found.final, found.explicit_answers
    (('3',), None, 1)
    """
    text = response.strip()
    reading = markup.read(text) if "<" in text else _PLAIN
    final, pairs = final_answer(text), _pairs(text)
    start = text.rfind(ANSWER) if final is not None else None
    if final is None and not pairs and answer_pattern is not None:
        final, start = _found(answer_pattern, text)
    tagged = bool(reading.attempts)
    own = tuple(final_answer(attempt.text) for attempt in reading.attempts)
    return Skills(
        answers=own if tagged else (final,),
        final=final,
        unfinished=is_thinking(text),
        tagged=tagged,
        well_formed=reading.trace is not None,
        explicit_answers=pairs,
        explicit_reflections=len(reading.reflections),
        judgements=tuple(
            Judgement(one.verdict.verdict, one.attempt)
            for one in reading.reflections
            if one.verdict is not None
        ),
        stopped=_stopped(reading),
        before_answer=start,
    )


_PLAIN = markup.read("")


def _pairs(text: str) -> int:
    """`<answer>` pairs: an opening tag and the very next answer tag, if that closes it."""
    count, opened = 0, False
    for tag in _ANSWER_TAG.finditer(text):
        if tag[1] and opened:
            count += 1
        opened = not tag[1]
    return count


def _found(pattern: re.Pattern[str], text: str) -> tuple[str | None, int | None]:
    """The first group of the last match after the thinking, stripped, and where the match
    begins."""
    matches = deque(pattern.finditer(text, max(text.rfind(END_THINK), 0)), maxlen=1)
    if not matches:
        return None, None
    (last,) = matches
    groups = [group for group in last.groups() if group is not None]
    return (groups[0] if groups else last[0]).strip(), last.start()


def _stopped(reading: markup.Reading) -> bool:
    if not reading.attempts or not reading.reflections:
        return False
    last = reading.reflections[-1]
    return (
        last.attempt == len(reading.attempts) - 1
        and last.verdict is not None
        and last.verdict.verdict is Verdict.CORRECT
    )


# -- text -----------------------------------------------------------------------------------------

LINE_CHARACTERS, LINE_TIMES = 20, 5
TAIL_CHARACTERS, TAIL_TIMES = 100, 4


def is_looping(text: str, lines: Sequence[str], attempts: int) -> bool:
    """Whether a response repeats itself.

    It does if a line of at least 20 characters, without the white space around it, stands in it
    more than 5 times, and more often than it has attempts; or if it ends in one block 4 times over,
    of at least 100 characters in all.

    >>> is_looping("So 2 + 2 " * 40, [], 1)
    True
    """
    if len(lines) > LINE_TIMES:
        counts = Counter(line for line in lines if len(line) >= LINE_CHARACTERS)
        most = max(counts.values(), default=0)
        if most > max(LINE_TIMES, attempts):
            return True
    return _repeats_at_its_end(text.rstrip())


def _repeats_at_its_end(text: str) -> bool:
    """The block is found by the text's last characters, and where these stood before."""
    if len(text) < TAIL_CHARACTERS:
        return False
    end = text[-TAIL_CHARACTERS // TAIL_TIMES :]
    before = text.rfind(end, 0, len(text) - 1)
    if before < 0:
        return False
    block = len(text) - before - len(end)
    times = max(TAIL_TIMES, -(-TAIL_CHARACTERS // block))
    if block * times > len(text):
        return False
    return text.endswith(text[-block:] * times)
