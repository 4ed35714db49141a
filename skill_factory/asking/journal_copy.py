"""A copy of a journal, whole, while a run may be writing it.

A run has its journal to itself, so that no memory is shared between processes: SQLite cannot read
it for us. Its two files can be copied as they are, if nothing begins the log anew meanwhile
(https://sqlite.org/walformat.html, "The WAL File Format"): what was committed is in the log until
then, whether it is in the database too or not. A run is asked to leave the log as it is by a file
beside the journal, and that it did is seen by the log's first bytes, which are never the same
again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from skill_factory.asking.journal_schema import not_a_journal, prepare
from skill_factory.core.whole_files import new_file, resolved
from skill_factory.errors import InputError, OutputError

_TRIES = 20
"""How often a copy is begun: two or three are enough, unless the run does not see that we copy."""

_HEADER = 32
"""Bytes at the beginning of a log: the last 16 are drawn anew each time."""


class Copied(NamedTuple):
    """What is in a copy: rows, and bytes on disk."""

    samples: int
    size: int


def copy_journal(source: Path, target: Path) -> Copied:
    """Copy a journal to one file, in this version's form, checked before it takes its name.

    Raises `InputError` for what is no journal or is damaged, `OutputError` if it cannot be written.
    """
    if not source.is_file():
        raise InputError(f"{source}: no such journal")
    target = resolved(target)
    if target == resolved(source):
        raise OutputError(f"{target}: is the journal itself; choose another output")
    validate_no_log(target)
    with new_file(target) as part, one_line_for_bad_journals(source), _log_removed(part):
        _copy_files(source.resolve(), part)  # of a link, the log lies where it leads to
        return _finish(part, source)


def validate_no_log(target: Path) -> None:
    """Raise `OutputError` if a log lies where a journal is to be written: SQLite would take it for
    the new one's, and a run may be writing it."""
    if log_of(target).exists():
        raise OutputError(
            f"{target}: a run is writing there, or was killed: {log_of(target).name} lies beside "
            "it; choose another output"
        )


@contextmanager
def _log_removed(part: Path) -> Iterator[None]:
    """Let nothing of SQLite's lie beside a file, before and afterwards."""
    logs = [part.with_name(f"{part.name}{end}") for end in ("-wal", "-shm", "-journal")]
    for old in (part, *logs):
        old.unlink(missing_ok=True)
    try:
        yield
    finally:
        for log in logs:
            with suppress(OSError):
                log.unlink()


def _copy_files(source: Path, part: Path) -> None:
    """Copy the database and its log, as they were at one moment."""
    log = log_of(source)
    with _copying(source):
        for _ in range(_TRIES):
            before = _state(source)
            shutil.copyfile(source, part)
            with suppress(FileNotFoundError):  # nobody writes, or the run has just ended
                log_of(part).unlink(missing_ok=True)
                shutil.copyfile(log, log_of(part))
            if _state(source) == before:
                return
            time.sleep(0.05)
    raise OutputError(
        f"{source}: is being written to in a way that cannot be copied; copy it when the run has "
        "ended"
    )


def _state(source: Path) -> object:
    """What is another one once the log has begun anew."""
    try:
        with log_of(source).open("rb") as log:
            if header := log.read(_HEADER):
                return header
    except FileNotFoundError:
        pass
    stat = source.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def log_of(path: Path) -> Path:
    """The log of a journal, where what was written last is."""
    return path.with_name(f"{path.name}-wal")


def _finish(part: Path, source: Path) -> Copied:
    """Put the log's content into a copy, and check it."""
    with closing(sqlite3.connect(part, isolation_level=None)) as database:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        prepare(database, source)
        database.execute("PRAGMA journal_mode = DELETE")
        (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found.splitlines()[-1])
        (samples,) = database.execute("SELECT count(*) FROM samples").fetchone()
    sync(part)
    return Copied(samples, part.stat().st_size)


def sync(path: Path) -> None:
    """Have the disk itself take what a file has."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def one_line_for_bad_journals(path: Path) -> Iterator[None]:
    """What SQLite says of a journal, as an `InputError`; of a disk, as an `OutputError`."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_NOTADB":
            raise not_a_journal(path) from None
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")):
            raise OutputError(f"a copy of {path} cannot be written: {error}") from None
        raise InputError(f"{path} is damaged: {error}") from None


# -- asking a run to leave the log as it is -------------------------------------------------------


def _sign(source: Path) -> Path:
    """The file that says that a journal is being copied, while somebody has it locked."""
    return source.with_name(f"{source.name}-copying")


@contextmanager
def _copying(source: Path) -> Iterator[None]:
    """Say that a journal is being copied; where nothing can be written beside it, nobody is told,
    and nobody may be writing."""
    try:
        handle = _put_up_sign(source)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        os.close(handle)
        _remove_old_sign(source)


def _put_up_sign(source: Path) -> int:
    """The open sign; whoever removes old ones may have taken the first one for one of these."""
    while True:
        handle = os.open(_sign(source), os.O_CREAT | os.O_RDWR, 0o644)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), _sign(source).stat()):
                return handle
        os.close(handle)


def is_being_copied(source: Path) -> bool:
    """Whether a journal's log is to be left as it is. Looked at before each write: it must be
    cheap."""
    return _sign(source).exists() and not _remove_old_sign(source)


def _remove_old_sign(source: Path) -> bool:
    """Remove the sign if nobody holds it: a copy may have been killed. Whether it is gone."""
    try:
        handle = os.open(_sign(source), os.O_RDWR)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sign(source).unlink(missing_ok=True)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True  # without locks nobody can hold it
    finally:
        os.close(handle)
