"""What differs between two SFT folders: settings, input, and trace by trace.

Traces are compared by digests of their texts, so that little is in memory however many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64

from skill_factory.core.arrays import Ints, given, view
from skill_factory.core.columns import Column
from skill_factory.core.sft_manifest import no_sft_folder, run_without_traces
from skill_factory.look.folders import RunView, SftFolder, Trace
from skill_factory.look.opening import open_folder
from skill_factory.look.spans import Kind

EXAMINED = 1_000
"""Changed traces whose spans are compared; the others are only counted."""

NAMED = 10
"""Trace ids that are given of each kind."""


class Change(NamedTuple):
    """A setting, or another thing of one value, that is not the same; None: it is not there."""

    name: str
    before: Any
    after: Any


class Mix(NamedTuple):
    """What traces are made of: how many, by label and by number of attempts; right and wrong
    attempts in them; their mean length in characters."""

    traces: int
    labels: Counter[str]
    attempts: Counter[int]
    right: int
    wrong: int
    characters: float


@dataclass
class TraceDiff:
    """How many traces are `same`, `added`, `removed` and `changed` (the same id, another text), and
    the ids of the first of each. `spans` counts in how many of the `examined` changed traces spans
    of a kind differ."""

    same: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    ids: dict[str, list[str]] = field(default_factory=dict)
    examined: int = 0
    spans: Counter[str] = field(default_factory=Counter)

    @property
    def differ(self) -> bool:
        """Whether any trace is not in both as it is."""
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True)
class SftDiff:
    """What differs between two SFT folders; `made` are the settings, versions and input that they
    were made with, `mix` what each is made of."""

    made: list[Change]
    traces: TraceDiff
    mix: tuple[Mix, Mix]

    @property
    def differ(self) -> bool:
        """Whether the two are not made of the same traces, in the same way."""
        return bool(self.made) or self.traces.differ


def sft_of(path: Path) -> SftFolder:
    """The SFT folder that a path names, or that lies in the run that it names. Raises `InputError`
    if there is none."""
    found = open_folder(path)
    if isinstance(found, RunView):
        if found.sft is None:
            raise run_without_traces(path)
        return found.sft
    if not isinstance(found, SftFolder):
        raise no_sft_folder(path)
    return found


def diff_sft(before: SftFolder, after: SftFolder) -> SftDiff:
    """Compare two SFT folders."""
    old, new = _Contents(before), _Contents(after)
    return SftDiff(
        list(_made_differently(before.manifest, after.manifest)),
        _compare(before, old, after, new),
        (_mix(before, old), _mix(after, new)),
    )


# -- settings -------------------------------------------------------------------------------------


def _made_differently(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    yield from changes_in(before["settings"], after["settings"], "settings.")
    for part, names in (("versions", ("skill_factory",)), ("input", ("digest", "rows", "model"))):
        old, new = ({name: said[part].get(name) for name in names} for said in (before, after))
        yield from changes_in(old, new, f"{part}.")
    old, new = (_phrases(said) for said in (before, after))
    yield from changes_in(old, new, "phrases.")


def _phrases(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The phrases by kind and number, as they are shown."""
    return {
        f"{kind} {number}": text
        for kind, texts in manifest["phrases"].items()
        for number, text in enumerate(texts)
    }


def changes_in(before: Any, after: Any, prefix: str = "") -> Iterator[Change]:
    """The leaves of nested mappings that are not the same, by their keys joined with dots."""
    before, after = (said if isinstance(said, Mapping) else {} for said in (before, after))
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) or isinstance(new, Mapping):
            yield from changes_in(old, new, f"{prefix}{name}.")
        elif old != new:
            yield Change(f"{prefix}{name}", old, new)


# -- traces ---------------------------------------------------------------------------------------


