"""The task, the gold answer and the facts of each row: what a reward needs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core.arrays import Ints, Mask, given, numbers, strings, view
from skill_factory.core.columns import Column, Columns
from skill_factory.core.sources.batches import Batch
from skill_factory.core.sources.validate import holds, not_unicode
from skill_factory.errors import TaskError
from skill_factory.tasks import data_source_of, gold_of, kept_facts, own_facts, task_of
from skill_factory.tasks.facts import FACT_GROUPS, facts_of
from skill_factory.tasks.golds import NoGold


class RewardColumns(NamedTuple):
    """What a reward needs, an item a row: task, gold answer, facts as JSON; null: not known."""

    task: pa.Array
    gold: pa.Array
    facts: pa.Array


def reward_columns(source: Batch, columns: Columns, task: str | None) -> RewardColumns:
    """What the input has of it."""
    batch, there = source.table, set(source.table.schema.names)
    nothing = pa.nulls(batch.num_rows, pa.string())
    if task is None and columns.task in there:
        named = _or_nothing(batch.column(columns.task))
    else:
        named = (
            nothing
            if task is None
            else strings([data_source_of(task)]).take(numbers(np.zeros(len(nothing), int)))
        )
    gold = _or_nothing(batch.column(columns.gold)) if columns.gold in there else nothing
    facts = _facts(batch.column(columns.facts)) if columns.facts in there else nothing
    return _with_golds(RewardColumns(named, gold, facts))


def _with_golds(columns: RewardColumns) -> RewardColumns:
    """The gold answers as graders take them, each that is different read once."""
    if not len(columns.gold):
        return columns
    encoded = [column.dictionary_encode() for column in columns]
    values = [[None, *column.dictionary.to_pylist()] for column in encoded]
    sizes = tuple(map(len, values))
    places = [view(column.indices, missing=-1) + 1 for column in encoded]
    different, which = np.unique(np.ravel_multi_index(places, sizes), return_inverse=True)
    rows = zip(*(place.tolist() for place in np.unravel_index(different, sizes)), strict=True)
    read = [_gold_of(*(values[i][place] for i, place in enumerate(row))) for row in rows]
    golds, facts = (_texts(column, which) for column in zip(*read, strict=True))
    return RewardColumns(columns.task, golds, facts)


def _texts(texts: Sequence[str | None], at: Ints) -> pa.Array:
    """The texts at these places."""
    missing = np.array([text is None for text in texts])
    return strings([text or "" for text in texts]).take(numbers(at, missing=missing[at]))


def _gold_of(
    name: str | None, gold: str | None, facts: str | None
) -> tuple[str | None, str | None]:
    """A gold answer and the facts with what it says besides; as they are where no task is known."""
    try:
        task = task_of(name) if name is not None else None
    except TaskError:
        task = None
    if facts is not None and kept_facts() != FACT_GROUPS:  # others may be among them
        own = own_facts(task, facts)
        facts = None if own is None else json.dumps(own)
    if task is None:
        return gold, facts
    given_facts = json.loads(facts or "{}")
    found = gold_of(task, gold, given_facts)
    if isinstance(found, NoGold):
        return None, facts
    return found.text, facts if found.facts == given_facts else json.dumps(found.facts)


def _or_nothing(texts: pa.Array) -> pa.Array:
    """The texts, null for those that are no valid UTF-8."""
    bad = not_unicode(texts)
    return texts.take(numbers(np.arange(len(texts)), missing=bad)) if bad.any() else texts


def _facts(column: pa.Array) -> pa.Array:
    """Of each row's JSON object the facts that graders read, as JSON; null without."""
    places, groups = dict[str, int](), kept_facts()
    at = np.full(len(column), -1)
    found = np.flatnonzero(_may_hold_facts(column) & ~not_unicode(column))
    texts = column.take(numbers(found)).dictionary_encode()
    facts_by = [facts_of(text, groups) for text in texts.dictionary.to_pylist()]
    for row, which in zip(found.tolist(), texts.indices.to_pylist(), strict=True):
        if (facts := facts_by[which]) is not None:
            at[row] = places.setdefault(json.dumps(facts), len(places))
    return strings(list(places)).take(numbers(np.maximum(at, 0), missing=at < 0))


def _may_hold_facts(texts: pa.Array) -> Mask:
    """Whether the names of a whole group of facts are in a text."""
    if kept_facts() != FACT_GROUPS:  # too many names to look for, or any
        return given(texts)
    out = np.zeros(len(texts), bool)
    for group in FACT_GROUPS:
        patterns = ['"num(?:ber)?s"' if name == "numbers" else f'"{name}"' for name in group]
        out |= np.logical_and.reduce([holds(texts, pattern) for pattern in patterns])
    return out


def count_tasks(usable: pa.RecordBatch) -> Counter[str | None]:
    """The valid attempts by task, None where the task or the gold answer is not known."""
    task, gold = usable.column(Column.DATA_SOURCE), usable.column(Column.GROUND_TRUTH)
    gradable = task.take(numbers(np.arange(len(task)), missing=~given(gold)))
    return Counter({v["values"]: v["counts"] for v in pc.value_counts(gradable).to_pylist()})
