"""`measure` on files with columns of one's own, and what it says of bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Outcome, Row, run

from skill_factory.core.tables import MEASURES, RESPONSES

TRACE = (
    "<think>\n<sample>\n<answer>5</answer>\n</sample>\n<reflect>\nNo.\n"
    "<verdict>Incorrect</verdict>\n</reflect>\nLet me look at the question again.\n<sample>\n"
    "<answer>4</answer>\n</sample>\n<reflect>\nYes.\n<verdict>Correct</verdict>\n</reflect>\n"
    "</think>\n\nSo the answer is:\n\n<answer>\n4\n</answer>"
)
ROWS: list[Row] = [
    {"question": "2 + 2?", "answer": "4", "task_source": "integers", "response": TRACE},
    {"question": "1 + 2?", "answer": 3, "task_source": "integers", "response": "It is 3."},
]


def write(path: Path, rows: list[Row]) -> Path:
    """Rows as parquet or JSON lines, by the name."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def measure(*arguments: str | Path, cwd: Path) -> Outcome:
    return run("measure", *arguments, module="skill_factory", cwd=cwd)


def figures(folder: Path, group: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())["groups"][group]
    return {name: figure["value"] for name, figure in found["figures"].items()}


@pytest.mark.parametrize("name", ["mine.parquet", "mine.jsonl"])
def test_a_file_becomes_a_measured_folder(name: str, tmp_path: Path) -> None:
    rows = [row | {"answer": str(row["answer"])} for row in ROWS]
    done = measure(write(tmp_path / name, rows), "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    folder = tmp_path / "out"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("manifest.json", "measures.parquet", "responses.parquet", "summary.json")
    ]
    assert pq.read_schema(folder / "responses.parquet") == RESPONSES
    names = pq.read_schema(folder / "measures.parquet").names
    assert names[: len(MEASURES)] == MEASURES.names
    assert "accuracy %                        50.0" in done.out
    assert figures(folder)["rescued"] == 0.5
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["input"]["responses"] == manifest["counts"]["responses"] == 2


def test_columns_have_the_names_that_the_user_gives(tmp_path: Path) -> None:
    rows = [{"ask": "2 + 2?", "right": "4", "kind": "integers", "said": TRACE, "who": "m", "at": 7}]
    source = write(tmp_path / "mine.jsonl", rows)
    options = (
        "--question-column ask --answer-column right --task-column kind --response-column said"
    )
    done = measure(
        source,
        *options.split(),
        *("--model-column", "who", "--step-column", "at", "-o", "out"),
        cwd=tmp_path,
    )
    assert done.code == 0, done.err
    assert figures(tmp_path / "out")["accuracy"] == 1
    assert "mine, m, step 7" in done.out


