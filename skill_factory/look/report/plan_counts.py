"""What the plan of an SFT folder says of its traces, as counts; by columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core.arrays import offsets, view
from skill_factory.core.columns import Column
from skill_factory.look.report.contents import LabelRow, Pattern, Phrase

PLAN_COLUMNS = (
    *(Column.TRACE_ID, Column.QUESTION_ID, "label", Column.STEPS),
    *("lead", "restated", "closing", Column.ANSWER_OF),
)
"""What is read of a plan."""


class TraceCounts(NamedTuple):
    """Traces, the right and the wrong attempts in them, and how they are mixed."""

    traces: int
    right: int
    wrong: int
    first_right: int
    labels: list[LabelRow]
    patterns: list[Pattern]


def count_traces(plan: pa.Table) -> TraceCounts:
    """Count the traces of a plan by label, number of attempts, and truth of the attempts."""
    steps = plan[Column.STEPS].combine_chunks()
    correct = pc.struct_field(steps.values, Column.CORRECT)
    letters = pc.if_else(correct, "R", "W").fill_null("?")
    ends = offsets(steps)
    listed = pa.ListArray.from_arrays(
        pa.Array.from_buffers(pa.int32(), len(ends), [None, pa.py_buffer(ends)]), letters
    )
    patterns = pc.binary_join(listed, "")
    counts = Counter(
        {one["values"]: one["counts"] for one in pc.value_counts(patterns).to_pylist()}
    )
    return TraceCounts(
        plan.num_rows,
        sum(count * pattern.count("R") for pattern, count in counts.items()),
        sum(count * pattern.count("W") for pattern, count in counts.items()),
        sum(count for pattern, count in counts.items() if pattern.startswith("R")),
        _labels(plan["label"], pc.list_value_length(steps)),
        [Pattern(letters, count) for letters, count in counts.most_common()],
    )


def _labels(labels: pa.ChunkedArray, lengths: pa.Array) -> list[LabelRow]:
    table = pa.table({"label": labels, "length": lengths}).group_by(["label", "length"])
    rows: dict[str, dict[int, int]] = {}
    for one in table.aggregate([([], "count_all")]).to_pylist():
        rows.setdefault(one["label"], {})[one["length"]] = one["count_all"]
    return [
        LabelRow(label, sum(found.values()), dict(sorted(found.items())))
        for label, found in sorted(rows.items())
    ]


def count_phrases(plan: pa.Table, bank: Mapping[str, Sequence[str]]) -> list[Phrase]:
    """In how many traces each phrase of the bank stands, the most frequent first.

    `bank` is the manifest's: phrases are numbered through its kinds, in their order.
    """
    texts = [(kind, text) for kind, listed in bank.items() for text in listed]
    found = np.zeros(len(texts), np.int64)
    steps = plan[Column.STEPS].combine_chunks()
    glue = view(pc.struct_field(steps.values, "glue").fill_null(-1)).astype(np.int64)
    owner = np.repeat(np.arange(len(steps)), np.diff(offsets(steps)))
    once = np.unique(owner[glue >= 0] * len(texts) + glue[glue >= 0]) % max(1, len(texts))
    for ids in (once, *(view(plan[name].combine_chunks(), missing=-1) for name in ("lead", "closing"))):
        used = ids[(ids >= 0) & (ids < len(texts))]
        found += np.bincount(used, minlength=len(texts))[: len(texts)]
    phrases = [
        Phrase(text, kind, int(count))
        for (kind, text), count in zip(texts, found, strict=True)
        if count
    ]
    return sorted(phrases, key=lambda phrase: -phrase.traces)
