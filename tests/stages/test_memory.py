"""`create` stays within its memory and says when it cannot; and so for the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import (
    REFLECTION,
    RESPONSE,
    ROOT,
    attempts,
    most_memory,
    read_manifest,
    run,
    write_rows,
)
from hypothesis import given
from hypothesis import strategies as st
from scattered import scatter

from skill_factory.core.columns import Column
from skill_factory.core.machine_memory import memory_limit
from skill_factory.core.tables import USABLE
from skill_factory.stages.create.pools import few_at_a_time, read_pools
from skill_factory.stages.create.spill import Spill, halves

MB = 1_000_000
Words = list[str | Path]


def digest(folder: Path) -> tuple[str, dict[str, int]]:
    """The digest of the traces, and the rows of each of their files."""
    files = sorted((folder / "sft_train").iterdir())
    rows = {path.name: pq.read_metadata(path).num_rows for path in files}
    return read_manifest(folder)["output"]["digest"], rows


def create(*words: object) -> tuple[int, int, str]:
    """The command in a process of its own: its exit code, the most memory it had, its errors."""
    process = subprocess.Popen(
        [sys.executable, "-m", "skill_factory", "create", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, most_memory(process.pid))
        time.sleep(0.01)
    return process.returncode, peak, process.communicate()[1]


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_input_of_four_times_the_memory(tmp_path: Path) -> None:
    memory = 280 * MB
    scatter(tmp_path / "large.parquet", 4 * memory)
    place: Words = ["-i", tmp_path / "large.parquet", "-o", tmp_path / "sft"]
    code, peak, errors = create(*place, "--memory", memory)
    assert (code, errors) == (0, "")
    assert peak < memory
    code, _, errors = create(*place[:2], "-o", tmp_path / "same", "--memory", "8GB")
    assert (code, errors) == (0, "")
    assert digest(tmp_path / "same") == digest(tmp_path / "sft")


@pytest.mark.slow
def test_short_texts_and_many_traces_of_them_stay_within_the_memory(tmp_path: Path) -> None:
    rows = [row for n in range(2_500) for row in attempts(6, 6, f"What is {n} + {n}?")]
    source, memory = write_rows(tmp_path / "short.parquet", rows), 280 * MB
    words: list[str | int] = [
        "--formats",
        "*C",
        "random",
        "paper",
        "--repeats",
        "5",
        "--memory",
        memory,
    ]
    code, peak, errors = create("-i", source, "-o", tmp_path / "sft", *words)
    assert (code, errors) == (0, "")
    assert peak < memory


@pytest.mark.slow
def test_the_memory_does_not_matter(tmp_path: Path) -> None:
    source, work = tmp_path / "scattered.parquet", tmp_path / "work"
    work.mkdir()
    scatter(source, 90 * MB)
    found = []
    budgets: list[Words] = [
        [],
        ["--memory", "280MB"],
        ["--memory", "350MB", "--workers", "3"],
        ["--memory", "1.5GiB", "--workers", "1", "--work-dir", work],
    ]
    for number, words in enumerate(budgets):
        folder = tmp_path / f"sft-{number}"
        done = run("-i", source, "-o", folder, "--formats", "*C", "paper", *words)
        assert done.code == 0, done.err
        found.append(digest(folder))
    assert found == found[:1] * 4
    assert len(found[0][1]) == 2
    assert not list(work.iterdir())


def test_a_budget_that_is_too_small_says_how_much_it_takes(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.parquet", attempts(3, 3))
    place: Words = ["-i", source, "-o", tmp_path / "sft", "--attempts", "3"]
    refused = run(*place, "--memory", "100MB")
    assert refused.code == 2
    assert "--memory 100MB: create needs" in refused.err
    least = refused.err.rsplit("needs ", 1)[1].split()[0]
    assert run(*place, "--memory", least).code == 0


@pytest.mark.parametrize(
    ("written", "accepted"),
    [("2GB", True), ("1.5 GiB", True), ("3000000000", True), ("lots", False), ("-1", False)],
)
def test_sizes_are_read(tmp_path: Path, written: str, accepted: bool) -> None:
    source = write_rows(tmp_path / "rows.parquet", attempts(3, 3))
    done = run("-i", source, "--attempts", "3", "--dry-run", "--memory", written)
    assert (done.code == 0) == accepted
    assert accepted or "expected a number of bytes: 2GB, 1.5GiB, 500MB" in done.err


def test_a_row_that_cannot_be_held_is_named(tmp_path: Path) -> None:
    rows = attempts(3, 3)
    rows[4][RESPONSE] = ["x" * (60 * MB)]
    source = write_rows(tmp_path / "rows.jsonl", rows)
    done = run("-i", source, "-o", tmp_path / "sft", "--memory", "280MB", "--workers", "1")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"{source}: rows 4 to 5 hold 60MB" in done.err
    assert "with --memory 280MB; set it to" in done.err
    assert not (tmp_path / "sft").exists()


def test_a_question_that_cannot_be_held_is_named(tmp_path: Path) -> None:
    rows = attempts(40, 40, "Everything at once?") + attempts(3, 3, "What is 1 + 1?")
    for number, row in enumerate(rows[:80]):
        row[REFLECTION] = [f"{number} {'long ' * 200_000}{row[REFLECTION][0]}"]
    source = write_rows(tmp_path / "rows.parquet", rows)
    place: Words = ["-i", source, "-o", tmp_path / "sft", "--attempts", "3"]
    refused = run(*place, "--memory", "280MB")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "the question 'Everything at once?' has 80MB of usable attempts" in refused.err
    assert not (tmp_path / "sft").exists()
    enough = refused.err.split("set it to ")[1].split(",")[0]
    assert run(*place, "--memory", enough).code == 0


def test_a_container_may_have_less_than_the_machine(tmp_path: Path) -> None:
    def limits(line: str, **files: str) -> int:
        for name, text in {"proc/self/cgroup": line, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return memory_limit(tmp_path)

    everything = memory_limit(tmp_path)
    groups = "sys/fs/cgroup"
    assert limits("0::/a/b\n", **{f"{groups}/a/b/memory.max": "max\n"}) == everything
    assert limits("0::/a/b\n", **{f"{groups}/a/memory.max": "50000000\n"}) == 50_000_000
    assert limits("0::/c\n", **{f"{groups}/memory.max": "40000000\n"}) == 40_000_000
    old = {f"{groups}/memory/c/memory.limit_in_bytes": "30000000\n"}
    assert limits("5:memory:/c\n2:cpu:/c\n", **old) == 30_000_000


# -- disk ------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB in memory; without the right to mount one there is no such test."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=20m", "tmpfs", str(place)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_too_small_is_refused_before_it_is_full(
    tmp_path: Path, small_disk: Path
) -> None:
    source, out = tmp_path / "scattered.parquet", tmp_path / "sft"
    scatter(source, 60 * MB)
    elsewhere: Words = [out, "--work-dir", small_disk]
    for words in (elsewhere, [small_disk / "sft"]):
        done = run("-i", source, "-o", *words)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert f"{small_disk}: what is usable of the input takes about 6" in done.err
        assert "MB of disk while it is sorted, and 21MB are free there" in done.err
        assert "--work-dir" in done.err
        assert not list(small_disk.iterdir())
        assert not out.exists()
    assert run("-i", source, "--dry-run", "--work-dir", tmp_path).code == 0


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(
    tmp_path: Path, small_disk: Path
) -> None:
    source, out = tmp_path / "scattered.parquet", tmp_path / "sft"
    scatter(tmp_path / "some.parquet", 60 * MB)
    table = pq.read_table(tmp_path / "some.parquet")
    # The first batches hold nothing that is usable, and promise a small spill.
    blank = pa.array([[""]] * 12_000, table.schema.field(RESPONSE).type)
    head = table.slice(0, 12_000).set_column(3, table.schema.field(RESPONSE), blank)
    pq.write_table(pa.concat_tables([head, table.slice(12_000)]), source)
    done = run("-i", source, "-o", out, "--work-dir", small_disk, "--memory", "300MB")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"{small_disk}: cannot be written: No space left on device" in done.err
    assert "--work-dir" in done.err
    assert not list(small_disk.iterdir())
    assert not out.exists()


def test_a_work_dir_must_be_there_and_is_left_empty(tmp_path: Path) -> None:
    source, work = write_rows(tmp_path / "rows.parquet", attempts(3, 3)), tmp_path / "work"
    place: Words = ["-i", source, "-o", tmp_path / "sft", "--attempts", "3", "--work-dir", work]
    assert f"--work-dir {work}: no such folder" in run(*place).err
    work.mkdir()
    left = work / ".skill-factory-work-killed"
    left.mkdir()
    (left / "lock").touch()
    (left / "00.arrows").touch()
    assert run(*place).code == 0
    assert not list(work.iterdir())


# -- the spill -------------------------------------------------------------------------------------


def usable(questions: list[int]) -> pa.RecordBatch:
    """Usable attempts at questions, which are given by their digests' first halves."""
    found = sorted(questions)
    rows = [
        {
            Column.QUESTION_ID: half.to_bytes(8, "big") + bytes(8),
            Column.ATTEMPT_ID: n.to_bytes(16, "big"),
            Column.ROW: n,
            Column.RESPONSE: 0,
            Column.QUESTION: f"What is {half}?",
            Column.CORRECT: bool(n % 2),
            Column.ATTEMPT: "so",
            Column.EXTRACTED_ANSWER: "1",
            Column.REFLECTIONS: ["well"],
            Column.REFLECTION_NUMBERS: [0],
        }
        for n, half in enumerate(found)
    ]
    return pa.RecordBatch.from_pylist(rows, USABLE)


