"""The spill: usable attempts on disk, cut by ranges of their questions' digests.

A part is read as a whole, so memory is bounded by the largest part, and the order of rows does not
matter. A part that turns out too large is cut again, into parts of its own range.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core.arrays import numbers
from skill_factory.core.columns import Column
from skill_factory.core.tables import USABLE

Halves = npt.NDArray[np.uint64]
"""First halves of questions' digests, as numbers; they sort as the digests do."""

MOST_AT_ONCE = 256
"""Parts that one is cut into at a time. With more, the pieces of a part would be small: each is a
record batch, with about 1.5 KB of its own, and a write."""

ROW_BYTES = 512
"""What a row takes while it is planned, besides its columns."""

NO_HALVES: Halves = np.zeros(0, np.uint64)
NOTHING = pa.RecordBatch.from_arrays([pa.nulls(0, one.type) for one in USABLE], schema=USABLE)
"""No usable attempts."""

ALL = 1 << 64


class Parts(Protocol):
    """Usable attempts in parts, by ranges of their questions' digests, in the ranges' order."""

    @property
    def parts(self) -> int:
        """How many parts there are."""

    @property
    def text_bytes(self) -> int:
        """The size of all texts in them, in UTF-8."""

    def batches(self, part: int) -> Iterator[pa.RecordBatch]:
        """The usable attempts of a part, with the schema `USABLE`, in any order."""

    def asked(self, part: int) -> Halves:
        """The questions of a part some of whose attempts came without a usable one; in any order,
        maybe several times."""

    def size(self, part: int) -> int:
        """About how many bytes a part takes in memory."""

    def of_shard(self, number: int, shards: int) -> range:
        """The parts of one of so many equal ranges of digests."""

    def drop(self, part: int) -> None:
        """Forget a part, which is not needed any more."""


def keys(ids: pa.Array) -> npt.NDArray[np.uint64]:
    """Digests as two numbers each, which sort as the digests do; no copy."""
    start, stop = ids.offset * 2, (ids.offset + len(ids)) * 2
    return np.frombuffer(ids.buffers()[1], ">u8")[start:stop].reshape(-1, 2)


def halves(usable: pa.RecordBatch) -> Halves:
    """The first halves of the digests of the attempts' questions."""
    return keys(usable.column(Column.QUESTION_ID))[:, 0].astype(np.uint64)


@dataclass
class Part:
    """The digests' halves from `low` up to `high`, and what is there of them: its bytes in memory,
    its rows, and the smallest and the largest half."""

    path: Path
    low: int
    high: int
    size: int = 0
    rows: int = 0
    first: int = ALL
    last: int = -1

    def write(self, pieces: Sequence[pa.RecordBatch]) -> None:
        """Append pieces, each sorted, as one record batch."""
        for batch in pa.Table.from_batches(pieces).combine_chunks().to_batches():
            _append(self.path, batch.serialize())
            self.size += batch.nbytes + ROW_BYTES * batch.num_rows
            self.rows += batch.num_rows
        for found in map(halves, pieces):
            self.first, self.last = min(self.first, int(found[0])), max(self.last, int(found[-1]))

    @property
    def asked(self) -> Path:
        """The file of its `Parts.asked`."""
        return self.path.with_suffix(".asked")

    def unlink(self) -> None:
        """Remove its files."""
        self.path.unlink(missing_ok=True)
        self.asked.unlink(missing_ok=True)


def _append(path: Path, content: pa.Buffer | bytes) -> None:
    # Opened anew each time: a process may have as few as 256 files open.
    with path.open("ab") as file:
        file.write(content)


