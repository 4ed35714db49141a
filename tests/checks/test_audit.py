"""The verdict audit counts what it says, and `create` refuses what it would have found."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from chats import check, found
from conftest import CORRECT, REAL, REFLECTION, attempt, read_manifest, run, write_rows
from test_folder_codes import folder, rows

from skill_factory.checks.audit import audit
from skill_factory.core import trace_tags
from skill_factory.core.columns import Columns
from skill_factory.core.sources.find_source import find_source
from skill_factory.core.trace_tags import Verdict

WORDS = {"correct": Verdict.CORRECT, "incorrect": Verdict.INCORRECT, "none": None}


def read_verdict(said: str) -> Verdict | None:
    found = trace_tags.read_verdict(said)
    return found and found.verdict


def verdict(word: str) -> str:
    return f"Look.\n<verdict>{word}</verdict>"


def test_verdicts_are_held_against_the_truth(tmp_path: Path) -> None:
    said = {
        True: ["Correct", "Correct", "Incorrect", "Maybe"],
        False: ["Incorrect", "Correct", "Correct"],
    }
    data = [
        attempt(n, right, task_source="addition") | {REFLECTION: [*map(verdict, said[right])]}
        for n, right in enumerate([True, True, False])
    ]
    undecided = attempt(9, False) | {CORRECT: [None]}
    write_rows(tmp_path / "rows.parquet", [*data, undecided], None)
    source = find_source(str(tmp_path / "rows.parquet"), None, None, None)
    made = audit(source.batches(Columns()), Columns())
    assert made.all.cells.tolist() == [[1, 2, 0], [2, 4, 2]]
    assert made.all.precision(True) == 4 / 6
    assert made.all.recall(True) == 4 / 8
    assert made.all.f1(True) == 8 / 14
    assert made.all.precision(False) == 1 / 3
    assert made.all.recall(False) == 1 / 3
    assert made.all.balanced_accuracy == pytest.approx((4 / 8 + 1 / 3) / 2)
    assert (made.agreeing, made.pairs) == (1 + 1 + 1, 3 + 3 + 3)
    assert made.attempts.tolist() == [1, 2]
    assert made.lost.tolist() == [0, 0]
    assert {name: one.reflections for name, one in made.by_variant.items() if one.reflections} == {
        "original": 4, "plan_and_execute": 4, "alternatively": 3,
    }  # fmt: skip
    assert made.by_task["addition"].reflections == 11
    assert made.pass_rate() == 2 / 3


def test_a_filter_that_loses_attempts_is_counted(tmp_path: Path) -> None:
    data = rows(2)
    for row in data:
        row[REFLECTION] = [verdict("Correct")]
    write_rows(tmp_path / "rows.parquet", data, None)
    source = find_source(str(tmp_path / "rows.parquet"), None, None, None)
    made = audit(source.batches(Columns()), Columns())
    assert (made.lost_share(True), made.lost_share(False)) == (0.0, 1.0)


def test_the_digest_is_the_manifests(tmp_path: Path) -> None:
    made = folder(tmp_path, rows(3))
    source = find_source(str(tmp_path / "rows.parquet"), None, None, None)
    digest = audit(source.batches(Columns()), Columns()).digest
    assert f"{digest:032x}" == read_manifest(made)["input"]["digest"]


def test_an_input_that_was_changed_is_not_audited(tmp_path: Path) -> None:
    made = folder(tmp_path, rows(3))
    write_rows(tmp_path / "rows.parquet", rows(4), None)
    left = json.loads(check(made, "--json").out)
    note = next(one for one in left["findings"] if one["code"] == "V01")
    assert "is not the content that the folder was made from" in note["examples"][0]["excerpt"]
    assert "audit" not in left


def test_the_figures_are_those_of_the_input_and_the_traces(tmp_path: Path) -> None:
    done = run("-i", REAL, "-o", tmp_path / "sft", "--attempts", "4")
    assert done.code == 0
    left = json.loads(check(tmp_path / "sft", "--json").out)
    manifest = read_manifest(tmp_path / "sft")
    counts = Counter(
        (right, read_verdict(said))
        for row in pq.read_table(REAL).to_pylist()
        for right in row[CORRECT]
        for said in row[REFLECTION]
        if right is not None
    )
    assert left["audit"]["all"]["counts"] == {
        word: {other: counts[right, read] for other, read in WORDS.items()}
        for word, right in (("correct", True), ("incorrect", False))
    }
    assert left["balance"]["questions"] == manifest["counts"]["questions"]
    assert left["balance"]["questions_of_input"] == manifest["ledger"]["questions"]["read"]
    assert sum(left["balance"]["attempts"].values()) == manifest["counts"]["traces"]


# -- create ---------------------------------------------------------------------------------------

AGAIN = """
from skill_factory.stages.create.formats import Format, Recipe

def again(pool, draws, n):
    "A correct attempt, given again after the thinking; with the phrase before it forgotten."
    return Recipe("again", [pool.one(draws, pool.correct)], 0, {lead}, 0)

format = Format("again_{name}", again)
"""


@pytest.mark.parametrize(
    ("name", "options"),
    [("plain", ()), ("alone", ("--workers", "1")), ("for_trl", ("--layout", "messages"))],
)
def test_create_refuses_traces_that_a_format_of_ones_own_breaks(
    tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "again.py").write_text(AGAIN.format(lead=None, name=name))
    words = ("-i", REAL, "-o", tmp_path / "sft", "--formats", f"{tmp_path}/again.py:format")
    done = run(*words, "--attempts", "2", *options)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "S06 final-answer" in done.err
    assert done.err.startswith("Error: trace ")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py"] in (
        [],
        ["__pycache__"],
    )
    assert run(*words, "--attempts", "2", "--no-check").code == 0
    assert found(check(tmp_path / "sft", "--json"))["S06"]["count"] == 52


def test_create_makes_the_same_with_a_check_and_without(tmp_path: Path) -> None:
    manifests = []
    for option in ("--check", "--no-check"):
        assert run("-i", REAL, "-o", tmp_path / option, option).code == 0
        manifests.append(read_manifest(tmp_path / option))
    assert manifests[0] == manifests[1]
    assert "check" not in manifests[0]["settings"]


def test_a_format_that_names_its_phrase_is_let_through(tmp_path: Path) -> None:
    lead = "__import__('skill_factory').stages.create.phrases.Kind.CONFIRMATION"
    (tmp_path / "again.py").write_text(AGAIN.format(lead=lead, name="good"))
    words = ("-i", REAL, "-o", tmp_path / "sft", "--formats", f"{tmp_path}/again.py:format")
    assert run(*words, "--attempts", "2").code == 0
