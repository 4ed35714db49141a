"""Weave: from the plan and the texts to conversations.

Weaving looks every piece of a trace up in one array of texts, in the order of the traces, with a
single `take`: as Arrow's strings lie one behind the other, the taken pieces are the traces, and
only the offsets have to be thinned out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core import markup
from skill_factory.core.arrays import Ints, bounds, numbers, offsets, strings, view
from skill_factory.core.tables import SFT
from skill_factory.errors import InputError
from skill_factory.stages.create.phrases import PhraseBank
from skill_factory.stages.create.plan import Plan
from skill_factory.stages.create.pools import Unit

WOVEN_BYTES = 48 << 20
"""About how much text is woven at a time."""


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
