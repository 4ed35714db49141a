"""Budget forcing: a response that ends its thinking too early is made to go on (arXiv 2501.19393).

A text is put where the model wrote `</think>`, and the model continues from there, as in the
paper's test (generate 4,096 tokens, put `<sample>` before `</think>`, go on to 8,192).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from skill_factory.asking.requests import Ask
from skill_factory.core.trace_tags import END_THINK
from skill_factory.models import Completion, Messages, ModelError
from skill_factory.stages.sample import short_digest


class Response(NamedTuple):
    """What there is of a response: its `text`, why it ended, the `tokens` that the model wrote for
    it, those that were cut off again included (None: the server did not count them), and how often
    a text was put in (`forced`)."""

    text: str
    finish_reason: str
    tokens: int | None
    forced: int = 0


class Beginning(NamedTuple):
    """Where a response goes on: its `text` so far, with what is put in, how often that was, and how
    many tokens may follow."""

    text: str
    forced: int
    tokens_left: int


@dataclass(frozen=True)
class Forcing:
    """How a response is made longer: `first` tokens at most are asked for, `second` in all; `text`
    is put in up to `times` times."""

    first: int
    second: int
    text: str
    times: int = 1

    @property
    def rounds(self) -> int:
        """How often a response can be continued: the first budget may cut it off, too."""
        return self.times + 1

    def beginning(self, response: Response) -> Beginning | None:
        """Where a response goes on; None: it is at its end.

        Its thinking ends at the first `</think>`; where it wrote none, at the end of what it wrote,
        unless the first budget ended that: then it goes on as it is. Raises `ModelError` for one
        whose tokens were not counted.

        >>> forcing = Forcing(10, 20, "<sample>")
        >>> forcing.beginning(Response("<think>4</think>4", "stop", 8))
        Beginning(text='<think>4<sample>', forced=1, tokens_left=12)
        >>> forcing.beginning(Response("<think>4 or", "length", 10))
        Beginning(text='<think>4 or', forced=0, tokens_left=10)
        """
        text, reason, tokens, forced = response
        if tokens is None:
            raise ModelError("the server does not count tokens, and a budget is one of tokens")
        left = self.second - tokens
        thinking, ended, _ = text.partition(END_THINK)
        if left <= 0:
            return None
        if reason == "length" and not ended:
            return Beginning(text, forced, left) if text else None
        if forced == self.times:
            return None
        return Beginning(f"{thinking}{self.text}", forced + 1, left)


class Continuation(NamedTuple):
    """An ask for continuations from one beginning, and the samples that they are for, in their
    order."""

    ask: Ask
    beginning: Beginning
    samples: list[int]


def continuations(
    ask: Ask, responses: Mapping[int, Response], forcing: Forcing, number: int
) -> Iterator[Continuation]:
    """What is asked in round `number`, from 1, to continue the responses to an ask, by the number
    of their sample. Samples with the same text so far are samples of one prompt."""
    together: dict[Beginning, list[int]] = {}
    for idx, response in responses.items():
        if (beginning := forcing.beginning(response)) is not None:
            together.setdefault(beginning, []).append(idx)
    for beginning, samples in together.items():
        messages: Messages = [*ask.messages, {"role": "assistant", "content": beginning.text}]
        written = short_digest(beginning.text.removesuffix(forcing.text))
        yield Continuation(
            ask._replace(
                messages=messages,
                count=len(samples),
                name=("continue", *ask.name[1:], str(number), written),
                max_tokens=beginning.tokens_left,
            ),
            beginning,
            samples,
        )


def first_response(said: Completion) -> Response:
    """A response as the model began it. Raises `ModelError` for one whose thinking a server gave
    apart."""
    if said.reasoning:
        raise ModelError(
            "the server gives the thinking apart from the text, so it cannot be continued: serve "
            "the model without a reasoning parser"
        )
    return Response(said.text, said.finish_reason, said.completion_tokens)


def joined(before: Response, beginning: Beginning, said: Completion) -> Response:
    """A response with its continuation."""
    counted = before.tokens is not None and said.completion_tokens is not None
    tokens = (before.tokens or 0) + (said.completion_tokens or 0) if counted else None
    return Response(f"{beginning.text}{said.text}", said.finish_reason, tokens, beginning.forced)
