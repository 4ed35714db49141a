"""Weave: from the plan and the texts to conversations.

Weaving looks every piece of a trace up in one array of texts, in the order of the traces, with a
single `take`: as Arrow's strings lie one behind the other, the taken pieces are the traces, and
only the offsets have to be thinned out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core import markup
from skill_factory.core.arrays import Ints, Mask, bounds, numbers, offsets, strings, view
from skill_factory.core.columns import Column
from skill_factory.core.tables import SFT
from skill_factory.errors import InputError
from skill_factory.stages.create.phrases import PhraseBank
from skill_factory.stages.create.plan import Plan
from skill_factory.stages.create.pools import Pools

_USER, _ASSISTANT = "user", "assistant"

_FIXED = tuple(
    dict.fromkeys(
        [
            "",
            _USER,
            _ASSISTANT,
            markup.BEGIN,
            markup.MIDDLE,
            *(p.before for p in (*markup.STEP_LAYOUT, *markup.END_LAYOUT)),
            *(p.after for p in (*markup.STEP_LAYOUT, *markup.END_LAYOUT)),
        ]
    )
)
"""Texts that stand in every array of texts before all others."""

_PLACE = {text: place for place, text in enumerate(_FIXED)}
_NOTHING = _PLACE[""]
"""The place of what an absent piece is."""


def weave(
    plan: Plan, pools: Pools, phrases: PhraseBank, at_once: int = 48 << 20
) -> Iterator[pa.RecordBatch]:
    """The conversations of a plan, in its order, with the schema `tables.SFT`; about `at_once`
    bytes of text a batch.

    Raises `InputError` if the texts of one question and its neighbours do not fit an Arrow array (2
    GB).
    """
    if not plan.ids:
        return
    texts = _texts(pools, phrases)
    pieces, turn_starts = _pieces(plan, pools, texts)
    ends = bounds(view(pc.binary_length(texts.all))[pieces])[turn_starts]
    start, total = 0, len(plan.ids)
    while start < total:
        stop = int(np.searchsorted(ends[::2], ends[2 * start] + at_once, side="right")) - 1
        stop = min(max(stop, start + 1), total)
        turns = turn_starts[2 * start : 2 * stop + 1]
        yield pa.RecordBatch.from_arrays(
            [
                _conversations(texts.all, pieces, turns),
                strings(plan.labels[start:stop]),
                strings(plan.ids[start:stop]),
            ],
            schema=SFT,
        )
        start = stop


def _conversations(texts: pa.Array, pieces: Ints, turns: Ints) -> pa.Array:
    """Conversations of two turns each; turn i has the pieces from `turns[i]` to `turns[i + 1]`."""
    taken = texts.take(numbers(pieces[turns[0] : turns[-1]]))
    ends = offsets(taken)[turns - turns[0]]
    content = pa.StringArray.from_buffers(len(turns) - 1, pa.py_buffer(ends), taken.buffers()[2])
    both = np.array([_PLACE[_USER], _PLACE[_ASSISTANT]])
    roles = strings(_FIXED).take(numbers(np.tile(both, len(turns) // 2)))
    messages = pa.StructArray.from_arrays([roles, content], names=["role", "content"])
    return pa.ListArray.from_arrays(numbers(np.arange(0, len(turns), 2, dtype=np.int32)), messages)


class _Texts(NamedTuple):
    """All texts of some pools in one array, and where each kind begins in it. Reflections are those
    of the first attempt, of the second, and so on."""

    all: pa.Array
    phrase: int
    question: int
    attempt: int
    answer: int
    reflection: int


def _texts(pools: Pools, phrases: PhraseBank) -> _Texts:
    attempts = pools.attempts
    parts = [
        [strings([*_FIXED, *phrases.texts])],
        attempts[Column.QUESTION].chunks,
        attempts[Column.ATTEMPT].chunks,
        attempts[Column.EXTRACTED_ANSWER].chunks,
        [chunk.flatten() for chunk in attempts[Column.REFLECTIONS].chunks],
    ]
    try:
        texts = pa.concat_arrays([chunk for part in parts for chunk in part])
    except pa.ArrowInvalid:
        raise InputError(
            f"{attempts.num_rows} attempts share a few questions and hold over 2 GB of text; "
            "is the question column the right one? (--question-column)"
        ) from None
    phrase, count = len(_FIXED), attempts.num_rows
    question = phrase + len(phrases.texts)
    return _Texts(
        texts, phrase, question, question + count, question + 2 * count, question + 3 * count
    )


def _pieces(plan: Plan, pools: Pools, texts: _Texts) -> tuple[Ints, Ints]:
    """The pieces of all turns as places in the texts, and where each turn begins in the pieces."""
    steps = np.array(plan.steps, np.int64)
    first = bounds(steps)[:-1]
    picked = np.array(plan.attempts, np.int64)
    begin = [texts.question + picked[first], np.full(len(steps), _PLACE[markup.BEGIN])]
    step = _columns(markup.STEP_LAYOUT, _step_places(plan, pools, texts))
    end = [
        np.full(len(steps), _PLACE[markup.MIDDLE]),
        *_columns(markup.END_LAYOUT, _end_places(plan, texts)),
    ]
    sizes = len(begin) + len(step) * steps + len(end)
    starts = bounds(sizes)[:-1]
    pieces = np.empty(int(sizes.sum()), np.int64)
    for i, column in enumerate(begin):
        pieces[starts + i] = column
    trace = np.repeat(np.arange(len(steps)), steps)
    step_starts = starts[trace] + len(begin) + len(step) * (np.arange(len(picked)) - first[trace])
    for i, column in enumerate(step):
        pieces[step_starts + i] = column
    for i, column in enumerate(end):
        pieces[starts + sizes - len(end) + i] = column
    # A trace is two turns: the question is the first piece, all the rest is the answer.
    turns = np.empty(2 * len(steps) + 1, np.int64)
    turns[:-1:2], turns[1::2], turns[-1] = starts, starts + 1, len(pieces)
    return pieces, turns


def _columns(layout: Sequence[markup.Piece], places: dict[str, Ints]) -> list[Ints]:
    """A column for each text of a layout: a part, what is before it, what is after it."""
    columns = []
    for piece in layout:
        part = places[piece.part]
        columns += [_beside(part, piece.before)] if piece.before else []
        columns.append(part)
        columns += [_beside(part, piece.after)] if piece.after else []
    return columns


def _beside(part: Ints, text: str) -> Ints:
    """The place of a fixed text wherever a part is there."""
    return np.where(part != _NOTHING, _PLACE[text], _NOTHING)


def _step_places(plan: Plan, pools: Pools, texts: _Texts) -> dict[str, Ints]:
    """The place of each step's attempt, reflection and glue phrase."""
    picked, reflection, glue = (
        np.array(column, np.int64) for column in (plan.attempts, plan.reflections, plan.glue)
    )
    before = bounds(view(pc.list_value_length(pools.attempts[Column.REFLECTIONS])))[picked]
    return {
        "attempt": texts.attempt + picked,
        "reflection": _where(reflection >= 0, texts.reflection + before + reflection),
        "glue": _where(glue >= 0, texts.phrase + glue),
    }


def _end_places(plan: Plan, texts: _Texts) -> dict[str, Ints]:
    """The place of each trace's lead phrase, attempt given again, closing phrase and answer."""
    picked = np.array(plan.attempts, np.int64)
    first = bounds(plan.steps)[:-1]
    lead, restated, closing, answer_of = (
        np.array(column, np.int64)
        for column in (plan.leads, plan.restated, plan.closings, plan.answers_of)
    )
    again = texts.attempt + picked[first + np.maximum(restated, 0)]
    return {
        "lead": _where(lead >= 0, texts.phrase + lead),
        "restated": _where(restated >= 0, again),
        "closing": texts.phrase + closing,
        "answer": texts.answer + picked[first + answer_of],
    }


def _where(present: Mask, place: Ints) -> Ints:
    return np.where(present, place, _NOTHING)
