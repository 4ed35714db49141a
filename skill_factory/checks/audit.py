"""The verdict audit: what the reflections of an annotated dataset say, held against the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from skill_factory.core import trace_tags as tags
from skill_factory.core.arrays import Ints, given, numbers, strings, view
from skill_factory.core.columns import Columns
from skill_factory.core.ledger import Ledger
from skill_factory.core.sft_manifest import input_file
from skill_factory.core.sources.attempts import (
    Attempts,
    attempt_ids,
    attempts_of,
    sum_of_digests,
)
from skill_factory.core.sources.batches import Batch, Source
from skill_factory.core.sources.find_source import find_source
from skill_factory.core.sources.validate import holds
from skill_factory.core.threads import MOST_USEFUL, default_workers, in_order
from skill_factory.errors import InputError

_CELLS = ("incorrect", "correct", "none")
"""The verdicts in the order of a row's cells."""


@dataclass
class Confusion:
    """Verdicts on attempts whose truth is known. `cells[t][v]`: attempts that are wrong (t 0) or
    right (t 1), and verdicts Incorrect (v 0), Correct (v 1), or none that can be read (v 2).

    Rates are None where nothing is there to divide by. A reflection without a verdict counts
    against recall: it did not find what it was to judge.
    """

    cells: Ints = field(default_factory=lambda: np.zeros((2, 3), np.int64))

    @property
    def reflections(self) -> int:
        """How many there are."""
        return int(self.cells.sum())

    def precision(self, right: bool) -> float | None:
        """Of the verdicts that say right (or wrong), the share that is true."""
        return _share(self.cells[int(right), int(right)], self.cells[:, int(right)].sum())

    def recall(self, right: bool) -> float | None:
        """Of the reflections on right (or wrong) attempts, the share that says so."""
        return _share(self.cells[int(right), int(right)], self.cells[int(right)].sum())

    def f1(self, right: bool) -> float | None:
        """The harmonic mean of both."""
        both = self.cells[int(right)].sum() + self.cells[:, int(right)].sum()
        return _share(2 * self.cells[int(right), int(right)], both)

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean recall of both classes: 0.5 is chance, whatever the share of right attempts."""
        recalls = [self.recall(right) for right in (True, False)]
        known = [recall for recall in recalls if recall is not None]
        return sum(known) / 2 if len(known) == 2 else None

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        of = {True: "correct", False: "incorrect"}
        return {
            "reflections": self.reflections,
            "counts": {
                of[bool(t)]: dict(zip(_CELLS, map(int, self.cells[t]), strict=True)) for t in (1, 0)
            },
            **{
                of[right]: {
                    "precision": self.precision(right),
                    "recall": self.recall(right),
                    "f1": self.f1(right),
                }
                for right in (True, False)
            },
        }


@dataclass
class Audit:
    """What an annotated dataset says of its model's judgement.

    `by_variant` and `by_task` have a confusion for each prompt variant and task. `attempts` are
    those that are decided and have reflections, [wrong, right], and `lost` those of them that the
    filter for true verdicts leaves without any. `agreeing` of `pairs` are pairs of verdicts on one
    attempt that are the same. `questions` are 64 bits of each question's digest, sorted, with how
    many of its attempts are `decided` and `right`. `digest` names the content, as `input.digest` of
    a manifest.
    """

    all: Confusion = field(default_factory=Confusion)
    by_variant: dict[str, Confusion] = field(default_factory=dict)
    by_task: dict[str, Confusion] = field(default_factory=dict)
    attempts: Ints = field(default_factory=lambda: np.zeros(2, np.int64))
    lost: Ints = field(default_factory=lambda: np.zeros(2, np.int64))
    agreeing: int = 0
    pairs: int = 0
    questions: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    decided: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    right: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    digest: int = 0

    @property
    def agreement(self) -> float | None:
        """Share of the pairs of verdicts on one attempt that agree; None: there is no pair."""
        return _share(self.agreeing, self.pairs)

    def lost_share(self, right: bool) -> float | None:
        """Share of the right (or wrong) attempts that the filter for true verdicts loses."""
        return _share(self.lost[int(right)], self.attempts[int(right)])

    def pass_rate(self, used: npt.NDArray[np.uint64] | None = None) -> float | None:
        """The mean over questions of the share of their decided attempts that is right; of all, or
        of those `used`. None: there is none."""
        chosen = self.decided > 0
        if used is not None:
            chosen &= np.isin(self.questions, used)
        rates = self.right[chosen] / self.decided[chosen]
        return float(rates.mean()) if len(rates) else None

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON can hold it, but for the single questions."""
        return {
            "all": self.all.as_json(),
            "by_variant": {name: one.as_json() for name, one in self.by_variant.items()},
            "by_task": {name: one.as_json() for name, one in self.by_task.items()},
            "agreement": self.agreement,
            "lost_by_filter": {
                "correct": self.lost_share(True),
                "incorrect": self.lost_share(False),
            },
            "pass_rate": self.pass_rate(),
        }


