"""Plan: from the pools of attempts to recipes with reflections and phrases, all of it numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from skill_factory.core.arrays import bounds, numbers, strings, view
from skill_factory.core.columns import Column
from skill_factory.core.ledger import Reason
from skill_factory.core.tables import PLAN
from skill_factory.stages.create.draws import Draws
from skill_factory.stages.create.excluded import Excluded
from skill_factory.stages.create.formats import Lengths, Pool, Recipe, Unfillable, format_of
from skill_factory.stages.create.outcome import LostTrace, Outcome
from skill_factory.stages.create.phrases import Kind, PhraseBank
from skill_factory.stages.create.pools import Pools, questions


@dataclass(frozen=True)
class PlanSettings:
    """What the plan depends on besides the pools.

    `repeats`: how often each format goes over a question. `unique_variants`: the attempts of a
    trace all come from different prompt variants. `last_id`: traces with a larger id are not in the
    subsample; None: all are. `too_long`: ids of traces that have more tokens than they may.
    `excluded`: questions and traces that are left out.
    """

    formats: tuple[str, ...]
    lengths: Lengths
    repeats: int
    unique_variants: bool
    seed: int
    phrases: PhraseBank
    last_id: str | None = None
    too_long: frozenset[str] = frozenset()
    excluded: Excluded = field(default_factory=Excluded)

    def dropped(self, trace_id: str, question_id: bytes) -> Reason | None:
        """Why a trace that can be made is not; None: it is."""
        if question_id in self.excluded.questions or trace_id in self.excluded.traces:
            return Reason.EXCLUDED
        if trace_id in self.too_long:
            return Reason.TOO_MANY_TOKENS
        if self.last_id is not None and trace_id > self.last_id:
            return Reason.NOT_IN_SUBSAMPLE
        return None


@dataclass
class Plan:
    """The traces of some pools, as columns; one item a trace unless said otherwise. -1: none.

    `attempts` are rows of the pools' attempts; `reflections` count within an attempt's valid ones
    (-1: not shown); `glue` are phrase ids. These three have one item a step, `steps` of them a
    trace.
    """

    ids: list[str] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    leads: list[int] = field(default_factory=list)
    restated: list[int] = field(default_factory=list)
    closings: list[int] = field(default_factory=list)
    answers_of: list[int] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    reflections: list[int] = field(default_factory=list)
    glue: list[int] = field(default_factory=list)

    def append(self, slot: _Slot, trace: _PlannedTrace) -> None:
        """Add a trace."""
        recipe = trace.recipe
        self.ids.append(slot.id)
        self.formats.append(slot.format)
        self.labels.append(recipe.label)
        self.repeats.append(slot.repeat)
        self.slots.append(slot.number)
        self.steps.append(len(trace.attempts))
        self.leads.append(trace.lead)
        self.restated.append(-1 if recipe.restated is None else recipe.restated)
        self.closings.append(trace.closing)
        self.answers_of.append(recipe.answer_of)
        self.attempts += trace.attempts
        self.reflections += trace.reflections
        self.glue += trace.glue


def plan(pools: Pools, settings: PlanSettings) -> tuple[Plan, Outcome]:
    """Recipes for all questions of some pools, and what became of what is in it.

    Each question and format has its own draws, so that a trace does not depend on what else is in
    the dataset.
    """
    out, outcome = Plan(), Outcome()
    ledger = outcome.ledger
    correct = pools.attempts[Column.CORRECT].to_pylist()
    shown = view(pc.list_value_length(pools.attempts[Column.REFLECTIONS]))
    variants = pools.attempts[Column.VARIANT].to_pylist() if settings.unique_variants else None
    ids = pools.attempts[Column.QUESTION_ID].to_pylist()
    planned_trace = _TracePlanner(settings.phrases, correct, shown.tolist())
    for rows in questions(pools):
        pool = Pool(
            all=range(len(rows)),
            correct=[i for i, row in enumerate(rows) if correct[row]],
            incorrect=[i for i, row in enumerate(rows) if not correct[row]],
            variants=[variants[row] for row in rows] if variants else None,
        )
        before, lacks, question_id = len(out.ids), [], ids[rows[0]]
        for slot in _slots(pool, question_id, settings):
            ledger.traces.read += 1
            if isinstance(slot.recipe, Unfillable):
                lacks.append(slot.recipe.reason)
                outcome.lose_trace(slot.lost(f"{slot.format}: {slot.recipe.reason}", rows[0]))
                continue
            # Drawn even if it is then dropped: the next slot's draws must not depend on that.
            trace = planned_trace(slot.recipe, rows, slot.draws)
            if (dropped := settings.dropped(slot.id, question_id)) is not None:
                lacks.append(dropped)
                outcome.lose_trace(slot.lost(dropped, rows[0]))
                continue
            out.append(slot, trace)
        ledger.questions.read += 1
        if len(out.ids) > before:
            ledger.questions.kept += 1
        elif question_id in settings.excluded.questions:
            outcome.lose_question(rows, Reason.EXCLUDED)
        else:
            # What took traces that could be made comes last: without it there would have been one.
            outcome.lose_question(rows, max(lacks, key=_TAKEN_AWAY.__getitem__))
    ledger.traces.kept = len(out.ids)
    outcome.count_use(out.attempts, out.reflections, pools.duplicates, shown)
    return out, outcome


_TAKEN_AWAY = defaultdict(
    int, {Reason.TOO_MANY_TOKENS: 1, Reason.NOT_IN_SUBSAMPLE: 2, Reason.EXCLUDED: 3}
)


class _Slot(NamedTuple):
    """A place for a trace, and what its format makes of it."""

    id: str
    format: str
    repeat: int
    number: int
    recipe: Recipe | Unfillable
    draws: Draws

    def lost(self, reason: str, row: int) -> LostTrace:
        """The place without its trace; `row` is an attempt's at its question."""
        return LostTrace(self.id, self.format, self.repeat, self.number, reason, row)


