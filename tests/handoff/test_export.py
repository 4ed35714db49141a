"""What is written for LLaMA-Factory and verl."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import REAL, ROOT, Outcome, run, write_rows, write_tokenizer

from skill_factory.handoff.verl import reward_settings
from skill_factory.rewards import compute_score


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder, with ./sft and a tokenizer in ./model."""
    place = tmp_path_factory.mktemp("user")
    assert run("-i", REAL, "-o", "./sft", cwd=place).code == 0
    write_tokenizer(place / "model")
    return place


def export(place: Path, *words: str | Path) -> Outcome:
    return run("export", *words, module="skill_factory", cwd=place)


# -- LLaMA-Factory --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_config_is_the_example_with_the_settings_in_it(place: Path) -> None:
    done = export(
        place,
        *("llama-factory", "./sft", "--model", "./model", "--tokenizer", "./model"),
        *("--cutoff-len", "1024", "--output-dir", "./out: here"),
    )
    assert done.code == 0, done.err
    written = (place / "llamafactory_sft.yaml").read_text()
    example = (ROOT / "examples" / "llamafactory_sft_example.yaml").read_text()
    changed = {
        "model_name_or_path": "./model",
        "cutoff_len": 1024,
        "output_dir": "./out: here",
        "dataset_dir": "sft",
    }
    assert yaml.safe_load(written) == yaml.safe_load(example) | changed
    assert written.count("#") == example[example.index("### model") :].count("#")
    again = export(place, "llama-factory", "./sft")
    assert again.code == 1
    assert "exists already" in again.err


