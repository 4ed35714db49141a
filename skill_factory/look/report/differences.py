"""What differs between two reports: numbers, settings, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from skill_factory.look.report.contents import Mean, Report


class NumberPair(NamedTuple):
    """A number of both reports; a share of 1, or a count."""

    name: str
    before: float
    after: float

    @property
    def is_share(self) -> bool:
        """Whether both are shares."""
        is_mean = isinstance(self.before, Mean)
        return max(self.before, self.after) <= 1 and self.name != "Traces" and not is_mean

    @property
    def change(self) -> float:
        """How much more the second has."""
        return self.after - self.before


class ValuePair(NamedTuple):
    """A setting, or another fact, that both say and that is not the same; None: null."""

    name: str
    before: str | None
    after: str | None


class Differences(NamedTuple):
    """Numbers of both, the same ones too; facts and settings that are not the same."""

    numbers: list[NumberPair]
    facts: list[ValuePair]
    settings: list[ValuePair]


def differences(before: Report, after: Report) -> Differences:
    """What differs between two reports."""
    pairs = [
        NumberPair(name, value, after.numbers[name])
        for name, value in before.numbers.items()
        if name in after.numbers
    ]
    return Differences(
        sorted(pairs, key=lambda pair: -abs(pair.change) / max(abs(pair.before), 1e-9)),
        _changed(before.facts, after.facts),
        _changed(before.settings, after.settings),
    )


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[ValuePair]:
    return [
        ValuePair(name, _shown(before, name), _shown(after, name))
        for name in before
        if name in after and before[name] != after[name]
    ]


def _shown(values: Mapping[str, Any], name: str) -> str | None:
    value = values[name]
    if value is None:
        return None
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
