"""What the plan of an SFT folder says of its traces, as counts; by columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core.arrays import offsets, view
from skill_factory.core.columns import Column
from skill_factory.look.report.contents import LabelRow, Phrase
from skill_factory.stages.create.mix import Mix

PLAN_COLUMNS = (
    *(Column.TRACE_ID, Column.QUESTION_ID, "label", Column.STEPS),
    *("lead", "restated", "closing", Column.ANSWER_OF),
)
"""What is read of a plan."""


def label_rows(mix: Mix) -> list[LabelRow]:
    """The labels of a mix."""
    return [LabelRow(label, sum(found.values()), found) for label, found in mix.labels.items()]


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
    for ids in (
        once,
        *(view(plan[name].combine_chunks(), missing=-1) for name in ("lead", "closing")),
    ):
        used = ids[(ids >= 0) & (ids < len(texts))]
        found += np.bincount(used, minlength=len(texts))[: len(texts)]
    phrases = [
        Phrase(text, kind, int(count))
        for (kind, text), count in zip(texts, found, strict=True)
        if count
    ]
    return sorted(phrases, key=lambda phrase: -phrase.traces)
