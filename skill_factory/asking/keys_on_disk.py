"""Counts by key of which there may be more than fit in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from types import TracebackType
from typing import Self

_CACHE = 32 * 1024
"""Kilobytes of memory at most; the rest is in a file of the system's temporary folder."""

_PART = 500


def scratch_database(tables: str) -> sqlite3.Connection:
    """A database of SQLite with some tables, without a name: what its memory does not hold is in a
    file that goes with it (https://sqlite.org/inmemorydb.html, "Temporary Databases"). It is in one
    transaction."""
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for setting in (f"cache_size = -{_CACHE}", "journal_mode = OFF", "synchronous = OFF"):
        database.execute(f"PRAGMA {setting}")
    database.executescript(tables)
    database.execute("BEGIN")
    return database


class CountsByKey:
    """The largest count that was given for each key; a context manager."""

    def __init__(self) -> None:
        self._database = scratch_database(
            "CREATE TABLE counts (key BLOB PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """The counts of some keys; those without one are left out."""
        found: dict[bytes, int] = {}
        for start in range(0, len(keys), _PART):
            part = keys[start : start + _PART]
            marks = ", ".join("?" * len(part))
            query = f"SELECT key, count FROM counts WHERE key IN ({marks})"
            with closing(self._database.execute(query, part)) as rows:
                found.update(rows)
        return found

    def raise_to(self, counts: Mapping[bytes, int]) -> None:
        """Take in counts; a smaller one than there is changes nothing."""
        self._database.executemany(
            "INSERT INTO counts VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET count = max(count, excluded.count)",
            counts.items(),
        )
