"""Whether a dataset is sound, as `check` finds; without a replay of rewards, which takes long."""

from __future__ import annotations

from pathlib import Path

from skill_factory.checks.check import Audited, Checks, check
from skill_factory.checks.findings import Finding as Found
from skill_factory.checks.findings import Severity
from skill_factory.look.report.contents import Example, Finding, Soundness

_LEFT_OUT = {"V01"}
"""Codes that the page says elsewhere: that the input is not there."""


def soundness_of(path: Path, audited: Audited | None) -> Soundness:
    """What `check` finds in a dataset, errors first; notes that it has nothing to say of are left
    out. `audited` is as `check` has it."""
    report = check(path, Checks(rewards=False), audited)
    found = [
        _finding(one)
        for severity in Severity
        for one in report.of(severity)
        if one.code.id not in _LEFT_OUT
    ]
    return Soundness(
        found,
        f"All {report.traces:,} traces were looked at: structure, wording and balance. Rewards are "
        "replayed by skill-factory check.",
    )


def _finding(found: Found) -> Finding:
    code = found.code
    examples = [
        Example(", ".join(filter(None, (one.trace, one.place))) or "dataset", one.excerpt)
        for one in found.examples
    ]
    return Finding(
        code.id, code.severity.value, code.about, len(found.traces), code.advice, examples
    )
