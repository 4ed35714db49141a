"""What a journal lacks of all that is asked, and what of it was asked in another way before."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from skill_factory.asking.journal import Asked, Journal
from skill_factory.asking.requests import Ask, digest
from skill_factory.models import Identified, Sampling


class Part(StrEnum):
    """The parts of what is asked."""

    PROMPT = "the prompt"
    MODEL = "the model"
    SAMPLING = "the sampling"


class Lacking(NamedTuple):
    """An ask with the key of its samples, and the indices of those to ask for: what the journal
    lacks, but for so many that were `refused` before.

    `asked` is for the journal, once there is an answer; None: it knows. `before` is what was asked
    under this name, if that was answered and the journal has nothing of what is asked now; None:
    nothing is asked anew.
    """

    ask: Ask
    key: bytes
    absent: set[int]
    refused: int = 0
    asked: Asked | None = None
    before: Asked | None = None

    @property
    def changed(self) -> tuple[Part, ...]:
        """The parts that are not as they were when this was answered; empty: nothing is asked
        anew."""
        now, then = self.asked, self.before
        if now is None or then is None:
            return ()
        parts = zip(Part, now, then, strict=True)
        return tuple(part for part, new, old in parts if new != old)


def compare(
    asks: list[Ask], model: Identified, sampling: Sampling, journal: Journal, retry: bool = False
) -> list[Lacking]:
    """What the journal lacks of some asks, with `retry` also what was refused before."""
    keys = [ask.key(model, sampling) for ask in asks]
    have = journal.have(keys)
    refused = {} if retry else journal.refused(keys)
    before = journal.last_asked([ask.name for ask in asks])
    digests = _Digests(model, sampling)
    found = []
    for ask, key in zip(asks, keys, strict=True):
        now, then = digests.of(ask), before.get(ask.name)
        there = have.get(key, set())
        absent = set(range(ask.count)) - there
        kept = 0
        if key in refused:
            kept, absent = len(absent), set()
        anew = then if then != now and not there else None
        found.append(Lacking(ask, key, absent, kept, now if then != now else None, anew))
    return found


def allow_again(found: Iterable[Lacking], journal: Journal) -> None:
    """Let what was refused before be asked again."""
    if again := journal.refused([lack.key for lack in found if lack.absent]):
        journal.forget_refused(again)


class _Digests:
    """What is asked, in digests; those of the model and its settings are the same for most."""

    def __init__(self, model: Identified, sampling: Sampling) -> None:
        self._sampling = sampling
        self._model = digest(model.identity)
        self._settings = digest(sampling.settings)

    def of(self, ask: Ask) -> Asked:
        drawn = ask.drawn(self._sampling)
        settings = self._settings if drawn is self._sampling else digest(drawn.settings)
        return Asked(digest(ask.messages), self._model, settings)
