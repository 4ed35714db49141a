"""Comparing two datasets or two runs: what differs is told, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import (
    BUNDLED,
    CORRECT,
    REAL,
    REFLECTION,
    Make,
    Outcome,
    attempt,
    attempts,
    read_manifest,
    read_traces,
    run,
    write_rows,
)
from model_server import Server, serve
from test_runs import config, go
from tutor import speak


def diff(before: Path, after: Path, *options: str) -> Outcome:
    return run("diff", before, after, *options, module="skill_factory")


def found(before: Path, after: Path) -> dict[str, Any]:
    done = diff(before, after, "--json")
    said: dict[str, Any] = json.loads(done.out)
    assert done.code == int(said["differ"])
    return said


def changes(said: list[dict[str, Any]]) -> dict[str, tuple[Any, Any]]:
    return {one["name"]: (one["before"], one["after"]) for one in said}


def test_the_same_settings_make_no_difference(make: Make) -> None:
    one, other = make(BUNDLED, "--attempts", "3"), make(BUNDLED, "--attempts", "3")
    done = diff(one, other)
    assert (done.code, done.out) == (0, "The two SFT folders are the same.\n")
    said = found(one, other)
    assert said["made"] == []
    assert said["traces"]["same"] == len(read_traces(one))


def test_traces_of_other_settings_are_added_and_removed(make: Make) -> None:
    one = make(REAL, "--attempts", "3", "--formats", "*C_full", "0C")
    other = make(REAL, "--attempts", "3", "--formats", "*C_full", "*C*IC", "--sample-lengths")
    said = found(one, other)
    before, after = ({row["trace_id"] for row in read_traces(path)} for path in (one, other))
    assert said["traces"]["removed"] == len(before - after) > 0
    assert said["traces"]["added"] == len(after - before) > 0
    assert said["traces"]["same"] == len(before & after) > 0
    assert set(said["traces"]["ids"]["added"]) <= after - before
    assert changes(said["made"]) == {
        "settings.formats": (["*C_full", "0C"], ["*C_full", "*C*IC"]),
        "settings.sample_lengths": (False, True),
    }
    text = diff(one, other).out
    assert "settings.sample_lengths: False -> True" in text
    assert f"traces only in the second: {len(after - before):,}: " in text


def test_the_mix_is_counted_from_the_traces(make: Make) -> None:
    one = make(REAL, "--attempts", "3")
    other = make(REAL, "--attempts", "4", "--formats", "*C", "--sample-lengths", "--seed", "2")
    for folder, mix in zip((one, other), found(one, other)["mix"], strict=True):
        traces, plan = read_traces(folder), pq.read_table(folder / "plan.parquet").to_pylist()
        steps = [step["correct"] for row in plan for step in row["steps"]]
        lengths = [str(len(row["steps"])) for row in plan]
        texts = [len(row["conversations"][1]["content"]) for row in traces]
        assert mix["traces"] == len(traces)
        assert mix["labels"] == read_manifest(folder)["counts"]["labels"]
        assert mix["attempts"] == {n: lengths.count(n) for n in sorted(set(lengths))}
        assert (mix["right"], mix["wrong"]) == (sum(steps), len(steps) - sum(steps))
        assert mix["characters"] == pytest.approx(sum(texts) / len(texts))


def test_the_spans_that_changed_are_named(make: Make, tmp_path: Path) -> None:
    rows = attempts(2, 2)
    one = make(rows, "--attempts", "3")
    rows[2][REFLECTION] = [f"{text} So it is." for text in rows[2][REFLECTION]]
    data = make(rows, "--attempts", "3")
    said = found(one, data)
    assert changes(said["made"]).keys() == {"input.digest"}
    before, after = (
        {row["trace_id"]: row["conversations"][1]["content"] for row in read_traces(path)}
        for path in (one, data)
    )
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert said["traces"]["changed"] == said["traces"]["examined"] == len(changed) > 0
    assert set(said["traces"]["ids"]["changed"]) == changed
    assert said["traces"]["spans"]["reflection"] > 0


def test_other_phrases_change_glue_alone(make: Make, tmp_path: Path) -> None:
    from skill_factory.stages.create.phrases import load_phrases

    phrases = {kind.value: list(texts) for kind, texts in load_phrases().phrases.items()}
    phrases["generic"] = [f"{text} Yes." for text in phrases["generic"]]
    (tmp_path / "phrases.yaml").write_text(json.dumps(phrases))
    one = make(BUNDLED, "--attempts", "3")
    other = make(BUNDLED, "--attempts", "3", "--phrases", tmp_path / "phrases.yaml")
    said = found(one, other)
    assert set(said["traces"]["spans"]) == {"glue"}
    assert "phrases.generic 0" in changes(said["made"])


def test_only_datasets_of_ours_are_compared(make: Make, tmp_path: Path) -> None:
    folder = make(BUNDLED, "--attempts", "3")
    done = diff(folder, BUNDLED)
    assert done.code == 1
    assert "is no SFT folder; make one with `skill-factory create`" in done.err
    done = diff(folder, tmp_path / "none")
    assert done.code == 1
    assert "no such file or folder" in done.err


# -- runs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs, the second with more samples, drawn at another temperature."""
    place = tmp_path_factory.mktemp("diff")
    with serve(Server(speak=speak)) as server:
        go(place / "one", config(server))
        go(place / "two", config(server, sample={"samples": 5, "seed": 3, "temperature": 0.9}))
    return place / "one", place / "two"


