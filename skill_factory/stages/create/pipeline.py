"""Step 2 as a whole: an annotated dataset becomes an SFT folder."""

from __future__ import annotations

import json
import platform
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm
from xxhash import xxh3_128

from skill_factory import __version__
from skill_factory.core.arrays import offsets
from skill_factory.core.engines import MOST_USEFUL, default_workers, in_order
from skill_factory.core.files import new_folder, resolved, sha256
from skill_factory.core.ledger import Ledger, Reason
from skill_factory.core.markup import read
from skill_factory.core.sources import Batch, Source, find_source
from skill_factory.core.tables import LAYOUTS, PLAN
from skill_factory.core.tokens import TokenCounter
from skill_factory.core.values import READABLE
from skill_factory.errors import NothingMadeError, OutputError, TaskError
from skill_factory.plugins import shown
from skill_factory.stages.create import card
from skill_factory.stages.create.formats import format_of
from skill_factory.stages.create.index import Choice, Indexed, index
from skill_factory.stages.create.phrases import Kind, PhraseBank, load_phrases
from skill_factory.stages.create.pools import Spill, Unit, read_unit
from skill_factory.stages.create.settings import CreateConfig
from skill_factory.stages.create.weave import Plan, PlanSettings, plan, plan_table, weave
from skill_factory.tasks import load_installed, task_of

PART_BYTES = 16 << 20
"""About how much text is planned and woven at a time; it bounds a worker's memory."""

SHARD_BYTES = 64 << 20
"""Text of valid attempts behind one output file, which is what one worker makes."""

MAX_PARTS = 4096

MAX_SHARDS = 32
"""A push of more than 50 files is no longer one commit (huggingface_hub 2.4)."""

# Settings that say where and how a run goes, not what it makes.
_NOT_CONTENT = {
    *("input_dataset", "input_config", "input_split", "revision", "output_dataset"),
    *("workers", "overwrite", "dry_run", "push", "private", "license", "model"),
}


@dataclass
class Made:
    """What a run made, or in a dry run would make.

    `labels` counts traces; `notes` are for the user to read; `sample` is the text of a trace, None
    after a dry run.
    """

    ledger: Ledger = field(default_factory=Ledger)
    labels: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    sample: str | None = None

    def told(self) -> str:
        """All of it for a person, as lines of text."""
        lines = [self.ledger.table(), "", f"{'label':34}{'traces':>12}"]
        lines += [f"{label:34}{count:12,}" for label, count in sorted(self.labels.items())]
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def create(config: CreateConfig) -> Made:
    """Run step 2. `config` names an input and, unless it is a dry run, a local folder as output.

    Raises `SkillFactoryError`s. Whatever stops a run, even its death, the output folder is then not
    there, or as it was.
    """
    phrases = load_phrases(Path(config.phrases) if config.phrases else None)
    if config.task is None:  # the input may name any task that is installed
        load_installed()
    source = find_source(
        config.input_dataset or "", config.input_config, config.input_split, config.revision
    )
    if config.dry_run:
        with (
            _explained(tempfile.gettempdir()),
            tempfile.TemporaryDirectory(prefix="skill-factory-") as work,
        ):
            return _create(config, phrases, source, Path(work), None)
    target = Path(config.folder)
    _refuse_inside(target, config.input_dataset or "")
    with _explained(target), new_folder(target, config.overwrite) as folder:
        return _create(config, phrases, source, folder.parent, folder)


def _refuse_inside(target: Path, source: str) -> None:
    """A folder that is read with all its files would be read with the output in it next time."""
    folder = Path(source).expanduser()
    if folder.is_dir() and resolved(target).is_relative_to(folder.resolve()):
        raise OutputError(f"{target}: lies inside the input {source}; choose an output beside it")


@contextmanager
def _explained(target: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written: {error.strerror or error}. "
            "Nothing was left there; once this is mended, the same command works."
        ) from None


def _create(
    config: CreateConfig, phrases: PhraseBank, source: Source, work: Path, folder: Path | None
) -> Made:
    """Step 2 with room to work in; `folder` None: nothing is woven."""
    workers = config.workers or default_workers()
    found, spill = _index(config, source, work, workers)
    made = Made(found.ledger, notes=_notes(config, found, source))
    if config.repository and not (config.license or source.license):
        made.notes.append("the card names no license; name one with --license")
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
    job = _Job(
        spill, shards, settings, workers, LAYOUTS[config.layout], counter, config.max_tokens or 0
    )
    if config.subsample:
        last = _last_id(job, config.subsample, made)
        job = replace(job, settings=replace(settings, last_id=last))
    content, full = xxh3_128(), []
    for number, shard in _each_shard("weave", job, work if folder else None):
        made.ledger.add(shard.ledger)
        made.labels.update(shard.labels)
        made.sample = made.sample or shard.sample
        content.update(shard.digests)
        full += [number] if shard.ledger.traces.kept else []
    questions = made.ledger.questions
    questions.lose(Reason.NO_VALID_ATTEMPT, found.questions - questions.read)
    questions.read = found.questions
    made.ledger.check()
    if not made.ledger.traces.kept:
        raise NothingMadeError("0 traces; the table says why", made.told())
    if folder:
        _join(work, full, folder)
        _describe(folder, config, source, found, made, phrases, content.hexdigest())
    return made


