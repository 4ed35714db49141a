"""Grading a table of attempts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skill_factory.core.tables import ATTEMPTS
from skill_factory.stages.grade import grade_file


def attempt(response: str, **other: Any) -> dict[str, Any]:
    return {
        "question": "What is 2 + 2?",
        "answer": "4",
        "task_source": "addition",
        "metadata": "{}",
        "prompt_variant": "original",
        "sample": 0,
        "response": response,
        "finish_reason": "stop",
        "completion_tokens": None,
        "text_alone": None,
    } | other


def graded(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    source, target = folder / "attempts.parquet", folder / "graded.parquet"
    pq.write_table(pa.Table.from_pylist(rows, ATTEMPTS), source)
    hints, words = frozenset({"hint_original"}), ("hint",)
    counts = grade_file(source, target, hints=hints, words=words, **{"workers": 1} | settings)
    found: list[dict[str, Any]] = pq.read_table(target).to_pylist()
    assert counts == Counter(row["grade"] for row in found)
    assert [{name: row[name] for name in ATTEMPTS.names} for row in found] == rows
    return found


def test_each_attempt_gets_its_outcome(tmp_path: Path) -> None:
    facts = json.dumps({"numbers": [3, 5], "target": 15})
    rows = [
        attempt("It is <answer>4</answer>"),
        attempt("<answer>5</answer> no, <answer> 4 </answer>"),
        attempt("It is <answer>5</answer>"),
        attempt("It is 4"),
        attempt("It is <answer>4</answer>", finish_reason="length"),
        attempt("The Hint says <answer>4</answer>", prompt_variant="hint_original"),
        attempt("A hint: <answer>4</answer>"),
        attempt("<answer>3 * 5</answer>", task_source="countdown", metadata=facts, answer="x"),
        attempt("<answer>3 * 5</answer>", task_source="countdown", answer="no expression"),
    ]
    found = graded(tmp_path, rows)
    assert [row["grade"] for row in found] == [
        *("right", "right", "wrong", "wrong", "cut_off", "leaks_hint", "right", "right"),
        "undecided",
    ]
    assert [row["extracted_answer"] for row in found[:4]] == ["4", "4", "5", None]


@pytest.mark.slow
def test_other_processes_grade_the_same(tmp_path: Path) -> None:
    rows = [attempt(f"<answer>{n % 7}</answer>", sample=n) for n in range(20_000)]
    alone = graded(tmp_path, rows)
    assert graded(tmp_path, rows, workers=2) == alone
    assert Counter(row["grade"] for row in alone) == {"right": 2857, "wrong": 17143}


@pytest.mark.slow
def test_judged_answers_are_graded_the_same_by_any_number_of_workers(tmp_path: Path) -> None:
    golds = (r"\frac{1}{2}", "x^2 + 1", "(1, 2]")
    forms = ("0.5", "1/2", "2^{-1}", "1 + x^2", "x^2 - 1", "(1, 2]", "[1, 2]", "?")
    rows = [
        attempt(f"<answer>{form}</answer>", task_source="math", answer=gold, sample=sample)
        for sample in range(8)
        for gold in golds
        for form in forms
    ]
    rows += [attempt("<answer>9^{9^{9^9}}</answer>", task_source="math")]
    rows += [attempt("<answer>4</answer>", sample=n) for n in range(16_384)]
    alone = graded(tmp_path, rows)
    assert graded(tmp_path, rows, workers=8) == alone
    judged = [row["grade"] for row in alone if row["task_source"] == "math"]
    assert judged.count("right") == 8 * (3 + 1 + 1)
    assert judged[-1] == "undecided"