class _Contents:
    """The ids of a folder's traces, digests of all that each says, and their mean length."""

    def __init__(self, folder: SftFolder) -> None:
        ids, digests, characters = [], [], 0
        for batch in folder.chats.batches():
            ids.append(np.array(folder.ids_of(batch), "S32"))
            digests.append(_digests([batch.question, batch.text, batch.label]))
            characters += pc.sum(pc.utf8_length(batch.text)).as_py() or 0
        self.ids = np.concatenate(ids) if ids else np.array([], "S32")
        self.digests = np.concatenate(digests) if digests else np.zeros(0, np.uint64)
        self.characters = characters / max(1, len(self.ids))


def _digests(columns: list[pa.Array]) -> npt.NDArray[np.uint64]:
    """64 bits that name the texts of each row."""
    out = []
    for texts in zip(*(column.cast(pa.binary()).to_pylist() for column in columns), strict=True):
        digest = xxh3_64(str([text and len(text) for text in texts]).encode())
        for text in texts:
            digest.update(text or b"")
        out.append(digest.intdigest())
    return np.array(out, np.uint64)


def _compare(before: SftFolder, old: _Contents, after: SftFolder, new: _Contents) -> TraceDiff:
    _, at_old, at_new = np.intersect1d(old.ids, new.ids, return_indices=True)
    differ = old.digests[at_old] != new.digests[at_new]
    order = np.argsort(at_old[differ])
    changed_old, changed_new = at_old[differ][order], at_new[differ][order]
    gone = np.setdiff1d(np.arange(len(old.ids)), at_old)
    come = np.setdiff1d(np.arange(len(new.ids)), at_new)
    made = TraceDiff(int((~differ).sum()), len(come), len(gone), len(changed_old))
    for name, ids, at in (
        ("added", new.ids, come),
        ("removed", old.ids, gone),
        ("changed", old.ids, changed_old),
    ):
        made.ids[name] = [one.decode() for one in ids[at[:NAMED]].tolist()]
    _examine(made, before, changed_old[:EXAMINED], after, changed_new[:EXAMINED])
    return made


def _examine(made: TraceDiff, before: SftFolder, old: Ints, after: SftFolder, new: Ints) -> None:
    """Count the kinds of spans that differ in some changed traces."""
    made.examined = len(old)
    there = {trace.id: trace for trace in after.read(new.tolist())} if len(new) else {}
    for trace in before.read(old.tolist()) if len(old) else ():
        made.spans.update(differing_spans(trace, there[trace.id]))


def differing_spans(before: Trace, after: Trace) -> set[str]:
    """The kinds of spans, question and label that are not the same in two traces."""
    old, new = _parts(before), _parts(after)
    return {kind for kind, step in old.keys() | new.keys()
            if old.get((kind, step)) != new.get((kind, step))}  # fmt: skip


def _parts(trace: Trace) -> dict[tuple[str, int | None], list[str | None]]:
    found: dict[tuple[str, int | None], list[str | None]] = {
        ("question", None): [trace.question],
        ("label", None): [trace.label],
    }
    for span in trace.spans():
        if span.kind is not Kind.TAG:
            found.setdefault((str(span.kind), span.step), []).append(span.text)
    return found


def _mix(folder: SftFolder, contents: _Contents) -> Mix:
    """What a folder's traces are made of, as their plan says it; raises `InputError` if that tells
    of others."""
    labels, attempts, right, wrong = Counter[str](), Counter[int](), 0, 0
    first = 0
    for batch in folder.plan_batches(["label", Column.STEPS, Column.TRACE_ID]):
        ids = np.array(batch.column(2).to_pylist(), "S32")
        if not np.array_equal(ids, contents.ids[first : first + len(ids)]):
            raise folder.other_plan()
        first += len(ids)
        labels.update({one["values"]: one["counts"]
                       for one in pc.value_counts(batch.column(0)).to_pylist()})  # fmt: skip
        steps = batch.column(1)
        counts = np.bincount(view(pc.list_value_length(steps)))
        attempts.update({n: int(count) for n, count in enumerate(counts.tolist()) if count})
        correct = steps.flatten().field(Column.CORRECT)
        true = int(view(correct)[given(correct)].sum())
        right += true
        wrong += len(correct) - true
    return Mix(len(contents.ids), labels, attempts, right, wrong, contents.characters)