class Spill:
    """Usable attempts in files, one a part; `Parts`. Use as a context manager: what was added is on
    disk on leaving.

    What `add` takes is held until it comes to `buffer` bytes, so that a part gets it in one piece.
    `text_bytes` is the size of all texts in it, in UTF-8; it does not depend on how they came in
    batches.
    """

    def __init__(
        self, folder: Path, parts: int, buffer: int, name: str = "", low: int = 0, high: int = ALL
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.text_bytes = 0
        step = (high - low) // parts
        self._parts = [
            Part(folder / f"{name}{part:02x}.arrows", low + part * step, low + (part + 1) * step)
            for part in range(parts)
        ]
        self._starts = np.array([part.low for part in self._parts], np.uint64)
        self._buffer, self._held_bytes = buffer, 0
        self._held: list[pa.RecordBatch] = []
        self._asked: list[Halves] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Spill:
        return self

    def __exit__(self, kind: object, *failure: object) -> None:
        if kind is None:
            self._flush()

    # -- writing -----------------------------------------------------------------------------------

    def add(self, usable: pa.RecordBatch, asked: Halves) -> None:
        """Take a batch as `index` makes it, with the questions of all its attempts; from any
        thread."""
        text_bytes = _text_bytes(usable)
        without = np.setdiff1d(asked, halves(usable)) if usable.num_rows else asked
        with self._lock:
            self.text_bytes += text_bytes
            self._hold(usable, without)

    def _hold(self, usable: pa.RecordBatch, without: Halves) -> None:
        if usable.num_rows:
            self._held.append(usable)
        if len(without):
            self._asked.append(without)
        self._held_bytes += usable.nbytes + without.nbytes
        if self._held_bytes >= self._buffer:
            self._flush()

    def _flush(self) -> None:
        batches, asked = self._held, np.sort(np.concatenate([NO_HALVES, *self._asked]))
        self._held, self._asked, self._held_bytes = [], [], 0
        cuts = [self._cuts(halves(batch)) for batch in batches]
        for number, (part, (start, stop)) in enumerate(
            zip(self._parts, self._cuts(asked), strict=True)
        ):
            ranges = ((batch, *cut[number]) for batch, cut in zip(batches, cuts, strict=True))
            pieces = [batch.slice(a, b - a) for batch, a, b in ranges if a < b]
            if pieces:
                part.write(pieces)
            if start < stop:
                _append(part.asked, asked[start:stop].tobytes())

    def _cuts(self, found: Halves) -> list[tuple[int, int]]:
        """From where to where each part has what is sorted by these halves."""
        return list(pairwise([*np.searchsorted(found, self._starts).tolist(), len(found)]))

    # -- cutting finer -----------------------------------------------------------------------------

    def cut_finer(self, most: int, ranges: int) -> None:
        """Cut each part of over `most` bytes, and each that has questions of several of so many
        equal `ranges` of digests, until there is none, or only of a single question's digest."""
        done, rest = list[Part](), self._parts[::-1]
        while rest:
            part = rest.pop()
            apart = part.rows and part.first * ranges // ALL != part.last * ranges // ALL
            if (part.size > most or apart) and part.first != part.last:
                rest += self._cut(part, max(2, power_of_two(2 * part.size // most)))[::-1]
            else:
                done.append(part)
        self._parts = done

    def _cut(self, part: Part, count: int) -> list[Part]:
        name, count = f"{part.path.stem}-", min(count, MOST_AT_ONCE, part.high - part.low)
        with Spill(self.folder, count, self._buffer, name, part.low, part.high) as finer:
            for batch in read_part(part.path):
                order = np.argsort(halves(batch), kind="stable")
                finer._hold(batch.take(numbers(order)), NO_HALVES)
            finer._hold(NOTHING, read_halves(part.asked))
        part.unlink()
        return finer._parts

    # -- reading -----------------------------------------------------------------------------------

    @property
    def in_files(self) -> list[Part]:
        """All parts, with their files."""
        return self._parts

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self._parts)

    def batches(self, part: int) -> Iterator[pa.RecordBatch]:
        """As `Parts` has it."""
        return read_part(self._parts[part].path)

    def asked(self, part: int) -> Halves:
        """As `Parts` has it."""
        return read_halves(self._parts[part].asked)

    def size(self, part: int) -> int:
        """As `Parts` has it."""
        return self._parts[part].size

    def of_shard(self, number: int, shards: int) -> range:
        """As `Parts` has it, once it is cut fine enough."""
        at = [part.first if part.rows else part.low for part in self._parts]
        return range(*(bisect_left(at, -(-n * ALL // shards)) for n in (number, number + 1)))

    def drop(self, part: int) -> None:
        """As `Parts` has it."""
        self._parts[part].unlink()


def _text_bytes(usable: pa.RecordBatch) -> int:
    texts = [
        usable.column(name) for name in (Column.QUESTION, Column.ATTEMPT, Column.EXTRACTED_ANSWER)
    ]
    texts.append(usable.column(Column.REFLECTIONS).flatten())
    return sum(int(pc.sum(pc.binary_length(text)).as_py() or 0) for text in texts)


def read_part(path: Path) -> Iterator[pa.RecordBatch]:
    """What is in the file of a part; there is none where there is nothing."""
    if not path.exists():
        return
    with pa.OSFile(str(path)) as source:
        size = source.size()
        while source.tell() < size:
            yield pa.ipc.read_record_batch(pa.ipc.read_message(source), USABLE)


def read_halves(path: Path) -> Halves:
    """What is in a file of halves; there is none where there is nothing."""
    return np.fromfile(path, np.uint64) if path.exists() else NO_HALVES


def power_of_two(count: int) -> int:
    """The least power of two that is not below a count."""
    return 1 << max(0, count - 1).bit_length()
