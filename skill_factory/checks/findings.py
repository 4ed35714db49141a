"""What a check finds: codes, findings with their examples, and the report of all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.terminal import one_line
from skill_factory.errors import OptionError

EXAMPLES = 3
"""How many examples a finding has."""

_EXCERPT = 140
"""Characters of an example."""


class Severity(StrEnum):
    """An error must be mended; a warning is to be looked at; a note tells how the data is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Code(NamedTuple):
    """Something that can be found: its `id` and `name` stay the same over versions; `about` is what
    it means, `advice` what to do."""

    id: str
    name: str
    severity: Severity
    about: str
    advice: str

    def __str__(self) -> str:
        return f"{self.id} {self.name}".rstrip()


class Hit(NamedTuple):
    """A code that holds for a trace: at what `place` in it, and the `text` there."""

    code: Code
    place: str
    text: str


class Example(NamedTuple):
    """One case of a finding; `trace` None: it is not about a single trace."""

    trace: str | None
    place: str
    excerpt: str

    def __str__(self) -> str:
        where = ", ".join(filter(None, (self.trace, self.place)))
        return ": ".join(filter(None, (where, self.excerpt)))


@dataclass
class Finding:
    """A code that was found: in which `traces`, by id, and the first examples. No trace: it is
    about the dataset as a whole, and found once."""

    code: Code
    traces: list[str] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many traces have it; 1 if it is about the dataset as a whole."""
        return len(self.traces) or 1

    def lines(self, names: int) -> list[str]:
        """For a person, with up to so many of the traces' ids."""
        of = f": {len(self.traces):,}" if self.traces else ""
        lines = [f"{self.code.severity.capitalize()} {self.code}: {self.code.about}{of}"]
        lines += [f"  {example}" for example in self.examples]
        lines += [f"  {name}" for name in self.traces[len(self.examples) : names]]
        shown = max(names, len(self.examples))
        if len(self.traces) > shown:
            more = len(self.traces) - shown
            lines.append(f"  and {more:,} more (`check --verbose` names them all)")
        return [*lines, *([f"  What to do: {self.code.advice}"] if self.code.advice else [])]


@dataclass
class Report:
    """What was found in `traces` traces, by the codes' ids, in the order of the code table.

    `ignored`: codes that are not reported. `tables` are figures about the whole dataset, each a
    title and its lines; `data` is the same for JSON.
    """

    traces: int = 0
    ignored: Collection[str] = ()
    findings: dict[str, Finding] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def add(self, code: Code, trace: str, place: str = "", text: str = "") -> None:
        """Count a code for a trace, once."""
        if code.id in self.ignored:
            return
        found = self.findings.setdefault(code.id, Finding(code))
        if found.traces and found.traces[-1] == trace:
            return
        found.traces.append(trace)
        if len(found.examples) < EXAMPLES:
            found.examples.append(Example(trace, place, excerpt(text)))

    def tell(self, code: Code, text: str) -> None:
        """Add a finding about the dataset as a whole; again for another example."""
        if code.id not in self.ignored:
            found = self.findings.setdefault(code.id, Finding(code))
            found.examples.append(Example(None, "", excerpt(text, 400)))

    def of(self, severity: Severity) -> list[Finding]:
        """The findings of a severity."""
        return [found for found in self.findings.values() if found.code.severity is severity]

    @property
    def errors(self) -> list[Finding]:
        """What must be mended; empty for sound data."""
        return self.of(Severity.ERROR)

    @property
    def warnings(self) -> list[Finding]:
        """What is to be looked at."""
        return self.of(Severity.WARNING)

    @property
    def notes(self) -> list[str]:
        """What the notes say."""
        return [str(one) for found in self.of(Severity.NOTE) for one in found.examples]

    def summary(self, names: int = EXAMPLES) -> str:
        """All of it for a person, with up to so many trace ids for each code."""
        blocks = [f"{self.traces:,} traces"]
        blocks += [f"{title}\n{text}" for title, text in self.tables.items()]
        blocks += ["\n".join(found.lines(names)) for one in Severity for found in self.of(one)]
        return "\n\n".join([*blocks, self.verdict()])

    def verdict(self) -> str:
        """The last line: how much was found."""
        errors, warnings = len(self.errors), len(self.warnings)
        if not errors + warnings:
            return "No fault found."
        return f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}."

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON can hold it; of each finding all traces."""
        return {
            "traces": self.traces,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "findings": [
                {
                    "code": found.code.id,
                    "name": found.code.name,
                    "severity": found.code.severity.value,
                    "about": found.code.about,
                    "advice": found.code.advice,
                    "count": found.count,
                    "examples": [one._asdict() for one in found.examples],
                    "traces": found.traces,
                }
                for one in Severity
                for found in self.of(one)
            ],
            **self.data,
        }


def excerpt(text: str, most: int = _EXCERPT) -> str:
    """A text on one line, cut off."""
    line = one_line(text[: 8 * most])
    return line if len(line) <= most else f"{line[: most - 3]}..."


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def codes_of(words: Iterable[str], codes: Iterable[Code]) -> set[str]:
    """The ids of codes that a user names, by id or name; raises `OptionError` for one that there is
    not."""
    ids = {word: code.id for code in codes for word in (code.id, code.name) if word}
    found = set()
    for word in words:
        if word not in ids and word.upper() not in ids:
            hint = did_you_mean(word, ids)
            raise OptionError(f"unknown code {word!r}{hint}; `skill-factory list checks` shows all")
        found.add(ids.get(word) or ids[word.upper()])
    return found
