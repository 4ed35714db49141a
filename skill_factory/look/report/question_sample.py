"""A sample of the questions of an annotated dataset, with all that was answered to them; in bounded
memory, wherever in the input it is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core.arrays import Ints, Mask, bounds, numbers, strings, view
from skill_factory.core.sources.attempts import Attempts, expand, take

_AROUND = 160
"""Bytes that stand around an attempt's texts in a page."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def rank(ids: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """A number for each question, drawn by `seed`; `ids` are the first halves of their digests."""
    with np.errstate(over="ignore"):
        mixed = (ids ^ (np.uint64(seed) * _SPREAD)) * _SPREAD
        return (mixed ^ (mixed >> np.uint64(31))) * _SPREAD


class _Kept(NamedTuple):
    """Attempts that may be in the sample: the ranks of their questions, the bytes of their texts,
    and their rows."""

    ranks: npt.NDArray[np.uint64]
    sizes: Ints
    rows: pa.Table

    def where(self, keep: Mask) -> _Kept:
        """Some of them."""
        if keep.all():
            return self
        at = np.flatnonzero(keep)
        return _Kept(self.ranks[at], self.sizes[at], self.rows.take(numbers(at)))


class QuestionSample:
    """The questions of the smallest ranks whose texts take no more than `room` bytes, with all that
    was answered to them, wherever in the input it is.

    A question comes in whole or not at all; one alone may be larger than the room.
    """

    def __init__(self, room: int, seed: int) -> None:
        self._room, self._seed = room, seed
        self._last = np.uint64(2**64 - 1)
        self._kept: list[_Kept] = []

    def add(self, found: Attempts) -> None:
        """Take in what of a batch may be in the sample."""
        ranks = rank(found.question_ids.view(">u8")[:, 0].astype(np.uint64), self._seed)
        chosen = np.flatnonzero(ranks <= self._last)
        if len(chosen):
            sizes = _sizes(found)[chosen]
            self._lower(ranks[chosen], sizes)
            within = ranks[chosen] <= self._last
            at = chosen[within]
            if len(at):
                self._kept.append(_Kept(ranks[at], sizes[within], _rows(found, at)))

    def _lower(self, ranks: npt.NDArray[np.uint64], sizes: Ints) -> None:
        """Make the last rank one whose questions all have room, these rows with them."""
        all_ranks = np.concatenate([ranks, *(kept.ranks for kept in self._kept)])
        all_sizes = np.concatenate([sizes, *(kept.sizes for kept in self._kept)])
        different, which = np.unique(all_ranks, return_inverse=True)
        taken = np.cumsum(np.bincount(which, weights=all_sizes))
        if taken[-1] > self._room:
            fits = int(np.searchsorted(taken, self._room, "right"))
            self._last = different[max(0, fits - 1)]
            self._kept = [kept.where(kept.ranks <= self._last) for kept in self._kept]

    def rows(self) -> list[dict[str, Any]]:
        """The sample's attempts with their reflections, in order of the questions' ranks."""
        if not self._kept:
            return []
        table = pa.concat_tables([kept.rows for kept in self._kept])
        ranks = np.concatenate([kept.ranks for kept in self._kept])
        order = np.lexsort((view(table["response"]), view(table["row"]), ranks))
        listed: list[dict[str, Any]] = table.take(numbers(order)).to_pylist()
        return listed


def _sizes(found: Attempts) -> Ints:
    """Bytes of text of each attempt, its reflections with it."""
    texts = view(pc.binary_length(found.text)).astype(np.int64)
    lengths = view(pc.binary_length(found.reflections))
    told = np.bincount(found.owner, weights=lengths, minlength=len(texts)).astype(np.int64)
    return np.asarray(texts + told + _AROUND, np.int64)


def _rows(found: Attempts, chosen: Ints) -> pa.Table:
    counts = found.reflection_counts
    shown = np.add(*expand(bounds(counts)[:-1][chosen], counts[chosen]))
    ends = numbers(bounds(counts[chosen]).astype(np.int32))
    return pa.table(
        {
            "question_id": strings([one.tobytes().hex() for one in found.question_ids[chosen]]),
            "question": take(found.question, chosen),
            "row": numbers(found.row[chosen].astype(np.int64)),
            "response": numbers(found.response[chosen].astype(np.int64)),
            "variant": take(found.variant, chosen),
            "correct": take(found.correct, chosen),
            "text": take(found.text, chosen),
            "answer": take(found.answer, chosen),
            "reflections": pa.ListArray.from_arrays(ends, take(found.reflections, shown)),
        }
    )