def _share(some: float | Any, all: float | Any) -> float | None:
    return float(some / all) if all else None


def audit(batches: Iterable[Batch], columns: Columns, task: str | None = None) -> Audit:
    """Hold the verdicts of annotated rows against the truth. `task`: that of all questions; None:
    what the rows say."""
    sums, workers = AuditSums(), min(default_workers(), MOST_USEFUL)
    for _, one in in_order(lambda batch: _of_batch(batch, columns, task), batches, workers):
        sums.add(one)
    return sums.audit()


class AuditSums:
    """The audit of all rows, added up from those of batches."""

    def __init__(self) -> None:
        self._made = Audit()
        self._parts: list[_Counts] = []

    def add(self, one: Audit) -> None:
        """Add the audit of a batch."""
        _add(self._made, one)
        self._parts.append((one.questions, one.decided, one.right))
        if len(self._parts) > 64:
            self._parts = [_merged(self._parts)]

    def audit(self) -> Audit:
        """What it comes to."""
        made = self._made
        if self._parts:
            made.questions, made.decided, made.right = _merged(self._parts)
        return made


def _of_batch(batch: Batch, columns: Columns, task: str | None) -> Audit:
    found = attempts_of(batch, columns, Ledger())
    tasks = tasks_of(batch, columns, found.row - batch.row, task)
    return audit_attempts(found, verdicts_of(found.reflections), tasks)


