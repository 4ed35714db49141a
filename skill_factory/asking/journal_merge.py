"""Several journals in one: what different machines were answered becomes one run's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from skill_factory.asking.journal_copy import copy_journal, one_line_for_bad_journals, sync
from skill_factory.asking.journal_rows import COLUMNS, Rows
from skill_factory.core.whole_files import resolved
from skill_factory.errors import InputError

_SIDE_BY_SIDE = ", ".join(
    f"{table}.{name.strip()}" for table in ("new", "old") for name in COLUMNS.split(",")
)
_SAME_PLACE = (
    "FROM more.samples new JOIN main.samples old ON old.key = new.key AND old.idx = new.idx"
)
_OTHER_BYTES = (
    "old.text IS NOT new.text OR old.reasoning IS NOT new.reasoning "
    "OR old.finish_reason IS NOT new.finish_reason"
)
_TAKE = (
    f"INSERT OR IGNORE INTO main.samples ({COLUMNS}, at) SELECT {COLUMNS}, at FROM more.samples",
    "INSERT OR IGNORE INTO main.asked SELECT * FROM more.asked",
    "INSERT OR IGNORE INTO main.refused SELECT * FROM more.refused",
    "INSERT INTO main.written SELECT * FROM more.written WHERE true "
    "ON CONFLICT DO UPDATE SET count = max(count, excluded.count)",
)


_CACHE = 256 * 1024
"""Kilobytes of memory at most."""


class Merged(NamedTuple):
    """How many samples a merge took of each journal, in their order. `had`: those that an earlier
    one had as well; `conflicts`: those of which it had another answer, which stays."""

    taken: list[int]
    had: int
    conflicts: int

    @property
    def samples(self) -> int:
        """All that are in it."""
        return sum(self.taken)


def merge_journals(sources: Sequence[Path], target: Path) -> Merged:
    """Write the samples of journals into a new one at `target`, where nothing is; of several
    answers for one sample the first is taken. The journals are left as they are.

    The file is whole once this returns: its caller gives it its name. Raises as `copy_journal`;
    `InputError` also for a journal that is named twice.
    """
    _validate_different(sources)
    taken, had, conflicts = [copy_journal(sources[0], target).samples], 0, 0
    for source in sources[1:]:
        with _taken_with(source, target) as database:
            (there,) = database.execute("SELECT count(*) FROM more.samples").fetchone()
            (twice,) = database.execute(f"SELECT count(*) {_SAME_PLACE}").fetchone()
            conflicts += _conflicts(database)
            for statement in _TAKE:
                database.execute(statement)
            had += twice
            taken.append(there - twice)
    sync(target)
    return Merged(taken, had, conflicts)


def _validate_different(sources: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for source in sources:
        if not source.is_file():
            raise InputError(f"{source}: no such journal")
        if (found := resolved(source)) in seen:
            raise InputError(f"{source}: is named twice")
        seen.add(found)


@contextmanager
def _taken_with(source: Path, target: Path) -> Iterator[sqlite3.Connection]:
    """The new journal, with another one as `more`: a copy of it, in this version's form."""
    copy = target.with_name(f"{target.name}-more")
    try:
        copy_journal(source, copy)
        with (
            one_line_for_bad_journals(source),
            closing(sqlite3.connect(target, isolation_level=None)) as database,
        ):
            # Nothing is lost with a file that has no name yet.
            for unsafe in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE}"):
                database.execute(f"PRAGMA {unsafe}")
            database.execute("ATTACH ? AS more", (str(copy),))
            database.execute("BEGIN")
            yield database
            database.execute("COMMIT")
    finally:
        copy.unlink(missing_ok=True)


def _conflicts(database: sqlite3.Connection) -> int:
    """How many samples have another answer. Bytes may differ where texts do not: one may be packed,
    the other not."""
    rows, half = Rows(), len(COLUMNS.split(","))
    query = f"SELECT {_SIDE_BY_SIDE} {_SAME_PLACE} WHERE {_OTHER_BYTES}"
    return sum(
        _answer(rows, row[:half]) != _answer(rows, row[half:]) for row in database.execute(query)
    )


def _answer(rows: Rows, row: tuple[object, ...]) -> tuple[str, ...]:
    said = rows.sample(row).completion
    return said.text, said.finish_reason, said.reasoning
