"""What an SFT dataset is mixed of, and the way from its questions to its traces, as counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skill_factory.core.arrays import offsets
from skill_factory.core.columns import Column

MIX_COLUMNS = ("label", Column.STEPS)
"""The columns of a plan that say how it is mixed."""


class Mix(NamedTuple):
    """Counts of traces.

    `labels` has for each label how many traces have each number of attempts. `patterns` counts the
    truth of the attempts in their order, as WWR: wrong, wrong, right; ? is not known.
    """

    labels: dict[str, dict[int, int]]
    patterns: Counter[str]

    @property
    def traces(self) -> int:
        """How many there are."""
        return self.patterns.total()

    def attempts(self, letters: str = "RW?") -> int:
        """How many attempts are in the traces, of those with one of these truths."""
        return sum(
            count * sum(map(pattern.count, letters)) for pattern, count in self.patterns.items()
        )


def mix_of(plan: pa.Table) -> Mix:
    """How the traces of a plan are mixed, by columns."""
    steps = plan[Column.STEPS].combine_chunks()
    correct = pc.struct_field(steps.values, Column.CORRECT)
    ends = offsets(steps)
    listed = pa.ListArray.from_arrays(
        pa.Array.from_buffers(pa.int32(), len(ends), [None, pa.py_buffer(ends)]),
        pc.if_else(correct, "R", "W").fill_null("?"),
    )
    found = pc.value_counts(pc.binary_join(listed, "")).to_pylist()
    patterns = Counter({one["values"]: int(one["counts"]) for one in found})
    return Mix(_labels(plan["label"], pc.list_value_length(steps)), patterns)


def read_mix(plan: Path) -> Mix:
    """How the traces of a file with a plan are mixed."""
    return mix_of(pq.read_table(plan, columns=list(MIX_COLUMNS)))


def _labels(labels: pa.ChunkedArray, lengths: pa.Array) -> dict[str, dict[int, int]]:
    table = pa.table({"label": labels, "length": lengths}).group_by(["label", "length"])
    found: dict[str, dict[int, int]] = {}
    for one in table.aggregate([([], "count_all")]).to_pylist():
        found.setdefault(one["label"], {})[one["length"]] = one["count_all"]
    return {label: dict(sorted(counts.items())) for label, counts in sorted(found.items())}


# -- the funnel ------------------------------------------------------------------------------------


class Step(NamedTuple):
    """A step from questions to traces. Its share is of `of`; None: it is all there is of its
    kind."""

    name: str
    count: int  # type: ignore[assignment]  # hides tuple.count
    of: int | None
    note: str = ""

    @property
    def share(self) -> float:
        """Of what it is a part of; 0 of nothing."""
        return self.count / self.of if self.of else 0.0


_LATER = ("not_drawn", "question_set_aside")
"""Why valid attempts and reflections are in no trace."""


def funnel(ledger: Mapping[str, Mapping[str, Any]], right: int | None = None) -> list[Step]:
    """From questions over attempts and reflections to traces; `ledger` is a manifest's, `right`
    counts the right attempts (None: not known)."""
    asked, tried = ledger["questions"], ledger["attempts"]
    judged, made = ledger["reflections"], ledger["traces"]
    ours = (
        [] if right is None else [Step("Right attempts", right, tried["read"], "of the attempts")]
    )
    return [
        Step("Questions", asked["read"], None, "asked"),
        Step("Attempts", tried["read"], None, f"{_mean(tried, asked)} a question"),
        *ours,
        Step("Valid attempts", _valid(tried, "duplicate"), tried["read"], "with a true reflection"),
        Step("Reflections", judged["read"], None, f"{_mean(judged, tried)} an attempt"),
        Step("Valid reflections", _valid(judged), judged["read"], "that judge truly"),
        Step("Traces", made["kept"], None, "made"),
        Step("Questions in them", asked["kept"], asked["read"], "of the questions"),
        Step("Attempts in them", tried["kept"], tried["read"], "of the attempts"),
    ]


def _valid(account: Mapping[str, Any], *more: str) -> int:
    """How many were valid, whether a trace drew them or not."""
    return int(account["kept"] + sum(account["losses"].get(name, 0) for name in (*_LATER, *more)))


def _mean(some: Mapping[str, Any], of: Mapping[str, Any]) -> str:
    return f"{some['read'] / of['read']:.1f}" if of["read"] else "0"
