"""What every source of an annotated dataset gives: its rows, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import pyarrow as pa

from skill_factory.core.columns import Columns
from skill_factory.core.sources.annotated_columns import Unread

BATCH_BYTES = 16 << 20
"""About how much of an input is held decoded at a time."""

MAX_BATCH_ROWS = 16_384
DAMAGED = (pa.ArrowException, UnicodeDecodeError, OverflowError)
"""What pyarrow raises for a parquet file with wrong bytes in it, besides `OSError`."""


class Batch(NamedTuple):
    """Rows of an input, their columns as `annotated_columns.find_columns` types them.

    `where` names the file; `file_row` is the first row's place in it and `row` its place in the
    whole input, from 0.
    """

    table: pa.RecordBatch
    where: str
    file_row: int
    row: int


class UnreadIn(NamedTuple):
    """Rows in all of an input whose value in a column could not be read, and where the first is:
    `row` of the file `where`, from 0."""

    rows: int
    where: str
    row: int


class Source(Protocol):
    """An annotated dataset, found but not yet read.

    `rows` and `unread` fill as `batches` is read: the number of rows of each file, or of the one
    Hub dataset, and what of some columns, by role, could not be read.
    """

    name: str
    rows: dict[str, int]
    unread: dict[str, UnreadIn]
    license: str | None
    """What the card of the dataset says; None: it has none, or says nothing."""

    @property
    def origin(self) -> dict[str, str | None]:
        """Config, split and commit of a dataset that `datasets` loaded; all None for plain
        files."""

    def count(self) -> int | None:
        """The number of rows if that is known without reading them, else None."""

    def size(self) -> int:
        """A rough guess of the bytes of text in it."""

    def batches(self, columns: Columns, at_once: int | None = None) -> Iterator[Batch]:
        """All rows, in order, a batch of about `at_once` bytes at a time; None: of a size that is
        fast.

        Raises `InputError` for what cannot be read or is empty, `ColumnError` for a missing or
        mistyped column.
        """


IN_MEMORY = "rows in memory"
"""The `Source.name` of what is no file."""


def no_origin() -> dict[str, str | None]:
    """The `Source.origin` of what `datasets` did not load."""
    return dict.fromkeys(("config", "split", "revision"))


def add_unread(
    counts: dict[str, UnreadIn], unread: dict[str, Unread], where: str, first_row: int
) -> None:
    """Add what could not be read in a batch that begins at this row of a file."""
    for role, (rows, first) in unread.items():
        before = counts.get(role, UnreadIn(0, where, first_row + first))
        counts[role] = before._replace(rows=before.rows + rows)
