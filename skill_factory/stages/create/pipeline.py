"""Step 2 as a whole: an annotated dataset becomes an SFT folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tqdm import tqdm
from xxhash import xxh3_128

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.ledger import Reason
from skill_factory.core.places import Place, RemotePath, place
from skill_factory.core.sources.batches import Source
from skill_factory.core.sources.find_source import find_source
from skill_factory.core.sources.values import READABLE
from skill_factory.core.tables import LAYOUTS
from skill_factory.core.threads import release_at_once
from skill_factory.core.token_counts import TokenCounter
from skill_factory.core.whole_files import lies_inside, new_folder, resolved, scratch_folder
from skill_factory.errors import NothingMadeError, OutputError, TaskError
from skill_factory.stages.create.excluded import Excluded, load_excluded
from skill_factory.stages.create.folder import describe, join_files
from skill_factory.stages.create.formats import format_of
from skill_factory.stages.create.memory import Memory, memory_of
from skill_factory.stages.create.on_ray import ray_engine
from skill_factory.stages.create.phrases import PhraseBank, load_phrases
from skill_factory.stages.create.plan import PlanSettings
from skill_factory.stages.create.reading import (
    Add,
    InputSummary,
    fine_enough,
    input_spill,
    read_input,
    summary_of,
)
from skill_factory.stages.create.result import CreateResult
from skill_factory.stages.create.settings import CreateConfig
from skill_factory.stages.create.shards import Shard, WeaveJob, each_shard, shards_for, smallest
from skill_factory.stages.create.spill import Parts
from skill_factory.tasks import load_installed, task_of


def create(
    config: CreateConfig, source: Source | None = None, phrases: PhraseBank | None = None
) -> CreateResult:
    """Run step 2. `config` names an input, unless a `source` is given, and, unless it is a dry run,
    a local folder as output. `phrases` stand in the place of those that `config` names.

    Raises `SkillFactoryError`s. Whatever stops a run, even its death, the output folder is then not
    there, or as it was.
    """
    phrases = phrases or load_phrases(Path(config.phrases) if config.phrases else None)
    excluded = load_excluded(config.exclude)
    if config.task is None:  # the input may name any task that is installed
        load_installed()
    source = source or find_source(
        config.input_dataset or "", config.input_config, config.input_split, config.revision
    )
    with ExitStack() as stack:
        folder = None if config.dry_run else stack.enter_context(_output(config))
        work_dir = _work_dir(config.work_dir) or _beside(config, folder)
        if folder is None:
            stack.enter_context(_explained(work_dir))
        work = stack.enter_context(scratch_folder(work_dir))
        engine = stack.enter_context(_engine(config))
        return _create(config, phrases, excluded, engine, source, work, folder)


def _beside(config: CreateConfig, folder: Path | None) -> Path:
    """The folder in which the output will lie, or is made where it goes to a store."""
    if folder is None:
        return Path(tempfile.gettempdir())
    target = place(config.folder)
    return folder.parent if isinstance(target, RemotePath) else resolved(target).parent


@contextmanager
def _output(config: CreateConfig) -> Iterator[Path]:
    target = place(config.folder)
    if config.input_dataset:
        _refuse_inside(target, place(config.input_dataset))
    with _explained(target), new_folder(target, config.overwrite) as folder:
        yield folder


def _refuse_inside(target: Place, source: Place) -> None:
    """A folder that is read with all its files would be read with the output in it next time."""
    if lies_inside(target, source):
        raise OutputError(f"{target}: lies inside the input {source}; choose an output beside it")


def _work_dir(chosen: str | None) -> Path | None:
    if chosen is None:
        return None
    if not (place := resolved(chosen)).is_dir():
        raise OutputError(f"--work-dir {chosen}: no such folder")
    return place


@contextmanager
def _explained(target: Place | str, advice: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written: {error.strerror or error}. "
            f"Nothing was left there; once this is mended, the same command works{advice}."
        ) from None


def _create(
    config: CreateConfig,
    phrases: PhraseBank,
    excluded: Excluded,
    engine: Engine,
    source: Source,
    work: Path,
    folder: Path | None,
) -> CreateResult:
    """Step 2 with room to work in; `folder` None: nothing is woven."""
    with _explained(work.parent, "; --work-dir is for another disk"):
        found, spill = _index(config, excluded, source, work, engine)
    made = CreateResult(found.ledger, notes=_notes(config, found, source))
    if config.repository and not (config.license or source.license):
        made.notes.append("the card names no license; name one with --license")
    job = plan_job(config, phrases, excluded, spill, engine, made.notes)
    content, full, left_out = xxh3_128(), list[int](), list[str]()
    out = folder.parent if folder else None
    for number, shard in engine.each_shard("weave", job, out):
        made.ledger.add(shard.ledger)
        made.labels.update(shard.labels)
        made.sample = made.sample or shard.sample
        content.update(shard.digests)
        full += [number] if shard.ledger.traces.kept else []
        left_out += shard.excluded
    made.notes += excluded.unmatched(found.ledger.rows.read, found.excluded, left_out)
    made.ledger.check()
    if not made.ledger.traces.kept:
        raise NothingMadeError("0 traces; the table says why", made.summary())
    if folder and out:
        join_files(out, full, folder)
        digests = f"{found.digest:032x}", content.hexdigest()
        describe(folder, config, source, phrases, made, *digests, excluded.entries)
    return made


def plan_job(
    config: CreateConfig,
    phrases: PhraseBank,
    excluded: Excluded,
    spill: Parts,
    engine: Engine,
    notes: list[str],
) -> WeaveJob:
    """How what is in a spill is planned and woven; `notes` gets what a user should know."""
    settings = PlanSettings(
        formats=tuple(one.name for one in map(format_of, config.formats)),
        lengths=config.lengths,
        repeats=config.repeats,
        unique_variants=config.unique_variants,
        seed=config.seed,
        phrases=phrases,
    )
    counter = TokenCounter(config.tokenizer) if config.tokenizer else None
    job = WeaveJob(
        spill,
        shards_for(spill.text_bytes),
        settings,
        engine.memory.workers,
        LAYOUTS[config.layout],
        counter,
        config.max_tokens or 0,
        config.check,
        engine.memory,
    )
    if config.subsample:
        settings = replace(settings, last_id=_last_id(job, engine, config.subsample, notes))
    # Only now: the subsample is drawn from all traces, so that it does not change for others.
    return replace(job, settings=replace(settings, excluded=excluded))


# -- reading --------------------------------------------------------------------------------------


def _index(
    config: CreateConfig, excluded: Excluded, source: Source, work: Path, engine: Engine
) -> tuple[InputSummary, Parts]:
    """Read the input once; what can be used is then in the spill, and all else in the ledger."""
    out = InputSummary()
    bar = tqdm(desc="index", unit=" rows", total=source.count(), disable=None, leave=False)

    def add(found: InputSummary, rows: int) -> None:
        out.add(found)
        bar.update(rows)

    with bar:
        return out, engine.index(config, excluded, source, work, add)


class Engine(Protocol):
    """Where the parts of step 2 run: what is made does not depend on it."""

    @property
    def memory(self) -> Memory:
        """What a process of it may hold."""

    def index(
        self, config: CreateConfig, excluded: Excluded, source: Source, work: Path, add: Add
    ) -> Parts:
        """Read the input once; what can be used is then in the folder `work`, and `add` was given
        what was found."""

    def each_shard(self, name: str, job: WeaveJob, out: Path | None) -> Iterator[tuple[int, Shard]]:
        """As `shards.each_shard`."""


@dataclass(frozen=True)
class Threads:
    """In threads of this process."""

    memory: Memory

    def index(
        self, config: CreateConfig, excluded: Excluded, source: Source, work: Path, add: Add
    ) -> Parts:
        """As `Engine` has it."""
        with input_spill(source, work, self.memory) as spill:
            for batch, found in read_input(config, excluded, source, spill, self.memory):
                add(summary_of(found, excluded), batch.table.num_rows)
        return fine_enough(spill, self.memory)

    def each_shard(self, name: str, job: WeaveJob, out: Path | None) -> Iterator[tuple[int, Shard]]:
        """As `Engine` has it."""
        return each_shard(name, job, out)


@contextmanager
def _engine(config: CreateConfig) -> Iterator[Engine]:
    if config.engine == "local":
        memory = memory_of(config)
        if memory.is_tight:
            release_at_once()
        yield Threads(memory)
        return
    with ray_engine(config) as engine:
        yield engine


def _notes(config: CreateConfig, found: InputSummary, source: Source) -> list[str]:
    """What could not be read, and settings without effect: most likely not what the user meant."""
    there = ", ".join(sorted(map(str, found.variants)))
    notes = [
        f"no attempt has the prompt variant {name!r}; there are: {there}"
        f"{did_you_mean(name, map(str, found.variants))}"
        for name in config.prompt_variants or ()
        if name not in found.variants
    ]
    notes += [
        f"column {getattr(config.columns, role)!r}: {unread.rows:,} rows, the first of them row "
        f"{unread.row} of {unread.where}, hold neither null nor {READABLE[role]}; it counts as null"
        for role, unread in source.unread.items()
    ]
    words = config.drop_reflections_containing
    if words and not found.ledger.reflections.losses[Reason.FILTERED_TEXT]:
        notes.append(f"no valid reflection contains {' or '.join(map(repr, words))}")
    if config.sample_lengths and not any(
        format_of(name).samples_lengths for name in config.formats
    ):
        notes.append(f"sample_lengths has no effect on the formats {', '.join(config.formats)}")
    if problem := _ungradable(config, found):
        notes.append(f"check cannot replay rewards on all of these traces: {problem}")
    return notes


def _ungradable(config: CreateConfig, found: InputSummary) -> str | None:
    """Why a reward cannot be computed for some of the questions; None if it can."""
    unknown = []
    for name in found.tasks:
        try:
            if name is not None:
                task_of(name)
        except TaskError:
            unknown.append(name)
    if unknown:
        return f"no task is known as {unknown[0]!r}; name one with --task"
    if found.tasks[None]:
        return (
            f"column {config.task_column!r} must name their tasks (or --task), "
            f"and {config.answer_column!r} give their gold answers"
        )
    return None


def _last_id(job: WeaveJob, engine: Engine, wanted: int, notes: list[str]) -> str | None:
    """The largest id in a subsample of `wanted` traces; None if all traces are in it.

    Trace ids are digests, so the smallest ones are a fair draw that does not depend on the traces'
    order.
    """
    ids = b""
    for _, shard in engine.each_shard("subsample", replace(job, smallest=wanted), None):
        ids = smallest(ids + shard.ids, wanted)
    count = len(ids) // 32
    if count == wanted:
        return ids[-32:].decode()
    notes.append(f"a subsample of {wanted:,} traces was asked for, but there are only {count:,}")
    return None
