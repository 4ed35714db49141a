"""Plan and weave: from pools to recipes with phrases, and from those to conversations.

The plan is numbers only. Weaving looks every piece of a trace up in one array of texts, in the
order of the traces, with a single `take`: as Arrow's strings lie one behind the other, the taken
pieces are the traces, and only the offsets have to be thinned out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from skill_factory.core import markup
from skill_factory.core.arrays import Ints, bounds, numbers, offsets, strings, view
from skill_factory.core.ledger import Ledger, Reason
from skill_factory.core.tables import PLAN, SFT
from skill_factory.errors import InputError
from skill_factory.stages.create.draws import Draws
from skill_factory.stages.create.formats import Lengths, Pool, Recipe, Unfillable, format_of
from skill_factory.stages.create.phrases import Kind, PhraseBank
from skill_factory.stages.create.pools import Unit, questions

WOVEN_BYTES = 48 << 20
"""About how much text is woven at a time."""


@dataclass(frozen=True)
class PlanSettings:
    """What the plan depends on besides the pools.

    `repeats`: how often each format goes over a question. `unique_variants`: the attempts of a
    trace all come from different prompt variants. `last_id`: traces with a larger id are not in the
    subsample; None: all are. `too_long`: ids of traces that have more tokens than they may.
    """

    formats: tuple[str, ...]
    lengths: Lengths
    repeats: int
    unique_variants: bool
    seed: int
    phrases: PhraseBank
    last_id: str | None = None
    too_long: frozenset[str] = frozenset()

    def dropped(self, trace_id: str) -> Reason | None:
        """Why a trace that can be made is not; None: it is."""
        if trace_id in self.too_long:
            return Reason.TOO_MANY_TOKENS
        if self.last_id is not None and trace_id > self.last_id:
            return Reason.NOT_IN_SUBSAMPLE
        return None


@dataclass
class Plan:
    """The traces of one unit, as columns; one item a trace unless said otherwise. -1: none.

    `attempts` are rows of the unit's attempts; `reflections` count within an attempt's valid ones
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

    def append(self, slot: _Slot, trace: _Dressed) -> None:
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


def plan(unit: Unit, settings: PlanSettings) -> tuple[Plan, Ledger]:
    """Recipes for all questions of a unit, and what became of what is in it.

    Each question and format has its own draws, so that a trace does not depend on what else is in
    the dataset.
    """
    out, ledger = Plan(), Ledger()
    correct = unit.attempts["correct"].to_pylist()
    shown = view(pc.list_value_length(unit.attempts["reflections"]))
    variants = unit.attempts["variant"].to_pylist() if settings.unique_variants else None
    ids = unit.attempts["question_id"].to_pylist()
    dress = _Dresser(settings.phrases, correct, shown.tolist())
    set_aside: list[int] = []
    for rows in questions(unit):
        pool = Pool(
            all=range(len(rows)),
            correct=[i for i, row in enumerate(rows) if correct[row]],
            incorrect=[i for i, row in enumerate(rows) if not correct[row]],
            variants=[variants[row] for row in rows] if variants else None,
        )
        before, lacks = len(out.ids), []
        for slot in _slots(pool, ids[rows[0]], settings):
            ledger.traces.read += 1
            if isinstance(slot.recipe, Unfillable):
                lacks.append(slot.recipe.reason)
                ledger.traces.lose(f"{slot.format}: {slot.recipe.reason}")
                continue
            # Dressed even if it is then dropped: the next slot's draws must not depend on that.
            trace = dress(slot.recipe, rows, slot.draws)
            if (dropped := settings.dropped(slot.id)) is not None:
                lacks.append(dropped)
                ledger.traces.lose(dropped)
                continue
            out.append(slot, trace)
        ledger.questions.read += 1
        if len(out.ids) > before:
            ledger.questions.kept += 1
        else:
            # What took traces that could be made comes last: without it there would have been one.
            ledger.questions.lose(max(lacks, key=_TAKEN_AWAY.__getitem__))
            set_aside += rows
    ledger.traces.kept = len(out.ids)
    _count_use(out, set_aside, unit.duplicates, shown, ledger)
    return out, ledger


