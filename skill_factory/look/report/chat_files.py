"""What a report says of files of chats: what a model answered, or a dataset made elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from xxhash import xxh3_64_intdigest

from skill_factory.checks.audit import Confusion
from skill_factory.core.trace_tags import Verdict
from skill_factory.look.folders import ChatFiles, Trace
from skill_factory.look.report.contents import Figure, LabelRow, Pattern, Report
from skill_factory.look.report.options import Options
from skill_factory.look.report.sample import Sample, letters_of
from skill_factory.look.report.sizes import histogram
from skill_factory.look.spans import Kind, Span

MOST = 20_000
"""Traces that are read for the numbers; of more, so many are drawn."""

_MOST_SHOWN = 5_000
"""Traces that may have room on a page."""


def of_chats(files: ChatFiles, options: Options) -> Report:
    """What is to be said of files of chats."""
    report = Report(files.path.resolve().name, "Chats", str(files.path))
    total = files.count
    drawn = files.sample(min(total, MOST), options.seed)
    numbers, kept = _Numbers(), _Kept(options.seed)
    for trace in files.read(drawn):
        numbers.add(trace, trace.spans())
        kept.add(trace)
    report.facts = {"Files": ", ".join(path.name for path in files.chats.files[:8])}
    if len(drawn) < total:
        report.notes.append(f"The numbers are of {len(drawn):,} drawn traces of {total:,}.")
    numbers.tell(report, total)
    report.sample = _sample(kept.traces(), options, total, len(numbers.questions))
    return report


class _Kept:
    """The traces of the smallest ranks, so that a sample of them is a fair one."""

    def __init__(self, seed: int) -> None:
        self._seed, self._found = seed, list[tuple[int, int, Trace]]()

    def add(self, trace: Trace) -> None:
        rank = xxh3_64_intdigest(trace.id.encode(), self._seed % (1 << 64))
        self._found.append((rank, trace.number, trace))
        if len(self._found) >= 2 * _MOST_SHOWN:
            self._found = sorted(self._found)[:_MOST_SHOWN]

    def traces(self) -> list[Trace]:
        return [trace for _, _, trace in sorted(self._found)[:_MOST_SHOWN]]


class _Numbers:
    """Sums over traces."""

    def __init__(self) -> None:
        self.labels: Counter[tuple[str, int]] = Counter()
        self.patterns: Counter[str] = Counter()
        self.questions: set[int] = set()
        self.sizes: list[int] = []
        self.confusion = Confusion()
        self.answers = self.reflections = 0

    def add(self, trace: Trace, spans: Iterable[Span]) -> None:
        listed = list(spans)
        letters = letters_of(listed)
        self.labels[trace.label or "no label", len(letters)] += 1
        self.patterns[letters] += 1
        self.questions.add(xxh3_64_intdigest(trace.question.encode("utf-8", "replace")))
        self.sizes.append(len(trace.text))
        self.answers += any(span.kind is Kind.ANSWER for span in listed)
        for span in listed:
            if span.kind is Kind.REFLECTION:
                self.reflections += 1
                self._judge(span)

    def _judge(self, span: Span) -> None:
        if span.correct is not None:
            says = 2 if span.verdict is None else int(span.verdict is Verdict.CORRECT)
            self.confusion.cells[int(span.correct), says] += 1

    def tell(self, report: Report, total: int) -> None:
        """Put the numbers into a report."""
        read = len(self.sizes)
        attempts = sum(len(letters) * count for letters, count in self.patterns.items())
        right = sum(letters.count("R") * count for letters, count in self.patterns.items())
        decided = right + sum(letters.count("W") * n for letters, n in self.patterns.items())
        report.lead = f"{total:,} traces of {len(self.questions):,} questions."
        report.figures = [
            Figure("traces", f"{total:,}", f"{read:,} read"),
            Figure("attempts a trace", _mean(attempts, read), "blocks of <sample>"),
            Figure("reflections a trace", _mean(self.reflections, read), "blocks of <reflect>"),
            Figure("with an answer", f"{self.answers / max(1, read):.0%}", "after the thinking"),
        ]
        report.numbers = {
            "Traces": total,
            "Attempts a trace": attempts / max(1, read),
            "Reflections a trace": self.reflections / max(1, read),
        }
        if decided:
            report.numbers["Right attempts"] = right / decided
        if self.confusion.reflections:
            report.confusion = self.confusion
        report.sizes = histogram(np.array(self.sizes, np.int64), "traces", "characters in a trace")
        report.patterns = [Pattern(letters, n) for letters, n in self.patterns.most_common()]
        report.labels = self._labels()

    def _labels(self) -> list[LabelRow]:
        rows: dict[str, dict[int, int]] = {}
        for (label, length), count in sorted(self.labels.items()):
            rows.setdefault(label, {})[length] = count
        return [LabelRow(label, sum(found.values()), found) for label, found in rows.items()]


def _mean(some: int, of: int) -> str:
    return f"{some / max(1, of):.2f}"


def _sample(traces: list[Trace], options: Options, total: int, questions: int) -> dict[str, object]:
    sample = Sample(options.room)
    for trace in traces:
        if sample.full:
            break
        place = sample.question(trace.question, trace.question, {})
        if place is not None:
            sample.trace(place, trace)
    return sample.value(total, questions, options.seed)