def test_the_entry_is_merged_into_those_that_are_there(place: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}}')
    wanted: dict[str, list[str]] = {"files": [], "hub": ["--repo", "org/name"]}
    for name, more in wanted.items():
        done = export(
            place,
            *("llama-factory", "./sft", "--dataset-dir", str(tmp_path), "--name", name),
            *("-o", str(tmp_path / f"{name}.yaml"), *more),
        )
        assert done.code == 0, done.err
        assert "lengths were not checked" in done.out
    entries = json.loads((tmp_path / "dataset_info.json").read_text())
    assert set(entries) == {"mine", "files", "hub"}
    assert entries["files"]["file_name"] == str(place / "sft" / "sft_train")
    hub = {name: entries["hub"][name] for name in ("hf_hub_url", "subset", "split")}
    assert hub == {"hf_hub_url": "org/name", "subset": "sft_train", "split": "train"}
    config = yaml.safe_load((tmp_path / "hub.yaml").read_text())
    assert (config["dataset"], config["dataset_dir"]) == ("hub", str(tmp_path))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cutoff-len", "100"), "leaves 68, as 32"),
        (("--template", "llama3"), "'llama3' ends turns with <|eot_id|>"),
        (("--name", "a,b"), "comma"),
        (("--dataset-dir", "./broken"), "dataset_info.json: cannot be read"),
        (("-o", "./nowhere/x.yaml"), "cannot be written"),
    ],
)
def test_what_would_not_be_learned_is_refused_and_nothing_written(
    place: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    (place / "broken").mkdir(exist_ok=True)
    (place / "broken" / "dataset_info.json").write_text("[")
    before = (place / "sft" / "dataset_info.json").read_text()
    target = [] if "-o" in options else ["-o", str(tmp_path / "x.yaml")]
    done = export(place, "llama-factory", "./sft", "--tokenizer", "./model", *target, *options)
    assert done.code == 1
    assert said in done.err
    assert "Traceback" not in done.err
    assert not list(tmp_path.iterdir())
    assert (place / "sft" / "dataset_info.json").read_text() == before


# -- verl -----------------------------------------------------------------------------------------


def question(number: int, **other: Any) -> dict[str, Any]:
    return {
        "question": f"What is {number} + {number}?",
        "answer": str(2 * number),
        "task_source": "addition",
        "metadata": None,
    } | other


def countdown(numbers: list[int], target: int, text: str) -> dict[str, Any]:
    facts = json.dumps({"numbers": numbers, "target": target})
    return question(0, question=text, answer="", task_source="countdown_3arg", metadata=facts) | {
        "answer": "see metadata"
    }


def test_every_question_is_in_one_file_or_counted(place: Path) -> None:
    rows = [question(n) for n in range(40)]
    rows += [question(3, question=" what is 3 + 3? "), question(0, question=" ")]
    rows += [question(0, question="?", answer=None), question(0, question="What?", answer="many")]
    rows += [countdown([3, 5, 3], 24, "Make 24."), countdown([3, 3, 5], 24, "Reach 24!")]
    rows += [question(0, question="word " * 2000)]
    write_rows(place / "questions.jsonl", rows)
    done = export(
        place,
        *("verl", "-i", "questions.jsonl", "-o", "./rl", "--val-size", "5"),
        *("--tokenizer", "./model", "--system-prompt", "Think."),
    )
    assert done.code == 0, done.err
    manifest = json.loads((place / "rl" / "manifest.json").read_text())
    assert manifest["questions"] == {
        "read": 47,
        "kept": 41,
        "losses": {
            "cannot_be_graded": 1,
            "duplicate": 2,
            "no_gold_answer": 1,
            "no_question": 1,
            "prompt_too_long": 1,
        },
    }
    train, val = (
        pq.read_table(place / "rl" / f"{n}.parquet").to_pylist() for n in ("train", "val")
    )
    assert (len(train), len(val)) == (36, 5)
    asked = [row["prompt"][1]["content"] for row in (*train, *val)]
    assert len(set(asked)) == 41
    (facts,) = (
        row["extra_info"] for row in (*train, *val) if "Make 24." in row["prompt"][1]["content"]
    )
    assert (facts["numbers"], facts["target"]) == ([3, 5, 3], 24)
    for row in (*train, *val):
        assert row["prompt"][0] == {"role": "system", "content": "Think."}
        assert row["reward_model"]["style"] == "rule"
    again = export(place, "verl", "-i", "questions.jsonl", "-o", "./rl")
    assert "exists already" in again.err


def test_facts_of_several_tasks_share_a_file_and_their_rewards_find_them(place: Path) -> None:
    letters = {"letters": "nesotx", "length": 5, "words": ["stone", "notes"]}
    acronym = {"choices": ["cup", "apple", "tea"], "length": 3, "words": ["cat"]}
    rows = [
        countdown([3, 5, 3], 24, "Make 24.") | {"answer": "(3 + 5) * 3"},
        question(0, question="Nesotx?", answer="stone", task_source="letter_countdown_5")
        | {"metadata": json.dumps(letters)},
        question(0, question="Spell.", answer="cup, apple, tea", task_source="acronym_3")
        | {"metadata": json.dumps(acronym)},
        question(4),
    ]
    write_rows(place / "several.jsonl", rows)
    done = export(place, "verl", "-i", "several.jsonl", "-o", "./several", "--val-size", "1")
    assert done.code == 0, done.err
    for name in ("train", "val"):
        for row in pq.read_table(place / "several" / f"{name}.parquet").to_pylist():
            gold = row["reward_model"]["ground_truth"]
            for answer, expected in ((gold, 1.0), ("zzz", 0.0)):
                text = f"<answer>{answer}</answer>"
                assert compute_score(row["data_source"], text, gold, row["extra_info"]) == expected


def test_the_split_does_not_depend_on_the_order_of_the_questions(place: Path) -> None:
    found = []
    for name, numbers in {"up": range(30), "down": range(29, -1, -1)}.items():
        write_rows(place / f"{name}.jsonl", [question(n) for n in numbers])
        assert export(place, "verl", "-i", f"{name}.jsonl", "-o", f"./rl-{name}").code == 0
        rows = pq.read_table(place / f"rl-{name}" / "val.parquet").to_pylist()
        found.append({row["prompt"][0]["content"] for row in rows})
    assert found[0] == found[1]
    assert len(found[0]) == 3


def test_questions_of_the_sft_dataset_are_left_out(place: Path) -> None:
    done = export(place, "verl", "-i", REAL, "-o", "./rest", "--exclude-sft", "./sft")
    assert done.code == 0, done.err
    asked = {
        row["conversations"][0]["content"]
        for row in pq.read_table(place / "sft" / "sft_train").to_pylist()
    }
    left = {
        row["prompt"][0]["content"]
        for name in ("train", "val")
        for row in pq.read_table(place / "rest" / f"{name}.parquet").to_pylist()
    }
    assert len(asked) == 52
    assert len(left) == 8
    assert not asked & left


def test_a_puzzle_of_the_sft_dataset_is_left_out_in_other_words(place: Path) -> None:
    from test_check import countdown as annotated

    facts = json.dumps({"numbers": [3, 3, 5], "target": 24})
    write_rows(place / "annotated.jsonl", [annotated(n, n < 3, facts) for n in range(6)], None)
    assert run("-i", "annotated.jsonl", "-o", "./puzzles", cwd=place).code == 0
    rows = [countdown([5, 3, 3], 24, "Other words."), countdown([5, 3, 3], 25, "Another target.")]
    write_rows(place / "other.jsonl", [*rows, question(1)])
    done = export(
        place, "verl", "-i", "other.jsonl", "-o", "./others", "--exclude-sft", "./puzzles"
    )
    assert done.code == 0, done.err
    losses = json.loads((place / "others" / "manifest.json").read_text())["questions"]["losses"]
    assert losses == {"in_sft": 1}


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([{"text": "?", "answer": "4"}], (), "column 'question' is missing"),
        ([{"question": "?", "answer": "4"}], (), "no column 'task_source'"),
        ([question(1, task_source="chess")], (), "no task is known as 'chess'"),
        ([question(1)], (), "too few for 1 to validate on"),
        ([question(1), question(2)], ("--verl-version", "new"), "expected a version"),
        ([question(1), question(2)], ("--exclude-sft", "."), "is no SFT folder"),
        ([], (), "no rows"),
    ],
)
def test_questions_that_cannot_be_used_are_one_clear_line(
    tmp_path: Path, rows: list[dict[str, Any]], options: tuple[str, ...], said: str
) -> None:
    write_rows(tmp_path / "questions.jsonl", rows)
    if not rows:
        (tmp_path / "questions.jsonl").write_text("\n")
    done = export(tmp_path, "verl", "-i", "questions.jsonl", "-o", "./rl", *options)
    assert done.code in (1, 2)
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "rl").exists()


