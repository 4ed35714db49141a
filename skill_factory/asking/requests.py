"""What is asked, and the key under which a journal has its samples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

from skill_factory.models import Identified, Messages, Sampling

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class Ask(NamedTuple):
    """`count` samples are wanted of a prompt. `name` says to people, and from run to run, what is
    asked: the stage, the question's digest, the variant, ... `extra_body` goes into this prompt's
    requests besides (a grammar, as servers take one); None: nothing. `about` is for whoever asks,
    and goes nowhere. `max_tokens` is this prompt's own limit; None: that of all."""

    messages: Messages
    count: int  # type: ignore[assignment]  # hides tuple.count
    name: tuple[str, ...]
    extra_body: Mapping[str, Any] | None = None
    about: Any = None
    max_tokens: int | None = None

    def drawn(self, sampling: Sampling) -> Sampling:
        """How its samples are drawn, given how all of them are."""
        if self.extra_body:
            sampling = replace(sampling, extra_body={**sampling.extra_body, **self.extra_body})
        if self.max_tokens is not None:
            sampling = replace(sampling, max_tokens=self.max_tokens)
        return sampling

    def key(self, model: Identified, sampling: Sampling) -> bytes:
        """The key of its samples in a journal."""
        return key_of(model, self.drawn(sampling), self.messages)


def key_of(model: Identified, sampling: Sampling, messages: Messages) -> bytes:
    """The digest of everything that reaches the model, 32 bytes, but for a sample's index."""
    return sha256(_json([model.identity, sampling.settings, messages])).digest()


def runs(idxs: Iterable[int]) -> list[range]:
    """Indices, neighbours together.

    >>> runs({5, 0, 1, 4})
    [range(0, 2), range(4, 6)]
    """
    found: list[range] = []
    for idx in sorted(idxs):
        if found and found[-1].stop == idx:
            found[-1] = range(found[-1].start, idx + 1)
        else:
            found.append(range(idx, idx + 1))
    return found


def seeded(sampling: Sampling, first: int) -> Sampling:
    """The sampling of a request whose first sample has this index."""
    if sampling.seed is None or first == 0:
        return sampling
    return replace(sampling, seed=sampling.seed + first)


def digest(value: object) -> bytes:
    """16 bytes that tell values of JSON apart."""
    return sha256(_json(value)).digest()[:16]


def _json(value: object) -> bytes:
    return _ENCODER.encode(value).encode()
