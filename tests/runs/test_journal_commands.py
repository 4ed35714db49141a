"""The journal's commands: copy, merge, export; what is there when they are killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from model_server import Server, serve
from test_old_runs import DATA
from test_runs import command, config, go, rows
from tutor import speak

from skill_factory.asking.journal import Asked, Journal, Refused, Sample
from skill_factory.models import Completion

KEY, OTHER = b"k" * 32, b"o" * 32
LONG = "A long answer, in other words every time. " * 50


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server(speak=speak)) as server:
        yield server


def said(text: str) -> Completion:
    return Completion(text, "stop", 7, 11, 0.25)


def journal_of(path: Path, samples: dict[tuple[bytes, int], str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with Journal(path) as journal:
        journal.add(Sample(key, idx, said(text)) for (key, idx), text in samples.items())
    return path


def read(path: Path, *keys: bytes) -> dict[tuple[bytes, int], str]:
    with Journal(path) as journal:
        found = journal.read_all(dict.fromkeys(keys, 10_000))
    return {(key, idx): said.text for key in keys for idx, said in found[key]}


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "skill_factory", *map(str, arguments)]
    return subprocess.Popen(
        words, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


# -- copy -----------------------------------------------------------------------------------------


def test_a_copy_has_what_the_journal_has(tmp_path: Path) -> None:
    texts = {(KEY, idx): f"{idx} {LONG}" for idx in range(300)}
    journal_of(tmp_path / "run" / "journal.sqlite", texts)
    printed = command("journal", "copy", tmp_path / "run", tmp_path / "copy.sqlite")
    assert printed.startswith(f"{tmp_path / 'copy.sqlite'}: 300 samples, ")
    assert read(tmp_path / "copy.sqlite", KEY) == texts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.sqlite", "run"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["journal.sqlite"]


def test_a_copy_of_a_link_has_what_is_in_the_log(tmp_path: Path) -> None:
    path = journal_of(tmp_path / "far" / "journal.sqlite", {(KEY, 0): "before"})
    (tmp_path / "link.sqlite").symlink_to(path)
    with Journal(tmp_path / "link.sqlite") as journal:
        journal.add([Sample(KEY, 1, said("in the log"))])
        journal.flush()
        command("journal", "copy", tmp_path / "link.sqlite", tmp_path / "copy.sqlite")
    assert read(tmp_path / "copy.sqlite", KEY) == {(KEY, 0): "before", (KEY, 1): "in the log"}


WRITER = """
import sys
from pathlib import Path
from skill_factory.asking.journal import Journal, Sample
from skill_factory.models import Completion
key, text = b"k" * 32, Path(sys.argv[2]).read_text()
with Journal(Path(sys.argv[1])) as journal:
    for idx in range(1_000_000):
        journal.add([Sample(key, idx, Completion(f"{idx} {text}", "stop", 7, 11, 0.25))])
        if idx % 50 == 0:
            journal.flush()
            print(idx, flush=True)
