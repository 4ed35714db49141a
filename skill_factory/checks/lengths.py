"""Lengths: what a trainer's tokenizer and its limit make of the traces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skill_factory.checks.codes import C
from skill_factory.checks.findings import Report
from skill_factory.checks.traces import Trace
from skill_factory.core.arrays import Ints
from skill_factory.core.token_counts import TokenCounter


class TrainerReplay:
    """Counts tokens as a trainer would."""

    def __init__(self, counter: TokenCounter, cutoff_len: int | None) -> None:
        self._counter = counter
        self._cutoff_len = cutoff_len
        self._found: list[Ints] = []

    def add(self, traces: Sequence[Trace], report: Report) -> None:
        """Look at traces that are sound."""
        if not traces:
            return
        lengths = self._counter.count([t.question for t in traces], [t.text for t in traces])
        self._found.append(lengths)
        if not self._counter.keeps(traces[0].question, traces[0].text):
            report.add(C.TEMPLATE, traces[0].id)
        for trace, length in zip(traces, lengths, strict=True):
            if self._cutoff_len is not None and length > self._cutoff_len:
                report.add(C.TOO_LONG, trace.id, "", f"{length:,} of {self._cutoff_len:,} tokens")
            if token := self._counter.special_in(f"{trace.question}\n{trace.text}"):
                report.add(C.SPECIAL_TOKEN, trace.id, "", token)

    def tell(self, report: Report) -> None:
        """Add what only all traces together show."""
        lengths = np.concatenate([np.zeros(0, np.int64), *self._found])
        if len(lengths):
            middle, most = int(np.median(lengths)), int(lengths.max())
            report.data["tokens"] = {"median": middle, "max": most}
            report.tell(
                C.TOKENS,
                f"tokens a trace: {middle:,} in the middle, {most:,} at most; "
                f"cutoff_len must be {most:,} or more",
            )
