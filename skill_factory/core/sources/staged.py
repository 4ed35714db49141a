"""An input that only this process can read, laid down in files that others read in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from skill_factory.core.columns import Columns
from skill_factory.core.sources.annotated_columns import Unread
from skill_factory.core.sources.batches import Batch, Source


@dataclass(frozen=True)
class StagedPiece:
    """Neighbouring batches of an input, in an Arrow file; `places` are the `where`, `file_row` and
    `row` of each."""

    path: Path
    places: tuple[tuple[str, int, int], ...]

    def batches(self, columns: Columns, at_once: int) -> Iterator[tuple[Batch, dict[str, Unread]]]:
        """Its batches; what could not be read of them, the source has counted."""
        with pa.OSFile(str(self.path)) as source:
            reader = pa.ipc.open_file(source)
            for number, place in enumerate(self.places):
                yield Batch(reader.get_batch(number), *place), {}


def staged(
    source: Source, columns: Columns, at_once: int, folder: Path, most: int
) -> Iterator[StagedPiece]:
    """Read an input in batches of about `at_once` bytes, and write them to files in a folder, about
    `most` bytes in each."""
    held: list[Batch] = []
    number = size = 0
    for batch in source.batches(columns, at_once):
        # A column that need not be there may be in some files of an input and not in others.
        if held and (size >= most or batch.table.schema != held[0].table.schema):
            yield _write(folder / f"input-{number}.arrow", held)
            held, number, size = [], number + 1, 0
        held.append(batch)
        size += batch.table.nbytes
    yield _write(folder / f"input-{number}.arrow", held)


def _write(path: Path, batches: list[Batch]) -> StagedPiece:
    with pa.ipc.new_file(str(path), batches[0].table.schema) as writer:
        for batch in batches:
            writer.write_batch(batch.table)
    return StagedPiece(path, tuple(batch[1:] for batch in batches))
