"""What is looked at: an SFT folder, a run's folder, or files of chats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import nsmallest
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_64_intdigest

from skill_factory.core import markup
from skill_factory.core.arrays import Ints, numbers
from skill_factory.core.columns import Column, Columns
from skill_factory.core.ledger import Ledger
from skill_factory.core.places import Place
from skill_factory.core.settings.checking import checked
from skill_factory.core.settings.fields import SettingError
from skill_factory.core.settings.value_types import Origin
from skill_factory.core.sft_manifest import (
    account_problem,
    input_file,
    read_manifest,
    sft_manifest,
)
from skill_factory.core.sources.attempts import attempt_ids, attempts_of, sum_of_digests
from skill_factory.core.sources.batches import Source
from skill_factory.core.sources.chats import (
    ChatBatch,
    Chats,
    one_line_for_damaged,
    texts_of,
)
from skill_factory.core.sources.find_source import find_source
from skill_factory.core.tables import PLAN
from skill_factory.errors import InputError
from skill_factory.look.grading import correctness
from skill_factory.look.spans import Span, spans_of
from skill_factory.runs import lock
from skill_factory.runs.folder import RunFolder, Stage
from skill_factory.stages.create.phrases import Kind, PhraseBank
from skill_factory.stages.create.settings import CreateConfig


@dataclass(frozen=True)
class Trace:
    """A trace, or what a model answered in its place.

    `id` is its `trace_id`, or where the data has none FILE:ROW (from 0); `number` its place among
    all, from 0. `plan` is its row of `tables.PLAN`; None: it has none. `correct` says of each
    attempt whether it is right; where it is shorter, or None, that is not known.
    """

    id: str
    number: int
    label: str | None
    question: str
    text: str
    plan: Mapping[str, Any] | None
    correct: tuple[bool | None, ...]

    @property
    def about(self) -> list[str]:
        """What it is called by, in words: its label."""
        return [self.label] if self.label else []

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The plan's steps; empty without a plan."""
        return list(self.plan[Column.STEPS]) if self.plan else []

    def spans(self) -> list[Span]:
        """What it is made of; joined, the spans' texts are `text`."""
        if self.plan is None:
            return spans_of(self.text, self.correct)
        return spans_of(self.text, self.correct, self.plan[Column.ANSWER_OF], self.plan["restated"])


class ChatFiles:
    """Files of chats: `path` is what the user named, `chats` what is in it."""

    thing: ClassVar = "trace"
    """What one of them is called."""

    def __init__(self, path: Path, files: Sequence[Place]) -> None:
        self.path = path
        self.chats: Chats = Chats(tuple(files))

    @property
    def count(self) -> int:
        """How many traces there are."""
        return self.chats.count

    def ids_of(self, batch: ChatBatch) -> list[str]:
        """The traces' ids, as `Trace` has them."""
        where = batch.where.name if batch.where == self.path else self._relative(batch.where)
        named = enumerate(texts_of(batch.trace_id), batch.file_row)
        return [name or f"{where}:{row}" for row, name in named]

    def labels_of(self, batch: ChatBatch) -> list[pa.Array]:
        """What `--label` goes by: columns with a name for each trace."""
        return [batch.label]

    def _relative(self, file: Place) -> str:
        assert isinstance(file, Path)  # of what lies in a store, a copy is looked at
        return str(file.relative_to(self.path))

    def sample(self, n: int, seed: int = 0, among: Ints | None = None) -> list[int]:
        """The numbers of `n` traces, in order, drawn by their ids and the seed alone; all of them
        if there are fewer. `among`: sorted numbers to draw from; None: all."""
        drawn: list[tuple[int, int]] = []
        for batch in self.chats.batches(texts=False, only=among):
            ids = self.ids_of(batch)
            places = range(len(batch)) if among is None else _within(among, batch)
            found = [
                (xxh3_64_intdigest(ids[place].encode(), seed % (1 << 64)), batch.number + place)
                for place in places
            ]
            drawn = nsmallest(n, [*drawn, *found])
        return sorted(number for _, number in drawn)

    def read(self, wanted: Iterable[int]) -> Iterator[Trace]:
        """The traces with these numbers, in order; no other is held."""
        chosen = np.unique(np.fromiter(wanted, np.int64))
        for batch in self.chats.batches(only=chosen) if len(chosen) else ():
            places = _within(chosen, batch)
            yield from self._traces(batch, places, self.ids_of(batch))

    def _traces(self, batch: ChatBatch, places: Sequence[int], ids: list[str]) -> Iterator[Trace]:
        rows = zip(places, *_texts_at(batch, places), strict=True)
        for place, question, text, label in rows:
            right = correctness(markup.read(text), question, batch.beside(place))
            number = batch.number + place
            yield Trace(ids[place], number, label, question, text, None, right)


