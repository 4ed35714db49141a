"""The traces that are looked at: of an SFT folder beside its plan, or of any dataset of chats."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
from skill_factory.core.sources.batches import DAMAGED, first_line
from skill_factory.core.sources.chats import TURN_COLUMNS, TURN_KEYS
from skill_factory.core.sources.find_source import read_some
from skill_factory.errors import InputError
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
    for path in sorted(folder.glob("sft_train/*.parquet")):
        for batch in _batches(path, [Column.LABEL, Column.TRACE_ID], BATCH_ROWS):
            ids = batch.column(Column.TRACE_ID).to_pylist()
            planned = list(islice(plans, len(ids)))
            if ids != [one.id for one in planned]:
                raise InputError(f"{path}: plan.parquet does not tell of these traces")
            labels = batch.column(Column.LABEL).to_pylist()
            rows = zip(planned, labels, _turns_of(batch, path), strict=True)
            yield [one._replace(label=label, turns=turns) for one, label, turns in rows]
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
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        there = file.schema_arrow.names
        if absent := [name for name in columns if name not in there]:
            raise InputError(f"{path}: has no column {absent[0]!r}; make the folder again")
        yield from file.iter_batches(
            rows, columns=[*columns, *(t for t in TURN_COLUMNS if t in there)]
        )


def _turns_of(batch: pa.RecordBatch, path: Path) -> Iterator[list[tuple[str | None, str | None]]]:
    """The turns of each row, as pairs of role and content."""
    name = next((name for name in TURN_COLUMNS if name in batch.schema.names), None)
    if name is None:
        raise InputError(f"{path}: has no column {TURN_COLUMNS[0]!r}; make the folder again")
    listed = batch.column(name)
    ends = offsets(listed).tolist()
    roles, texts = (listed.values.field(tag).to_pylist() for tag in TURN_KEYS[0])
    given = listed.is_valid().to_pylist()
    for i, there in enumerate(given):
        at = slice(ends[i], ends[i + 1]) if there else slice(0)
        yield list(zip(roles[at], texts[at], strict=True))


# -- chats ----------------------------------------------------------------------------------------


def read_chats(
    name: str, config: str | None, split: str | None, revision: str | None
) -> Iterator[list[Trace]]:
    """The traces of a dataset of chats, some at a time: a file, a folder or a dataset on the Hub,
    as `find_source` takes them.

    The turns stand in the column `conversations` or `messages`, each with a role and a content (or
    `from` and `value`, as ShareGPT has them). Read where they are there: `trace_id`,
    `sft_template_type_idx`, the gold answer, the task and the facts, by our names or verl's. Raises
    `InputError` for what has no such column, or cannot be read.
    """
    row = 0
    try:
        for rows in read_some(name, config, split, revision, BATCH_ROWS):
            yield [_chat(name, row + i, found) for i, found in enumerate(rows)]
            row += len(rows)
    except DAMAGED as error:
        raise InputError(f"{name}: cannot be read, after row {row}: {first_line(error)}") from None
    if not row:
        raise InputError(f"{name}: the dataset has no rows")


def _chat(source: str, row: int, found: dict[str, Any]) -> Trace:
    place = f"{source}: row {row}"
    column = next((name for name in TURN_COLUMNS if name in found), None)
    if column is None:
        there = ", ".join(map(str, found)) or "none"
        raise InputError(
            f"{place}: has no column {TURN_COLUMNS[0]} or {TURN_COLUMNS[1]}; columns: {there}"
        )
    turns = found[column] if found[column] is not None else []
    if not isinstance(turns, list):
        raise InputError(f"{place}, column {column!r}: expected a list of turns")
    return Trace(
        str(found.get(Column.TRACE_ID) or f"row {row}"),
        str(found.get(Column.LABEL) or ""),
        [_turn(turn, f"{place}, column {column!r}") for turn in turns],
        None,
        task_in(found),
        gold_in(found),
        facts_in(found),
    )


def _turn(turn: Any, place: str) -> tuple[str | None, str | None]:
    tags = next((tags for tags in TURN_KEYS if isinstance(turn, dict) and tags[0] in turn), None)
    if tags is None:
        raise InputError(f"{place}: expected turns with role and content, or from and value")
    role, text = turn[tags[0]], turn.get(tags[1])
    if text is not None and not isinstance(text, str):
        raise InputError(f"{place}: expected the content of a turn to be text, not {text!r:.60}")
    if role is not None and not isinstance(role, str):
        raise InputError(f"{place}: expected the role of a turn to be text, not {role!r:.60}")
    try:
        (text or "").encode()  # half a surrogate pair cannot be
    except UnicodeEncodeError:
        raise InputError(f"{place}: a text is not UTF-8: mend the file") from None
    return _SPEAKERS.get(role or "", role), text


def task_in(row: dict[str, Any]) -> str | None:
    """The task that a row names, by our columns or verl's; None: none."""
    found = row.get(Column.DATA_SOURCE) or row.get(Column.TASK)
    return None if found is None else str(found)


def gold_in(row: dict[str, Any]) -> Any:
    """The gold answer of a row, by our columns or verl's; None: it says none."""
    model = row.get("reward_model")
    beside = model.get(Column.GROUND_TRUTH) if isinstance(model, dict) else None
    found = (row.get(Column.GROUND_TRUTH), beside, row.get(Column.GOLD))
    return next((gold for gold in found if gold is not None), None)


def facts_in(row: dict[str, Any]) -> dict[str, Any]:
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