_TAKEN_AWAY = defaultdict(int, {Reason.TOO_MANY_TOKENS: 1, Reason.NOT_IN_SUBSAMPLE: 2})


class _Slot(NamedTuple):
    """A place for a trace, and what its format makes of it."""

    id: str
    format: str
    repeat: int
    number: int
    recipe: Recipe | Unfillable
    draws: Draws


def _slots(pool: Pool, question_id: bytes, settings: PlanSettings) -> Iterator[_Slot]:
    for name in settings.formats:
        prefix = f"{settings.seed}\0{name}\0".encode() + question_id
        draws = Draws(xxh3_64_intdigest(prefix))
        for repeat in range(settings.repeats):
            for number, recipe in enumerate(format_of(name).plan(pool, draws, settings.lengths)):
                trace_id = xxh3_128_hexdigest(prefix + b"\0%d\0%d" % (repeat, number))
                yield _Slot(trace_id, name, repeat, number, recipe, draws)


class _Dressed(NamedTuple):
    """A recipe with rows for its attempts, and the reflections and phrases that go with them."""

    recipe: Recipe
    attempts: list[int]
    reflections: list[int]
    glue: list[int]
    lead: int
    closing: int


class _Dresser:
    """Gives recipes their reflections and phrases."""

    def __init__(self, bank: PhraseBank, correct: list[bool], shown: list[int]) -> None:
        self.correct = correct
        self.shown = shown
        self.after = {
            True: bank.ids(Kind.CORRECT, Kind.GENERIC),
            False: bank.ids(Kind.INCORRECT, Kind.GENERIC),
            None: bank.ids(Kind.GENERIC),
        }
        self.phrases = {kind: bank.ids(kind) for kind in Kind}

    def __call__(self, recipe: Recipe, rows: list[int], draws: Draws) -> _Dressed:
        picked = [rows[i] for i in recipe.attempts]
        after = [self.correct[row] if recipe.reflects else None for row in picked[:-1]]
        return _Dressed(
            recipe,
            picked,
            [draws.below(self.shown[row]) if recipe.reflects else -1 for row in picked],
            [*[draws.one(self.after[kind]) for kind in after], -1],
            -1 if recipe.lead is None else draws.one(self.phrases[recipe.lead]),
            draws.one(self.phrases[Kind.CLOSING]),
        )


def _count_use(
    made: Plan, set_aside: list[int], duplicates: Ints, shown: Ints, ledger: Ledger
) -> None:
    """Whether each valid attempt and reflection is in a trace, and if not, why."""
    idle = np.array(set_aside, np.int64)
    picked, reflections = np.array(made.attempts, np.int64), np.array(made.reflections, np.int64)
    used = len(np.unique(picked))
    ledger.attempts.kept = used
    ledger.attempts.lose(Reason.QUESTION_SET_ASIDE, len(idle))
    ledger.attempts.lose(Reason.DUPLICATE, len(duplicates))
    ledger.attempts.lose(Reason.NOT_DRAWN, len(shown) - len(idle) - len(duplicates) - used)
    starts = bounds(shown)
    told = reflections >= 0
    used = len(np.unique(starts[picked[told]] + reflections[told]))
    ledger.reflections.kept = used
    waiting = int(shown.sum() - shown[idle].sum() - shown[duplicates].sum())
    ledger.reflections.lose(Reason.QUESTION_SET_ASIDE, int(shown[idle].sum()))
    ledger.reflections.lose(Reason.ATTEMPT_SET_ASIDE, int(shown[duplicates].sum()))
    ledger.reflections.lose(Reason.NOT_DRAWN, waiting - used)