def _slots(pool: Pool, question_id: bytes, settings: PlanSettings) -> Iterator[_Slot]:
    for name in settings.formats:
        prefix = f"{settings.seed}\0{name}\0".encode() + question_id
        draws = Draws(xxh3_64_intdigest(prefix))
        for repeat in range(settings.repeats):
            for number, recipe in enumerate(format_of(name).plan(pool, draws, settings.lengths)):
                trace_id = xxh3_128_hexdigest(prefix + b"\0%d\0%d" % (repeat, number))
                yield _Slot(trace_id, name, repeat, number, recipe, draws)


class _PlannedTrace(NamedTuple):
    """A recipe with rows for its attempts, and the reflections and phrases that go with them."""

    recipe: Recipe
    attempts: list[int]
    reflections: list[int]
    glue: list[int]
    lead: int
    closing: int


class _TracePlanner:
    """Draws the reflections and phrases that go with recipes."""

    def __init__(self, bank: PhraseBank, correct: list[bool], shown: list[int]) -> None:
        self.correct = correct
        self.shown = shown
        self.after = {
            True: bank.ids(Kind.CORRECT, Kind.GENERIC),
            False: bank.ids(Kind.INCORRECT, Kind.GENERIC),
            None: bank.ids(Kind.GENERIC),
        }
        self.phrases = {kind: bank.ids(kind) for kind in Kind}

    def __call__(self, recipe: Recipe, rows: list[int], draws: Draws) -> _PlannedTrace:
        picked = [rows[i] for i in recipe.attempts]
        after = [self.correct[row] if recipe.reflects else None for row in picked[:-1]]
        return _PlannedTrace(
            recipe,
            picked,
            [draws.below(self.shown[row]) if recipe.reflects else -1 for row in picked],
            [*[draws.one(self.after[kind]) for kind in after], -1],
            -1 if recipe.lead is None else draws.one(self.phrases[recipe.lead]),
            draws.one(self.phrases[Kind.CLOSING]),
        )


def plan_table(planned: Plan, pools: Pools) -> pa.Table:
    """The plan with the schema `tables.PLAN`: places in the pools become places in the input."""
    attempts = pools.attempts
    picked, shown_at = np.array(planned.attempts, np.int64), np.array(planned.reflections, np.int64)
    listed = attempts[Column.REFLECTION_NUMBERS].combine_chunks()
    starts = bounds(view(pc.list_value_length(listed)))
    shown = numbers(np.where(shown_at >= 0, starts[picked] + shown_at, 0), missing=shown_at < 0)
    ends = bounds(planned.steps)
    steps = pa.StructArray.from_arrays(
        [
            attempts[Column.ROW].combine_chunks().take(numbers(picked)),
            attempts[Column.RESPONSE].combine_chunks().take(numbers(picked)),
            attempts[Column.CORRECT].combine_chunks().take(numbers(picked)),
            listed.flatten().take(shown),
            _or_null(planned.glue),
        ],
        fields=list(PLAN.field(Column.STEPS).type.value_type),
    )
    ids = attempts[Column.QUESTION_ID].combine_chunks().take(numbers(picked[ends[:-1]]))
    last = numbers(picked[ends[:-1] + np.array(planned.answers_of, np.int64)])
    return pa.Table.from_arrays(
        [
            strings(planned.ids),
            strings([i.hex() for i in ids.to_pylist()]),
            strings(planned.formats),
            strings(planned.labels),
            numbers(np.array(planned.repeats, np.int32)),
            numbers(np.array(planned.slots, np.int32)),
            pa.ListArray.from_arrays(numbers(ends.astype(np.int32)), steps),
            _or_null(planned.leads),
            _or_null(planned.restated),
            numbers(np.array(planned.closings, np.int32)),
            numbers(np.array(planned.answers_of, np.int32)),
            *(
                attempts[name].combine_chunks().take(last)
                for name in (Column.DATA_SOURCE, Column.GROUND_TRUTH, Column.EXTRA_INFO)
            ),
        ],
        schema=PLAN,
    )


def _or_null(some: Sequence[int]) -> pa.Array:
    values = np.array(some, np.int32)
    return numbers(values, missing=values < 0)
