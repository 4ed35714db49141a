"""What asking will take, before it begins."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from xxhash import xxh3_128_digest

from skill_factory.asking.journal import Asked, Journal
from skill_factory.asking.keys_on_disk import CountsByKey, ScratchTables
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
    with CountsByKey() as seen, _Names() as names:
        while chunk := list(itertools.islice(rest, _CHUNK)):
            found = _looked_up(chunk, model, sampling, journal, retry)
            asked = seen.raise_to([(lack.key, lack.ask.count) for lack in found])
            for lack, before in zip(found, asked.before, strict=True):
                absent = lack.absent - set(range(before))
                _count(out, lack, absent, one_by_one)
                _add_limit(out, lack.ask.max_tokens or sampling.max_tokens, len(absent))
                names.add(lack, len(absent))
        names.count(out)
    return out


def _count(out: Estimate, lack: Lacking, absent: set[int], one_by_one: bool) -> None:
    """Count an ask, of which some samples are to be asked for."""
    requests = len(absent) if one_by_one else len(runs(absent))
    out.refused += lack.refused
    out.twice += len(lack.absent) - len(absent)
    out.had += lack.ask.count - len(lack.absent) - lack.refused
    out.samples += len(absent)
    out.requests += requests
    out.prompt_tokens += requests * _characters(lack.ask) // CHARACTERS


def _add_limit(out: Estimate, limit: int | None, samples: int) -> None:
    """Count the most tokens that samples can have."""
    if limit is None or out.completion_tokens is None:
        out.completion_tokens = None
    else:
        out.completion_tokens += limit * samples


class _Names(ScratchTables):
    """What is asked anew, by name; a context manager. A name may stand for several prompts: as long
    as the one that was answered is among them, none is asked anew.

    There may be a name for every attempt, so they are on disk.
    """

    def __init__(self) -> None:
        super().__init__(
            "CREATE TABLE kept (name BLOB PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE changes (name BLOB, samples INTEGER, parts TEXT, model BLOB);"
        )

    def add(self, lack: Lacking, absent: int) -> None:
        """Take in what is lacking, of which so many samples are asked for."""
        if lack.before is None:
            if not _never_asked(lack):
                self._database.execute("INSERT OR IGNORE INTO kept VALUES (?)", (_digest(lack),))
        elif absent:
            change = (_digest(lack), absent, "\n".join(lack.changed), lack.before.model)
            self._database.execute("INSERT INTO changes VALUES (?, ?, ?, ?)", change)

    def count(self, out: Estimate) -> None:
        """Count what is asked anew."""
        query = (
            "SELECT parts, model, sum(samples) FROM changes "
            "WHERE name NOT IN (SELECT name FROM kept) GROUP BY parts, model ORDER BY min(rowid)"
        )
        for text, model, samples in self._database.execute(query):
            parts = tuple(Part(part) for part in text.split("\n"))
            out.anew[parts] += samples
            if Part.MODEL in parts:
                out.models[model] += samples


def _never_asked(lack: Lacking) -> bool:
    """Whether nothing was ever asked under a name: then nothing of it is asked anew."""
    return lack.asked is not None and len(lack.absent) == lack.ask.count


def _digest(lack: Lacking) -> bytes:
    return xxh3_128_digest("\0".join(lack.ask.name).encode())


def _looked_up(
    asks: list[Ask],
    model: Identified | None,
    sampling: Sampling,
    journal: Journal | None,
    retry: bool,
) -> list[Lacking]:
    if model and journal:
        return compare(asks, model, sampling, journal, retry)
    nobody, new = model or _NOBODY, Asked(b"", b"", b"")
    return [
        Lacking(ask, ask.key(nobody, sampling), set(range(ask.count)), asked=new) for ask in asks
    ]


def longest(asks: Iterable[Ask]) -> Ask | None:
    """The ask with the longest prompt; None if there is none."""
    return max(asks, key=_characters, default=None)


def _characters(ask: Ask) -> int:
    return sum(len(message["content"]) for message in ask.messages)
