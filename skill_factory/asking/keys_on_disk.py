"""Counts by key of which there may be more than fit in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

from skill_factory.core.closing import Closing

_CACHE = 32 * 1024
"""Kilobytes of memory at most; the rest is in a file of the system's temporary folder."""

_PART = 500


class ScratchTables(Closing):
    """Tables in a database of SQLite without a name: what its memory does not hold is in a file
    that goes with it (https://sqlite.org/inmemorydb.html, "Temporary Databases"). It is in one
    transaction."""

    def __init__(self, tables: str) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in (f"cache_size = -{_CACHE}", "journal_mode = OFF", "synchronous = OFF"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.executescript(tables)
        self._database.execute("BEGIN")

    def close(self) -> None:
        """Forget all."""
        self._database.close()


class Raised(NamedTuple):
    """The largest count of each key before it was raised, in the order in which they were given (0:
    there was none), and the largest now, by key."""

    before: list[int]
    now: dict[bytes, int]


class CountsByKey(ScratchTables):
    """The largest count that was given for each key; a context manager."""

    def __init__(self) -> None:
        super().__init__(
            "CREATE TABLE counts (key BLOB PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID"
        )

    def raise_to(self, counts: Sequence[tuple[bytes, int]]) -> Raised:
        """Take in counts, one after the other; a smaller one than there is changes nothing."""
        now = self._found([key for key, _ in counts])
        before = []
        for key, count in counts:
            before.append(now.get(key, 0))
            now[key] = max(count, before[-1])
        self._database.executemany("INSERT OR REPLACE INTO counts VALUES (?, ?)", now.items())
        return Raised(before, now)

    def _found(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for start in range(0, len(keys), _PART):
            part = keys[start : start + _PART]
            marks = ", ".join("?" * len(part))
            query = f"SELECT key, count FROM counts WHERE key IN ({marks})"
            with closing(self._database.execute(query, part)) as rows:
                found.update(rows)
        return found
