"""What asking will take, before it begins."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from skill_factory.asking.collect import NEW, Ask, Lacking, compared, runs
from skill_factory.asking.journal import Journal
from skill_factory.models import Identified, Sampling

CHARACTERS = 4
"""Of a prompt for a token, about: no tokenizer is asked."""

_CHUNK = 256


class _Nobody(NamedTuple):
    identity: str


_NOBODY = _Nobody("")


@dataclass
class Estimate:
    """`samples` are to be asked for in so many `requests`; `had` are in the journal, or are those
    of a prompt that is there twice; `refused` were refused before. `prompt_tokens` is a guess from
    the prompts' lengths, `completion_tokens` the most there can be; None: they are not limited."""

    samples: int = 0
    requests: int = 0
    had: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Why samples are asked for."""

    def summary(self, prompt_price: float | None, completion_price: float | None) -> str:
        """For a person; prices are of a million tokens."""
        most = self.completion_tokens
        limit = "unlimited" if most is None else f"at most {most:,}"
        refused = f", {self.refused:,} were refused before" if self.refused else ""
        said = (
            f"{self.samples:,} samples to ask for in {self.requests:,} requests, {self.had:,} are "
            f"had already{refused}; about {self.prompt_tokens:,} prompt tokens, {limit} completion "
            "tokens"
        )
        if most is None or (prompt_price is None and completion_price is None):
            return said
        cost = self.prompt_tokens * (prompt_price or 0) + most * (completion_price or 0)
        return f"{said}, at most about {cost / 1e6:,.2f}"


def estimate(
    asks: Iterable[Ask],
    model: Identified | None,
    sampling: Sampling,
    journal: Journal | None,
    retry: bool = False,
) -> Estimate:
    """What `asks` take, with `retry` also what was refused before; without a model or a journal, as
    if nothing had been asked before."""
    out, rest = Estimate(), iter(asks)
    seen: dict[bytes, int] = {}
    while chunk := list(itertools.islice(rest, _CHUNK)):
        for ask, key, lacking, reason, refused in _looked_up(
            chunk, model, sampling, journal, retry
        ):
            absent = lacking - set(range(seen.get(key, 0)))
            seen[key] = max(ask.count, seen.get(key, 0))
            requests = len(runs(absent))
            out.refused += refused
            out.had += ask.count - len(absent) - refused
            out.samples += len(absent)
            out.requests += requests
            out.prompt_tokens += requests * _characters(ask) // CHARACTERS
            if absent:
                out.reasons[reason] += len(absent)
    limit = sampling.max_tokens
    out.completion_tokens = None if limit is None else limit * out.samples
    return out


def _looked_up(
    asks: list[Ask],
    model: Identified | None,
    sampling: Sampling,
    journal: Journal | None,
    retry: bool,
) -> list[Lacking]:
    if model and journal:
        return compared(asks, model, sampling, journal, retry)[0]
    nobody = model or _NOBODY
    everything = [set(range(ask.count)) for ask in asks]
    keys = [ask.key(nobody, sampling) for ask in asks]
    return [
        Lacking(ask, key, absent, NEW)
        for ask, key, absent in zip(asks, keys, everything, strict=True)
    ]


def longest(asks: Iterable[Ask]) -> Ask | None:
    """The ask with the longest prompt; None if there is none."""
    return max(asks, key=_characters, default=None)


def _characters(ask: Ask) -> int:
    return sum(len(message["content"]) for message in ask.messages)