DIGESTS = st.one_of(
    st.integers(0, (1 << 64) - 1), st.integers(0, 3), st.integers((1 << 64) - 4, (1 << 64) - 1)
)


@given(
    st.lists(st.lists(DIGESTS, max_size=12), max_size=6),
    st.sampled_from([1, 2, 256]),
    st.sampled_from([1, 8, 256]),
    st.sampled_from([1, 3_000, 1 << 20]),
)
def test_parts_hold_all_in_order_and_are_small_or_of_one_question(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[int]],
    parts: int,
    shards: int,
    most: int,
) -> None:
    folder = tmp_path_factory.mktemp("spill")
    with Spill(folder, parts, 2_000) as spill:
        for questions in batches:
            asked = np.array(sorted({*questions, 7}), np.uint64)
            spill.add(usable(questions), asked)
    spill.cut_finer(most, shards)
    there = [[int(h) for b in spill.batches(p) for h in halves(b)] for p in range(spill.parts)]
    assert sorted(h for some in there for h in some) == sorted(q for some in batches for q in some)
    ends = [(min(some), max(some)) for some in there if some]
    assert all(before[1] < after[0] for before, after in pairwise(ends))
    for part, some in enumerate(there):
        assert spill.size(part) <= most or len(set(some)) == 1
    of_shards = [spill.of_shard(number, shards) for number in range(shards)]
    assert [part for chosen in of_shards for part in chosen] == list(range(spill.parts))
    for number, chosen in enumerate(of_shards):
        assert all(h * shards >> 64 == number for part in chosen for h in there[part])
    without = [int(half) for part in range(spill.parts) for half in spill.asked(part)]
    assert without == [7] * sum(7 not in some for some in batches)
    assert {path.suffix for path in folder.iterdir()} <= {".arrows", ".asked"}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(0, 12))
def test_pools_a_few_at_a_time_are_all_pools(
    tmp_path_factory: pytest.TempPathFactory, questions: list[int], most: int
) -> None:
    with Spill(tmp_path_factory.mktemp("spill"), 1, 1) as spill:
        spill.add(usable(questions), np.array(sorted({*questions, 77}), np.uint64))
    whole = read_pools(spill, 0)
    some = list(few_at_a_time(whole, most, 2))
    assert [int(half) for pools in some for half in pools.unanswered] == [77]
    sizes = [size for pools in some for size in np.diff(pools.bounds).tolist()]
    assert sizes == np.diff(whole.bounds).tolist()
    rows = [row for pools in some for row in pools.attempts[Column.ROW].to_pylist()]
    assert sorted(rows) == list(range(len(questions)))
    for pools in some:
        assert len(pools.bounds) == 2 or max(2 * (len(pools.bounds) - 1), len(pools.order)) <= most
