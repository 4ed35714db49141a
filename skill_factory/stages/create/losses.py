"""What step 2 lost, one by one: its own functions run again, and what they count is shown."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core.arrays import Ints, bounds, numbers, view
from skill_factory.core.columns import Column, Columns
from skill_factory.core.ledger import Ledger, Reason
from skill_factory.core.sources.attempts import Attempts, attempts_of
from skill_factory.core.sources.batches import Batch, Source
from skill_factory.core.sources.chats import texts_of
from skill_factory.core.sources.validate import KEPT, Codes, reason_of
from skill_factory.stages.create.excluded import load_excluded
from skill_factory.stages.create.index import Indexed
from skill_factory.stages.create.memory import memory_of
from skill_factory.stages.create.outcome import LostQuestion, LostTrace, Outcome
from skill_factory.stages.create.phrases import PhraseBank
from skill_factory.stages.create.pipeline import Threads, plan_job
from skill_factory.stages.create.pools import Pools
from skill_factory.stages.create.reading import fine_enough, input_spill, read_input
from skill_factory.stages.create.settings import CreateConfig
from skill_factory.stages.create.spill import NO_HALVES
from skill_factory.tasks import load_installed


@dataclass(frozen=True)
class Loss:
    """A row, an attempt, a reflection, a question or a trace that was lost.

    `row` is one of the input, from 0 over all its files: for a question and a trace that of one of
    its attempts. `response` and `reflection` are the places in that row's lists; None: it is
    neither. `text` is that of the attempt or the reflection; `attempt` is the one that a reflection
    is about, and `correct` says whether an attempt is, or that one; None: undecided, or neither.
    `trace` is the id that a trace would have. A text is None where the input has none.
    """

    row: int
    question: str | None
    variant: str | None = None
    response: int | None = None
    reflection: int | None = None
    text: str | None = None
    correct: bool | None = None
    attempt: str | None = None
    trace: str | None = None


class Group(NamedTuple):
    """Things of one `kind`, an account of the ledger, that were lost for one `reason`, as the
    ledger names it. `losses(n)` are the first n; what they say is read only then, and only until
    the next group is asked for."""

    kind: str
    reason: str
    size: int
    losses: Callable[[int], list[Loss]]


def lost(config: CreateConfig, source: Source, phrases: PhraseBank) -> Generator[Group]:
    """All that step 2 loses with these settings; the counts add up to its ledger's.

    The input is read once, and again up to the last question that has no valid attempt, if there is
    one and it is asked for. Raises as `pipeline.create` does.
    """
    if config.task is None:
        load_installed()
    excluded, memory = load_excluded(config.exclude), memory_of(config)
    without = [NO_HALVES]
    with tempfile.TemporaryDirectory(prefix="skill-factory-") as work:
        with input_spill(source, Path(work), memory) as spill:
            for batch, found in read_input(config, excluded, source, spill, memory):
                yield from _of_input(batch, found, config.columns)
        job = plan_job(config, phrases, excluded, fine_enough(spill, memory), Threads(memory), [])
        for part in range(job.spill.parts):
            for pools in job.pools(part):
                without.append(pools.unanswered)
                yield from _of_pools(pools, job.plan(pools)[1])
    questions = np.concatenate(without)
    if len(questions):
        take = partial(_without_attempts, config.columns, source, questions)
        yield Group("questions", Reason.NO_VALID_ATTEMPT, len(questions), take)


def examples(
    config: CreateConfig, source: Source, phrases: PhraseBank, n: int = 3
) -> dict[tuple[str, str], list[Loss]]:
    """Up to `n` losses for each account of the ledger and reason in it."""
    found: dict[tuple[str, str], list[Loss]] = {}
    for group in lost(config, source, phrases):
        some = found.setdefault((group.kind, group.reason), [])
        if len(some) < n:
            some += group.losses(n - len(some))
    return found


def _by_reason(codes: Codes) -> Iterator[tuple[Reason, Ints]]:
    """The places of what was lost, by the reason."""
    for code in np.unique(codes[codes != KEPT]).tolist():
        yield reason_of(code), np.flatnonzero(codes == code)


# -- the input ------------------------------------------------------------------------------------


def _of_input(batch: Batch, found: Indexed, columns: Columns) -> Iterator[Group]:
    for kind, codes, take in (
        ("rows", found.found.row_codes, partial(_rows, batch, columns)),
        ("attempts", found.attempts, partial(_attempts, found)),
        ("reflections", found.reflections, partial(losses_of_reflections, found.found)),
    ):
        for reason, places in _by_reason(codes):
            yield Group(kind, reason, len(places), partial(_first, take, places))


def _first(take: Callable[[Ints], list[Loss]], places: Ints, n: int) -> list[Loss]:
    return take(places[:n])


def _rows(batch: Batch, columns: Columns, places: Ints) -> list[Loss]:
    rows = batch.table.take(numbers(places))
    said = zip(
        (batch.row + places).tolist(),
        texts_of(rows.column(columns.question)),
        texts_of(rows.column(columns.variant)),
        strict=True,
    )
    return [Loss(*one) for one in said]


def _attempts(indexed: Indexed, places: Ints) -> list[Loss]:
    found = indexed.found
    said = zip(
        found.row[places].tolist(),
        *_texts((found.question, found.variant), places),
        found.response[places].tolist(),
        *_texts((found.text,), places),
        found.correct.take(numbers(places)).to_pylist(),
        strict=True,
    )
    return [
        Loss(row, question, variant, response, text=text, correct=correct)
        for row, question, variant, response, text, correct in said
    ]


def losses_of_reflections(found: Attempts, places: Ints) -> list[Loss]:
    """The reflections at these places among all of a batch."""
    owner = found.owner[places]
    said = zip(
        found.row[owner].tolist(),
        *_texts((found.question, found.variant), owner),
        found.response[owner].tolist(),
        found.number[places].tolist(),
        *_texts((found.reflections,), places),
        found.correct.take(numbers(owner)).to_pylist(),
        *_texts((found.text,), owner),
        strict=True,
    )
    return [Loss(*one) for one in said]


def _texts(columns: Sequence[pa.Array], places: Ints) -> list[list[str | None]]:
    return [texts_of(column.take(numbers(places))) for column in columns]


# -- the pools ------------------------------------------------------------------------------------


def _of_pools(pools: Pools, outcome: Outcome) -> Iterator[Group]:
    for reason, places in _by_reason(outcome.attempts):
        take = partial(_of_pool, pools)
        yield Group("attempts", reason, len(places), partial(_first, take, places))
    for reason, places in _by_reason(outcome.reflections):
        take = partial(_reflections_of_pool, pools)
        yield Group("reflections", reason, len(places), partial(_first, take, places))
    for kind in {lost.reason: None for lost in outcome.questions}:
        some = [lost for lost in outcome.questions if lost.reason == kind]
        yield Group("questions", kind, len(some), partial(_questions, pools, some))
    for why in {lost.reason: None for lost in outcome.traces}:
        none = [lost for lost in outcome.traces if lost.reason == why]
        yield Group("traces", why, len(none), partial(_traces, pools, none))


def _of_pool(pools: Pools, places: Ints) -> list[Loss]:
    rows = pools.attempts.take(numbers(places))
    names = (
        *(Column.ROW, Column.QUESTION, Column.VARIANT, Column.RESPONSE),
        *(Column.ATTEMPT, Column.CORRECT),
    )
    return [
        Loss(row, question, variant, response, text=text, correct=correct)
        for row, question, variant, response, text, correct in zip(
            *(rows[name].to_pylist() for name in names), strict=True
        )
    ]


def _reflections_of_pool(pools: Pools, places: Ints) -> list[Loss]:
    counts = view(pc.list_value_length(pools.attempts[Column.REFLECTIONS]))
    starts = bounds(counts)
    owners = np.searchsorted(starts, places, side="right") - 1
    losses = []
    for owner, place in zip(owners.tolist(), (places - starts[owners]).tolist(), strict=True):
        row = pools.attempts.slice(owner, 1).to_pylist()[0]
        losses.append(
            Loss(
                row[Column.ROW],
                row[Column.QUESTION],
                row[Column.VARIANT],
                row[Column.RESPONSE],
                row[Column.REFLECTION_NUMBERS][place],
                row[Column.REFLECTIONS][place],
                row[Column.CORRECT],
                row[Column.ATTEMPT],
            )
        )
    return losses


def _questions(pools: Pools, lost: list[LostQuestion], n: int) -> list[Loss]:
    found = _of_pool(pools, np.array([one.rows[0] for one in lost[:n]], np.int64))
    return [Loss(one.row, one.question) for one in found]


def _traces(pools: Pools, lost: list[LostTrace], n: int) -> list[Loss]:
    found = _of_pool(pools, np.array([one.row for one in lost[:n]], np.int64))
    return [
        Loss(one.row, one.question, trace=trace.id) for one, trace in zip(found, lost, strict=False)
    ]


# -- questions without a valid attempt ------------------------------------------------------------


def _without_attempts(
    columns: Columns, source: Source, without: npt.NDArray[np.uint64], n: int
) -> list[Loss]:
    """The first `n` of these questions, each at its first attempt."""
    found: dict[int, Loss] = {}
    wanted = min(n, len(without))
    for batch in source.batches(columns):
        attempts = attempts_of(batch, columns, Ledger())
        halves = attempts.question_ids.view(">u8")[:, 0].astype(np.uint64)
        _, places = np.unique(halves, return_index=True)
        places = np.sort(places[np.isin(halves[places], without)])
        texts = texts_of(attempts.question.take(numbers(places)))
        for place, text in zip(places.tolist(), texts, strict=True):
            found.setdefault(int(halves[place]), Loss(int(attempts.row[place]), text))
        if len(found) >= wanted:
            break
    return list(found.values())[:wanted]
