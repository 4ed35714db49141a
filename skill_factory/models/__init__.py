"""What is asked of a model, what it answers, and what can go wrong with one request: `ModelError`
when no request would fare better, `RefusedError` when others may, `Trouble` when the same one may
be sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from skill_factory.errors import SkillFactoryError

Messages = list[dict[str, str]]
"""A conversation: {"role", "content"} each. If the last one is the assistant's, the model goes on
with it instead of beginning an answer."""


class Turn(NamedTuple):
    """The messages before an answer, and the answer as far as it is `begun`; empty: not yet."""

    before: Messages
    begun: str


def turn_of(messages: Messages) -> Turn:
    """Where the answer to some messages begins.

    >>> turn_of([{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "It is"}])
    Turn(before=[{'role': 'user', 'content': '2 + 2?'}], begun='It is')
    """
    if messages[-1]["role"] != "assistant":
        return Turn(messages, "")
    return Turn(messages[:-1], messages[-1]["content"])


class ModelError(SkillFactoryError):
    """A model that cannot be asked like this: no server, a wrong name or key, refused settings.
    `status` is the server's answer; None: none came."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TooLongError(ModelError):
    """A prompt that does not fit the model's context, together with the answer's `max_tokens`."""


class Refusal(StrEnum):
    """Why a prompt was refused."""

    CONTENT_FILTER = "content_filter"
    """What it says is not allowed there."""
    REFUSED = "refused"
    """Anything else: the prompt may be why, or the settings."""


class RefusedError(ModelError):
    """A prompt that its server will not answer, however often it is asked; others it may."""

    def __init__(self, message: str, status: int | None, reason: Refusal) -> None:
        super().__init__(message, status)
        self.reason = reason


class Kind(StrEnum):
    """What a trouble says about the server."""

    BUSY = "too many requests"
    SLOW = "time-outs"
    GONE = "no connection"
    FAULTY = "faulty answers"
    """It took the request, and something went wrong with it: the request may be why."""


class Trouble(Exception):
    """A request without an answer, which may be sent again. `retry_after`: seconds that the server
    asks to be left alone, None: it does not say; `status`: its answer, None: nothing whole."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        self.status = status


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn; None: left to the server.

    `seed` is that of a prompt's first sample, the i-th one has `seed + i`. `extra_body` holds
    anything else that the server takes.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """What is set, by the names in a request's body."""
        named = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed")
        given = {name: getattr(self, name) for name in named} | {"stop": list(self.stop) or None}
        return {k: v for k, v in given.items() if v is not None} | dict(self.extra_body)


class Completion(NamedTuple):
    """One answer. `finish_reason` is "length" for what a limit cut off, else the server's word
    ("stop", ...; "unknown": none).

    Tokens are None if the server does not count. Of a request with several answers, the first has
    the prompt's tokens (the others 0), and each a share of the completion's by its length: sums are
    the server's (llama.cpp's counts one answer only). `seconds` is the time of the request, 0 if
    not known. `reasoning` is what the server gave apart from the text.
    """

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    reasoning: str = ""


class Identified(Protocol):
    """What the journal's keys need of a model: its `identity` tells models apart."""

    @property
    def identity(self) -> str: ...


class Model(Identified, Protocol):
    """What can be asked."""

    async def preflight(self) -> None:
        """See that it can be asked; raises `ModelError`."""
        ...

    async def complete(self, messages: Messages, sampling: Sampling, n: int) -> list[Completion]:
        """1 to `n` samples: the first ones, where seeds count. Raises `Trouble`, or a
        `SkillFactoryError` if asking again is of no use."""
        ...

    async def close(self) -> None: ...