def plan_table(made: Plan, unit: Unit) -> pa.Table:
    """The plan with the schema `tables.PLAN`: places in the unit become places in the input."""
    attempts = unit.attempts
    picked, told = np.array(made.attempts, np.int64), np.array(made.reflections, np.int64)
    listed = attempts["reflection_numbers"].combine_chunks()
    starts = bounds(view(pc.list_value_length(listed)))
    shown = numbers(np.where(told >= 0, starts[picked] + told, 0), missing=told < 0)
    ends = bounds(made.steps)
    steps = pa.StructArray.from_arrays(
        [
            attempts["row"].combine_chunks().take(numbers(picked)),
            attempts["response"].combine_chunks().take(numbers(picked)),
            attempts["correct"].combine_chunks().take(numbers(picked)),
            listed.flatten().take(shown),
            _or_null(made.glue),
        ],
        fields=list(PLAN.field("steps").type.value_type),
    )
    ids = attempts["question_id"].combine_chunks().take(numbers(picked[ends[:-1]]))
    last = numbers(picked[ends[:-1] + np.array(made.answers_of, np.int64)])
    return pa.Table.from_arrays(
        [
            strings(made.ids),
            strings([i.hex() for i in ids.to_pylist()]),
            strings(made.formats),
            strings(made.labels),
            numbers(np.array(made.repeats, np.int32)),
            numbers(np.array(made.slots, np.int32)),
            pa.ListArray.from_arrays(numbers(ends.astype(np.int32)), steps),
            _or_null(made.leads),
            _or_null(made.restated),
            numbers(np.array(made.closings, np.int32)),
            numbers(np.array(made.answers_of, np.int32)),
            *(
                attempts[name].combine_chunks().take(last)
                for name in ("data_source", "ground_truth", "extra_info")
            ),
        ],
        schema=PLAN,
    )


def _or_null(some: Sequence[int]) -> pa.Array:
    values = np.array(some, np.int32)
    return numbers(values, missing=values < 0)


# -- weave ----------------------------------------------------------------------------------------

# Texts that stand in every unit's array of texts before all others; NOTHING is what an absent piece
# is.
_FIXED = (
    "",
    markup.THINK_OPEN,
    markup.SAMPLE_OPEN,
    markup.SAMPLE_CLOSE,
    markup.REFLECT_OPEN,
    markup.REFLECT_CLOSE,
    markup.PHRASE_CLOSE,
    markup.THINK_CLOSE,
    markup.ANSWER_OPEN,
    markup.ANSWER_CLOSE,
    "user",
    "assistant",
)
(
    _NOTHING,
    _THINK_OPEN,
    _SAMPLE_OPEN,
    _SAMPLE_CLOSE,
    _REFLECT_OPEN,
    _REFLECT_CLOSE,
    _PHRASE_CLOSE,
    _THINK_CLOSE,
    _ANSWER_OPEN,
    _ANSWER_CLOSE,
    _USER,
    _ASSISTANT,
) = range(len(_FIXED))


def weave(made: Plan, unit: Unit, phrases: PhraseBank) -> Iterator[pa.RecordBatch]:
    """The conversations of a plan, in its order, with the schema `tables.SFT`.

    Raises `InputError` if the texts of one question and its neighbours do not fit an Arrow array (2
    GB).
    """
    if not made.ids:
        return
    texts, pieces, turn_starts = _pieces(made, unit, phrases)
    ends = bounds(view(pc.binary_length(texts))[pieces])[turn_starts]
    start, total = 0, len(made.ids)
    while start < total:
        stop = int(np.searchsorted(ends[::2], ends[2 * start] + WOVEN_BYTES, side="right")) - 1
        stop = min(max(stop, start + 1), total)
        turns = turn_starts[2 * start : 2 * stop + 1]
        taken = texts.take(numbers(pieces[turns[0] : turns[-1]]))
        ends_of_turns = offsets(taken)[turns - turns[0]]
        content = pa.StringArray.from_buffers(
            len(turns) - 1, pa.py_buffer(ends_of_turns), taken.buffers()[2]
        )
        roles = strings(_FIXED).take(numbers(np.tile([_USER, _ASSISTANT], stop - start)))
        messages = pa.StructArray.from_arrays([roles, content], names=["role", "content"])
        conversations = pa.ListArray.from_arrays(
            numbers(np.arange(0, len(turns), 2, dtype=np.int32)), messages
        )
        yield pa.RecordBatch.from_arrays(
            [
                conversations,
                strings(made.labels[start:stop]),
                strings(made.ids[start:stop]),
            ],
            schema=SFT,
        )
        start = stop


