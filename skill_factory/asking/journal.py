"""All that a model said, in one SQLite file: written as answers come, whole after `kill -9`.

A sample's key is the sha256 of everything that reaches the model (`requests.key_of`); with its
index it names the sample. Nothing in a journal is ever changed or removed: what has a key is not
asked again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from skill_factory.asking.journal_copy import copy_journal, is_being_copied, log_of, sync
from skill_factory.asking.journal_rows import COLUMNS, Row, Rows
from skill_factory.asking.journal_rows import Sample as Sample
from skill_factory.asking.journal_schema import checkpoint_by_itself, not_a_journal, prepare
from skill_factory.errors import InputError, OutputError
from skill_factory.models import Completion

BATCH = 64
"""Rows that are committed without waiting for more."""

LINGER = 0.02
"""Seconds that a row may wait for others. So much of what was answered a kill can lose."""

SYNC = 1.0
"""Seconds after which what was written is on the disk itself. So much a power cut can lose."""

BEHIND = 4096
"""Rows waiting at which those who add should wait too."""

_ADD = f"INSERT OR IGNORE INTO samples ({COLUMNS}, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NOTE_ASKED = "INSERT OR REPLACE INTO asked VALUES (?, ?, ?, ?)"

_FAULTS = (sqlite3.Error, UnicodeError, OverflowError)
"""What SQLite raises: the latter two for what it cannot store, or no longer read."""

Name = tuple[str, ...]


class Asked(NamedTuple):
    """Digests of what was asked under a name."""

    messages: bytes
    model: bytes
    sampling: bytes


_NOTHING: Mapping[Name, Asked] = {}


class Refused(NamedTuple):
    """Why the samples of a key are not asked for again, and what the server said."""

    reason: str
    message: str


class Journal:
    """An open journal; a context manager. Its methods may be called from any thread.

    What was added is found at once; `LINGER` seconds later the operating system has it, and `SYNC`
    seconds later the disk itself. One process has it at a time.

    Raises `InputError` for a file that is no journal, `OutputError` for one that cannot be written
    or that another process has.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._file = self.path.resolve()  # of a link, the log lies where it leads to
        self._waiting: list[tuple[Sample, float]] = []
        self._packed: list[Future[list[Row]]] = []  # those that came before the ones that wait
        self._count = 0  # of all these
        self._waiting_names: dict[Name, Asked] = {}
        self._broken: OutputError | None = None
        self._closing = False
        self._copied = False  # by another process: the log is left as it is
        self._synced = time.monotonic()
        self._unsynced = False
        self._news = threading.Condition()
        self._lock = threading.Lock()
        self._rows, self._packing = Rows(), Rows()
        self._packer = ThreadPoolExecutor(1, "journal-packer")
        self._database = self._open()
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except OutputError:
            if error is None:  # else that is what there is to tell
                raise

    def close(self) -> None:
        """Write what waits, and let others have the file."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._writer.join()
        try:
            self.flush()
        finally:
            self._database.close()
            self._packer.shutdown()

    def add(self, samples: Iterable[Sample], asked: Mapping[Name, Asked] = _NOTHING) -> None:
        """Take samples, soon to be written; those that are there already are left as they are.
        `asked` is written with them: what they answer, under its names.

        Raises `OutputError` if what was taken before could not be written.
        """
        if self._broken:
            raise self._broken
        now = time.time()
        rows = [(sample, now) for sample in samples]
        with self._news:
            before = self._count
            self._count += len(rows)
            self._waiting += rows
            self._waiting_names.update(asked)
            if len(self._waiting) >= BATCH:
                self._have_packed()
            if before == 0 or before < BATCH <= self._count:
                self._news.notify()

    @property
    def behind(self) -> bool:
        """Whether answers come faster than they are written: then call `flush`."""
        return self._count > BEHIND

    def flush(self) -> None:
        """Write what waits; raises `OutputError`, also for what could not be written before."""
        if self._broken:
            raise self._broken
        with self._lock:
            self._commit()

    def have(self, keys: Sequence[bytes]) -> dict[bytes, set[int]]:
        """Which indices are there, by key; keys without any are left out."""
        found: dict[bytes, set[int]] = {}
        with self._reading():
            self._commit()
            for part in _parts(keys):
                query = f"SELECT key, idx FROM samples WHERE key IN ({_marks(part)})"
                for key, idx in self._database.execute(query, part):
                    found.setdefault(key, set()).add(idx)
        return found

    def count(self) -> int:
        """How many samples there are."""
        with self._reading():
            self._commit()
            (found,) = self._database.execute("SELECT count(*) FROM samples").fetchone()
        return int(found)

    def read(self, key: bytes, count: int) -> list[tuple[int, Completion]]:
        """The samples there are of the first `count`, with their indices, in their order."""
        return self.read_all({key: count})[key]

    def read_all(self, counts: Mapping[bytes, int]) -> dict[bytes, list[tuple[int, Completion]]]:
        """For each key the samples there are of its first so many, as `read` gives them."""
        found: dict[bytes, list[tuple[int, Completion]]] = {key: [] for key in counts}
        with self._reading():
            self._commit()
            for part in _parts(list(counts)):
                query = f"SELECT {COLUMNS} FROM samples WHERE key IN ({_marks(part)})"
                for row in self._database.execute(f"{query} ORDER BY key, idx", part):
                    key, idx, completion = self._rows.sample(row)
                    if idx < counts[key]:
                        found[key].append((idx, completion))
        return found

    def answered_at(self, keys: Sequence[bytes]) -> dict[tuple[bytes, int], float]:
        """When samples of keys were answered, by key and index: seconds since 1970, UTC."""
        found: dict[tuple[bytes, int], float] = {}
        with self._reading():
            self._commit()
            for part in _parts(keys):
                query = f"SELECT key, idx, at FROM samples WHERE key IN ({_marks(part)})"
                for key, idx, at in self._database.execute(query, part):
                    found[key, idx] = at
        return found

    def last_asked(self, names: Sequence[Name]) -> dict[Name, Asked]:
        """What was last asked under names; those never asked are left out."""
        by_text = {json.dumps(name): name for name in names}
        found = {}
        with self._reading():
            self._commit()
            for part in _parts(list(by_text)):
                query = f"SELECT * FROM asked WHERE name IN ({_marks(part)})"
                for text, *digests in self._database.execute(query, part):
                    found[by_text[text]] = Asked(*digests)
        return found

    def note_asked(self, asked: Mapping[Name, Asked]) -> None:
        """Keep what is now asked under names; raises `OutputError`."""
        self._insert(_NOTE_ASKED, _rows_of(asked))

    def note_written(self, counts: Mapping[bytes, int]) -> None:
        """Keep that the first samples of keys are asked for in a file; raises `OutputError`."""
        self._insert(
            "INSERT INTO written VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET count = max(count, excluded.count)",
            list(counts.items()),
        )

    def written(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """How many samples of keys were asked for in files; keys that never were are left out."""
        found: dict[bytes, int] = {}
        with self._reading():
            for part in _parts(keys):
                query = f"SELECT key, count FROM written WHERE key IN ({_marks(part)})"
                found.update(self._database.execute(query, part))
        return found

    def note_refused(self, refused: Mapping[bytes, Refused]) -> None:
        """Keep that a server will not answer for keys; raises `OutputError`."""
        rows = [(key, *why) for key, why in refused.items()]
        self._insert("INSERT OR REPLACE INTO refused VALUES (?, ?, ?)", rows)

    def forget_refused(self, keys: Iterable[bytes]) -> None:
        """Let keys be asked for again; raises `OutputError`."""
        self._insert("DELETE FROM refused WHERE key = ?", [(key,) for key in keys])

    def refused(self, keys: Sequence[bytes]) -> dict[bytes, Refused]:
        """Which of some keys were refused, and why."""
        found: dict[bytes, Refused] = {}
        with self._reading():
            for part in _parts(keys):
                query = f"SELECT * FROM refused WHERE key IN ({_marks(part)})"
                for key, *why in self._database.execute(query, part):
                    found[key] = Refused(*why)
        return found

    # -- the file ---------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Have the database to read from."""
        with self._lock:
            try:
                yield
            except _FAULTS as error:
                raise self._damaged(error) from None

    def _open(self) -> sqlite3.Connection:
        database = None
        try:
            database = sqlite3.connect(
                self.path, timeout=0.5, isolation_level=None, check_same_thread=False
            )
            # Exclusive from the first access on: so WAL needs no memory shared between processes,
            # which network file systems do not have (https://sqlite.org/wal.html, section 8).
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            prepare(database, self.path)
            return database
        except (*_FAULTS, InputError) as error:
            if database is not None:
                database.close()
            if isinstance(error, InputError):
                raise
            name = getattr(error, "sqlite_errorname", "")  # none: the error itself is damaged
            if name == "SQLITE_NOTADB":
                raise not_a_journal(self.path) from None
            if name == "SQLITE_BUSY":
                raise OutputError(
                    f"{self.path} is in use by another process: wait until that run has ended"
                ) from None
            if name in ("", "SQLITE_CORRUPT", "SQLITE_ERROR"):
                raise self._damaged(error) from None
            raise OutputError(f"{self.path} cannot be written: {error}") from None

    def _damaged(self, error: Exception) -> InputError:
        return InputError(
            f"{self.path} is damaged: {error}; bring back a copy of it, or begin a new run"
        )

    def _write(self) -> None:
        """The writer's loop."""
        while not self._closing and not self._broken:
            with self._news:
                self._news.wait_for(lambda: self._count or self._closing, SYNC)
                if self._count:
                    self._news.wait_for(lambda: self._count >= BATCH or self._closing, LINGER)
            with suppress(OutputError):  # told by the next call
                self.flush()
                self._sync()

    def _sync(self) -> None:
        """Have the disk itself take what was written, now and then."""
        now = time.monotonic()
        if not self._unsynced or now - self._synced < SYNC:
            return
        self._synced, self._unsynced = now, False
        try:
            # SQLite does so when the log is written into the database, which may be much later.
            sync(log_of(self._file))
        except OSError as error:
            self._broken = self._unwritable(error)
            raise self._broken from None

    def _commit(self) -> None:
        """Write what waits; to be called with the lock."""
        with self._news:
            self._have_packed()
            packed, self._packed = self._packed, []
            names, self._waiting_names = self._waiting_names, {}
            self._count = 0
        if packed:
            rows = (row for part in packed for row in part.result())
            try:
                self._execute((_ADD, rows), (_NOTE_ASKED, _rows_of(names)))
            except OutputError as error:
                self._broken = error  # what waited is lost: whoever calls next is told so too
                raise

    def _have_packed(self) -> None:
        """Have what waits packed, while others are written; to be called with the news."""
        if self._waiting:
            self._packed.append(self._packer.submit(self._pack, self._waiting))
            self._waiting = []

    def _pack(self, waiting: list[tuple[Sample, float]]) -> list[Row]:
        """The rows to insert; in the packer's thread."""
        rows = self._packing.rows([sample for sample, _ in waiting])
        return [(*row, at) for row, (_, at) in zip(rows, waiting, strict=True)]

    def _insert(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with self._lock:
            self._execute((statement, rows))

    def _heed_copies(self) -> None:
        """Leave the log as it is while another process copies the journal."""
        if self._copied != (copied := is_being_copied(self._file)):
            checkpoint_by_itself(self._database, not copied)
            self._copied = copied

    def _execute(self, *statements: tuple[str, Iterable[tuple[object, ...]]]) -> None:
        """Carry out statements, each for many rows: all of them or nothing."""
        try:
            self._heed_copies()
            self._database.execute("BEGIN")
            for statement, rows in statements:
                self._database.executemany(statement, rows)
            self._database.execute("COMMIT")
            self._unsynced = True
        except _FAULTS as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise self._unwritable(error) from None

    def _unwritable(self, error: Exception) -> OutputError:
        return OutputError(
            f"{self.path} cannot be written: {error}; all that was written before is safe"
        )


@contextmanager
def journal_to_read(path: Path) -> Iterator[Journal]:
    """A journal to which nothing is added: where it cannot be written, a copy of it."""
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        with Journal(path) as journal:
            yield journal
        return
    with tempfile.TemporaryDirectory(prefix="skill-factory-") as work:
        copy = Path(work) / path.name
        copy_journal(path, copy)
        with Journal(copy) as journal:
            yield journal


def _rows_of(asked: Mapping[Name, Asked]) -> list[tuple[object, ...]]:
    return [(json.dumps(name), *digests) for name, digests in asked.items()]


def _parts(items: Sequence[object], size: int = 500) -> Iterable[Sequence[object]]:
    """SQLite takes so many places in one statement, and more."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _marks(items: Sequence[object]) -> str:
    return ", ".join("?" * len(items))
