"""Parts of several spills of the same ranges, read as one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from skill_factory.core.arrays import numbers
from skill_factory.stages.create.spill import (
    ALL,
    MOST_AT_ONCE,
    NO_HALVES,
    NOTHING,
    Halves,
    Part,
    Spill,
    halves,
    power_of_two,
    read_halves,
    read_part,
)


@dataclass(frozen=True)
class Gathered:
    """A part of one range of digests, in the files of several spills."""

    pieces: tuple[Part, ...]

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return sum(piece.size for piece in self.pieces)

    @property
    def first(self) -> int:
        """Where its questions begin: its smallest half, or where its range does if it has none."""
        found = [piece.first for piece in self.pieces if piece.rows]
        return min(found, default=self.pieces[0].low)

    def is_fine(self, most: int, ranges: int) -> bool:
        """Whether it need not be cut, as `Spill.cut_finer` cuts."""
        first, last = self.first, max(piece.last for piece in self.pieces)
        apart = last >= 0 and first * ranges // ALL != last * ranges // ALL
        return first >= last or not (self.size > most or apart)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """As `Parts.batches`."""
        return chain.from_iterable(read_part(piece.path) for piece in self.pieces)

    def asked(self) -> Halves:
        """As `Parts.asked`."""
        return np.concatenate([NO_HALVES, *(read_halves(piece.asked) for piece in self.pieces)])

    def cut(self, folder: Path, most: int, buffer: int, ranges: int) -> list[Part]:
        """The same in finer parts, in a new folder; these files stay as they are."""
        low, high = self.pieces[0].low, self.pieces[0].high
        count = min(max(2, power_of_two(2 * self.size // most)), MOST_AT_ONCE, high - low)
        with Spill(folder, count, buffer, low=low, high=high) as finer:
            for batch in self.batches():
                order = np.argsort(halves(batch), kind="stable")
                finer.add(batch.take(numbers(order)), NO_HALVES)
            finer.add(NOTHING, self.asked())
        finer.cut_finer(most, ranges)
        return finer.in_files


@dataclass(frozen=True)
class GatheredParts:
    """What is in several spills, of so many bytes of text; `spill.Parts`."""

    text_bytes: int
    gathered: Sequence[Gathered]

    @property
    def parts(self) -> int:
        """As `Parts` has it."""
        return len(self.gathered)

    def batches(self, part: int) -> Iterator[pa.RecordBatch]:
        """As `Parts` has it."""
        return self.gathered[part].batches()

    def asked(self, part: int) -> Halves:
        """As `Parts` has it."""
        return self.gathered[part].asked()

    def size(self, part: int) -> int:
        """As `Parts` has it."""
        return self.gathered[part].size

    def of_shard(self, number: int, shards: int) -> range:
        """As `Parts` has it, once all are fine."""
        at = [one.first for one in self.gathered]
        return range(*(bisect_left(at, -(-n * ALL // shards)) for n in (number, number + 1)))

    def drop(self, part: int) -> None:
        """Nothing: a shard may have to be made again."""

    def remove(self, part: int) -> None:
        """Remove the files of a part."""
        for piece in self.gathered[part].pieces:
            piece.unlink()


def moved(parts: Sequence[Part], folder: Path) -> tuple[Part, ...]:
    """The parts, once their files are in another folder."""
    return tuple(replace(part, path=folder / part.path.name) for part in parts)