def _pieces(made: Plan, unit: Unit, phrases: PhraseBank) -> tuple[pa.Array, Ints, Ints]:
    """All texts, the pieces of all turns as places in them, and where each turn begins in the
    pieces."""
    attempts = unit.attempts
    n = attempts.num_rows
    shown = view(pc.list_value_length(attempts["reflections"]))
    parts = [
        [strings([*_FIXED, *phrases.texts])],
        attempts["question"].chunks,
        attempts["attempt"].chunks,
        attempts["answer"].chunks,
        [chunk.flatten() for chunk in attempts["reflections"].chunks],
    ]
    try:
        texts = pa.concat_arrays([chunk for part in parts for chunk in part])
    except pa.ArrowInvalid:
        raise InputError(
            f"{unit.attempts.num_rows} attempts share a few questions and hold over 2 GB of text; "
            "is the question column the right one? (--question-column)"
        ) from None
    phrase = len(_FIXED)
    question = phrase + len(phrases.texts)
    attempt, answer, reflection = question + n, question + 2 * n, question + 3 * n

    steps = np.array(made.steps, np.int64)
    first = bounds(steps)[:-1]
    picked, told, glue = (
        np.array(column, np.int64) for column in (made.attempts, made.reflections, made.glue)
    )
    leads, restated, closings, answers_of = (
        np.array(column, np.int64)
        for column in (made.leads, made.restated, made.closings, made.answers_of)
    )

    def where(present: npt.NDArray[np.bool_], place: Ints | int) -> Ints:
        return np.where(present, place, _NOTHING)

    one = np.ones(len(steps), np.int64)
    head = [question + picked[first], _THINK_OPEN * one]
    step = [
        np.full(len(picked), _SAMPLE_OPEN),
        attempt + picked,
        np.full(len(picked), _SAMPLE_CLOSE),
        where(told >= 0, _REFLECT_OPEN),
        where(told >= 0, reflection + bounds(shown)[picked] + told),
        where(told >= 0, _REFLECT_CLOSE),
        where(glue >= 0, phrase + glue),
        where(glue >= 0, _PHRASE_CLOSE),
    ]
    tail = [
        _THINK_CLOSE * one,
        where(leads >= 0, phrase + leads),
        where(leads >= 0, _PHRASE_CLOSE),
        where(restated >= 0, attempt + picked[first + np.maximum(restated, 0)]),
        where(restated >= 0, _PHRASE_CLOSE),
        phrase + closings,
        _ANSWER_OPEN * one,
        answer + picked[first + answers_of],
        _ANSWER_CLOSE * one,
    ]
    sizes = len(head) + len(step) * steps + len(tail)
    starts = bounds(sizes)[:-1]
    pieces = np.empty(int(sizes.sum()), np.int64)
    for i, column in enumerate(head):
        pieces[starts + i] = column
    trace = np.repeat(np.arange(len(steps)), steps)
    step_starts = starts[trace] + len(head) + len(step) * (np.arange(len(picked)) - first[trace])
    for i, column in enumerate(step):
        pieces[step_starts + i] = column
    for i, column in enumerate(tail):
        pieces[starts + sizes - len(tail) + i] = column
    # A trace is two turns: the question is the first piece, all the rest is the answer.
    turns = np.empty(2 * len(steps) + 1, np.int64)
    turns[:-1:2], turns[1::2], turns[-1] = starts, starts + 1, len(pieces)
    return texts, pieces, turns
