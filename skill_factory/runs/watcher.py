"""Who else hears how a run goes, besides the one whom it tells lines."""

from __future__ import annotations

from collections.abc import Sequence

from skill_factory.asking.requests import Ask
from skill_factory.asking.tally import Tally
from skill_factory.models import Completion
from skill_factory.runs.folder import Stage


class Watcher:
    """Hears how a run goes, and does nothing; others do more. What they do must be quick, as all
    requests wait for it, and raise nothing."""

    def begins(self, stage: Stage) -> None:
        """A stage is being made."""

    def ends(self, stage: Stage) -> None:
        """A stage is made, now or before."""

    def asks(self, name: str, total: int, tally: Tally, line: str) -> None:
        """How far the round `name` is, of `total` samples: now and then, and at its end. `line`
        says it for a person."""

    def answered(self, stage: str, ask: Ask, answers: Sequence[Completion]) -> None:
        """A request was answered."""
