"""What `create` made, or in a dry run would make."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from skill_factory.core.ledger import Ledger


@dataclass
class CreateResult:
    """What a run made, or in a dry run would make.

    `labels` counts traces; `notes` are for the user to read; `sample` is the text of a trace, None
    after a dry run.
    """

    ledger: Ledger = field(default_factory=Ledger)
    labels: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    sample: str | None = None

    def summary(self) -> str:
        """All of it for a person, as lines of text."""
        lines = [self.ledger.table(), "", f"{'label':34}{'traces':>12}"]
        lines += [f"{label:34}{count:12,}" for label, count in sorted(self.labels.items())]
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])