# -- reading --------------------------------------------------------------------------------------


@dataclass
class _Found:
    """What the input held: its ledger and digest, how many questions, which prompt variants and
    tasks."""

    ledger: Ledger = field(default_factory=Ledger)
    digest: int = 0
    questions: int = 0
    variants: Counter[str | None] = field(default_factory=Counter)
    tasks: Counter[str | None] = field(default_factory=Counter)


def _index(config: CreateConfig, source: Source, work: Path, workers: int) -> tuple[_Found, Spill]:
    """Read the input once; what can be used is then in the spill, and all else in the ledger."""
    choice = Choice(config.prompt_variants, config.drop_reflections_containing, config.task)
    out, asked = _Found(), np.array([], np.uint64)
    more: list[npt.NDArray[np.uint64]] = []
    bar = tqdm(desc="index", unit=" rows", total=source.count(), disable=None, leave=False)
    with bar, Spill(work / "spill.arrow", _parts(source.size())) as spill:

        def task(batch: Batch) -> Indexed:
            found = index(batch, config.columns, choice)
            spill.add(found.usable)
            return found

        batches = source.batches(config.columns)
        for batch, found in in_order(task, batches, min(workers, MOST_USEFUL)):
            out.ledger.add(found.ledger)
            out.digest = (out.digest + found.digest) % (1 << 128)
            out.variants.update(found.variants)
            out.tasks.update(found.tasks)
            more.append(found.asked)
            if sum(map(len, more)) > len(asked):  # so each is sorted only a few times
                asked, more = np.unique(np.concatenate([asked, *more])), []
            bar.update(batch.table.num_rows)
    out.questions = len(np.unique(np.concatenate([asked, *more])))
    needed = _parts(spill.text_bytes)
    return out, spill if spill.parts * 4 >= needed else _cut_finer(spill, needed)


