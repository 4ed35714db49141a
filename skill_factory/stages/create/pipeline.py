"""Step 2 as a whole: an annotated dataset becomes an SFT folder."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm
from xxhash import xxh3_128

from skill_factory.core.columns import Column
from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.ledger import Ledger, Reason
from skill_factory.core.sources.batches import Batch, Source
from skill_factory.core.sources.find_source import find_source
from skill_factory.core.sources.values import READABLE
from skill_factory.core.tables import LAYOUTS
from skill_factory.core.threads import MOST_USEFUL, in_order, release_at_once
from skill_factory.core.token_counts import TokenCounter
from skill_factory.core.whole_files import new_folder, resolved, scratch_folder
from skill_factory.errors import InputError, NothingMadeError, OutputError, TaskError
from skill_factory.stages.create.excluded import Excluded, load_excluded
from skill_factory.stages.create.folder import describe, join_files
from skill_factory.stages.create.formats import format_of
from skill_factory.stages.create.index import Choice, Indexed, index
from skill_factory.stages.create.memory import Memory, memory_of, shown
from skill_factory.stages.create.phrases import PhraseBank, load_phrases
from skill_factory.stages.create.plan import PlanSettings
from skill_factory.stages.create.result import CreateResult
from skill_factory.stages.create.settings import CreateConfig
from skill_factory.stages.create.shards import WeaveJob, each_shard, shards_for, smallest
from skill_factory.stages.create.spill import (
    MOST_AT_ONCE,
    NOTHING,
    Halves,
    Spill,
    power_of_two,
)
from skill_factory.tasks import load_installed, task_of

PART_BYTES = 16 << 20
"""About how much text is planned and woven at a time, where there may be more."""


def create(
    config: CreateConfig, source: Source | None = None, phrases: PhraseBank | None = None
) -> CreateResult:
    """Run step 2. `config` names an input, unless a `source` is given, and, unless it is a dry run,
    a local folder as output. `phrases` stand in the place of those that `config` names.

    Raises `SkillFactoryError`s. Whatever stops a run, even its death, the output folder is then not
    there, or as it was.
    """
    phrases = phrases or load_phrases(Path(config.phrases) if config.phrases else None)
    excluded, memory = load_excluded(config.exclude), memory_of(config)
    if memory.is_tight:
        release_at_once()
    if config.task is None:  # the input may name any task that is installed
        load_installed()
    source = source or find_source(
        config.input_dataset or "", config.input_config, config.input_split, config.revision
    )
    with ExitStack() as stack:
        folder = None if config.dry_run else stack.enter_context(_output(config))
        beside = Path(tempfile.gettempdir()) if folder is None else resolved(config.folder).parent
        place = _work_dir(config.work_dir) or beside
        if folder is None:
            stack.enter_context(_explained(place))
        work = stack.enter_context(scratch_folder(place))
        return _create(config, phrases, excluded, memory, source, work, folder)


@contextmanager
def _output(config: CreateConfig) -> Iterator[Path]:
    target = Path(config.folder)
    if config.input_dataset:
        _refuse_inside(target, config.input_dataset)
    with _explained(target), new_folder(target, config.overwrite) as folder:
        yield folder


def _refuse_inside(target: Path, source: str) -> None:
    """A folder that is read with all its files would be read with the output in it next time."""
    folder = Path(source).expanduser()
    if folder.is_dir() and resolved(target).is_relative_to(folder.resolve()):
        raise OutputError(f"{target}: lies inside the input {source}; choose an output beside it")


def _work_dir(chosen: str | None) -> Path | None:
    if chosen is None:
        return None
    if not (place := resolved(chosen)).is_dir():
        raise OutputError(f"--work-dir {chosen}: no such folder")
    return place


@contextmanager
def _explained(target: Path | str, advice: str = "") -> Iterator[None]:
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
    memory: Memory,
    source: Source,
    work: Path,
    folder: Path | None,
) -> CreateResult:
    """Step 2 with room to work in; `folder` None: nothing is woven."""
    with _explained(work.parent, "; --work-dir is for another disk"):
        found, spill = _index(config, excluded, source, work, memory)
    made = CreateResult(found.ledger, notes=_notes(config, found, source))
    if config.repository and not (config.license or source.license):
        made.notes.append("the card names no license; name one with --license")
    job = plan_job(config, phrases, excluded, spill, memory, made.notes)
    content, full, left_out = xxh3_128(), list[int](), list[str]()
    out = folder.parent if folder else None
    for number, shard in each_shard("weave", job, out):
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
    spill: Spill,
    memory: Memory,
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
        memory.workers,
        LAYOUTS[config.layout],
        counter,
        config.max_tokens or 0,
        config.check,
        memory,
    )
    if config.subsample:
        settings = replace(settings, last_id=_last_id(job, config.subsample, notes))
    # Only now: the subsample is drawn from all traces, so that it does not change for others.
    return replace(job, settings=replace(settings, excluded=excluded))


# -- reading --------------------------------------------------------------------------------------


@dataclass
class _InputSummary:
    """What the input held: its ledger and digest, halves of the digests of those of its questions
    that are to be excluded, which prompt variants and tasks."""

    ledger: Ledger = field(default_factory=Ledger)
    digest: int = 0
    excluded: Halves = field(default_factory=lambda: np.zeros(0, np.uint64))
    variants: Counter[str | None] = field(default_factory=Counter)
    tasks: Counter[str | None] = field(default_factory=Counter)


def _index(
    config: CreateConfig, excluded: Excluded, source: Source, work: Path, memory: Memory
) -> tuple[_InputSummary, Spill]:
    """Read the input once; what can be used is then in the spill, and all else in the ledger."""
    out = _InputSummary()
    bar = tqdm(desc="index", unit=" rows", total=source.count(), disable=None, leave=False)
    with bar, input_spill(source, work, memory) as spill:
        for batch, found in read_input(config, excluded, source, spill, memory):
            out.ledger.add(found.ledger)
            out.digest = (out.digest + found.digest) % (1 << 128)
            out.variants.update(found.variants)
            out.tasks.update(found.tasks)
            out.excluded = np.union1d(
                out.excluded, np.intersect1d(found.asked, excluded.question_halves)
            )
            bar.update(batch.table.num_rows)
    return out, fine_enough(spill, memory)


def input_spill(source: Source, work: Path, memory: Memory) -> Spill:
    """An empty spill for what can be used of an input."""
    size = min(PART_BYTES, memory.part // 2)
    parts = min(MOST_AT_ONCE, power_of_two(1 + source.size() // size))
    return Spill(work / "spill", parts, memory.buffer)


def read_input(
    config: CreateConfig, excluded: Excluded, source: Source, spill: Spill, memory: Memory
) -> Iterator[tuple[Batch, Indexed]]:
    """The input, a batch at a time; what can be used of it goes to the spill, and is not in what is
    given back.

    Raises `OutputError` if it looks as if the disk cannot hold the spill, and `InputError` if the
    memory cannot hold a batch.
    """
    choice = Choice(
        config.prompt_variants, config.drop_reflections_containing, config.task, excluded.rows
    )

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
        if (size := batch.table.nbytes) > memory.largest_batch:
            last = batch.file_row + batch.table.num_rows - 1
            raise InputError(
                f"{batch.where}: rows {batch.file_row} to {last} hold {shown(size)}, more than may "
                f"be read at a time with --memory {shown(memory.budget)}; set it to "
                f"{shown(memory.for_batch(size), up=True)}"
            )
        yield batch


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
    for part in range(spill.parts):
        if (size := spill.size(part)) > memory.largest_part:
            first = next(iter(spill.batches(part)))
            question = first.column(Column.QUESTION)[0].as_py()
            raise InputError(
                f"the question {question[:80]!r} has {shown(size)} of usable attempts, more than "
                f"--memory {shown(memory.budget)} can hold; set it to "
                f"{shown(memory.for_part(size), up=True)}, or is the question column the right "
                "one? (--question-column)"
            )
    return spill


def _notes(config: CreateConfig, found: _InputSummary, source: Source) -> list[str]:
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


def _ungradable(config: CreateConfig, found: _InputSummary) -> str | None:
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


def _last_id(job: WeaveJob, wanted: int, notes: list[str]) -> str | None:
    """The largest id in a subsample of `wanted` traces; None if all traces are in it.

    Trace ids are digests, so the smallest ones are a fair draw that does not depend on the traces'
    order.
    """
    ids = b""
    for _, shard in each_shard("subsample", replace(job, smallest=wanted), None):
        ids = smallest(ids + shard.ids, wanted)
    count = len(ids) // 32
    if count == wanted:
        return ids[-32:].decode()
    notes.append(f"a subsample of {wanted:,} traces was asked for, but there are only {count:,}")
    return None
