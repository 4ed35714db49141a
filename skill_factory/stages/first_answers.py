"""Checks a stage's first answers while it runs, and says early how many of them cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from skill_factory.asking.requests import Ask
from skill_factory.core.arrays import Mask, strings
from skill_factory.core.columns import Column
from skill_factory.core.ledger import Reason
from skill_factory.core.sources.validate import (
    Codes,
    count_reasons,
    validate_attempts,
    validate_reflections,
)
from skill_factory.core.trace_tags import final_answer
from skill_factory.models import Completion
from skill_factory.models.thinking import Thinking, handle_thinking
from skill_factory.stages.grade import Outcome

ENOUGH = 50
"""After so many answers it is said how many of them cannot be used."""


_PAGE = "docs/thinking.md"


class Answer(NamedTuple):
    """An answer as the stage's table will have it."""

    ask: Ask
    completion: Completion


CountLosses = Callable[[Sequence[Answer]], Counter[str]]
"""Counts answers that cannot be used, by reason."""


class FirstAnswers:
    """Looks at the answers of a stage as they come, with their `thinking` dropped or kept. `what`
    says what an answer becomes in a trace: "attempt" or "reflection".

    Tells once that the model thinks, and after `ENOUGH` answers how many of them cannot be used.
    """

    def __init__(
        self,
        stage: str,
        what: str,
        thinking: Thinking,
        count_losses: CountLosses,
        say: Callable[[str], None],
    ) -> None:
        self._stage, self._what, self._thinking = stage, what, thinking
        self._count_losses, self._say = count_losses, say
        self._thinks = False
        self._first: list[Answer] = []

    def add(self, ask: Ask, completions: list[Completion]) -> list[Completion]:
        """Take in the answers to a prompt; gives them as the stage's table will have them."""
        handled = [handle_thinking(completion, self._thinking) for completion in completions]
        if any(one.text_alone is not None for one in handled):
            self.tell_thinking()
        answers = [one.completion for one in handled]
        self._count([Answer(ask, answer) for answer in answers])
        return answers

    def tell_thinking(self) -> None:
        """Tell, if that has not been told, that the model thinks, and what becomes of it."""
        if self._thinks:
            return
        self._thinks = True
        if self._thinking == "keep":
            become = f"kept, as the beginning of each {self._what}"
        else:
            become = f"dropped: each {self._what} is the text after it"
        self._say(
            f"Note: {self._stage}: the model thinks before it answers, and its thinking is "
            f"{become} ({self._stage}.thinking, --thinking; see {_PAGE})"
        )

    def _count(self, answers: list[Answer]) -> None:
        room = ENOUGH - len(self._first)
        if not room:
            return
        self._first += answers[:room]
        if len(self._first) == ENOUGH and (losses := self._count_losses(self._first)):
            reasons = ", ".join(f"{reason} {count}" for reason, count in losses.most_common())
            self._say(
                f"Note: {self._stage}: {losses.total()} of the first {ENOUGH} answers cannot be "
                f"used: {reasons}; see {_PAGE}"
            )


def first_attempts(
    thinking: Thinking, keep_cut_off: bool, say: Callable[[str], None]
) -> FirstAnswers:
    """Looks at attempts; `keep_cut_off`: those that were cut off are used."""
    count_losses = partial(_lost_attempts, keep_cut_off=keep_cut_off)
    return FirstAnswers("sample", "attempt", thinking, count_losses, say)


def first_reflections(
    thinking: Thinking, without: Sequence[str], say: Callable[[str], None]
) -> FirstAnswers:
    """Looks at reflections; one that has any of the texts `without` in it cannot be used."""
    count_losses = partial(_lost_reflections, without=without)
    return FirstAnswers("reflect", "reflection", thinking, count_losses, say)


def _lost_attempts(answers: Sequence[Answer], keep_cut_off: bool) -> Counter[str]:
    """The attempts that cannot be used, right or wrong, as `create` and the grades count them."""
    texts = [answer.completion.text for answer in answers]
    codes = validate_attempts(
        strings(texts),
        pa.array([final_answer(text) for text in texts], pa.string()),
        strings([answer.ask.about[Column.VARIANT] for answer in answers]),
        np.ones(len(answers), bool),
        None,
    )
    return _losses(codes, _cut_off(answers) & (not keep_cut_off))


def _lost_reflections(answers: Sequence[Answer], without: Sequence[str]) -> Counter[str]:
    """The reflections that cannot be used, though their verdict may be true."""
    codes = validate_reflections(
        strings([answer.completion.text for answer in answers]),
        np.zeros(len(answers), bool),
        np.array([answer.ask.about for answer in answers], bool),
        without,
    )
    losses = _losses(codes, _cut_off(answers))
    del losses[Reason.WRONG_VERDICT]
    return losses


def _cut_off(answers: Sequence[Answer]) -> Mask:
    return np.array([answer.completion.finish_reason == "length" for answer in answers], bool)


def _losses(codes: Codes, cut_off: Mask) -> Counter[str]:
    losses = Counter[str]({Outcome.CUT_OFF: int(cut_off.sum())})
    count_reasons(codes[~cut_off], losses)
    return +losses
