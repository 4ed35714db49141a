"""Step 2 as a whole: an annotated dataset becomes an SFT folder."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm
from xxhash import xxh3_128

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.ledger import Ledger, Reason
from skill_factory.core.places import Place, place
from skill_factory.core.sources.batches import Batch, Source
from skill_factory.core.sources.find_source import find_source
from skill_factory.core.sources.values import READABLE
from skill_factory.core.tables import LAYOUTS
from skill_factory.core.threads import MOST_USEFUL, default_workers, in_order
from skill_factory.core.token_counts import TokenCounter
from skill_factory.core.whole_files import lies_inside, new_folder
from skill_factory.errors import NothingMadeError, OutputError, TaskError
from skill_factory.stages.create.excluded import Excluded, load_excluded
from skill_factory.stages.create.folder import describe, join_files
from skill_factory.stages.create.formats import format_of
from skill_factory.stages.create.index import Choice, Indexed, index
from skill_factory.stages.create.phrases import PhraseBank, load_phrases
from skill_factory.stages.create.plan import PlanSettings
from skill_factory.stages.create.pools import Spill
from skill_factory.stages.create.result import CreateResult
from skill_factory.stages.create.settings import CreateConfig
from skill_factory.stages.create.shards import MAX_SHARDS, SHARD_BYTES, WeaveJob, each_shard
from skill_factory.tasks import load_installed, task_of

PART_BYTES = 16 << 20
"""About how much text is planned and woven at a time; it bounds a worker's memory."""

MAX_PARTS = 4096


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
    if config.dry_run:
        with (
            _explained(tempfile.gettempdir()),
            tempfile.TemporaryDirectory(prefix="skill-factory-") as work,
        ):
            return _create(config, phrases, excluded, source, Path(work), None)
    target = place(config.folder)
    if config.input_dataset:
        _refuse_inside(target, place(config.input_dataset))
    with _explained(target), new_folder(target, config.overwrite) as folder:
        return _create(config, phrases, excluded, source, folder.parent, folder)


def _refuse_inside(target: Place, source: Place) -> None:
    """A folder that is read with all its files would be read with the output in it next time."""
    if lies_inside(target, source):
        raise OutputError(f"{target}: lies inside the input {source}; choose an output beside it")


@contextmanager
def _explained(target: Place | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written: {error.strerror or error}. "
            "Nothing was left there; once this is mended, the same command works."
        ) from None


def _create(
    config: CreateConfig,
    phrases: PhraseBank,
    excluded: Excluded,
    source: Source,
    work: Path,
    folder: Path | None,
) -> CreateResult:
    """Step 2 with room to work in; `folder` None: nothing is woven."""
    workers = config.workers or default_workers()
    found, spill = _index(config, excluded, source, work, workers)
    made = CreateResult(found.ledger, notes=_notes(config, found, source))
    if config.repository and not (config.license or source.license):
        made.notes.append("the card names no license; name one with --license")
    job = plan_job(config, phrases, excluded, spill, workers, made.notes)
    content, full, left_out = xxh3_128(), list[int](), list[str]()
    for number, shard in each_shard("weave", job, work if folder else None):
        made.ledger.add(shard.ledger)
        made.labels.update(shard.labels)
        made.sample = made.sample or shard.sample
        content.update(shard.digests)
        full += [number] if shard.ledger.traces.kept else []
        left_out += shard.excluded
    questions = made.ledger.questions
    questions.lose(Reason.NO_VALID_ATTEMPT, len(found.asked) - questions.read)
    questions.read = len(found.asked)
    made.notes += excluded.unmatched(found.ledger.rows.read, found.asked, left_out)
    made.ledger.check()
    if not made.ledger.traces.kept:
        raise NothingMadeError("0 traces; the table says why", made.summary())
    if folder:
        join_files(work, full, folder)
        digests = f"{found.digest:032x}", content.hexdigest()
        describe(folder, config, source, phrases, made, *digests, excluded.entries)
    return made


