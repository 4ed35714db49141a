"""A trace with the origin of each of its spans, down to what a run asked its model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from skill_factory.look.choosing import Wanted, choose
from skill_factory.look.folders import SftFolder, Trace
from skill_factory.look.origins import Origin, SourceText, TraceOrigins, origins_of
from skill_factory.look.requests import Place, Request, requests_of
from skill_factory.look.spans import Kind


class ExplainedSpan(NamedTuple):
    """A span with its origin, and the request that a run sent for it; None: it is no attempt or
    reflection, or no run of ours asked for it."""

    origin: Origin
    request: Request | None


class Explanation(NamedTuple):
    """A trace, its question's source and its spans. `problems` say what is not known, and why."""

    trace: Trace
    question: SourceText
    question_holds: bool | None
    spans: list[ExplainedSpan]
    problems: list[str]

    @property
    def holds(self) -> bool | None:
        """Whether the spans join to the trace, and all of it is what its sources say; None: some
        source is gone."""
        joined = "".join(one.origin.span.text for one in self.spans) == self.trace.text
        tags = (Kind.TAG, Kind.OTHER)
        held = [one.origin.holds for one in self.spans if one.origin.span.kind not in tags]
        other = any(one.origin.span.kind is Kind.OTHER for one in self.spans)
        held += [self.question_holds]
        if not joined or other or False in held:
            return False
        return None if None in held else True


def explain(folder: SftFolder, name: str) -> Explanation:
    """Explain the trace with this id, or whose id begins so. Raises `InputError` if there is none,
    or several."""
    chosen = choose(folder, Wanted(trace=name))
    assert chosen is not None
    return explain_all(folder, list(folder.read(chosen.tolist())))[0]


def explain_all(folder: SftFolder, traces: Sequence[Trace]) -> list[Explanation]:
    """Explain traces of a folder, in their order; input, tables and journal are read once."""
    origins = origins_of(folder, traces)
    places = {
        place
        for trace in origins.traces
        for origin in trace.spans
        if (place := _place(origin)) is not None
    }
    asked = requests_of(origins.run, places) if origins.run else None
    problems = [origins.problem, asked.problem if asked else None]
    by_place = asked.by_place if asked else {}
    return [_explanation(one, by_place, [said for said in problems if said])
            for one in origins.traces]  # fmt: skip


def _explanation(
    found: TraceOrigins, by_place: dict[Place, Request], problems: list[str]
) -> Explanation:
    spans = []
    for origin in found.spans:
        place = _place(origin)
        spans.append(ExplainedSpan(origin, by_place.get(place) if place else None))
    return Explanation(found.trace, found.question, found.question_holds, spans, problems)


def _place(origin: Origin) -> Place | None:
    """What a run would have asked for, of an attempt or a reflection."""
    asked = (Kind.ATTEMPT, Kind.REFLECTION, Kind.RESTATED)
    if origin.span.kind not in asked or not isinstance(origin.source, SourceText):
        return None
    return origin.source.row, origin.source.reflection
