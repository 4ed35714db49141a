"""Which traces of a folder are meant: by id, question, label or text, found by columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core.arrays import Ints, Mask, numbers, view
from skill_factory.core.columns import Column
from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.sources.chats import texts_of
from skill_factory.errors import InputError
from skill_factory.look.folders import ChatFiles, SftFolder, Trace
from skill_factory.look.opening import open_traces

_QUESTION_ID = re.compile("[0-9a-f]{32}")
_NAMED = 5
"""Ids that an error names."""


class Wanted(NamedTuple):
    """What traces must be like; None: anything. `trace` is an id or how one begins; `question` a
    question's id, its text or some of it; `grep` a text that the question or the trace holds, in
    any case."""

    trace: str | None = None
    question: str | None = None
    label: str | None = None
    grep: str | None = None


def choose(folder: ChatFiles, wanted: Wanted) -> Ints | None:
    """The numbers of the traces that are wanted, sorted; None: all are. Raises `InputError` if none
    is, and for the beginning of several ids."""
    found: Ints | None = None
    if wanted.trace is not None:
        found = _by_id(folder, wanted.trace)
    if wanted.label is not None:
        found = _by_label(folder, wanted.label, found)
    if wanted.question is not None:
        found = _by_question(folder, wanted.question, found)
    if wanted.grep is not None:
        found = _by_text(folder, wanted.grep, found)
    return found


def traces_in(path: Path, wanted: Wanted, number: int | None, seed: int) -> Iterator[Trace]:
    """The traces that a path names and that are wanted, in order; `number` of them, drawn by the
    seed; None: all. Raises as `open_traces` and `choose`."""
    folder = open_traces(path)
    found = choose(folder, wanted)
    if number is not None:
        yield from folder.read(folder.sample(number, seed, found))
    else:
        yield from folder.read(range(folder.count) if found is None else found.tolist())


def _by_id(folder: ChatFiles, wanted: str) -> Ints:
    found: dict[str, list[int]] = {}  # ids that others gave may stand there twice
    for batch in folder.chats.batches(texts=False):
        for place, name in enumerate(folder.ids_of(batch)):
            if name.startswith(wanted):
                found.setdefault(name, []).append(batch.number + place)
    if wanted in found:
        return np.array(found[wanted])
    if not found:
        raise InputError(f"{folder.path}: no {folder.thing} has the id {wanted!r}")
    if len(found) > 1:
        names, more = ", ".join(list(found)[:_NAMED]), len(found) - _NAMED
        raise InputError(
            f"{folder.path}: {len(found):,} {folder.thing}s have ids that begin with {wanted!r}: "
            f"{names}{f' and {more:,} more' if more > 0 else ''}"
        )
    (numbers_of_one,) = found.values()
    return np.array(numbers_of_one)


def _by_label(folder: ChatFiles, wanted: str, among: Ints | None) -> Ints:
    found, there = [], Counter[str | None]()
    for batch in folder.chats.batches(texts=False, only=among):
        for names in folder.labels_of(batch):
            found.append(batch.number + np.flatnonzero(view(pc.equal(names, wanted))))
            there.update(texts_of(pc.unique(names)))
    labels = sorted(label for label in there if label is not None)
    return _some(
        found,
        among,
        f"{folder.path}: no {folder.thing} has the label {wanted!r}; there are: "
        f"{', '.join(labels) or 'none'}{did_you_mean(wanted, labels)}",
    )


def _by_question(folder: ChatFiles, wanted: str, among: Ints | None) -> Ints:
    none = f"{folder.path}: no {folder.thing} is of a question {wanted!r}"
    if isinstance(folder, SftFolder) and _QUESTION_ID.fullmatch(wanted):
        return _some([_by_question_id(folder, wanted)], among, none)
    same, holding, text = [], [], wanted.strip()
    for batch in folder.chats.batches(only=among):
        holds = np.flatnonzero(_holds(batch.question, text))
        asked = texts_of(batch.question.take(numbers(holds)))
        equal = [(one or "").strip() == text for one in asked]
        holding.append(batch.number + holds)
        same.append(batch.number + holds[np.array(equal, bool)])
    return _some(same if any(map(len, same)) else holding, among, none)


def _by_question_id(folder: SftFolder, wanted: str) -> Ints:
    found, first = [np.zeros(0, np.int64)], 0
    for batch in folder.plan_batches([Column.QUESTION_ID]):
        found.append(first + np.flatnonzero(view(pc.equal(batch.column(0), wanted))))
        first += batch.num_rows
    return np.concatenate(found)


def _by_text(folder: ChatFiles, wanted: str, among: Ints | None) -> Ints:
    found = [
        batch.number + np.flatnonzero(_holds(batch.question, wanted) | _holds(batch.text, wanted))
        for batch in folder.chats.batches(only=among)
    ]
    return _some(found, among, f"{folder.path}: no {folder.thing} holds {wanted!r}")


def _holds(texts: pa.Array, wanted: str) -> Mask:
    found: Mask = view(pc.match_substring(texts, wanted, ignore_case=True))
    return found


def _some(parts: list[Ints], among: Ints | None, none: str) -> Ints:
    """What was found of those that were; raises `InputError` if that is none."""
    found = np.unique(np.concatenate([np.zeros(0, np.int64), *parts]))
    found = found if among is None else np.intersect1d(found, among)
    if not len(found):
        raise InputError(none)
    return found