@pytest.mark.parametrize(
    ("version", "named"),
    [
        ("0.5.0", "custom_reward_function.name=compute_score_batch"),
        ("0.7.0", "reward_model.use_reward_loop=False"),
        ("0.7.1", "reward.reward_manager.name=naive"),
        ("0.9.1", "reward.custom_reward_function.name=compute_score"),
    ],
)
def test_the_command_names_the_reward_in_the_words_of_the_version(
    place: Path, version: str, named: str
) -> None:
    parts = tuple(map(int, version.split(".")))
    assert named in reward_settings(parts, "/x/rewards.py")
    assert ("reward_model.reward_manager=batch" in reward_settings(parts, "/x")) == (
        parts < (0, 7, 1)
    )


def test_the_command_is_a_script_that_bash_runs(place: Path) -> None:
    write_rows(place / "few.jsonl", [question(n) for n in range(20)])
    done = export(place, "verl", "-i", "few.jsonl", "-o", "./a folder", "--model", "./my model")
    assert done.code == 0, done.err
    fake = place / "bin"
    fake.mkdir()
    (fake / "python3").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (fake / "python3").chmod(0o755)
    said = subprocess.run(
        ["bash", place / "a folder" / "train_grpo.sh", "trainer.nnodes=2"],
        env={"PATH": f"{fake}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert said[:2] == ["-m", "verl.trainer.main_ppo"]
    assert said[-1] == "trainer.nnodes=2"
    assert f"data.train_files={place}/a folder/train.parquet" in said
    assert "actor_rollout_ref.model.path=./my model" in said
    assert "data.train_batch_size=18" in said
