"""The tables of a journal, their version, and what makes an older journal one of this version."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from skill_factory.errors import InputError

_OURS = 0x534B4644
"""SQLite's `application_id` of a journal."""

_VERSION = 2
"""Of the tables, as SQLite's `user_version`. From 2 on texts may be packed (`journal_rows`)."""

_TABLES = """
CREATE TABLE samples (
    key BLOB NOT NULL, idx INTEGER NOT NULL, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER, completion_tokens INTEGER, seconds REAL NOT NULL, at REAL NOT NULL,
    reasoning TEXT NOT NULL DEFAULT '', checksum INTEGER
);
CREATE UNIQUE INDEX samples_key ON samples (key, idx);
CREATE TABLE asked (
    name TEXT PRIMARY KEY, messages BLOB NOT NULL, model BLOB NOT NULL, sampling BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE written (key BLOB PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE refused (
    key BLOB PRIMARY KEY, reason TEXT NOT NULL, message TEXT NOT NULL
) WITHOUT ROWID;
"""
# Texts stand in a table with a row id: it grows at its end, and only the small index is touched
# all over.

_MIGRATIONS = {
    0: """
ALTER TABLE samples ADD COLUMN reasoning TEXT NOT NULL DEFAULT '';
ALTER TABLE samples ADD COLUMN checksum INTEGER;
CREATE TABLE refused (
    key BLOB PRIMARY KEY, reason TEXT NOT NULL, message TEXT NOT NULL
) WITHOUT ROWID;
""",
    1: "",
}
"""What makes a version's tables those of the next. Rows without a checksum are of version 0."""


_CACHE = 128 * 1024
"""Kilobytes of memory at most: keys are digests, so that each row touches another page."""

_LOG = 256 * 1024 * 1024
"""Bytes in the log from which on it is written into the database: what a page of the index is
changed many times for is then written once."""


def prepare(database: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new journal, or bring those of an older one to this version.

    Raises `InputError` for another database, and for a journal of a newer version.
    """
    (mark,) = database.execute("PRAGMA application_id").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and mark != _OURS:
        raise InputError(f"{path} is not a journal, but another database")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise InputError(f"{path} is of a newer version: update skill-factory")
    database.execute(f"PRAGMA cache_size = -{_CACHE}")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    checkpoint_by_itself(database, True)
    database.execute("BEGIN IMMEDIATE")
    changes = [_MIGRATIONS[old] for old in range(version, _VERSION)] if tables else [_TABLES]
    for statement in ";".join(changes).split(";"):
        database.execute(statement)
    database.execute(f"PRAGMA application_id = {_OURS}")
    database.execute(f"PRAGMA user_version = {_VERSION}")
    database.execute("COMMIT")


def checkpoint_by_itself(database: sqlite3.Connection, on: bool) -> None:
    """Whether SQLite writes a log that has grown long into the database, and begins it anew."""
    (page,) = database.execute("PRAGMA page_size").fetchone()
    database.execute(f"PRAGMA wal_autocheckpoint = {_LOG // page if on else 0}")


def not_a_journal(path: Path) -> InputError:
    """Of a file that is no database."""
    return InputError(f"{path} is not a journal: another path, please")
