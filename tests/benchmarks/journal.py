"""How fast a journal takes samples in, finds them and gives them back, and how large it gets: each
part as the journal grows to 1, 2, 4 and 8 times its size.

    python tests/benchmarks/journal.py [--rows 100000] [--characters 2000] [--samples 4]

`--rows` are the rows of the first part; `--samples` of each prompt come one after the other, as
from a server. CPU time, and kilobytes that were written, are those of a row that is added: a busy
machine changes the rows a second much, and these little. `--before` rows without a text are there
at the beginning: what slows a large journal down is its index. Texts are lines of the bundled
attempts and of the docs, drawn at random, so that they can be packed about as well as what models
write.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from skill_factory.asking.journal import Journal, Sample
from skill_factory.models import Completion

ROOT = Path(__file__).parents[2]
DATA = ROOT / "examples" / "data" / "smollm2_arithmetic_reflections.parquet"
GROUP = 64
"""Samples that come together; the keys that are looked up together."""


def texts(characters: int, count: int = 4096) -> list[str]:
    """Texts of so many characters."""
    draw, responses = random.Random(1), pq.read_table(DATA).column(4).to_pylist()
    lines = [line for row in responses for text in row for line in text.splitlines()]
    for page in sorted((ROOT / "docs").glob("*.md")):
        lines += [line for line in page.read_text(encoding="utf-8").splitlines() if len(line) > 20]
    found = []
    for _ in range(count):
        parts, size = [], 0
        while size < characters:
            parts.append(draw.choice(lines))
            size += len(parts[-1]) + 1
        found.append("\n".join(parts)[:characters])
    return found


def key_of(number: int) -> bytes:
    """The key of a prompt."""
    return sha256(b"%d" % number).digest()


def rows(first: int, count: int, samples: int, said: list[str]) -> Iterator[list[Sample]]:
    """Samples in groups; the texts are drawn before, so that drawing them takes no time."""
    made = (
        Sample(
            key_of(number // samples),
            number % samples,
            Completion(said[number % len(said)], "stop", 100, 500, 1.25),
        )
        for number in range(first, first + count)
    )
    while group := list(itertools.islice(made, GROUP)):
        yield group


def fill(path: Path, count: int) -> None:
    """Put rows into a new journal, all at once; their prompts are other ones. The index grows with
    them: one that is made afterwards has no room in its pages, and each row then splits one."""
    Journal(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000"):
            database.execute(f"PRAGMA {setting}")
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO samples (key, idx, text, finish_reason, seconds, at) "
            "VALUES (?, 0, '', 'stop', 0, 0)",
            ((key_of(-number),) for number in range(1, count + 1)),
        )
        database.execute("COMMIT")


def insert(journal: Journal, groups: Iterator[list[Sample]]) -> float:
    """Seconds until all of it is on disk."""
    start = time.perf_counter()
    for group in groups:
        journal.add(group)
        if journal.behind:
            journal.flush()
    journal.flush()
    return time.perf_counter() - start


def look_up(journal: Journal, keys: list[bytes]) -> float:
    """Seconds to see which samples of keys are there."""
    start = time.perf_counter()
    for at in range(0, len(keys), GROUP):
        journal.have(keys[at : at + GROUP])
    return time.perf_counter() - start


def read(journal: Journal, keys: list[bytes], samples: int) -> float:
    """Seconds to read samples."""
    start = time.perf_counter()
    for at in range(0, len(keys), GROUP):
        journal.read_all(dict.fromkeys(keys[at : at + GROUP], samples))
    return time.perf_counter() - start


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def measure(path: Path, base: int, characters: int, samples: int) -> None:
    said, process, draw = texts(characters), psutil.Process(), random.Random(2)
    print("           rows   added/s  CPU µs  written  looked up/s    read/s  kB/row      MB")
    done = 0
    empty = size_of(path)
    with Journal(path) as journal:
        for upto in (base, 2 * base, 4 * base, 8 * base):
            added, cpu = upto - done, time.process_time()
            written = process.io_counters().write_bytes
            took = insert(journal, rows(done, added, samples, said))
            cpu = time.process_time() - cpu
            written = process.io_counters().write_bytes - written
            done = upto
            keys = [key_of(draw.randrange(done // samples)) for _ in range(GROUP * 100)]
            found = len(keys) * samples / look_up(journal, keys)
            back = len(keys) * samples / read(journal, keys, samples)
            size = (size_of(path) - empty) / done / 1e3
            print(
                f"{done:15,} {added / took:9,.0f} {1e6 * cpu / added:7.1f} "
                f"{written / added / 1e3:8.1f} {found:12,.0f} {back:9,.0f} "
                f"{size:7.2f} {process.memory_info().rss / 1e6:7,.0f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--characters", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--before", type=int, default=0)
    parser.add_argument("--dir", type=Path, help="where the journal is made for a while")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="skill-factory-", dir=given.dir) as work:
        path = Path(work) / "journal.sqlite"
        if given.before:
            fill(path, given.before)
        measure(path, given.rows, given.characters, given.samples)


if __name__ == "__main__":
    main()