def _parts(text_bytes: int) -> int:
    return min(MAX_PARTS, 1 + text_bytes // PART_BYTES)


def _cut_finer(spill: Spill, parts: int) -> Spill:
    """The same in more parts: there was far more text than the size of the input told."""
    with Spill(spill.path.with_name("finer.arrow"), parts) as finer:
        for batch in spill.batches():
            finer.add(batch)
    spill.path.unlink()
    return finer


def _notes(config: CreateConfig, found: _Found, source: Source) -> list[str]:
    """What could not be read, and settings without effect: most likely not what the user meant."""
    there = ", ".join(sorted(map(str, found.variants)))
    notes = [
        f"no attempt has the prompt variant {name!r}; there are: {there}"
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


def _ungradable(config: CreateConfig, found: _Found) -> str | None:
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


# -- planning and weaving -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """What is to be done: neighbouring parts of the spill make one of the `shards`.

    `schema` is that of the traces; with a `counter`, those of over `max_tokens` are dropped.
    """

    spill: Spill
    shards: int
    settings: PlanSettings
    workers: int
    schema: pa.Schema
    counter: TokenCounter | None
    max_tokens: int

    def plan(self, unit: Unit) -> tuple[Plan, Ledger]:
        """The plan of a unit, without the traces that are too long."""
        planned, ledger = plan(unit, self.settings)
        if self.counter is None:
            return planned, ledger
        too_long: set[str] = set()
        for batch in weave(planned, unit, self.settings.phrases):
            texts = batch.column(0).flatten().field("content").to_pylist()
            tokens = self.counter.count(texts[::2], texts[1::2])
            ids = batch.column("trace_id").to_pylist()
            too_long.update(ids[i] for i in np.flatnonzero(tokens > self.max_tokens))
        # Planned again, so that what is used only in those traces is counted as left over.
        return plan(unit, replace(self.settings, too_long=frozenset(too_long)))


@dataclass
class _Shard:
    """What became of one shard.

    `ids` has its traces' ids, 32 bytes each, if nothing is woven; else `sample` is the text of one
    trace, and `digests` has 16 bytes for each.
    """

    ledger: Ledger = field(default_factory=Ledger)
    labels: Counter[str] = field(default_factory=Counter)
    ids: bytes = b""
    sample: str | None = None
    digests: bytes = b""


def _each_shard(name: str, job: _Job, out: Path | None) -> Iterator[tuple[int, _Shard]]:
    done = in_order(partial(_do_shard, job, out), range(job.shards), job.workers)
    yield from tqdm(done, name, job.shards, unit=" shards", disable=None, leave=False)


def _do_shard(job: _Job, out: Path | None, number: int) -> _Shard:
    """Plan one shard and, where `out` is a folder, write its traces and its part of the plan
    there."""
    shard = _Shard()
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
            unit = read_unit(job.spill, part)
            planned, ledger = job.plan(unit)
            shard.ledger.add(ledger)
            shard.labels.update(planned.labels)
            if not out:
                shard.ids += "".join(planned.ids).encode()
            if not out or not planned.ids:
                continue
            plans.write_table(plan_table(planned, unit))
            for batch in weave(planned, unit, job.settings.phrases):
                traces.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=job.schema))
                shard.digests += _digests(batch)
                shard.sample = shard.sample or _sample(batch)
    return shard


def _digests(batch: pa.RecordBatch) -> bytes:
    """16 bytes a trace that name its texts, label and id."""
    texts = batch.column("conversations").flatten().field("content")
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
    rows = batch.column("conversations").slice(0, 20).to_pylist()
    texts: list[str] = [turns[1]["content"] for turns in rows]
    return min(texts, key=lambda text: (len(read(text).attempts) < 2, len(text)))


def _last_id(job: _Job, wanted: int, made: Made) -> str | None:
    """The largest id in a subsample of `wanted` traces; None if all traces are in it.

    Trace ids are digests, so the smallest ones are a fair draw that does not depend on the traces'
    order.
    """
    ids = np.array([], "S32")
    for _, shard in _each_shard("subsample", job, None):
        ids = np.sort(np.concatenate([ids, np.frombuffer(shard.ids, "S32")]))[:wanted]
    if len(ids) == wanted:
        return bytes(ids[-1]).decode()
    made.notes.append(
        f"a subsample of {wanted:,} traces was asked for, but there are only {len(ids):,}"
    )
    return None


# -- the folder -----------------------------------------------------------------------------------


def _join(work: Path, full: list[int], folder: Path) -> None:
    """Name the workers' files, leaving out empty shards, and join their parts of the plan."""
    (folder / "sft_train").mkdir()
    with pq.ParquetWriter(folder / "plan.parquet", PLAN, compression="zstd") as plans:
        for place, number in enumerate(full):
            name = f"train-{place:05}-of-{len(full):05}.parquet"
            (work / f"train-{number}.parquet").rename(folder / "sft_train" / name)
            with pq.ParquetFile(work / f"plan-{number}.parquet") as part:
                for batch in part.iter_batches():
                    plans.write_batch(batch)


def _describe(
    folder: Path,
    config: CreateConfig,
    source: Source,
    found: _Found,
    made: Made,
    phrases: PhraseBank,
    digest: str,
) -> None:
    """Write the card, the LLaMA-Factory entry and, last, the manifest."""
    ledger = made.ledger
    manifest: dict[str, Any] = {
        "versions": {
            "skill_factory": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("pyarrow", "numpy", "datasets", "huggingface_hub")},
        },
        "input": {
            "name": source.name,
            **source.origin,
            "license": config.license or source.license,
            "model": config.model,
            "rows": ledger.rows.read,
            "files": source.rows,
            "digest": f"{found.digest:032x}",
        },
        "settings": _settings(config),
        "counts": {
            "traces": ledger.traces.kept,
            "questions": ledger.questions.kept,
            "labels": dict(sorted(made.labels.items())),
        },
        "ledger": ledger.as_dict(),
        "output": {"digest": digest},
        "phrases": {kind.value: phrases.phrases[kind] for kind in Kind},
    }
    _write(folder / "README.md", card.dataset_card(manifest, made.sample or "", ledger.table()))
    entry = card.llama_factory_entry(card.CONFIG, config.layout, file=True)
    _write(folder / "dataset_info.json", json.dumps({folder.name: entry}, indent=2) + "\n")
    # The card and the entry are for people to change; these are not.
    manifest["output"]["files"] = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*.parquet"))
    }
    _write(folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def _settings(config: CreateConfig) -> dict[str, Any]:
    """The settings that say what is made; of a user's own file only its name."""
    settings = config.model_dump(mode="json", exclude=_NOT_CONTENT)
    task = config.task and shown(config.task)
    return settings | {"formats": list(map(shown, config.formats)), "task": task}


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
