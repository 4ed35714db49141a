"""Where each span of a trace comes from, in words."""

from __future__ import annotations

from collections.abc import Sequence

from skill_factory.core.columns import Column
from skill_factory.look.folders import Trace
from skill_factory.look.spans import Kind, Span
from skill_factory.stages.create.phrases import PhraseBank


def origins_of(trace: Trace, variants: Sequence[str | None], bank: PhraseBank) -> list[str]:
    """Of each span of a trace where it comes from; empty: it is markup. `variants` are those of the
    steps."""
    return [_origin(span, trace, variants) for span in trace.spans()]


def _origin(span: Span, trace: Trace, variants: Sequence[str | None]) -> str:
    if span.kind in (Kind.GLUE, Kind.LEAD, Kind.CLOSING):
        return "phrase bank"
    if span.step is None or span.step >= len(trace.steps) or span.kind in (Kind.TAG, Kind.OTHER):
        return ""
    step = trace.steps[span.step]
    variant = variants[span.step]
    where = f"input row {step[Column.ROW]:,}, response {step[Column.RESPONSE]}"
    if variant:
        where += f", prompt variant {variant}"
    if span.kind is Kind.REFLECTION:
        where += f", reflection {step['reflection']}"
    return f"{where}: the extracted answer" if span.kind is Kind.ANSWER else where
