"""A retraction: a dataset without some questions, rows or traces, and else what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import REAL, Make, attempt, attempts, read_manifest, read_traces, run, write_rows
from model_server import Server, serve
from test_runs import config, go, rows
from tutor import speak
from xxhash import xxh3_128_hexdigest

import skill_factory as sf

MIXED = ["--formats", "*C_full", "*CC", "paper", "--attempts", "3"]


def plan_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / "plan.parquet").to_pylist()
    return found


def listed(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def lost(folder: Path, kind: str) -> int:
    losses = read_manifest(folder)["ledger"][kind]["losses"]
    return int(losses.get("excluded", 0))


@pytest.mark.parametrize("options", [[], ["--subsample", "150"]], ids=["all", "subsample"])
def test_a_question_is_taken_out_and_nothing_else_changes(
    make: Make, tmp_path: Path, options: list[str]
) -> None:
    before = make(REAL, *MIXED, *options)
    traces, plan = read_traces(before), plan_of(before)
    question, other = (traces[at]["conversations"][0]["content"] for at in (0, -1))
    path = listed(
        tmp_path / "out.txt",
        "# asked to be taken out",
        "",
        f"question {question}",
        f"  question {xxh3_128_hexdigest(other.encode())}",
    )
    after = make(REAL, *MIXED, *options, "--exclude", path)
    gone = {question, other}
    assert read_traces(after) == [
        row for row in traces if row["conversations"][0]["content"] not in gone
    ]
    ids = {xxh3_128_hexdigest(text.encode()) for text in gone}
    assert plan_of(after) == [row for row in plan if row["question_id"] not in ids]
    assert lost(after, "questions") == 2
    assert lost(after, "traces") >= sum(row["question_id"] in ids for row in plan)
    assert read_manifest(after)["input"] == read_manifest(before)["input"]


def test_a_row_is_taken_out_of_its_question_alone(make: Make, tmp_path: Path) -> None:
    before = make(REAL, *MIXED, "--subsample", "150")
    plan = plan_of(before)
    mine, row = next(
        (trace["question_id"], step["row"])
        for trace in plan
        for step in trace["steps"]
        if not step["correct"]
    )
    path = listed(tmp_path / "out.txt", f"row {row}")
    after = make(REAL, *MIXED, "--subsample", "150", "--exclude", path)
    used = {step["row"] for trace in plan_of(after) for step in trace["steps"]}
    assert row not in used
    assert [trace for trace in plan_of(after) if trace["question_id"] != mine] == [
        trace for trace in plan if trace["question_id"] != mine
    ]
    assert any(trace["question_id"] == mine for trace in plan_of(after))
    assert (lost(after, "rows"), lost(after, "attempts"), lost(after, "questions")) == (1, 1, 0)
    assert read_manifest(after)["input"]["digest"] == read_manifest(before)["input"]["digest"]


def test_what_an_excluded_row_said_too_is_used_in_its_place(make: Make, tmp_path: Path) -> None:
    twice = [*attempts(1, 2), attempt(0, True)]
    path = listed(tmp_path / "out.txt", "row 0")
    folder = make(twice, "--attempts", "3", "--exclude", path)
    used = {step["row"] for trace in plan_of(folder) for step in trace["steps"]}
    assert used == {1, 2, 3}


def test_a_trace_is_taken_out(make: Make, tmp_path: Path) -> None:
    before = make(REAL, *MIXED)
    traces = read_traces(before)
    gone = {row["trace_id"] for row in traces[::7]}
    path = listed(tmp_path / "out.txt", *(f"trace {name}" for name in sorted(gone)))
    after = make(REAL, *MIXED, "--exclude", path)
    assert read_traces(after) == [row for row in traces if row["trace_id"] not in gone]
    assert lost(after, "traces") == len(gone)
    assert lost(after, "questions") == 0


def test_a_question_whose_traces_are_all_taken_out_is_lost(make: Make, tmp_path: Path) -> None:
    data = attempts(2, 2) + attempts(2, 2, "And 3 + 3?")
    before = plan_of(make(data, "--attempts", "2"))
    first = before[0]["question_id"]
    gone = [row["trace_id"] for row in before if row["question_id"] == first]
    path = listed(tmp_path / "out.txt", *(f"trace {name}" for name in gone))
    assert lost(make(data, "--attempts", "2", "--exclude", path), "questions") == 1


def test_an_entry_that_matches_nothing_is_noted_with_its_line(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.parquet", attempts(2, 2))
    path = listed(
        *(tmp_path / "out.txt", "row 1", "row 99", "# -"),
        *("question What is 2 + 3?", f"trace {'0' * 32}"),
    )
    done = run("-i", data, "-o", tmp_path / "sft", "--attempts", "2", "--exclude", path)
    assert done.code == 0, done.err
    assert "Note: --exclude: line 2: row '99': there is no such row" in done.out
    assert "line 4: question 'What is 2 + 3?': no attempt is at this question" in done.out
    assert f"line 5: trace '{'0' * 32}': no such trace is made" in done.out
    assert done.out.count("--exclude: line") == 3
    many = listed(tmp_path / "many.txt", *(f"row {n}" for n in range(100, 130)))
    done = run("-i", data, "--dry-run", "--attempts", "2", "--exclude", many)
    assert "--exclude: 20 more without effect" in done.out


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("12", "line 2: expected `row NUMBER`, `question TEXT`, `question ID` or `trace ID`"),
        ("question", "line 2: expected `row NUMBER`"),
        ("row x", "line 2: a row is a number, from 0, not 'x'"),
        ("row -1", "line 2: a row is a number"),
        ("trace 12", "line 2: a trace is named by its trace_id"),
        ("row 1\x1b[2J", "line 2: a row is a number"),
    ],
)
def test_a_line_that_is_no_entry_is_one_clear_error(
    tmp_path: Path, line: str, problem: str
) -> None:
    path = listed(tmp_path / "out.txt", "row 1", line)
    done = run("-i", REAL, "-o", tmp_path / "sft", "--exclude", path)
    assert done.code == 1
    assert f"{path}: {problem}" in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "sft").exists()


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"question \xe9t\xe9\n")
    for name, problem in (("none.txt", "No such file"), ("latin", "not UTF-8"), (".", "directory")):
        done = run("-i", REAL, "-o", tmp_path / "sft", "--exclude", tmp_path / name)
        assert done.code == 1
        assert "cannot read what to exclude" in done.err
        assert problem in done.err
        assert len(done.err.strip().splitlines()) == 1


def test_the_card_has_the_settings_that_make_it_again(make: Make, tmp_path: Path) -> None:
    """Entries and not the file: it may be gone."""
    question = read_traces(make(REAL, *MIXED))[0]["conversations"][0]["content"]
    path = listed(tmp_path / "out.txt", "row 3", f"question {question}")
    folder = make(REAL, *MIXED, "--exclude", path)
    path.unlink()
    assert read_manifest(folder)["settings"]["exclude"] == ["row 3", f"question {question}"]
    card = (folder / "README.md").read_text("utf-8")
    settings = card.split("```yaml\n", 1)[1].split("```", 1)[0]
    assert yaml.safe_load(settings)["create"]["exclude"] == ["row 3", f"question {question}"]
    (tmp_path / "create.yaml").write_text(settings, "utf-8")
    again = make(REAL, "--config", tmp_path / "create.yaml")
    assert read_manifest(again)["output"]["digest"] == read_manifest(folder)["output"]["digest"]


def test_python_takes_entries(tmp_path: Path) -> None:
    made = sf.create(REAL, tmp_path / "sft", attempts=3, exclude=["row 0", "row 1"])
    assert made.ledger["rows"]["losses"] == {"excluded": 2}
    with pytest.raises(sf.SkillFactoryError, match="exclude: entry 1: expected"):
        sf.create(REAL, tmp_path / "other", attempts=3, exclude=["nothing"])


def test_a_run_makes_its_traces_anew_when_the_file_says_something_else(tmp_path: Path) -> None:
    path = listed(tmp_path / "out.txt", "row 0")
    with serve(Server(speak=speak)) as server:
        settings = config(server, create={"attempts": 3, "exclude": "out.txt"})
        go(tmp_path / "run", settings)
        assert lost(tmp_path / "run" / "sft", "rows") == 1
        assert go(tmp_path / "run", settings).count("is up to date") == 5
        question = rows(tmp_path / "run", "questions")[0]["question"]
        listed(path, "row 0", f"question {question}")
        assert go(tmp_path / "run", settings).count("is up to date") == 4
        assert lost(tmp_path / "run" / "sft", "questions") == 1
        listed(path, "# the same", f"question {question}", "row 0")
        assert go(tmp_path / "run", settings).count("is up to date") == 5
        listed(path, "nonsense")
        assert "line 1: expected `row NUMBER`" in go(tmp_path / "run", settings, code=1)