"""


# The latter writes the log into the database again and again: 80 MB that cannot be packed.
@pytest.mark.parametrize(
    ("size", "most"), [(1000, 900), pytest.param(16_000, 8000, marks=pytest.mark.slow)]
)
def test_a_journal_is_copied_while_a_run_writes_it(tmp_path: Path, size: int, most: int) -> None:
    path, text = tmp_path / "journal.sqlite", os.urandom(size).hex()
    (tmp_path / "text").write_text(text)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(tmp_path / "text")],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert writer.stdout is not None
    try:
        kept = 0
        for least in (most // 3, most * 2 // 3, most):
            while kept < least:
                kept = int(writer.stdout.readline())
            command("journal", "copy", path, tmp_path / "copy.sqlite", "--overwrite")
            found = read(tmp_path / "copy.sqlite", KEY)
            assert len(found) > kept
            assert found == {(KEY, idx): f"{idx} {text}" for idx in range(len(found))}
    finally:
        writer.kill()
        writer.communicate()
    assert len(read(path, KEY)) > kept


def test_a_run_goes_on_after_a_copy_that_was_killed(tmp_path: Path) -> None:
    path = journal_of(tmp_path / "journal.sqlite", {(KEY, 0): "before"})
    (tmp_path / "journal.sqlite-copying").touch()  # what a copy that was killed leaves
    journal_of(path, {(KEY, 1): "after"})
    assert not (tmp_path / "journal.sqlite-copying").exists()
    assert len(read(path, KEY)) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("absent", "out.sqlite"), "absent: no such run or journal"),
        (("empty", "out.sqlite"), "empty: has no journal.sqlite, so it is no run's folder"),
        (("text", "out.sqlite"), "text is not a journal: another path, please"),
        (("other", "out.sqlite"), "other is not a journal, but another database"),
        (("newer", "out.sqlite"), "newer is of a newer version: update skill-factory"),
        (("cut", "out.sqlite"), "cut is damaged: "),
        (("good", "text"), "text: exists already; choose another output, or replace it with --ov"),
        (("good", "good", "--overwrite"), "good: is the journal itself; choose another output"),
        (("good", "used", "--overwrite"), "used-wal lies beside it; choose another output"),
        (("good", "absent/out.sqlite"), "absent/out.sqlite: cannot be written: No such file"),
    ],
)
def test_what_cannot_be_copied_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _bad_journals(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    printed = command("journal", "copy", *arguments, code=1)
    assert len(printed.splitlines()) == 1
    assert says in printed
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before


def _bad_journals(place: Path) -> None:
    (place / "empty").mkdir()
    (place / "text").write_text("questions\n" * 999)
    with closing(sqlite3.connect(place / "other")) as other:
        other.execute("CREATE TABLE samples (key)")
    for name in ("good", "newer", "cut"):
        journal_of(place / name, {(KEY, idx): LONG for idx in range(200)})
    with closing(sqlite3.connect(place / "newer")) as newer:
        newer.execute("PRAGMA user_version = 99")
    for name in ("used", "used-wal"):
        (place / name).touch()
    data = (place / "cut").read_bytes()
    (place / "cut").write_bytes(data[: len(data) // 2])


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["copy", "merge", "export"])
def test_what_is_killed_leaves_nothing_half_written(
    server: Server, tmp_path: Path, verb: str
) -> None:
    go(tmp_path / "run", config(server), "--to", "reflect")
    many = {(bytes([n % 256, n // 256]) * 16, 0): f"{n} {LONG}" for n in range(30_000)}
    journal_of(tmp_path / "run" / "journal.sqlite", many)
    journal_of(tmp_path / "more.sqlite", many)
    run, more = tmp_path / "run", tmp_path / "more.sqlite"
    arguments: dict[str, list[str | Path]] = {
        "copy": [run, tmp_path / "out.sqlite"],
        "merge": [run, more, "-o", tmp_path / "out"],
        "export": [run, tmp_path / "out.parquet"],
    }
    out = next(path for path in arguments[verb] if str(path).startswith(f"{tmp_path}/out"))
    for wait in (0.3, 0.6, 0.8, 1.0, 1.2, 1.5):
        process = start("journal", verb, *arguments[verb])
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if Path(out).exists():  # it had its name by then, and so is whole
            break
    else:
        command("journal", verb, *arguments[verb])
    if verb == "export":
        assert pq.read_table(out).num_rows
    else:
        assert len(
            read(
                Path(out) / "journal.sqlite" if verb == "merge" else Path(out),
                *(key for key, _ in many),
            )
        ) == len(many)
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


# -- merge ----------------------------------------------------------------------------------------


def test_of_several_answers_the_first_journals_is_taken(tmp_path: Path) -> None:
    one = journal_of(tmp_path / "one.sqlite", {(KEY, 0): "1", (KEY, 1): LONG, (OTHER, 0): "same"})
    two = journal_of(tmp_path / "two.sqlite", {(KEY, 1): f"{LONG}2", (KEY, 2): "2"})
    three = journal_of(tmp_path / "three.sqlite", {(OTHER, 0): "same", (OTHER, 1): "3"})
    printed = command("journal", "merge", one, two, three, "-o", tmp_path / "all.sqlite")
    assert printed.splitlines() == [
        f"{one}: 3 samples",
        f"{two}: 1 samples",
        f"{three}: 1 samples",
        f"{tmp_path / 'all.sqlite'}: 5 samples; 2 were in several; 1 of them with other answers",
        "Note: of other answers, those of the journal that is named first were taken",
    ]
    assert read(tmp_path / "all.sqlite", KEY, OTHER) == {
        **{(KEY, 0): "1", (KEY, 1): LONG, (KEY, 2): "2"},
        **{(OTHER, 0): "same", (OTHER, 1): "3"},
    }
    assert read(two, KEY) == {(KEY, 1): f"{LONG}2", (KEY, 2): "2"}


def test_a_text_that_is_held_otherwise_is_no_other_answer(tmp_path: Path) -> None:
    one = journal_of(tmp_path / "one.sqlite", {(KEY, 0): LONG})
    two = journal_of(tmp_path / "two.sqlite", {(KEY, 0): LONG})
    with closing(sqlite3.connect(two)) as database:
        database.execute("UPDATE samples SET text = ?", (LONG,))
        database.commit()
    assert two.read_bytes() != one.read_bytes()
    printed = command("journal", "merge", one, two, "-o", tmp_path / "all.sqlite")
    assert "1 were in several; 0 of them with other answers" in printed


def test_what_else_a_journal_keeps_is_merged(tmp_path: Path) -> None:
    first, second = ("sample", "a"), ("sample", "b")
    asked, why = Asked(b"m", b"o", b"s"), Refused("content_filter", "no")
    with Journal(tmp_path / "one.sqlite") as journal:
        journal.note_asked({first: asked})
        journal.note_written({KEY: 2})
    with Journal(tmp_path / "two.sqlite") as journal:
        journal.note_asked({first: asked._replace(model=b"x"), second: asked})
        journal.note_written({KEY: 4, OTHER: 1})
        journal.note_refused({OTHER: why})
    command("journal", "merge", *tmp_path.glob("*.sqlite"), "-o", tmp_path / "all.db", code=0)
    with Journal(tmp_path / "all.db") as journal:
        assert journal.written([KEY, OTHER]) == {KEY: 4, OTHER: 1}
        assert journal.refused([KEY, OTHER]) == {OTHER: why}
        assert journal.last_asked([second]) == {second: asked}


def test_a_journal_of_an_old_version_is_merged_and_left_as_it_is(tmp_path: Path) -> None:
    old = DATA / "old_run" / "journal.sqlite"
    before = old.read_bytes()
    one = journal_of(tmp_path / "one.sqlite", {(KEY, 0): LONG})
    printed = command("journal", "merge", one, old, "-o", tmp_path / "all.sqlite")
    with closing(sqlite3.connect(tmp_path / "all.sqlite")) as database:
        (count,) = database.execute("SELECT count(*) FROM samples").fetchone()
    assert f"all.sqlite: {count} samples; 0 were in several" in printed
    assert count > 16
    assert old.read_bytes() == before


def test_two_machines_that_share_the_questions_make_the_run_of_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    command("questions", "addition", "--count", "10", "-o", "all.jsonl")
    lines = Path("all.jsonl").read_text().splitlines(keepends=True)
    Path("first.jsonl").write_text("".join(lines[:5]))
    Path("second.jsonl").write_text("".join(lines[5:]))
    asking = ("--samples", "3", "--seed", "0")
    for name in ("first", "second"):
        command("sample", "-i", f"{name}.jsonl", "-o", name, *asking)
        command("grade", name)
        command("reflect", name, "--reflections", "2")
    command("sample", "-i", "all.jsonl", "-o", "alone", *asking)
    command("grade", "alone")
    command("reflect", "alone", "--reflections", "2")
    asked = server.asked
    printed = command("journal", "merge", "first", "second", "-o", "whole")
    assert "whole: " in printed
    assert "0 were in several" in printed
    printed = command("sample", "-i", "all.jsonl", "-o", "whole")
    assert "nothing to ask" in printed or "0 samples" in printed
    command("grade", "whole")
    command("reflect", "whole")
    assert server.asked == asked
    for name in ("attempts", "graded", "annotated"):
        assert rows(Path("whole"), name) == rows(Path("alone"), name)


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("good", "-o", "out"), "name two runs or journals, or more", 2),
        (("good", "good", "-o", "out"), "good: is named twice", 1),
        (("good", "absent", "-o", "out"), "absent: no such run or journal", 1),
        (("good", "text", "-o", "out"), "text is not a journal: another path, please", 1),
        (("good", "cut", "-o", "out.sqlite"), "cut is damaged: ", 1),
        (("good", "newer", "-o", "out"), "newer is of a newer version: update skill-factory", 1),
        (("good", "text", "-o", "other"), "other: exists already; choose another output", 1),
        (("good", "newer", "-o", "used"), "used: exists already; choose another output", 1),
        (("good", "cut", "-o", "text/out"), "text/out: cannot be written: ", 1),
    ],
)
def test_what_cannot_be_merged_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    says: str,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    _bad_journals(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    printed = command("journal", "merge", *arguments, code=code)
    assert says in printed.splitlines()[-1]
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before


# -- export ---------------------------------------------------------------------------------------


def test_a_runs_answers_are_exported_with_what_was_asked(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server), "--to", "reflect")
    printed = command("journal", "export", tmp_path / "run", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    with closing(sqlite3.connect(tmp_path / "run" / "journal.sqlite")) as database:
        (count,) = database.execute("SELECT count(*) FROM samples").fetchone()
    assert printed == f"{tmp_path / 'out.parquet'}: {count:,} samples\n"
    assert len(table) == count
    attempts = rows(tmp_path / "run", "attempts")
    exported = [row for row in table if row["stage"] == "sample"]
    for row, attempt in zip(exported, attempts, strict=True):
        assert (row["text"], row["sample"]) == (attempt["response"], attempt["sample"])
        assert row["prompt_variant"] == attempt["prompt_variant"]
        assert attempt["question"] in row["messages"][-1]["content"]
        assert json.loads(row["sampling"])["seed"] == 0
        assert row["model"].endswith(" tiny")
        assert abs(row["answered_at"].timestamp() - time.time()) < 600
    reflections = {row["text"] for row in table if row["stage"] == "reflect"}
    annotated = rows(tmp_path / "run", "annotated")
    column = "model_responses__mutated_prompts_reflection"
    assert {text for row in annotated for text in row[column]} <= reflections


def test_what_was_asked_in_another_way_is_counted(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server), "--to", "sample")
    changed: dict[str, Any] = config(server, sample={"temperature": 0.1})
    go(tmp_path / "run", changed, "--to", "sample", "--ask-again")
    printed = command("journal", "export", tmp_path / "run", tmp_path / "out.parquet")
    assert "out.parquet: 192 samples\n" in printed
    assert "Note: 192 more are in the journal, which the run would not ask for" in printed


def test_an_evaluations_answers_are_exported(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    command("questions", "addition", "--count", "5", "-o", "sums.jsonl")
    command("evaluate", "sums.jsonl", "-o", "measured", "--samples", "2")
    printed = command("journal", "export", "measured", "out.parquet")
    assert printed == "out.parquet: 10 samples\n"
    table = pq.read_table("out.parquet").to_pylist()
    responses = pq.read_table("measured/responses.parquet").to_pylist()
    assert [row["text"] for row in table] == [row["response"] for row in responses]
    assert {(row["stage"], row["prompt_variant"]) for row in table} == {("evaluate", "bare")}


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("good", "out.csv"), "out.csv: expected a .parquet file", 2),
        (("good", "out.parquet"), "good: is no run's folder", 1),
        (("empty", "out.parquet"), "empty: has no journal.sqlite, so it is no run's folder", 1),
        (("begun", "out.parquet"), "begun/config.yaml: is missing; bring it back", 1),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    says: str,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    _bad_journals(tmp_path)
    journal_of(tmp_path / "begun" / "journal.sqlite", {})
    (tmp_path / "begun" / ".lock").touch()
    printed = command("journal", "export", *arguments, code=code)
    assert says in printed.splitlines()[-1]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("out", ".out"))]