def audit_attempts(found: Attempts, verdicts: Ints, tasks: pa.Array) -> Audit:
    """The audit of a batch's attempts: `verdicts` are those of its reflections (`verdicts_of`),
    `tasks` of its attempts (`tasks_of`)."""
    made = Audit(digest=sum_of_digests(attempt_ids(found)))
    decided, right = given(found.correct), view(found.correct).astype(bool)
    judged = decided[found.owner]
    owner, said = found.owner[judged], verdicts[judged]
    made.all.cells = _cells(right[owner], said)
    for groups, names in ((made.by_variant, found.variant), (made.by_task, tasks)):
        encoded = names.dictionary_encode()
        codes = view(encoded.indices, missing=-1)[owner]
        for code, name in enumerate(encoded.dictionary.to_pylist()):
            groups[name] = Confusion(_cells(right[owner[codes == code]], said[codes == code]))
    kinds = [np.bincount(owner[said == v], minlength=len(right)) for v in (0, 1)]
    shown = np.bincount(owner, minlength=len(right)) > 0
    kept = np.where(right, kinds[1], kinds[0]) > 0
    for t in (0, 1):
        of = shown & (right == bool(t))
        made.attempts[t], made.lost[t] = of.sum(), (of & ~kept).sum()
    total = kinds[0] + kinds[1]
    made.pairs = int((total * (total - 1) // 2).sum())
    made.agreeing = int(sum((kind * (kind - 1) // 2).sum() for kind in kinds))
    ids = found.question_ids.view(">u8")[:, 0].astype(np.uint64)
    made.questions, made.decided, made.right = _merged(
        [(ids, decided.astype(np.int64), (decided & right).astype(np.int64))]
    )
    return made


def verdicts_of(reflections: pa.Array) -> Ints:
    """What reflections say, as `Confusion` counts it: 0 Incorrect, 1 Correct, 2 none or several."""
    right = holds(reflections, tags.verdict_re2(tags.Verdict.CORRECT))
    wrong = holds(reflections, tags.verdict_re2(tags.Verdict.INCORRECT))
    several = holds(reflections, tags.SEVERAL_VERDICTS)
    return np.where(several | (right == wrong), 2, right.astype(np.int64))


def _cells(right: npt.NDArray[np.bool_], verdicts: Ints) -> Ints:
    return np.bincount(3 * right.astype(np.int64) + verdicts, minlength=6).reshape(2, 3)


def tasks_of(batch: Batch, columns: Columns, rows: Ints, task: str | None) -> pa.Array:
    """The task of each attempt, null or empty where nothing says it."""
    if task is not None or columns.task not in batch.table.schema.names:
        return strings([task or ""]).take(numbers(np.zeros(len(rows), np.int64)))
    return batch.table.column(columns.task).take(numbers(rows))


_Counts = tuple[npt.NDArray[np.uint64], Ints, Ints]


def _merged(parts: list[_Counts]) -> _Counts:
    """Counts of attempts by question, each question once."""
    ids, which = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    counts = [
        np.bincount(which, np.concatenate([part[i] for part in parts]), len(ids)).astype(np.int64)
        for i in (1, 2)
    ]
    return ids, counts[0], counts[1]


def _add(made: Audit, one: Audit) -> None:
    made.all.cells += one.all.cells
    for into, more in ((made.by_variant, one.by_variant), (made.by_task, one.by_task)):
        for name, confusion in more.items():
            into.setdefault(name, Confusion()).cells += confusion.cells
    made.attempts += one.attempts
    made.lost += one.lost
    made.agreeing += one.agreeing
    made.pairs += one.pairs
    made.digest = (made.digest + one.digest) % (1 << 128)


# -- the input of an SFT folder -------------------------------------------------------------------


@contextmanager
def audit_beside(
    folder: Path, manifest: dict[str, Any]
) -> Iterator[Callable[[], Audit | str | None]]:
    """`audit_input` in another thread, as nearly all of it is Arrow's work; what is given waits for
    it. It stops where what goes on beside it raises."""
    stopped = Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(audit_input, folder, manifest, stopped).result
        finally:
            stopped.set()


def audit_input(folder: Path, manifest: dict[str, Any], stopped: Event) -> Audit | str:
    """Audit the annotated dataset that an SFT folder was made from, or say why it cannot be: it is
    not where the manifest says, nor beside the folder, or its content has changed."""
    source = _source(folder, manifest["input"])
    if isinstance(source, str):
        return source
    settings = manifest["settings"]
    roles = {name.removesuffix("_column"): settings[name] for name in settings if "_column" in name}
    columns = Columns(gold=roles.pop("answer"), **roles)
    try:
        batches = takewhile(lambda _: not stopped.is_set(), source.batches(columns))
        found = audit(batches, columns, settings["task"])
    except InputError as error:
        return str(error)
    return audit_of_input(found, source.name, manifest)


def audit_of_input(found: Audit, name: str, manifest: Mapping[str, Any]) -> Audit | str:
    """An audit of the rows called `name`, or why it is none of a folder's input: they are not what
    its manifest says."""
    if f"{found.digest:032x}" != manifest["input"]["digest"]:
        return f"{name}: is not the content that the folder was made from"
    return found


def _source(folder: Path, said: dict[str, Any]) -> Source | str:
    """The input as the manifest names it; why there is none."""
    name, revision = str(said["name"]), said["revision"]
    try:
        if revision and not Path(name).exists():
            return find_source(name, said["config"], said["split"], revision)
        if path := input_file(name, folder.parent):
            return find_source(str(path), said["config"], said["split"], None)
    except (InputError, OSError) as error:
        return str(error)
    return f"{name}: there is no such file or folder"
