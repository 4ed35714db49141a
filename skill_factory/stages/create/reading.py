"""Reading the input: what can be used goes to a spill, and all else is summed up."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from skill_factory.core.columns import Column
from skill_factory.core.ledger import Ledger
from skill_factory.core.sources.batches import Batch, Source
from skill_factory.core.threads import MOST_USEFUL, in_order
from skill_factory.errors import InputError, OutputError
from skill_factory.stages.create.excluded import Excluded
from skill_factory.stages.create.index import Choice, Indexed, index
from skill_factory.stages.create.memory import Memory, shown
from skill_factory.stages.create.settings import CreateConfig
from skill_factory.stages.create.shards import shards_for
from skill_factory.stages.create.spill import (
    MOST_AT_ONCE,
    NOTHING,
    Halves,
    Parts,
    Spill,
    power_of_two,
)

PART_BYTES = 16 << 20
"""About how much text is planned and woven at a time, where there may be more."""


@dataclass
class InputSummary:
    """What the input held: its ledger and digest, halves of the digests of those of its questions
    that are to be excluded, which prompt variants and tasks."""

    ledger: Ledger = field(default_factory=Ledger)
    digest: int = 0
    excluded: Halves = field(default_factory=lambda: np.zeros(0, np.uint64))
    variants: Counter[str | None] = field(default_factory=Counter)
    tasks: Counter[str | None] = field(default_factory=Counter)

    def add(self, found: InputSummary) -> None:
        """Add what was found in another part of the input."""
        self.ledger.add(found.ledger)
        self.digest = (self.digest + found.digest) % (1 << 128)
        self.excluded = np.union1d(self.excluded, found.excluded)
        self.variants.update(found.variants)
        self.tasks.update(found.tasks)


def summary_of(found: Indexed, excluded: Excluded) -> InputSummary:
    """What was found in a batch."""
    there = np.intersect1d(found.asked, excluded.question_halves)
    return InputSummary(found.ledger, found.digest, there, found.variants, found.tasks)


Add = Callable[[InputSummary, int], None]
"""Takes what was found in some of the input, and of how many rows."""


def choice_of(config: CreateConfig, excluded: Excluded) -> Choice:
    """What of the input the settings choose."""
    return Choice(
        config.prompt_variants, config.drop_reflections_containing, config.task, excluded.rows
    )


def input_spill(source: Source, work: Path, memory: Memory) -> Spill:
    """An empty spill for what can be used of an input."""
    return Spill(work / "spill", parts_for(source.size(), memory), memory.buffer)


def parts_for(size: int, memory: Memory) -> int:
    """How many parts a spill has of so much text, before any is cut finer."""
    at_most = min(PART_BYTES, memory.part // 2)
    return min(MOST_AT_ONCE, power_of_two(1 + size // at_most))


def read_input(
    config: CreateConfig, excluded: Excluded, source: Source, spill: Spill, memory: Memory
) -> Iterator[tuple[Batch, Indexed]]:
    """The input, a batch at a time; what can be used of it goes to the spill, and is not in what is
    given back.

    Raises `OutputError` if it looks as if the disk cannot hold the spill, and `InputError` if the
    memory cannot hold a batch.
    """
    choice = choice_of(config, excluded)

    def task(batch: Batch) -> Indexed:
        found = index(batch, config.columns, choice)
        if batch.row == 0:
            _refuse_full(spill.folder, _expected(source, batch, found.usable))
        spill.add(found.usable, found.asked)
        return found._replace(usable=NOTHING)

    batches = _held(source.batches(config.columns, memory.batch), memory)
    yield from in_order(task, batches, min(memory.workers, MOST_USEFUL))


def _held(batches: Iterator[Batch], memory: Memory) -> Iterator[Batch]:
    for batch in batches:
        refuse_large_batch(batch, memory)
        yield batch


def refuse_large_batch(batch: Batch, memory: Memory) -> None:
    """Raise `InputError` for a batch of few rows that are too much to hold."""
    if (size := batch.table.nbytes) > memory.largest_batch:
        last = batch.file_row + batch.table.num_rows - 1
        raise InputError(
            f"{batch.where}: rows {batch.file_row} to {last} hold {shown(size)}, more than may "
            f"be read at a time with --memory {shown(memory.budget)}; set it to "
            f"{shown(memory.for_batch(size), up=True)}"
        )


def _expected(source: Source, batch: Batch, usable: pa.RecordBatch) -> int:
    """About how many bytes are usable of an input, of which this batch is the first."""
    rows = source.count()
    seen = batch.table.num_rows / rows if rows else batch.table.nbytes / max(1, source.size())
    return int(usable.nbytes / min(1.0, max(seen, 1e-12)))


def _refuse_full(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder.parent.parent}: what is usable of the input takes about {shown(needed)} of "
            f"disk while it is sorted, and {shown(free)} are free there; choose another disk with "
            "--work-dir"
        )


def fine_enough(spill: Spill, memory: Memory) -> Spill:
    """A spill that is complete, in parts that can be held: there may be far more text than the size
    of the input promised, and far more than can be cut at a time.

    Raises `InputError` for a question with more than can be held.
    """
    spill.cut_finer(memory.part, shards_for(spill.text_bytes))
    refuse_large_part(spill, memory)
    return spill


def refuse_large_part(parts: Parts, memory: Memory) -> None:
    """Raise `InputError` for a question with more than can be held."""
    for part in range(parts.parts):
        if (size := parts.size(part)) > memory.largest_part:
            first = next(iter(parts.batches(part)))
            question = first.column(Column.QUESTION)[0].as_py()
            raise InputError(
                f"the question {question[:80]!r} has {shown(size)} of usable attempts, more than "
                f"--memory {shown(memory.budget)} can hold; set it to "
                f"{shown(memory.for_part(size), up=True)}, or is the question column the right "
                "one? (--question-column)"
            )
