"""Files that foreign tools wrote (tests/data/foreign): each gives the same figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, Outcome, run

from skill_factory.measure.sources.chat_prompts import question_in

FOREIGN = ROOT / "tests" / "data" / "foreign"

QUESTIONS = [
    {"question": "What is 12 + 30?", "answer": "42"},
    {"question": "What is 7 + 8?", "answer": "15"},
    {"question": "What is 9 + 9?", "answer": "18"},
    {"question": "What is 20 + 1?", "answer": "21"},
]

# Right: both samples of 12 + 30, the second of 7 + 8, the first of 20 + 1; all of eight.
FIRST_SAMPLES = {"accuracy": 2 / 4, "attempts": 7 / 4, "harmed": 1 / 4, "stopped_wrong": 2 / 4}
SECOND_SAMPLES = {"accuracy": 2 / 4, "attempts": 5 / 4, "rescued": 1 / 4, "tagged": 3 / 4}
BOTH = {
    "accuracy": 4 / 8,
    "pass_at_2": 3 / 4,
    "no_answer": 2 / 8,
    "cut_off": 1 / 8,
    "attempts": 12 / 8,
    "explicit_answers": 16 / 8,
    "explicit_reflections": 10 / 8,
    "first_right": 3 / 8,
    "rescued": 2 / 8,
    "harmed": 1 / 8,
    "stopped_right": 4 / 8,
    "stopped_wrong": 2 / 8,
    "f1_correct": 2 * 4 / (2 * 4 + 2 + 1),
    "f1_incorrect": 2 * 3 / (2 * 3 + 1 + 2),
}


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """The questions with their gold answers, in a file of their own."""
    path = tmp_path / "questions.jsonl"
    rows = [row | {"task_source": "integers"} for row in QUESTIONS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def measure(*arguments: str | Path, cwd: Path) -> Outcome:
    return run("measure", *arguments, "-o", cwd / "out", module="skill_factory")


def groups(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "summary.json").read_text())["groups"]
    return found


def has(group: dict[str, Any], expected: dict[str, float]) -> None:
    found = {name: group["figures"][name]["value"] for name in expected}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("version", ["verl-0.9", "verl-0.6"])
def test_dumps_of_verl_give_a_row_for_each_step(version: str, tmp_path: Path) -> None:
    done = measure(FOREIGN / version, "--task", "integers", cwd=tmp_path)
    assert done.code == 0, done.err
    one, two = groups(tmp_path / "out")
    assert [(group["question_set"], group["step"]) for group in (one, two)] == [
        (version, 1),
        (version, 2),
    ]
    has(one, FIRST_SAMPLES)
    has(two, SECOND_SAMPLES)
    asked = pq.read_table(tmp_path / "out" / "responses.parquet")["question"].to_pylist()
    assert asked == [row["question"] for row in QUESTIONS] * 2
    assert "verl-0.9, step 1" in done.out or version == "verl-0.6"


def test_gold_answers_come_from_a_file_of_questions(tmp_path: Path, questions: Path) -> None:
    done = measure(FOREIGN / "verl-0.9" / "1.jsonl", "--questions", questions, cwd=tmp_path)
    assert done.code == 0, done.err
    (one,) = groups(tmp_path / "out")
    has(one, FIRST_SAMPLES)


def test_the_score_of_verl_can_stand_for_the_grade(tmp_path: Path) -> None:
    done = measure(FOREIGN / "verl-0.9", "--correctness-column", "score", cwd=tmp_path)
    assert done.code == 0, done.err
    one, two = groups(tmp_path / "out")
    for group, counted in ((one, 0), (two, 1)):  # only what has no tags is one attempt
        has(group, {"accuracy": 0.5})
        assert group["figures"]["first_right"]["counted"] == counted


def test_completions_of_trl_are_joined_to_questions(tmp_path: Path, questions: Path) -> None:
    done = measure(FOREIGN / "trl" / "completions", "--questions", questions, cwd=tmp_path)
    assert done.code == 0, done.err
    random, one, two = groups(tmp_path / "out")
    assert [group["step"] for group in (random, one, two)] == [1, 2, 3]
    has(random, {"accuracy": 0, "tagged": 0, "attempts": 1})
    has(one, FIRST_SAMPLES)
    has(two, SECOND_SAMPLES)


def test_samples_of_lm_eval_are_read_once_for_all_filters(tmp_path: Path) -> None:
    done = measure(FOREIGN / "lm-eval", "--task", "integers", cwd=tmp_path)
    assert done.code == 0, done.err
    (one,) = groups(tmp_path / "out")
    assert (one["question_set"], one["model"]) == ("sums", "my-model")
    assert (one["responses"], one["questions"], one["samples"]) == (8, 4, 2)
    has(one, BOTH)


def test_logs_of_inspect_are_read_by_its_own_reader(tmp_path: Path) -> None:
    done = measure(FOREIGN / "inspect", "--task", "integers", cwd=tmp_path)
    assert done.code == 0, done.err
    (one,) = groups(tmp_path / "out")
    assert (one["question_set"], one["model"]) == ("sums", "mockllm/model")
    has(one, BOTH)
    rows = pq.read_table(tmp_path / "out" / "responses.parquet").to_pylist()
    assert [row["finish_reason"] for row in rows].count("length") == 1
    assert all(row["completion_tokens"] for row in rows)
    assert sorted((row["question"], row["sample"]) for row in rows) == sorted(
        (row["question"], sample) for row in QUESTIONS for sample in (0, 1)
    )


def test_answers_of_vllm_run_batch_are_joined_to_their_requests(
    tmp_path: Path, questions: Path
) -> None:
    done = measure(
        *(FOREIGN / "vllm" / "answers.jsonl", "--requests", FOREIGN / "vllm" / "requests.jsonl"),
        *("--questions", questions),
        cwd=tmp_path,
    )
    assert done.code == 0, done.err
    (one,) = groups(tmp_path / "out")
    assert (one["model"], one["responses"]) == ("my-model", 8)
    has(one, BOTH | {"well_formed": 6 / 8})
    assert "1 responses are not there: their requests failed" in done.out


@pytest.mark.parametrize(
    "prompt",
    [
        "{}",
        "system\nBe kind.\nuser\n{}\nassistant\n",  # ChatML without its tokens
        "user\n{}\nassistant\n<think>\n",
        "user\n2 + 2?\nassistant\n4\nuser\n{}\nassistant\n",  # the last of two turns
        "<|im_start|>system\nHi<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
        "system\n\nBe kind.user\n\n{}assistant\n\n",  # Llama 3 without its tokens
        "user\n{}\nmodel\n",  # Gemma
        "[INST] {} [/INST]",  # Mistral
        "<\uff5cUser\uff5c>{}<\uff5cAssistant\uff5c><think>\n",  # DeepSeek
    ],
)
@pytest.mark.parametrize("question", ["What is 7 + 8?", "Two lines:\n\n\\[x\\] of them"])
def test_the_question_is_found_in_a_prompt(prompt: str, question: str) -> None:
    assert question_in(prompt.replace("{}", question)) == question


def test_a_question_inside_another_template_is_found_by_the_file(
    tmp_path: Path, questions: Path
) -> None:
    rows = [
        {
            "input": f"### Task: {row['question']} Think well.\n### Reply:",
            "output": "<answer>42</answer>",
            "gts": None,
            "score": 0.0,
            "step": 3,
        }
        for row in QUESTIONS
    ]
    dump = tmp_path / "3.jsonl"
    dump.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = measure(dump, "--questions", questions, cwd=tmp_path)
    assert done.code == 0, done.err
    (one,) = groups(tmp_path / "out")
    has(one, {"accuracy": 1 / 4})


def test_a_servers_reasoning_is_put_back_before_its_text(tmp_path: Path) -> None:
    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    body = {"messages": [{"role": "user", "content": "What is 7 + 8?"}]}
    requests.write_text(json.dumps({"custom_id": "a", "body": body}) + "\n")
    message = {
        "role": "assistant",
        "reasoning": "<sample>\n<answer>15</answer>\n</sample>\n<reflect>\nYes.\n"
        "<verdict>Correct</verdict>\n</reflect>",
        "content": "\n\nSo the answer is:\n\n<answer>\n15\n</answer>",
    }
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    response = {"status_code": 200, "body": {"model": "m", "choices": [choice]}}
    answers.write_text(json.dumps({"custom_id": "a", "response": response, "error": None}) + "\n")
    done = measure(*(answers, "--requests", requests, "--task", "integers"), cwd=tmp_path)
    assert done.code == 0, done.err
    (one,) = groups(tmp_path / "out")
    has(one, {"well_formed": 1, "attempts": 1, "explicit_reflections": 1})
    assert one["model"] == "m"