def plan_job(
    config: CreateConfig,
    phrases: PhraseBank,
    excluded: Excluded,
    spill: Spill,
    workers: int,
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
    shards = min(spill.parts, MAX_SHARDS, 1 + spill.text_bytes // SHARD_BYTES)
    counter = TokenCounter(config.tokenizer) if config.tokenizer else None
    job = WeaveJob(
        spill,
        shards,
        settings,
        workers,
        LAYOUTS[config.layout],
        counter,
        config.max_tokens or 0,
        config.check,
    )
    if config.subsample:
        settings = replace(settings, last_id=_last_id(job, config.subsample, notes))
    # Only now: the subsample is drawn from all traces, so that it does not change for others.
    return replace(job, settings=replace(settings, excluded=excluded))


# -- reading --------------------------------------------------------------------------------------


@dataclass
class _InputSummary:
    """What the input held: its ledger and digest, halves of the digests of its questions, sorted,
    which prompt variants and tasks."""

    ledger: Ledger = field(default_factory=Ledger)
    digest: int = 0
    asked: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    variants: Counter[str | None] = field(default_factory=Counter)
    tasks: Counter[str | None] = field(default_factory=Counter)


def _index(
    config: CreateConfig, excluded: Excluded, source: Source, work: Path, workers: int
) -> tuple[_InputSummary, Spill]:
    """Read the input once; what can be used is then in the spill, and all else in the ledger."""
    out = _InputSummary()
    more: list[npt.NDArray[np.uint64]] = []
    bar = tqdm(desc="index", unit=" rows", total=source.count(), disable=None, leave=False)
    with bar, input_spill(source, work) as spill:
        for batch, found in read_input(config, excluded, source, spill, workers):
            out.ledger.add(found.ledger)
            out.digest = (out.digest + found.digest) % (1 << 128)
            out.variants.update(found.variants)
            out.tasks.update(found.tasks)
            more.append(found.asked)
            if sum(map(len, more)) > len(out.asked):  # so each is sorted only a few times
                out.asked, more = np.unique(np.concatenate([out.asked, *more])), []
            bar.update(batch.table.num_rows)
    out.asked = np.unique(np.concatenate([out.asked, *more]))
    return out, fine_enough(spill)


def input_spill(source: Source, work: Path) -> Spill:
    """An empty spill for what can be used of an input."""
    return Spill(work / "spill.arrow", _parts(source.size()))


def read_input(
    config: CreateConfig, excluded: Excluded, source: Source, spill: Spill, workers: int
) -> Iterator[tuple[Batch, Indexed]]:
    """The input, a batch at a time; what can be used of it goes to the spill."""
    choice = Choice(
        config.prompt_variants, config.drop_reflections_containing, config.task, excluded.rows
    )

    def task(batch: Batch) -> Indexed:
        found = index(batch, config.columns, choice)
        spill.add(found.usable)
        return found

    yield from in_order(task, source.batches(config.columns), min(workers, MOST_USEFUL))


def fine_enough(spill: Spill) -> Spill:
    """A spill that is complete, or the same in more parts: there may be far more text than the size
    of the input promised."""
    needed = _parts(spill.text_bytes)
    return spill if spill.parts * 4 >= needed else _cut_finer(spill, needed)


def _parts(text_bytes: int) -> int:
    return min(MAX_PARTS, 1 + text_bytes // PART_BYTES)


def _cut_finer(spill: Spill, parts: int) -> Spill:
    with Spill(spill.path.with_name("finer.arrow"), parts) as finer:
        for batch in spill.batches():
            finer.add(batch)
    spill.path.unlink()
    return finer


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
    ids = np.array([], "S32")
    for _, shard in each_shard("subsample", job, None):
        ids = np.sort(np.concatenate([ids, np.frombuffer(shard.ids, "S32")]))[:wanted]
    if len(ids) == wanted:
        return bytes(ids[-1]).decode()
    notes.append(f"a subsample of {wanted:,} traces was asked for, but there are only {len(ids):,}")
    return None
