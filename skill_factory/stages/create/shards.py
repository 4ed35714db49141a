"""Planning and weaving a part of the spill after the other, in threads, a file for each shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm
from xxhash import xxh3_128

from skill_factory.checks.structure import refuse_faults
from skill_factory.core.arrays import offsets
from skill_factory.core.columns import Column
from skill_factory.core.ledger import Ledger, Reason
from skill_factory.core.markup import read
from skill_factory.core.tables import PLAN
from skill_factory.core.threads import in_order
from skill_factory.core.token_counts import TokenCounter
from skill_factory.stages.create.memory import Memory, Room
from skill_factory.stages.create.outcome import Outcome
from skill_factory.stages.create.plan import Plan, PlanSettings, plan, plan_table
from skill_factory.stages.create.pools import Pools, few_at_a_time, read_pools
from skill_factory.stages.create.spill import Parts, power_of_two
from skill_factory.stages.create.weave import weave

SHARD_BYTES = 64 << 20
"""About how much text of valid attempts is behind one output file, which is what one worker makes.
"""

FEW_SHARDS = 32
"""A push of more than 50 files is no longer one commit (huggingface_hub 2.4)."""

LARGE_SHARD_BYTES = 2 << 30
"""More text than this is not behind one file, however many there are: a worker keeps 16 bytes for
each of its traces."""


def shards_for(text_bytes: int) -> int:
    """How many files there are of so much text: a power of two, as the parts of a spill are."""
    few = min(FEW_SHARDS, 1 + text_bytes // SHARD_BYTES)
    return power_of_two(max(few, text_bytes // LARGE_SHARD_BYTES) // 2 + 1)


@dataclass(frozen=True)
class WeaveJob:
    """What is to be done: the parts of the spill in a range of digests make one of the `shards`.

    `schema` is that of the traces; with a `counter`, those of over `max_tokens` are dropped.
    `checked`: an error in a trace ends it all. `memory` says how much is held at a time. Of a shard
    of which nothing is woven, so many of the `smallest` ids are wanted; None: all.
    """

    spill: Parts
    shards: int
    settings: PlanSettings
    workers: int
    schema: pa.Schema
    counter: TokenCounter | None
    max_tokens: int
    checked: bool
    memory: Memory = field(default_factory=lambda: Memory(0, 1))
    smallest: int | None = None

    def pools(self, part: int) -> Iterator[Pools]:
        """The pools in a part of the spill, as many as are planned at a time."""
        found = read_pools(self.spill, part, self.settings.excluded.rows)
        times = len(self.settings.formats) * self.settings.repeats
        yield from few_at_a_time(found, self.memory.steps // times, self.settings.lengths.longest)

    def plan(self, pools: Pools) -> tuple[Plan, Outcome]:
        """The plan of some pools, without the traces that are too long."""
        planned, outcome = plan(pools, self.settings)
        if self.counter is None:
            return planned, outcome
        too_long: set[str] = set()
        for batch in weave(planned, pools, self.settings.phrases, self.memory.woven):
            texts = batch.column(0).flatten().field("content").to_pylist()
            tokens = self.counter.count(texts[::2], texts[1::2])
            ids = batch.column(Column.TRACE_ID).to_pylist()
            too_long.update(ids[i] for i in np.flatnonzero(tokens > self.max_tokens))
        # Planned again, so that what is used only in those traces is counted as left over.
        return plan(pools, replace(self.settings, too_long=frozenset(too_long)))


_ID_BYTES = 32


@dataclass
class Shard:
    """What became of one shard.

    `ids` has its traces' ids, 32 bytes each, if nothing is woven; else `sample` is the text of one
    trace, and `digests` has 16 bytes for each. `excluded` are the ids of traces that are left out.
    """

    ledger: Ledger = field(default_factory=Ledger)
    labels: Counter[str] = field(default_factory=Counter)
    ids: bytes = b""
    sample: str | None = None
    digests: bytes = b""
    excluded: list[str] = field(default_factory=list)


def each_shard(name: str, job: WeaveJob, out: Path | None) -> Iterator[tuple[int, Shard]]:
    """Each shard with its number, in order."""
    room = Room(job.memory.part * job.workers)
    work = partial(do_shard, job, out, held=room.held)
    done = in_order(work, range(job.shards), job.workers)
    yield from tqdm(done, name, job.shards, unit=" shards", disable=None, leave=False)


def do_shard(
    job: WeaveJob,
    out: Path | None,
    number: int,
    held: Callable[[int], AbstractContextManager[object]] = nullcontext,
) -> Shard:
    """Plan one shard and, where `out` is a folder, write its traces and its part of the plan
    there. What is woven is dropped from the spill. `held` is entered with the size of each part."""
    shard = Shard()
    with ExitStack() as stack:
        files = _Files(job, out, number, stack) if out else None
        for part in job.spill.of_shard(number, job.shards):
            with held(job.spill.size(part)):
                for pools in job.pools(part):
                    _do_pools(job, pools, shard, files)
            if files:
                job.spill.drop(part)
    return shard


class _Files:
    """The files of a shard, open for writing."""

    def __init__(self, job: WeaveJob, out: Path, number: int, stack: ExitStack) -> None:
        self.traces, self.plan = (
            stack.enter_context(
                pq.ParquetWriter(out / f"{name}-{number}.parquet", schema, compression="zstd")
            )
            for name, schema in (("train", job.schema), ("plan", PLAN))
        )


def _do_pools(job: WeaveJob, pools: Pools, shard: Shard, files: _Files | None) -> None:
    """Plan some pools and, where there are files, weave them."""
    planned, outcome = job.plan(pools)
    shard.ledger.add(outcome.ledger)
    shard.ledger.questions.read += len(pools.unanswered)
    shard.ledger.questions.lose(Reason.NO_VALID_ATTEMPT, len(pools.unanswered))
    shard.labels.update(planned.labels)
    shard.excluded += outcome.excluded
    if files is None:
        shard.ids += "".join(planned.ids).encode()
        if job.smallest and len(shard.ids) > 2 * job.smallest * _ID_BYTES:  # else sorted too often
            shard.ids = smallest(shard.ids, job.smallest)
    elif planned.ids:
        files.plan.write_table(plan_table(planned, pools))
        for batch in weave(planned, pools, job.settings.phrases, job.memory.woven):
            if job.checked:
                refuse_faults(batch)
            files.traces.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=job.schema))
            shard.digests += _digests(batch)
            shard.sample = shard.sample or _sample(batch)


def smallest(ids: bytes, count: int) -> bytes:
    """The smallest ids, of 32 bytes each, sorted."""
    return np.sort(np.frombuffer(ids, f"S{_ID_BYTES}"))[:count].tobytes()


def _digests(batch: pa.RecordBatch) -> bytes:
    """16 bytes a trace that name its texts, label and id."""
    texts = batch.column(Column.CONVERSATIONS).flatten().field("content")
    data, ends = memoryview(texts.buffers()[2]), offsets(texts)[::2].tolist()
    asked = np.diff(offsets(texts))[::2].tolist()
    out = []
    for i, name in enumerate(
        zip(batch.column(1).to_pylist(), batch.column(2).to_pylist(), strict=True)
    ):
        digest = xxh3_128(f"{asked[i]} {name}".encode())
        digest.update(data[ends[i] : ends[i + 1]])
        out.append(digest.digest())
    return b"".join(out)


def _sample(batch: pa.RecordBatch) -> str:
    """The shortest of a batch's first traces that try more than once, if there is one."""
    rows = batch.column(Column.CONVERSATIONS).slice(0, 20).to_pylist()
    texts: list[str] = [turns[1]["content"] for turns in rows]
    return min(texts, key=lambda text: (len(read(text).attempts) < 2, len(text)))