def test_a_list_of_responses_is_several_samples(tmp_path: Path) -> None:
    rows = [{"question": "2 + 2?", "answer": "4", "responses": [TRACE, "5", TRACE]}]
    source = write(tmp_path / "mine.jsonl", rows)
    done = measure(source, "--task", "integers", "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    assert pq.read_table(tmp_path / "out" / "responses.parquet")["sample"].to_pylist() == [0, 1, 2]
    assert figures(tmp_path / "out")["pass_at_2"] == 1


def test_messages_are_read(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": TRACE}]
    source = write(tmp_path / "chats.jsonl", [{"messages": turns, "answer": "4"}])
    done = measure(source, "--task", "integers", "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    assert figures(tmp_path / "out")["accuracy"] == 1


def test_each_step_has_a_row(tmp_path: Path) -> None:
    rows = [row | {"step": step} for step in (20, 10) for row in ROWS[: 1 + (step == 10)]]
    source = write(tmp_path / "mine.jsonl", rows)
    done = measure(source, "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[1].split()[:4] == ["mine,", "step", "10", "2"]
    assert lines[2].split()[:4] == ["mine,", "step", "20", "1"]
    assert [figures(tmp_path / "out", group)["accuracy"] for group in (0, 1)] == [0.5, 1]


def test_a_checkpoint_in_a_name_is_a_step(tmp_path: Path) -> None:
    for step in (50, 100):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        write(folder / "answers.jsonl", ROWS)
    done = measure("checkpoint-50", "checkpoint-100", "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    groups = json.loads((tmp_path / "out" / "summary.json").read_text())["groups"]
    assert [group["step"] for group in groups] == [50, 100]


def test_questions_are_joined_by_their_row(tmp_path: Path) -> None:
    questions = write(tmp_path / "questions.jsonl", [row | {"response": ""} for row in ROWS])
    responses = [{"at": 1, "response": "<answer>3</answer>"}, {"at": 0, "response": TRACE}]
    source = write(tmp_path / "mine.jsonl", responses)
    done = measure(
        *(source, "--questions", questions, "--index-column", "at", "-o", "out"), cwd=tmp_path
    )
    assert done.code == 0, done.err
    assert figures(tmp_path / "out")["accuracy"] == 1
    asked = pq.read_table(tmp_path / "out" / "responses.parquet")["question"].to_pylist()
    assert asked == ["1 + 2?", "2 + 2?"]


def test_what_is_not_graded_is_counted(tmp_path: Path) -> None:
    rows = [*ROWS, {"question": "3?", "response": TRACE}, {"question": "x", "task_source": "magic"}]
    rows[3]["response"] = TRACE
    done = measure(write(tmp_path / "mine.jsonl", rows), "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "1 responses are not graded: no task: name one with --task" in done.out
    assert "1 responses are not graded: its task 'magic' is not known" in done.out
    grades = pq.read_table(tmp_path / "out" / "responses.parquet")["grade"].to_pylist()
    assert grades == ["right", "wrong", None, None]


def test_answers_without_tags_are_found_by_a_pattern(tmp_path: Path) -> None:
    source = write(tmp_path / "mine.jsonl", ROWS)
    done = measure(source, "--answer-pattern", "number", "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    assert figures(tmp_path / "out")["accuracy"] == 1


def test_word_rules_can_be_ones_own(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text("doubts:\n  - hmm\n  - not  sure\n")
    rows = [{"question": "a?", "response": "Hmm. Not\nsure. Hmmm. HMM!"}]
    source = write(tmp_path / "mine.jsonl", rows)
    done = measure(source, "--word-rules", "words.yaml", "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    assert figures(tmp_path / "out")["words_doubts"] == 3
    assert "Implicit, by word rules" in done.out


def test_phrases_are_those_of_the_sft_data(tmp_path: Path, make: Any) -> None:
    from conftest import attempts

    sft = make(attempts(6, 6))
    rows = [{"question": "a?", "response": "So the answer is:\nA line of no bank.\n4"}]
    source = write(tmp_path / "mine.jsonl", rows)
    done = measure(source, "--sft", sft, "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    assert figures(tmp_path / "out")["phrases"] == 1


def test_a_measured_folder_can_be_measured_again(tmp_path: Path) -> None:
    measure(write(tmp_path / "mine.jsonl", ROWS), "-o", "out", cwd=tmp_path)
    done = measure("out", "-o", "again", "--seed", "1", cwd=tmp_path)
    assert done.code == 0, done.err
    assert figures(tmp_path / "again") == figures(tmp_path / "out")


def test_what_a_model_wrote_is_data(tmp_path: Path) -> None:
    hostile = "\x1b[2J<answer>4</answer>\ud800 \u202e</think><think>" + "<sample>" * 50
    rows = [{"question": "2 + 2?", "answer": "4", "response": hostile}]
    source = write(tmp_path / "mine.jsonl", rows)
    done = measure(source, "--task", "integers", "--model", "\x1b[2J", "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    assert figures(tmp_path / "out")["well_formed"] == 0


def test_processes_change_nothing(tmp_path: Path) -> None:
    long = "x " * 20_000
    rows = [
        {"question": f"{n} + 1?", "answer": str(n + 1), "response": f"{long}<answer>{n}</answer>"}
        for n in range(500)
    ]
    source = write(tmp_path / "mine.parquet", rows)
    for workers in ("1", "2"):
        done = measure(
            *(source, "--task", "integers", "--workers", workers, "-o", f"out-{workers}"),
            *("--draws", "100"),
            cwd=tmp_path,
        )
        assert done.code == 0, done.err
    for name in ("responses.parquet", "measures.parquet"):
        one, two = (pq.read_table(tmp_path / f"out-{n}" / name) for n in (1, 2))
        assert one.equals(two)


BAD = [
    (["none.jsonl"], "none.jsonl: no such file or folder", 1),
    (["empty.jsonl"], "empty.jsonl: the file is empty", 1),
    (["folder"], "folder: no parquet, jsonl, json or .eval file in this folder", 1),
    (["broken.jsonl"], "broken.jsonl: line 2 is", 1),
    (["broken.parquet"], "broken.parquet: not a parquet file", 1),
    (["broken.eval"], "broken.eval: not a log of inspect_ai", 1),
    (["mine.jsonl", "--response-column", "said"], "column 'said' is missing", 1),
    (["other.jsonl"], "column 'response' is missing. Columns there are: a, b.", 1),
    (["numbers.jsonl"], "numbers.jsonl: row 0, column 'response': expected a text", 1),
    (["mine.jsonl", "--task", "magic"], "no task is known as 'magic'", 2),
    (["mine.jsonl", "--questions", "none.jsonl"], "none.jsonl: no such file", 1),
    (["mine.jsonl", "--index-column", "at"], "--index-column: is a row of --questions", 2),
    (["mine.jsonl", "--answer-pattern", "("], "expected boxed, hashes, number, or a regular", 2),
    (["mine.jsonl", "--word-rules", "bad.yaml"], "bad.yaml: answers: word 1 is 3, not a text", 1),
    (["mine.jsonl", "--sft", "folder"], "folder: is no SFT folder", 1),
    (["mine.jsonl", "--draws", "1"], "expected 100 to 100000", 2),
    (["batch.jsonl"], "batch.jsonl: answers of a batch do not say their questions", 2),
    (["batch.jsonl", "--requests", "mine.jsonl"], "mine.jsonl: no line of it is a request", 1),
    (["choices.jsonl"], "choices.jsonl: line 1: its responses are no texts", 1),
]


@pytest.mark.parametrize(("arguments", "message", "code"), BAD, ids=lambda one: str(one)[:40])
def test_bad_input_is_one_line(
    arguments: list[str], message: str, code: int, tmp_path: Path
) -> None:
    write(tmp_path / "mine.jsonl", ROWS)
    write(tmp_path / "other.jsonl", [{"a": 1, "b": 2}])
    write(tmp_path / "numbers.jsonl", [{"response": 4}])
    write(tmp_path / "batch.jsonl", [{"custom_id": "a", "response": None, "error": None}])
    lm_eval = {"doc_id": 0, "doc": {}, "arguments": {}, "resps": [[[-1.5, False]]]}
    write(tmp_path / "choices.jsonl", [lm_eval])
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "broken.jsonl").write_text('{"response": "a"}\n{"response": \n')
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "broken.eval").write_bytes(b"PK no more")
    (tmp_path / "bad.yaml").write_text("answers: [3]\n")
    (tmp_path / "folder").mkdir()
    done = measure(*arguments, "-o", "out", cwd=tmp_path)
    assert done.code == code, done.out + done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("Error")]) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    source = write(tmp_path / "mine.jsonl", ROWS)
    assert measure(source, "-o", "out", cwd=tmp_path).code == 0
    done = measure(source, "-o", "out", cwd=tmp_path)
    assert done.code == 1
    assert "exists already" in done.err
    assert measure(source, "-o", "out", "--overwrite", cwd=tmp_path).code == 0
