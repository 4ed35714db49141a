"""Where each span of a trace comes from, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from skill_factory.core.columns import Column
from skill_factory.look.folders import RunView, Trace
from skill_factory.look.origins import phrases_of
from skill_factory.look.requests import Place, Request, requests_of
from skill_factory.look.spans import Kind, Span
from skill_factory.stages.create.phrases import PhraseBank

_KEY = 16
"""Digits of a request's key in the journal that are shown."""


class Origins:
    """Where the texts of a sample come from.

    `rows` are the sample's attempts (`QuestionSample.rows`), empty: the input is gone; `run` is the
    run that made them, whose journal has the requests; None: no run of ours. `problem` says what of
    the requests is not known.
    """

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], bank: PhraseBank | None, run: RunView | None
    ) -> None:
        self._variants = {(row["row"], row["response"]): row["variant"] for row in rows}
        self._phrases = phrases_of(bank) if bank else []
        self._requests: Mapping[Place, Request] = {}
        self.problem: str | None = None
        if run is not None:
            self._requests, self.problem = requests_of(run, _places(rows))

    def variants(self, trace: Trace) -> list[str | None]:
        """The prompt variants of a trace's attempts; None: not known."""
        return [self._variants.get((s[Column.ROW], s[Column.RESPONSE])) for s in trace.steps]

    def of_spans(self, trace: Trace) -> list[str]:
        """Of each span of a trace where it comes from; empty: it is markup, or not known."""
        return [self._of_span(span, trace) for span in trace.spans()]

    def _of_span(self, span: Span, trace: Trace) -> str:
        if span.kind in (Kind.LEAD, Kind.CLOSING):
            return self._phrase((trace.plan or {}).get(str(span.kind)))
        if span.step is None or span.step >= len(trace.steps):
            return ""
        step = trace.steps[span.step]
        if span.kind is Kind.GLUE:
            return self._phrase(step["glue"])
        if span.kind is Kind.REFLECTION and step["reflection"] is not None:
            return self.of_text(step[Column.ROW], step[Column.RESPONSE], step["reflection"])
        if span.kind in (Kind.TAG, Kind.OTHER, Kind.REFLECTION):
            return ""
        said = self.of_text(step[Column.ROW], step[Column.RESPONSE])
        return f"{said}: its extracted answer" if span.kind is Kind.ANSWER else said

    def of_text(self, row: int, response: int, reflection: int | None = None) -> str:
        """Where an attempt comes from, or a reflection on it."""
        parts = [f"row {row:,}, response {response}"]
        if reflection is not None:
            parts.append(f"reflection {reflection}")
        elif variant := self._variants.get((row, response)):
            parts.append(f"prompt variant {variant}")
        if (request := self._requests.get((row, reflection))) is not None:
            parts.append(_in_words(request))
        return ", ".join(parts)

    def _phrase(self, number: int | None) -> str:
        if number is None or not 0 <= number < len(self._phrases):
            return ""
        phrase = self._phrases[number]
        return f"the phrases, {phrase.kind} number {phrase.number}"


def _places(rows: Sequence[Mapping[str, Any]]) -> list[Place]:
    """The places of attempts and of their reflections in a run's table."""
    places: list[Place] = [(row["row"], None) for row in rows]
    return places + [(row["row"], at) for row in rows for at in range(len(row["reflections"]))]


def _in_words(request: Request) -> str:
    said = f"sample {request.sample} of request {request.key[:_KEY]}"
    if request.at is None:
        return said
    return f"{said}, answered {datetime.fromtimestamp(request.at, UTC):%Y-%m-%d %H:%M:%S} UTC"
