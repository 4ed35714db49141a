"""Grade: what became of each attempt, by the task's grader."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.core.columns import Column
from skill_factory.core.tables import ATTEMPTS, GRADED, with_schema
from skill_factory.core.terminal import guard_process
from skill_factory.core.trace_tags import final_answer
from skill_factory.core.whole_files import new_file
from skill_factory.errors import PluginError
from skill_factory.tasks import (
    JUDGED_AT_ONCE,
    data_source_of,
    graded,
    load_tasks,
    references,
    task_of,
)

BATCH_ROWS = 4096
IN_PROCESSES = 16_384
"""From so many attempts on, other processes grade too; they take a second to start."""


_Pair = tuple[dict[str, Any], str | None]
"""A row, and the answer that was found in it."""

_Work = Callable[[pa.RecordBatch], pa.RecordBatch]


class Outcome(StrEnum):
    """What became of an attempt. Only the first two are used for traces: undecided and cut off are
    not wrong, and a response that mentions a hint is not the model's own way to the answer."""

    RIGHT = "right"
    WRONG = "wrong"
    UNDECIDED = "undecided"
    CUT_OFF = "cut_off"
    LEAKS_HINT = "leaks_hint"


def grade_file(
    source: Path,
    target: Path,
    *,
    hints: frozenset[str],
    words: tuple[str, ...],
    task: str | None = None,
    keep_cut_off: bool = False,
    workers: int = 1,
    on_ray: OnRay | None = None,
    progress: Callable[[int, Counter[str]], None] = lambda rows, so_far: None,
) -> Counter[str]:
    """Grade a table of attempts (`tables.ATTEMPTS`) into one of `tables.GRADED`, whole or not.

    Attempts of the prompt variants `hints` that contain one of the `words`, in any case, leak.
    `task` None: each question's own; another one is theirs from here on. `keep_cut_off`: grade
    answers that a length limit ended like any other. `workers` processes grade, except where a
    task has judges: those are processes already, one a core at most. `on_ray`: the workers of that
    cluster do. The count of each outcome; the same wherever it is graded.
    """
    total: Counter[str] = Counter()
    leak = re.compile("|".join(map(re.escape, words)), re.IGNORECASE) if words and hints else None
    rules = _Rules(hints, leak, task and data_source_of(task), keep_cut_off)
    with ExitStack() as stack:
        part = stack.enter_context(new_file(target))
        file = stack.enter_context(pq.ParquetFile(source))
        out = stack.enter_context(pq.ParquetWriter(part, GRADED, compression="zstd"))
        judging = stack.enter_context(ThreadPoolExecutor(JUDGED_AT_ONCE))
        here = partial(_grade_batch, rules=rules, each=judging.map)
        batches = file.iter_batches(BATCH_ROWS)
        done: Iterator[pa.RecordBatch] = map(here, batches)
        if on_ray:
            from skill_factory.stages.grade_on_ray import graded_on_ray  # heavy, and seldom wanted

            done = stack.enter_context(
                graded_on_ray(partial(_grade_batch, rules=rules), batches, *on_ray)
            )
        elif workers > 1 and file.metadata.num_rows >= IN_PROCESSES:
            pool = stack.enter_context(
                ProcessPoolExecutor(workers, get_context("spawn"), guard_process)
            )
            there = partial(_grade_elsewhere, tasks=references(), rules=rules)
            done = _ahead(pool, there, here, batches, rules, workers + 1)
        for batch in done:
            out.write_batch(batch)
            total.update(batch.column(Column.GRADE).to_pylist())
            progress(batch.num_rows, total)
    return total


class OnRay(NamedTuple):
    """A Ray cluster, as `ray_cluster.joined` takes it."""

    address: str | None
    workers: int | None


class _Rules(NamedTuple):
    """What is not graded by the answer alone; as `grade_file` has it."""

    hints: frozenset[str]
    leak: re.Pattern[str] | None
    task: str | None
    keep_cut_off: bool


def _ahead(
    pool: ProcessPoolExecutor,
    there: _Work,
    here: _Work,
    batches: Iterator[pa.RecordBatch],
    rules: _Rules,
    most: int,
) -> Iterator[pa.RecordBatch]:
    """The work on each batch, in order, with so many batches in memory at most; what waits for
    judges is done here."""
    waiting: list[Callable[[], pa.RecordBatch]] = []
    for batch in batches:
        if _has_judges(batch, rules):
            waiting.append(partial(here, batch))
        else:
            waiting.append(pool.submit(there, batch).result)
        if len(waiting) == most:
            yield waiting.pop(0)()
    for result in waiting:
        yield result()


def _has_judges(batch: pa.RecordBatch, rules: _Rules) -> bool:
    names = {rules.task} if rules.task else set(batch.column(Column.TASK).to_pylist())
    return any(task_of(name).slow for name in names)


def _grade_elsewhere(batch: pa.RecordBatch, tasks: list[str], rules: _Rules) -> pa.RecordBatch:
    """The same in another process, which loads the tasks that this one was told of."""
    load_tasks(tasks)
    return _grade_batch(batch, rules)


def _grade_batch(
    batch: pa.RecordBatch,
    rules: _Rules,
    each: Callable[[Callable[[_Pair], Outcome], list[_Pair]], Iterator[Outcome]] = map,
) -> pa.RecordBatch:
    """A batch with its outcomes; `each` is how those of tasks with judges are had."""
    batch = with_schema(batch, ATTEMPTS)
    rows = batch.to_pylist()
    answers = [final_answer(row[Column.RESPONSE]) for row in rows]
    pairs = list(zip(rows, answers, strict=True))
    over = each if _has_judges(batch, rules) else map
    outcomes = list(over(partial(_outcome, rules=rules), pairs))
    columns = batch.columns
    if rules.task:
        columns[ATTEMPTS.names.index(Column.TASK)] = pa.array([rules.task] * len(rows))
    return pa.RecordBatch.from_arrays(
        [*columns, pa.array(outcomes, pa.string()), pa.array(answers, pa.string())], schema=GRADED
    )


def _outcome(pair: _Pair, rules: _Rules) -> Outcome:
    row, answer = pair
    if row[Column.FINISH_REASON] == "length" and not rules.keep_cut_off:
        return Outcome.CUT_OFF
    if (
        rules.leak
        and row[Column.VARIANT] in rules.hints
        and rules.leak.search(row[Column.RESPONSE])
    ):
        return Outcome.LEAKS_HINT
    return grade_answer(row, answer, rules.task)


def grade_answer(question: Mapping[str, Any], answer: str | None, task: str | None) -> Outcome:
    """The grade of an extracted answer (None: there is none) to a row of `tables.QUESTIONS`;
    `task` None: the question's own. Raises `TaskError` for an unknown one, and `PluginError` for
    one from outside that raises."""
    if answer is None:
        return Outcome.WRONG
    facts = json.loads(question[Column.FACTS] or "{}")
    of = task_of(task or question[Column.TASK])
    try:
        return Outcome(graded(of, answer, question[Column.GOLD], facts))
    except PluginError as error:
        raise PluginError(f"{error}; question: {question[Column.QUESTION]!r:.200}") from None
