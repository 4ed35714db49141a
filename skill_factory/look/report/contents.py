"""What a report says, before it is drawn. Counts are of things; a share is of 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from skill_factory.checks.audit import Confusion
from skill_factory.look.report.figures import Figures
from skill_factory.stages.create.mix import Step


class Figure(NamedTuple):
    """A number at the top of a page, and what it counts."""

    name: str
    value: str
    note: str = ""


class Example(NamedTuple):
    """Something that was lost, or has a fault: where it is, and its text."""

    where: str
    text: str


class Loss(NamedTuple):
    """How much was lost for a reason, what the reason means, and some of it."""

    reason: str
    count: int  # type: ignore[assignment]  # hides tuple.count
    meaning: str = ""
    examples: Sequence[Example] = ()


class Account(NamedTuple):
    """What was read of a kind of thing, what was kept, and why the rest was not."""

    name: str
    read: int
    kept: int
    losses: Sequence[Loss]


class Bin(NamedTuple):
    """A bar of a histogram. `counts` are stacked, one for each of the histogram's series."""

    name: str
    counts: tuple[int, ...]


class Histogram(NamedTuple):
    """Bars beside each other: the unit of what is counted, what the bins are of, and the series."""

    unit: str
    axis: str
    series: tuple[str, ...]
    bins: Sequence[Bin]


class Variant(NamedTuple):
    """Attempts under a prompt variant. `name` None: the input does not say which. `characters` and
    `tokens` are sums over all attempts; `tokens` None: not counted."""

    name: str | None
    attempts: int
    right: int
    wrong: int
    undecided: int
    reflections: int
    true: int
    characters: int
    tokens: int | None = None

    @property
    def accuracy(self) -> float:
        """Right ones of the decided ones; 0 of none."""
        decided = self.right + self.wrong
        return self.right / decided if decided else 0.0

    @property
    def true_verdicts(self) -> float:
        """Reflections that judge truly, of all on decided attempts; 0 of none."""
        return self.true / self.reflections if self.reflections else 0.0


class LabelRow(NamedTuple):
    """Traces under a label, and how many of them have each number of attempts (ascending)."""

    label: str
    count: int  # type: ignore[assignment]  # hides tuple.count
    lengths: Mapping[int, int]


class Phrase(NamedTuple):
    """A phrase of the bank, its kind, and how many traces it stands in."""

    text: str
    kind: str
    traces: int


class Pattern(NamedTuple):
    """The truth of a trace's attempts in their order, as WWR: wrong, wrong, right; ? not known."""

    letters: str
    count: int  # type: ignore[assignment]  # hides tuple.count


class Finding(NamedTuple):
    """What a check has found: `severity` is error, warning or note; `count` 0: it is about the
    dataset as a whole."""

    code: str
    severity: str
    summary: str
    count: int  # type: ignore[assignment]  # hides tuple.count
    advice: str = ""
    examples: Sequence[Example] = ()


class Soundness(NamedTuple):
    """Whether what was made is sound. `done`: what was looked at; empty: nothing, and why."""

    findings: Sequence[Finding]
    done: str

    def of(self, severity: str) -> int:
        """How many findings are of a severity."""
        return sum(finding.severity == severity for finding in self.findings)


class Mean(float):
    """A mean count or a score: no share, even one of at most 1."""


@dataclass
class Report:
    """All that a page says of one folder. What is None or empty is not known, and not drawn.

    `place` is where it is, as the user named it; `facts` say how it was made, by name. `sample` is
    what the browser of traces shows, a value of JSON (`sample.Sample`). `measured` has the figures
    of responses; None: it is of no measured folder, but of traces.
    """

    title: str
    kind: str
    place: str
    lead: str = ""
    figures: list[Figure] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    soundness: Soundness | None = None
    measured: Figures | None = None
    funnel: list[Step] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    pass_rates: Histogram | None = None
    variants: list[Variant] = field(default_factory=list)
    confusion: Confusion | None = None
    labels: list[LabelRow] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)
    phrases: list[Phrase] = field(default_factory=list)
    sizes: Histogram | None = None
    notes: list[str] = field(default_factory=list)
    sample: dict[str, Any] = field(default_factory=dict)
