"""What an SFT dataset is mixed of, and the way from its questions to its traces, as counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skill_factory.core.arrays import given, numbers, offsets, strings, view
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
    correct = steps.flatten().field(Column.CORRECT)
    letters = np.where(given(correct), 1 + view(correct).astype(np.int64), 0)
    listed = pa.ListArray.from_arrays(
        numbers(offsets(steps)), strings(["?", "W", "R"]).take(numbers(letters))
    )
    # Texts of Python would be made scalars of Arrow, which imports pandas.
    found = pc.value_counts(pc.binary_join(listed, strings([""])[0])).to_pylist()
    patterns = Counter({one["values"]: int(one["counts"]) for one in found})
    return Mix(_labels(plan["label"], pc.list_value_length(steps)), patterns)


def read_mix(plan: Path) -> Mix:
    """How the traces of a file with a plan are mixed."""
    labels, patterns = dict[str, Counter[int]](), Counter[str]()
    with pq.ParquetFile(plan) as file:
        for batch in file.iter_batches(columns=list(MIX_COLUMNS)):
            some = mix_of(pa.Table.from_batches([batch]))
            patterns.update(some.patterns)
            for label, lengths in some.labels.items():
                labels.setdefault(label, Counter()).update(lengths)
    return Mix({label: dict(sorted(labels[label].items())) for label in sorted(labels)}, patterns)


def _labels(labels: pa.ChunkedArray, lengths: pa.Array) -> dict[str, dict[int, int]]:
    """Not by Arrow's `group_by`: that imports pandas too."""
    encoded = labels.combine_chunks().dictionary_encode()
    pairs = np.column_stack([view(encoded.indices), view(lengths)]).astype(np.int64)
    names = encoded.dictionary.to_pylist()
    found: dict[str, dict[int, int]] = {}
    different, counts = np.unique(pairs, axis=0, return_counts=True)
    for (name, length), count in zip(different.tolist(), counts.tolist(), strict=True):
        found.setdefault(names[name], {})[length] = count
    return dict(sorted(found.items()))


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
