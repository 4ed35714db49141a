"""Planning and weaving a part of the spill after the other, in threads, a file for each shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
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
from skill_factory.core.ledger import Ledger
from skill_factory.core.markup import read
from skill_factory.core.tables import PLAN
from skill_factory.core.threads import in_order
from skill_factory.core.token_counts import TokenCounter
from skill_factory.stages.create.outcome import Outcome
from skill_factory.stages.create.plan import Plan, PlanSettings, plan, plan_table
from skill_factory.stages.create.pools import Pools, Spill, read_pools
from skill_factory.stages.create.weave import weave

SHARD_BYTES = 64 << 20
"""Text of valid attempts behind one output file, which is what one worker makes."""

MAX_SHARDS = 32
"""A push of more than 50 files is no longer one commit (huggingface_hub 2.4)."""


@dataclass(frozen=True)
class WeaveJob:
    """What is to be done: neighbouring parts of the spill make one of the `shards`.

    `schema` is that of the traces; with a `counter`, those of over `max_tokens` are dropped.
    `checked`: an error in a trace ends it all.
    """

    spill: Spill
    shards: int
    settings: PlanSettings
    workers: int
    schema: pa.Schema
    counter: TokenCounter | None
    max_tokens: int
    checked: bool

    def plan(self, pools: Pools) -> tuple[Plan, Outcome]:
        """The plan of some pools, without the traces that are too long."""
        planned, outcome = plan(pools, self.settings)
        if self.counter is None:
            return planned, outcome
        too_long: set[str] = set()
        for batch in weave(planned, pools, self.settings.phrases):
            texts = batch.column(0).flatten().field("content").to_pylist()
            tokens = self.counter.count(texts[::2], texts[1::2])
            ids = batch.column(Column.TRACE_ID).to_pylist()
            too_long.update(ids[i] for i in np.flatnonzero(tokens > self.max_tokens))
        # Planned again, so that what is used only in those traces is counted as left over.
        return plan(pools, replace(self.settings, too_long=frozenset(too_long)))


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
    done = in_order(partial(_do_shard, job, out), range(job.shards), job.workers)
    yield from tqdm(done, name, job.shards, unit=" shards", disable=None, leave=False)


def _do_shard(job: WeaveJob, out: Path | None, number: int) -> Shard:
    """Plan one shard and, where `out` is a folder, write its traces and its part of the plan
    there."""
    shard = Shard()
    with ExitStack() as stack:
        if out:
            traces, plans = (
                stack.enter_context(
                    pq.ParquetWriter(out / f"{name}-{number}.parquet", schema, compression="zstd")
                )
                for name, schema in (("train", job.schema), ("plan", PLAN))
            )
        first, last = (n * job.spill.parts // job.shards for n in (number, number + 1))
        for part in range(first, last):
            pools = read_pools(job.spill, part, job.settings.excluded.rows)
            planned, outcome = job.plan(pools)
            shard.ledger.add(outcome.ledger)
            shard.labels.update(planned.labels)
            shard.excluded += outcome.excluded
            if not out:
                shard.ids += "".join(planned.ids).encode()
            if not out or not planned.ids:
                continue
            plans.write_table(plan_table(planned, pools))
            for batch in weave(planned, pools, job.settings.phrases):
                if job.checked:
                    refuse_faults(batch)
                traces.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=job.schema))
                shard.digests += _digests(batch)
                shard.sample = shard.sample or _sample(batch)
    return shard


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
