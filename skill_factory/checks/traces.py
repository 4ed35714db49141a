"""The traces that are looked at: of an SFT folder beside its plan, or of any dataset of chats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.core import markup
from skill_factory.core.arrays import offsets, view
from skill_factory.core.columns import Column
from skill_factory.core.sources.batches import DAMAGED
from skill_factory.core.sources.chats import (
    REWARD_MODEL,
    ChatBatch,
    Chats,
    one_line_for_damaged,
    read_chats,
    texts_of,
)
from skill_factory.errors import InputError, first_line
from skill_factory.tasks.facts import PACKED

BATCH_ROWS = 1024

_PLAN_COLUMNS = [
    *(Column.TRACE_ID, Column.QUESTION_ID, Column.STEPS, Column.ANSWER_OF),
    *(Column.DATA_SOURCE, Column.GROUND_TRUTH, Column.EXTRA_INFO),
]

_SPEAKERS = {"human": "user", "gpt": "assistant"}
"""Roles as ShareGPT has them."""


class Origin(NamedTuple):
    """What a plan says of a trace: its question, whether each of its attempts is correct, and which
    of them gives the answer."""

    question_id: str
    correct: tuple[bool, ...]
    answer_of: int


class Trace(NamedTuple):
    """A row of the dataset, with what a reward needs.

    `turns` are pairs of role and content. `right`: whether the answer that ends it is correct, by
    the input's word; None: nothing says it. `data_source` and `ground_truth` are None where nothing
    says them. `origin` None: there is no plan.
    """

    id: str
    label: str
    turns: list[tuple[str | None, str | None]]
    right: bool | None
    data_source: str | None
    ground_truth: Any
    extra_info: dict[str, Any]
    origin: Origin | None = None

    @property
    def question(self) -> str:
        """The user's turn."""
        return self.turns[-2][1] or "" if len(self.turns) > 1 else ""

    @property
    def text(self) -> str:
        """The assistant's turn."""
        return self.turns[-1][1] or "" if self.turns else ""


class Read:
    """A trace and its parts, read once for all checks."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    @cached_property
    def parts(self) -> markup.Reading:
        """What stands in the assistant's turn."""
        return markup.read(self.trace.text)

    @cached_property
    def truths(self) -> tuple[bool | None, ...]:
        """Whether each attempt is correct; None: nothing says it."""
        origin, count = self.trace.origin, len(self.parts.attempts)
        return origin.correct if origin and len(origin.correct) == count else (None,) * count


# -- SFT folders ----------------------------------------------------------------------------------


def read_traces(folder: Path) -> Iterator[list[Trace]]:
    """The traces of an SFT folder beside their plan, some at a time.

    Raises `InputError` if the two do not tell of the same traces.
    """
    plans = _planned(folder / "plan.parquet")
    for batch in Chats(tuple(sorted(folder.glob("sft_train/*.parquet")))).batches():
        planned = list(islice(plans, len(batch)))
        if texts_of(batch.trace_id) != [one.id for one in planned]:
            raise InputError(f"{batch.where}: plan.parquet does not tell of these traces")
        rows = zip(planned, texts_of(batch.label), batch.turns(), strict=True)
        yield [one._replace(label=label or "", turns=turns) for one, label, turns in rows]
    if next(plans, None) is not None:
        raise InputError(f"{folder}: plan.parquet tells of more traces than there are")


def _planned(path: Path) -> Iterator[Trace]:
    """The traces of a plan, as yet without their turns."""
    for batch in _batches(path, _PLAN_COLUMNS, BATCH_ROWS):
        steps = batch.column(Column.STEPS)
        ends = offsets(steps).tolist()
        correct = view(steps.values.field(Column.CORRECT)).astype(bool).tolist()
        names = [name for name in _PLAN_COLUMNS if name != Column.STEPS]
        columns = [batch.column(name).to_pylist() for name in names]
        columns.append([tuple(correct[a:b]) for a, b in pairwise(ends)])
        for name, question, answer_of, source, gold, facts, truths in zip(*columns, strict=True):
            origin, known = Origin(question, truths, answer_of), json.loads(facts or "{}")
            yield Trace(name, "", [], truths[answer_of], source, gold, known, origin)


def _batches(path: Path, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of a parquet file; raises `InputError` for a column that is not there."""
    with one_line_for_damaged(path), pq.ParquetFile(path, pre_buffer=False) as file:
        there = file.schema_arrow.names
        if absent := [name for name in columns if name not in there]:
            raise InputError(f"{path}: has no column {absent[0]!r}; make the folder again")
        yield from file.iter_batches(rows, columns=columns)


# -- chats ----------------------------------------------------------------------------------------


def chat_traces(
    name: str, config: str | None, split: str | None, revision: str | None
) -> Iterator[list[Trace]]:
    """The traces of a dataset of chats, some at a time; name and errors as `read_chats` has them.

    Read where they are there: `trace_id`, `sft_template_type_idx`, the gold answer, the task and
    the facts, by our names or verl's.
    """
    for batch in read_chats(name, config, split, revision):
        try:
            yield list(_traces_of(batch))
        except DAMAGED as error:
            raise InputError(
                f"{batch.where}: cannot be read, after row {batch.file_row}: {first_line(error)}"
            ) from None


def _traces_of(batch: ChatBatch) -> Iterator[Trace]:
    ids, labels = texts_of(batch.trace_id), texts_of(batch.label)
    rows = zip(ids, labels, batch.turns(), batch.all_beside(), strict=True)
    for row, (name, label, turns, beside) in enumerate(rows, batch.number):
        speaking = [(_SPEAKERS.get(role or "", role), said) for role, said in turns]
        known = task_in(beside), gold_in(beside), facts_in(beside)
        yield Trace(name or f"row {row}", label or "", speaking, None, *known)


def task_in(row: Mapping[str, Any]) -> str | None:
    """The task that a row names, by our columns or verl's; None: none."""
    found = row.get(Column.DATA_SOURCE) or row.get(Column.TASK)
    return None if found is None else str(found)


def gold_in(row: Mapping[str, Any]) -> Any:
    """The gold answer of a row, by our columns or verl's; None: it says none."""
    model = row.get(REWARD_MODEL)
    beside = model.get(Column.GROUND_TRUTH) if isinstance(model, dict) else None
    found = (row.get(Column.GROUND_TRUTH), beside, row.get(Column.GOLD))
    return next((gold for gold in found if gold is not None), None)


def facts_in(row: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a row, by our columns or verl's; empty: it has none."""
    found = row.get(Column.EXTRA_INFO) or row.get(Column.FACTS)
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return {}
    if not isinstance(found, dict):
        return {}
    packed = found.get(PACKED)
    return facts_in({Column.EXTRA_INFO: packed}) if isinstance(packed, str) else found


def question_ids(traces: list[Trace]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """64 bits of the digest of each trace's question, 0 where there is no plan."""
    ids = [int(trace.origin.question_id[:16], 16) if trace.origin else 0 for trace in traces]
    return np.array(ids, np.uint64)
