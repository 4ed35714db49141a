"""Step 2 on a Ray cluster: the functions of the local engine, a piece or a shard a task.

Workers and driver meet in a folder that all of them see, beside the output: a worker indexes a
piece of the input into a spill of its own there, and makes a shard of the parts in all spills. What
is in the folder has its name only once it is whole, so a task may be done twice.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from tqdm import tqdm

from skill_factory.core import threads
from skill_factory.core.columns import Columns
from skill_factory.core.own_parts import OwnParts, own_parts
from skill_factory.core.ray_cluster import RETRIES, Cluster, joined
from skill_factory.core.sources.batches import Source, UnreadIn, add_unread
from skill_factory.core.sources.local_files import FilePiece, FileSource
from skill_factory.core.sources.staged import StagedPiece, staged
from skill_factory.errors import ClusterError, InputError, OutputError, SkillFactoryError
from skill_factory.stages.create.excluded import Excluded
from skill_factory.stages.create.formats import format_of
from skill_factory.stages.create.gathered import Gathered, GatheredParts, moved
from skill_factory.stages.create.index import index
from skill_factory.stages.create.memory import Memory, memory_of
from skill_factory.stages.create.reading import (
    Add,
    InputSummary,
    choice_of,
    parts_for,
    refuse_large_batch,
    refuse_large_part,
    summary_of,
)
from skill_factory.stages.create.settings import CreateConfig
from skill_factory.stages.create.shards import Shard, WeaveJob, do_shard, shards_for
from skill_factory.stages.create.spill import Part, Spill

PIECE_BYTES = 64 << 20
"""About how much text a task indexes, where row groups are no larger. It is read in batches: this
bounds no memory, but what is lost with a worker."""

MANY_PIECES = 2048
"""The command keeps some numbers for each part of a piece's spill."""

_SHARED = (
    "with --engine ray, the input, the output and --work-dir must be on a file system that all "
    "nodes see under the same path"
)


@contextmanager
def ray_engine(config: CreateConfig) -> Iterator[RayEngine]:
    """The engine, on the cluster that the settings name; raises `ClusterError` without one."""
    memory = memory_of(config.model_copy(update={"workers": 1})) if config.memory else Memory(0, 1)
    own = ((format_of, name) for name in config.formats)
    with joined(config.ray_address, config.workers) as cluster:
        yield RayEngine(cluster, own_parts(own), memory)