def scores(folder: Path, column: str) -> dict[str, tuple[int, int, int, int]]:
    """Attempts, right ones, verdicts and true ones, counted row by row."""
    counted: dict[str, tuple[int, int, int, int]] = {}
    for row in pq.read_table(folder / "annotated.parquet").to_pylist():
        right = row[CORRECT][0]
        said = ["<verdict>Correct" in text for text in row[REFLECTION] or [] if "<verdict>" in text]
        mine = (1, right is True, len(said), sum(one == right for one in said))
        before = counted.get(row[column], (0, 0, 0, 0))
        counted[row[column]] = tuple(old + new for old, new in zip(before, mine, strict=True))
    return counted


def test_two_runs_are_compared_by_question_and_variant(runs: tuple[Path, Path]) -> None:
    said = found(*runs)
    assert changes(said["settings"]) == {
        "sample.seed": (0, 3),
        "sample.samples": (4, 5),
        "sample.temperature": (0.7, 0.9),
    }
    for name, column in (("questions", "question"), ("variants", "prompt_variant")):
        before, after = (scores(folder, column) for folder in runs)
        moved = {key for key in before.keys() & after.keys() if before[key] != after[key]}
        assert {one["name"] for one in said[name]} == moved != set()
        for one in said[name]:
            assert tuple(one["before"].values()) == before[one["name"]]
            assert tuple(one["after"].values()) == after[one["name"]]
        sizes = [
            abs(
                one["after"]["right"] / one["after"]["attempts"]
                - one["before"]["right"] / one["before"]["attempts"]
            )
            for one in said[name]
        ]
        assert sizes == sorted(sizes, reverse=True)
    assert said["only"] == [0, 0]
    assert said["sft"]["traces"]["changed"] > 0
    text = diff(*runs).out
    assert "sample.samples: 4 -> 5" in text
    assert "prompt variants that differ: 4" in text
    assert "questions that differ: 12" in text


def test_a_run_is_the_same_as_its_copy(runs: tuple[Path, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(runs[0], tmp_path / "copy")
    done = diff(runs[0], Path(copy))
    assert (done.code, done.out) == (0, "The two runs are the same.\n")


def test_runs_that_are_not_finished_are_compared_as_far_as_they_are(tmp_path: Path) -> None:
    with serve(Server(speak=speak)) as server:
        go(tmp_path / "one", config(server), "--to", "grade")
        go(tmp_path / "two", config(server, questions={"count": 13}), "--to", "grade")
        go(tmp_path / "three", config(server), "--to", "questions")
    said = found(tmp_path / "one", tmp_path / "two")
    assert changes(said["settings"]) == {"questions.count": (12, 13)}
    before, after = (
        set(pq.read_table(tmp_path / name / "questions.parquet")["question"].to_pylist())
        for name in ("one", "two")
    )
    assert said["only"] == [len(before - after), len(after - before)]
    assert len(after) == 13
    assert said["total"][0]["verdicts"] == 0
    assert said["sft"] is None
    assert found(tmp_path / "one", tmp_path / "three")["total"][1] is None
    assert diff(tmp_path / "one", tmp_path / "three").code == 1


def test_a_question_of_a_model_is_shown_and_never_obeyed(make: Make, tmp_path: Path) -> None:
    rows = [attempt(n, n < 2, "\x1b[2JWhat?") for n in range(4)]
    data = write_rows(tmp_path / "rows.parquet", rows)
    one = make(data, "--attempts", "2")
    other = make(data, "--attempts", "2", "--drop-reflections-containing", "\x1b[31m", "look 1")
    done = diff(one, other)
    assert "\x1b" not in done.out
    assert "settings.drop_reflections_containing" in done.out
