"""What asking will take, before it begins."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from skill_factory.asking.journal import Journal
from skill_factory.asking.missing_samples import Lacking, Part, compare
from skill_factory.asking.requests import Ask, runs
from skill_factory.models import Identified, Sampling

CHARACTERS = 4
"""Of a prompt for a token, about: no tokenizer is asked."""

_CHUNK = 256


class _Nobody(NamedTuple):
    identity: str


_NOBODY = _Nobody("")


@dataclass
class Estimate:
    """`samples` are to be asked for in so many `requests`; `had` are in the journal, `twice` are
    wanted of a prompt that stands there twice, `refused` were refused before. `prompt_tokens` is a
    guess from the prompts' lengths, `completion_tokens` the most there can be; None: they are not
    limited."""

    samples: int = 0
    requests: int = 0
    had: int = 0
    twice: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    anew: Counter[tuple[Part, ...]] = field(default_factory=Counter)
    """Of `samples`, those that are asked for anew: what was answered before was asked with other
    parts."""
    models: Counter[bytes] = field(default_factory=Counter)
    """Of these, those that another model had answered, by the digest of its identity."""

    @property
    def total(self) -> int:
        """All samples that are wanted."""
        return self.samples + self.had + self.twice + self.refused


def estimate(
    asks: Iterable[Ask],
    model: Identified | None,
    sampling: Sampling,
    journal: Journal | None,
    *,
    retry: bool = False,
    one_by_one: bool = False,
) -> Estimate:
    """What `asks` take, with `retry` also what was refused before; without a model or a journal, as
    if nothing had been asked before. `one_by_one`: no request is for several samples."""
    out, rest = Estimate(), iter(asks)
    seen: dict[bytes, int] = {}
    names = _Names()
    while chunk := list(itertools.islice(rest, _CHUNK)):
        for lack in _looked_up(chunk, model, sampling, journal, retry):
            count, key = lack.ask.count, lack.key
            absent = lack.absent - set(range(seen.get(key, 0)))
            seen[key] = max(count, seen.get(key, 0))
            requests = len(absent) if one_by_one else len(runs(absent))
            out.refused += lack.refused
            out.twice += len(lack.absent) - len(absent)
            out.had += count - len(lack.absent) - lack.refused
            out.samples += len(absent)
            out.requests += requests
            out.prompt_tokens += requests * _characters(lack.ask) // CHARACTERS
            names.add(lack, len(absent))
            limit = lack.ask.max_tokens or sampling.max_tokens
            if limit is None or out.completion_tokens is None:
                out.completion_tokens = None
            else:
                out.completion_tokens += limit * len(absent)
    names.count(out)
    return out


class _Change(NamedTuple):
    """So many samples under a name, given by its hash, of which these parts have changed; `model`
    is the digest of the one that was asked before."""

    name: int
    samples: int
    parts: tuple[Part, ...]
    model: bytes


class _Names:
    """What is asked anew, by name. A name may stand for several prompts: as long as the one that
    was answered is among them, none is asked anew."""

    def __init__(self) -> None:
        self._kept: set[int] = set()  # hashes: there may be a name for every attempt
        self._changes: list[_Change] = []

    def add(self, lack: Lacking, absent: int) -> None:
        """Take in what is lacking, of which so many samples are asked for."""
        name = hash(lack.ask.name)
        if lack.before is None:
            self._kept.add(name)
        elif absent:
            self._changes.append(_Change(name, absent, lack.changed, lack.before.model))

    def count(self, out: Estimate) -> None:
        """Count what is asked anew."""
        for change in self._changes:
            if change.name not in self._kept:
                out.anew[change.parts] += change.samples
                if Part.MODEL in change.parts:
                    out.models[change.model] += change.samples


def _looked_up(
    asks: list[Ask],
    model: Identified | None,
    sampling: Sampling,
    journal: Journal | None,
    retry: bool,
) -> list[Lacking]:
    if model and journal:
        return compare(asks, model, sampling, journal, retry)
    nobody = model or _NOBODY
    return [Lacking(ask, ask.key(nobody, sampling), set(range(ask.count))) for ask in asks]


def longest(asks: Iterable[Ask]) -> Ask | None:
    """The ask with the longest prompt; None if there is none."""
    return max(asks, key=_characters, default=None)


def _characters(ask: Ask) -> int:
    return sum(len(message["content"]) for message in ask.messages)