def _within(chosen: Ints, batch: ChatBatch) -> list[int]:
    """The places in a batch of those of its traces that are chosen."""
    start, stop = np.searchsorted(chosen, (batch.number, batch.number + len(batch)))
    places: list[int] = (chosen[start:stop] - batch.number).tolist()
    return places


def _texts_at(
    batch: ChatBatch, places: Sequence[int]
) -> tuple[list[str], list[str], list[str | None]]:
    """The questions, texts and labels at some places."""
    at = numbers(np.asarray(places, np.int64))
    question, text, label = (
        texts_of(column.take(at)) for column in (batch.question, batch.text, batch.label)
    )
    return [one or "" for one in question], [one or "" for one in text], label


class SftFolder(ChatFiles):
    """An SFT folder: its traces beside their plan, and what its manifest says.

    Raises `InputError` for one with files missing, or a damaged manifest. That they are as they
    were made is `check`'s to say.
    """

    def __init__(self, path: Path) -> None:
        self.manifest: Mapping[str, Any] = sft_manifest(path)
        names = [name for name in self.manifest["output"]["files"] if name.endswith(".parquet")]
        for name in names:
            if not (path / name).is_file():
                raise InputError(
                    f"{path / name}: is missing, though manifest.json names it; make it again"
                )
        super().__init__(path, sorted(path / name for name in names if "/" in name))

    @property
    def plan(self) -> Path:
        """The file with the traces' plan (`tables.PLAN`)."""
        return self.path / "plan.parquet"

    def plan_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The plan, some rows at a time; raises `InputError` for one of other columns or of another
        number of traces."""
        with one_line_for_damaged(self.plan), pq.ParquetFile(self.plan) as file:
            if file.metadata.num_rows != self.count:
                raise self.other_plan()
            for name in columns or PLAN.names:
                if name not in file.schema_arrow.names:
                    raise InputError(f"{self.plan}: has no column {name!r}; make it again")
            yield from file.iter_batches(columns=columns)

    def read(self, wanted: Iterable[int]) -> Iterator[Trace]:
        """As `ChatFiles.read`, each with its plan. Raises `InputError` if the two do not tell of
        the same traces."""
        chosen = np.unique(np.fromiter(wanted, np.int64))
        for trace, plan in zip(super().read(chosen), self._plans(chosen), strict=False):
            if plan[Column.TRACE_ID] != trace.id:
                raise self.other_plan()
            right = tuple(step[Column.CORRECT] for step in plan[Column.STEPS])
            yield replace(trace, plan=plan, correct=right)

    def other_plan(self) -> InputError:
        """What is said of a plan that is another folder's."""
        return InputError(f"{self.plan}: does not tell of these traces; make the folder again")

    def _plans(self, chosen: Ints) -> Iterator[dict[str, Any]]:
        """The plan's rows with these numbers; it has the traces' order."""
        first = 0
        for batch in self.plan_batches():
            start, stop = np.searchsorted(chosen, (first, first + batch.num_rows))
            yield from batch.take(numbers(chosen[start:stop] - first)).to_pylist()
            first += batch.num_rows

    def _traces(self, batch: ChatBatch, places: Sequence[int], ids: list[str]) -> Iterator[Trace]:
        for place, question, text, label in zip(places, *_texts_at(batch, places), strict=True):
            yield Trace(ids[place], batch.number + place, label, question, text, None, ())

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings it was made with, as the manifest has them."""
        found: Mapping[str, Any] = self.manifest["settings"]
        return found

    @property
    def columns(self) -> Columns:
        """The names of its input's columns; raises `InputError` for what this version does not
        know."""
        names = {key: value for key, value in self.settings.items() if key.endswith("_column")}
        return self._checked(names).columns

    def config(self) -> CreateConfig:
        """The settings it was made with, but for where its input and output are. Raises
        `InputError` for what this version does not know, and for a format or task of a user's own,
        of which only the name is kept."""
        return self._checked({**self.settings, "phrases": None})

    def _checked(self, said: Mapping[str, Any]) -> CreateConfig:
        try:
            # Not the user's own words: code that the manifest names is not loaded.
            return checked(CreateConfig, said, origin=Origin(trusted=False))
        except SettingError as error:
            raise InputError(
                f"{self.path / 'manifest.json'}: settings: {error}: this version cannot make it "
                "again as it was"
            ) from None

    @cached_property
    def phrases(self) -> PhraseBank:
        """The phrases it was made with; raises `InputError` if the manifest has them not."""
        try:
            return PhraseBank({kind: tuple(self.manifest["phrases"][kind]) for kind in Kind})
        except (KeyError, TypeError):
            raise InputError(
                f"{self.path / 'manifest.json'}: has no phrases; make it again"
            ) from None

    def input(self) -> SftInput:
        """The annotated dataset that it was made from. Raises `InputError` if that is not there any
        more, or has another number of rows."""
        said = self.manifest["input"]
        name, revision = str(said["name"]), said.get("revision")
        run = run_of(self.path)
        if not revision:
            name = str(self.input_path(name))
        source = find_source(name, said.get("config"), said.get("split"), revision)
        if (rows := source.count()) is not None and rows != said["rows"]:
            raise InputError(
                f"{name}: has {rows:,} rows, and {self.path} was made from {said['rows']:,}"
            )
        beside = run is not None and Path(name).parent.resolve() == run.path.resolve()
        return SftInput(source, self.columns, run if beside else None)

    def same_input(self) -> SftInput:
        """As `input`, which is read for it: raises `InputError` also if its content is not what it
        was."""
        found = self.input()
        digest = sum(
            sum_of_digests(attempt_ids(attempts_of(batch, found.columns, Ledger())))
            for batch in found.source.batches(found.columns)
        )
        if f"{digest % (1 << 128):032x}" != self.manifest["input"]["digest"]:
            raise InputError(
                f"{found.source.name}: is not what {self.path} was made from; "
                "`skill-factory verify` says what differs"
            )
        return found

    def input_path(self, name: str) -> Place:
        """Where the file is: as it was named, or beside the folder, as in a run that was moved."""
        path = input_file(name, self.path.resolve().parent)
        if path is None:
            raise InputError(
                f"{self.path}: was made from {name}, which is not here; put it there, or beside "
                "the folder"
            )
        return path


class SftInput(NamedTuple):
    """The annotated dataset an SFT folder was made from, the names of its columns, and the run in
    whose folder it lies; None: in none."""

    source: Source
    columns: Columns
    run: RunView | None


class RunView:
    """A run's folder, finished or not: the tables that are there, read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = RunFolder(path)

    def table(self, stage: Stage) -> Path | None:
        """The file that a stage made (`create` makes no table); None: it has not yet."""
        path = self.folder.path(stage)
        return path if stage is not Stage.CREATE and path.is_file() else None

    def accounts(self, stage: Stage) -> Mapping[str, Any]:
        """The accounts of a stage by kind; empty: it was not made. Raises `InputError` for damaged
        ones."""
        record = self.folder.records.get(stage)
        found: Mapping[str, Any] = record.accounts if record else {}
        if problem := account_problem(found, f"stages.{stage}.accounts"):
            raise InputError(
                f"{self.path / 'manifest.json'}: {problem}; make it anew with `skill-factory run "
                f"--from {stage}`"
            )
        return found

    @cached_property
    def sft(self) -> SftFolder | None:
        """Its SFT folder; None: there is none yet."""
        sft = self.folder.sft
        return SftFolder(sft) if "output" in read_manifest(sft) else None


def run_of(sft: Path) -> RunView | None:
    """The run whose SFT folder this is; None: it lies in none."""
    parent = sft.resolve().parent
    return RunView(parent) if is_run(parent) else None


def is_run(path: Path) -> bool:
    """Whether a folder is a run's, even one that has only begun."""
    return "stages" in read_manifest(path) or (path / lock.NAME).is_file()