@dataclass(frozen=True)
class RayEngine:
    """Step 2 on a cluster (`pipeline.Engine`); `own` is what its workers load first, and `memory`
    what each of them may hold."""

    cluster: Cluster
    own: OwnParts
    memory: Memory

    def index(
        self, config: CreateConfig, excluded: Excluded, source: Source, work: Path, add: Add
    ) -> GatheredParts:
        """As `Engine` has it. Ray Data goes over the pieces of the input; what comes back of one is
        a few numbers."""
        memory = self.memory
        parts = parts_for(source.size(), memory)
        task = _Indexing(config, excluded, work, parts, memory)
        size = max(PIECE_BYTES, source.size() // MANY_PIECES)
        size = min(size, source.size() // (4 * self.cluster.cores))
        pieces = list(enumerate(_pieces(source, config.columns, memory.batch, work, size)))
        spills, text_bytes = list[tuple[Part, ...]](), 0
        for (_, piece), done in self.cluster.over_dataset(task.index, self._prepare, pieces):
            if isinstance(piece, FilePiece):
                _count(source, str(piece.path), done)
            spills.append(done.parts)
            text_bytes += done.text_bytes
            add(done.summary, done.rows)
        if not sum(source.rows.values()):
            raise InputError(f"{source.name}: the dataset has no rows")
        gathered = [Gathered(pieces) for pieces in zip(*spills, strict=True)]
        return self._fine_enough(gathered, text_bytes, work)

    def _fine_enough(self, gathered: list[Gathered], text_bytes: int, work: Path) -> GatheredParts:
        """As `reading.fine_enough`."""
        most, shards = self.memory.part, shards_for(text_bytes)
        large = [n for n, one in enumerate(gathered) if not one.is_fine(most, shards)]
        task = partial(_finer, gathered, work, self.memory, shards)
        finer = dict(self.cluster.in_order("cut finer", task, self._prepare, large))
        found = GatheredParts(
            text_bytes,
            [one for number, whole in enumerate(gathered) for one in finer.get(number, [whole])],
        )
        refuse_large_part(found, self.memory)
        return found

    def each_shard(self, name: str, job: WeaveJob, out: Path | None) -> Iterator[tuple[int, Shard]]:
        """As `shards.each_shard`."""
        task = partial(_make_shard, job, out)
        done = self.cluster.in_order(name, task, self._prepare, range(job.shards))
        bar = tqdm(done, name, job.shards, unit=" shards", disable=None, leave=False)
        for number, (shard, host) in bar:
            if out is not None:
                _take(out, number, host)
                _remove(job, number)
            yield number, shard

    @property
    def _prepare(self) -> Callable[[], None]:
        return partial(_prepared, self.own)


def _take(out: Path, number: int, host: str) -> None:
    """Put the files of a shard where the local engine has them."""
    for path in (
        out / f"shard-{number}" / f"{kind}-{number}.parquet" for kind in ("train", "plan")
    ):
        if not path.is_file():
            raise OutputError(
                f"{out.parent}: what the worker {host} wrote there is not here: {_SHARED}"
            )
        path.rename(out / path.name)


def _remove(job: WeaveJob, number: int) -> None:
    """Remove what a shard was made of, once it is here."""
    assert isinstance(job.spill, GatheredParts)
    for part in job.spill.of_shard(number, job.shards):
        job.spill.remove(part)


def _prepared(own: OwnParts) -> None:
    threads.save_memory()
    pa.set_cpu_count(1)  # there is a process for each core
    own()


# -- indexing -------------------------------------------------------------------------------------


def _pieces(
    source: Source, columns: Columns, at_once: int, work: Path, size: int
) -> Iterable[FilePiece | StagedPiece]:
    """The input in pieces of about this size: row groups of parquet files, which the workers read;
    anything else is read here, once, and laid down for them."""
    found = source.pieces(size) if isinstance(source, FileSource) else None
    return staged(source, columns, at_once, work, size) if found is None else found


def _count(source: Source, where: str, done: _Indexed) -> None:
    """Count what was read, as the source does when it is read here."""
    source.rows[where] = source.rows.get(where, 0) + done.rows
    for role, found in done.unread.items():
        before = source.unread.get(role, found._replace(rows=0))
        source.unread[role] = before._replace(rows=before.rows + found.rows)


class _Indexed(NamedTuple):
    """What a worker found in a piece of so many `rows`, and the parts of its spill, of so many
    bytes of text; `unread` as in `Source`."""

    summary: InputSummary
    parts: tuple[Part, ...]
    text_bytes: int
    rows: int
    unread: dict[str, UnreadIn]


@dataclass(frozen=True)
class _Indexing:
    """How a worker indexes a numbered piece, into a spill of so many parts in the folder `work`."""

    config: CreateConfig
    excluded: Excluded
    work: Path
    parts: int
    memory: Memory

    def index(self, item: tuple[int, FilePiece | StagedPiece]) -> _Indexed:
        """What is in a piece; what can be used of it is in the spill."""
        number, piece = item
        _check_there(self.work, OutputError)
        _check_there(piece.path, InputError)
        columns, choice = self.config.columns, choice_of(self.config, self.excluded)
        summary, rows, unread = InputSummary(), 0, dict[str, UnreadIn]()
        with (
            _written(self.work, f"piece-{number}") as (folder, final),
            Spill(folder, self.parts, self.memory.buffer) as spill,
        ):
            for batch, some in piece.batches(columns, self.memory.batch):
                refuse_large_batch(batch, self.memory)
                found = index(batch, columns, choice)
                spill.add(found.usable, found.asked)
                summary.add(summary_of(found, self.excluded))
                rows += batch.table.num_rows
                add_unread(unread, some, batch.where, batch.file_row)
        parts = moved(spill.in_files, final)
        return _Indexed(summary, parts, spill.text_bytes, rows, unread)


def _finer(
    gathered: list[Gathered], work: Path, memory: Memory, shards: int, number: int
) -> list[Gathered]:
    """One of the parts in finer ones, in the order of their ranges."""
    with _written(work, f"part-{number}") as (folder, final):
        parts = gathered[number].cut(folder, memory.part, memory.buffer, shards)
    return [Gathered((part,)) for part in moved(parts, final)]


# -- making shards --------------------------------------------------------------------------------


def _make_shard(job: WeaveJob, out: Path | None, number: int) -> tuple[Shard, str]:
    """A shard, and the worker that made it."""
    if out is None:
        return do_shard(job, None, number), socket.gethostname()
    _check_there(out, OutputError)
    with _written(out, f"shard-{number}") as (folder, _):
        shard = do_shard(job, folder, number)
    return shard, socket.gethostname()


@contextmanager
def _written(work: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """A folder to fill, and where in `work` it is once it is whole. A task that is done twice, even
    at the same time, makes the same: the first one's stays.

    Raises `ClusterError` if too many tries at what has this name left such a folder behind, as a
    worker that is killed does: some retry without end.
    """
    if len(list(work.glob(f"{name}.try-*"))) > RETRIES:
        raise ClusterError(
            f"{name}: {RETRIES + 1} workers died over it, and none said why; most likely a node "
            "has too little memory for the tasks it runs at a time (--workers sets their number)"
        )
    folder, final = Path(tempfile.mkdtemp(prefix=f"{name}.try-", dir=work)), work / name
    try:
        yield folder, final
        try:
            folder.rename(final)
        except OSError:
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_there(path: Path, error: type[SkillFactoryError]) -> None:
    if not path.exists():
        raise error(f"{path}: is not there on the worker {socket.gethostname()}: {_SHARED}")
