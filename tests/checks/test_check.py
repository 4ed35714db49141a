"""Checking a folder: a good one passes, and every fault is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from chats import check
from conftest import REAL, Outcome, Row, attempt, run, write_rows, write_tokenizer
from test_folder_codes import spoil_folder

from skill_factory.checks.rewards import mutants
from skill_factory.core.trace_tags import final_answer
from skill_factory.rewards import compute_score
from skill_factory.stages.create.formats import FORMATS


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "sft"
    done = run("-i", REAL, "-o", folder, "--formats", *FORMATS, "--attempts", "4")
    assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def spoilt(good: Path, folder: Path, spoil: Callable[[Row, Row], None]) -> Path:
    """A copy of a folder whose first trace, or its plan, was changed before it was written."""
    shutil.copytree(good, folder)
    return spoil_folder(folder, spoil)


@pytest.mark.slow
def test_every_format_of_real_data_is_without_an_error(good: Path, tokenizer: Path) -> None:
    done = check(good, "--tokenizer", tokenizer, "--cutoff-len", "4096")
    assert done == Outcome(0, done.out, "")
    assert done.out.endswith("0 errors, 3 warnings.\n")
    assert "tokens a trace" in done.out


def change_answer(row: Row, plan: Row) -> None:
    text = row["conversations"][1]["content"]
    head, _, _ = text.rpartition("<answer>")
    row["conversations"][1]["content"] = f"{head}<answer>\n1000\n</answer>"


@pytest.mark.parametrize(
    ("spoil", "code", "fault"),
    [
        (change_answer, "R01", "1000, where "),
        (lambda row, plan: plan.update(ground_truth="1000"), "R01", "where 1000 is right"),
        (lambda row, plan: plan.update(ground_truth="none"), "R04", "gold answer: no number"),
        (lambda row, plan: plan.update(ground_truth=None), "R04", "did not say the task and the"),
        (lambda row, plan: plan.update(data_source="chess"), "R04", "is known as 'chess'"),
        (lambda row, plan: row["conversations"].reverse(), "S01", "turns: assistant, user"),
        (lambda row, plan: row["conversations"].pop(), "S01", "turns: user"),
        (lambda row, plan: row.update(conversations=None), "S01", "turns: none"),
        (lambda row, plan: row["conversations"][0].update(role="User"), "S01", "turns: User"),
        (lambda row, plan: row["conversations"][0].update(content=" "), "S02", "turns"),
        (lambda row, plan: row["conversations"][0].update(content=None), "S02", "turns"),
        (lambda row, plan: row["conversations"][0].update(content="<|im_end|>"), "S03", "im_end"),
        (
            lambda row, plan: row["conversations"][1].update(content="26"),
            "S04",
            "does not begin with <think>",
        ),
    ],
)
def test_a_fault_is_found_and_its_trace_named(
    good: Path, tmp_path: Path, spoil: Callable[[Row, Row], Any], code: str, fault: str
) -> None:
    folder = spoilt(good, tmp_path / "sft", spoil)
    done = check(folder)
    assert done.code == 1
    lines = done.out.splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.startswith(f"Error {code} "))
    assert lines[at].endswith(": 1")
    first = pq.read_table(folder / "plan.parquet")["trace_id"][0].as_py()
    examples = lines[at + 1 : lines.index("", at) - 1]
    assert all(line.startswith(f"  {first}") for line in examples)
    assert fault in examples[0]


@pytest.mark.slow
def test_what_is_longer_than_a_trainers_limit_is_found(good: Path, tokenizer: Path) -> None:
    done = check(good, "--tokenizer", tokenizer, "--cutoff-len", "200")
    assert done.code == 1
    assert "more tokens than --cutoff-len" in done.out
    assert "more (`check --verbose` names them all)" in done.out
    longer = check(good, "--tokenizer", tokenizer, "--cutoff-len", "200", "--verbose")
    assert len(longer.out.splitlines()) > 100


def test_a_special_token_of_the_tokenizer_in_a_text_is_found(
    tokenizer: Path, tmp_path: Path
) -> None:
    place = tmp_path / "odd"
    shutil.copytree(tokenizer, place)
    text = (place / "tokenizer.json").read_text().replace("<|endoftext|>", "It is 26")
    (place / "tokenizer.json").write_text(text)
    settings = (place / "tokenizer_config.json").read_text().replace("<|endoftext|>", "It is 26")
    (place / "tokenizer_config.json").write_text(settings)
    rows = [attempt(n, True, answer="26", task_source="addition") for n in range(5)]
    for row in rows:
        row["model_responses__mutated_prompts"] = ["It is 26.\n<answer>26</answer>"]
        row["model_responses__mutated_prompts__eval_extracted_answers"] = ["26"]
    write_rows(tmp_path / "rows.jsonl", rows)
    folder = tmp_path / "sft"
    assert run("-i", tmp_path / "rows.jsonl", "-o", folder, "--attempts", "1").code == 0
    done = check(folder, "--tokenizer", place)
    assert "special token in a text" in done.out
    assert ": It is 26\n" in done.out
    assert done.code == 1


def test_a_folder_that_was_changed_is_refused(good: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    shutil.copytree(good, folder)
    (folder / "plan.parquet").unlink()
    assert "plan.parquet: is missing" in check(folder).err
    assert "no such file or folder" in check(tmp_path / "nowhere").err
    assert check(tmp_path / "nowhere").code == 1
    (tmp_path / "empty").mkdir()
    assert "is no SFT folder" in check(tmp_path / "empty").err
    assert check(good, "--cutoff-len", "9").code == 2


def test_rewards_need_a_task_and_without_one_that_is_a_fault(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.parquet", [attempt(n, n < 3) for n in range(6)])
    done = run("-i", tmp_path / "rows.parquet", "-o", tmp_path / "sft")
    assert "check cannot replay rewards" in done.out
    assert check(tmp_path / "sft").code == 1
    assert check(tmp_path / "sft", "--no-rewards").code == 0
    assert check(tmp_path / "sft", "--task", "integers").code == 0
    done = run("-i", tmp_path / "rows.parquet", "-o", tmp_path / "named", "--task", "integers")
    assert "check cannot" not in done.out
    assert check(tmp_path / "named").code == 0


def countdown(number: int, correct: bool, metadata: object) -> Row:
    value = "(3 + 5) * 3" if correct else "3 + 5 + 3"
    row = attempt(number, correct, "Make 24.", answer="3 * (3 + 5)", task_source="countdown_3arg")
    row["model_responses__mutated_prompts"] = [f"{number}: <answer>{value}</answer>"]
    row["model_responses__mutated_prompts__eval_extracted_answers"] = [value]
    return row | {"metadata": metadata}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("as_text", [True, False])
def test_facts_of_countdown_come_from_the_metadata(
    tmp_path: Path, kind: str, as_text: bool
) -> None:
    facts: Any = {"numbers": [3, 3, 5], "target": 24, "seed": 7}
    facts = json.dumps(facts) if as_text else facts
    rows = [countdown(number, number < 3, facts) for number in range(6)]
    write_rows(tmp_path / f"rows.{kind}", rows, None)
    folder = tmp_path / "sft"
    done = run("-i", tmp_path / f"rows.{kind}", "-o", folder)
    assert done.code == 0, done.err
    for plan in pq.read_table(folder / "plan.parquet").to_pylist():
        assert plan["data_source"] == "countdown_3arg"
        assert plan["ground_truth"] == "3 * (3 + 5)"
        assert json.loads(plan["extra_info"]) == {"numbers": [3, 3, 5], "target": 24}
    done = check(folder)
    assert done.code == 0, done.out


def test_gold_answers_may_be_numbers(tmp_path: Path) -> None:
    rows = [attempt(n, n < 3, answer=4, task_source="addition") for n in range(6)]
    for name in ("rows.jsonl", "rows.parquet"):
        write_rows(tmp_path / name, rows, None)
        folder = tmp_path / f"sft-{name}"
        assert run("-i", tmp_path / name, "-o", folder).code == 0
        golds = pq.read_table(folder / "plan.parquet")["ground_truth"].to_pylist()
        assert set(golds) == {"4"}
        assert check(folder).code == 0


def test_a_trace_is_spoilt_in_three_ways() -> None:
    text = "<think>\n<answer>4</answer>\n</think>\n\nSo:\n\n<answer>\n4\n</answer>"
    found = mutants(text, "5")
    answers = {how: final_answer(spoilt) for how, spoilt in found.items()}
    assert answers == {"wrong": "5", "removed": None, "moved": None}
    assert compute_score("integers", text, "4") == 1.0


def test_traces_that_are_too_long_are_left_out_whole(tokenizer: Path, tmp_path: Path) -> None:
    options = ("-i", REAL, "--tokenizer", tokenizer, "--max-tokens", "300")
    assert run(*options, "-o", tmp_path / "sft").code == 0
    assert check(tmp_path / "sft", "--tokenizer", tokenizer, "--cutoff-len", "300").code == 0
    assert run("-i", REAL, "-o", tmp_path / "all").code == 0
    kept, every = (
        {row["trace_id"]: row for row in pq.read_table(tmp_path / name / "sft_train").to_pylist()}
        for name in ("sft", "all")
    )
    assert 0 < len(kept) < len(every)
    assert all(every[name] == row for name, row in kept.items())
    ledger = json.loads((tmp_path / "sft" / "manifest.json").read_text())["ledger"]["traces"]
    assert ledger["losses"]["too_many_tokens"] == len(every) - len(kept)
    sampled = run(*options, "-o", tmp_path / "some", "--subsample", str(len(kept) - 5))
    assert sampled.code == 0
    assert pq.read_table(tmp_path / "some" / "sft_train").num_rows == len(kept) - 5
