"""`skill-factory evaluate`: a model is asked questions, and what it answers is measured."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import BUNDLED, Outcome, run, write_rows
from model_server import Fault, Server, serve
from test_runs import serve_batch
from trained import speak
from tutor import speak as speak_untrained

from skill_factory.cli.main import main
from skill_factory.core.tables import RESPONSES


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server(speak=speak, counts=True)) as server:
        yield server


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return made(tmp_path / "sums.parquet")


def made(path: Path, *options: str) -> Path:
    done = run("questions", "addition", "--count", "12", "-o", path, *options, module=MODULE)
    assert done.code == 0, done.err
    return path


MODULE = "skill_factory"


def evaluate(*arguments: str | Path, server: Server | None = None, code: int = 0) -> str:
    """Run the command; what it told. An error is its last line."""
    where = ["--base-url", server.url] if server else []
    done: Outcome = run("evaluate", *arguments, *where, module=MODULE)
    assert done.code == code, done
    assert "Traceback" not in done.err
    if code:
        assert done.err.splitlines()[-1].startswith("Error: "), done.err
    return done.out + done.err


def rows(folder: Path) -> list[dict[str, Any]]:
    table = pq.read_table(folder / "responses.parquet")
    assert table.schema.equals(RESPONSES)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


# -- what is asked, and what comes of it ----------------------------------------------------------


def test_each_question_is_asked_bare_and_what_comes_is_graded(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    evaluate(questions, "-o", tmp_path / "e", "--samples", "3", server=server)
    asked = pq.read_table(questions).to_pylist()
    assert sorted(request["messages"][0]["content"] for request in server.requests) == sorted(
        row["question"] for row in asked
    )
    for request in server.requests:
        assert [message["role"] for message in request["messages"]] == ["user"]
        assert request["n"] == 3
        drawn = {name: request[name] for name in ("temperature", "top_p", "top_k", "max_tokens")}
        assert drawn == {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "max_tokens": 4096}
    found = rows(tmp_path / "e")
    assert len(found) == 36
    assert {row["question_set"] for row in found} == {"sums"}
    assert {row["model"] for row in found} == {"tiny"}
    assert [row["sample"] for row in found[:4]] == [0, 1, 2, 0]
    for row in found:
        assert row["response"].startswith("<think>\n<sample>\nIt is ")  # whole, as it was written
        is_right = row["extracted_answer"] == row["answer"]
        assert row["grade"] == ("right" if is_right else "wrong")
    assert {row["grade"] for row in found} == {"right", "wrong"}
    about = manifest(tmp_path / "e")
    assert about["samples"] == {"read": 36, "kept": 36, "losses": {}}
    assert about["model"] == f"{server.url} tiny"
    there = {path.name for path in (tmp_path / "e").iterdir()}
    assert {"questions.parquet", "journal.sqlite", "config.yaml", "summary.json"} <= there
    assert {"responses.parquet", "measures.parquet", "manifest.json"} <= there


def test_the_same_command_asks_nothing_and_more_samples_only_those(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    command: list[str | Path] = [questions, "-o", tmp_path / "e"]
    evaluate(*command, server=server)
    before = (tmp_path / "e" / "responses.parquet").read_bytes()
    assert "nothing to ask, 12 samples are in the journal" in evaluate(*command, server=server)
    assert "nothing to ask" in evaluate("-o", tmp_path / "e")  # its own config.yaml says it all
    assert (tmp_path / "e" / "responses.parquet").read_bytes() == before
    said = evaluate(*command, "--samples", "2", server=server)
    assert "12 samples to ask for in 12 requests, 12 are in the journal" in said
    assert server.asked == 24
    assert [row["response"] for row in rows(tmp_path / "e") if not row["sample"]] == [
        row["response"] for row in pq.read_table(pa_buffer(before)).to_pylist()
    ]


def pa_buffer(data: bytes) -> Any:
    import pyarrow as pa

    return pa.BufferReader(data)


def test_several_sets_stand_beside_each_other(server: Server, tmp_path: Path) -> None:
    one = made(tmp_path / "one.parquet")
    two = made(tmp_path / "two.jsonl", "--seed", "1")
    said = evaluate(one, f"hard={two}", "reasoning-gym:basic_arithmetic", "--count", "5",
                    "-o", tmp_path / "e", "--label", "after RL", server=server)  # fmt: skip
    counts = dict.fromkeys(("one", "hard", "reasoning-gym:basic_arithmetic"), 0)
    for row in rows(tmp_path / "e"):
        counts[row["question_set"]] += 1
        assert row["model"] == "after RL"
    assert counts == dict.fromkeys(counts, 5)
    assert "hard" in said


def test_any_dataset_is_a_set(server: Server, tmp_path: Path) -> None:
    rows_of = [{"ask": f"What is {n} + 1?", "gold": n + 1} for n in range(4)]
    write_rows(tmp_path / "mine.jsonl", rows_of)
    evaluate(tmp_path / "mine.jsonl", "--question-column", "ask", "--answer-column", "gold",
             "--task", "integers", "-o", tmp_path / "e", server=server)  # fmt: skip
    assert [row["answer"] for row in rows(tmp_path / "e")] == ["1", "2", "3", "4"]


def test_a_base_model_is_asked_by_a_prompt_variant(questions: Path, tmp_path: Path) -> None:
    with serve(Server(speak=speak_untrained)) as server:
        evaluate(questions, "-o", tmp_path / "e", "--prompt-variant", "original", server=server)
        assert all(
            "between <answer> and </answer>" in request["messages"][0]["content"]
            for request in server.requests
        )
        told = evaluate(questions, "-o", tmp_path / "f", "--prompt-variant", "hint_original",
                        server=server, code=2)  # fmt: skip
        assert "hint_original shows the gold answer" in told
        told = evaluate(questions, "-o", tmp_path / "f", "--prompt-variant", "orignal",
                        server=server, code=2)  # fmt: skip
        assert "no prompt variant 'orignal'" in told
        assert "original" in told
    assert not (tmp_path / "f").exists()


def test_thinking_that_a_server_gives_apart_is_in_the_response(
    questions: Path, tmp_path: Path
) -> None:
    def apart(request: dict[str, Any], sample: int) -> dict[str, Any]:
        asked = request["messages"][0]["content"]
        if "7 + 12" in asked:  # it never comes to its answer
            return {"content": None, "reasoning": "Is it <answer>19</answer>?"}
        return {"content": "So <answer>1</answer>", "reasoning_content": "Let me think.\n"}

    with serve(Server(speak=apart)) as server:
        evaluate(questions, "-o", tmp_path / "e", server=server)
    for row in rows(tmp_path / "e"):
        if "7 + 12" in row["question"]:
            assert row["response"] == "<think>\nIs it <answer>19</answer>?"
            assert (row["finish_reason"], row["grade"]) == ("length", "cut_off")
        else:
            assert row["response"] == "<think>\nLet me think.\n</think>\n\nSo <answer>1</answer>"
            assert (row["finish_reason"], row["extracted_answer"]) == ("stop", "1")


def test_samples_that_never_came_are_counted_and_asked_for_again(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    server.faults = [Fault(500, holds="What is 7 + 12?"), Fault(400, holds="What is 8 + 19?")]
    command: list[str | Path] = [questions, "-o", tmp_path / "e", "--tries", "1"]
    command += ["--samples", "2"]
    evaluate(*command, server=server)
    about = manifest(tmp_path / "e")["samples"]
    assert about == {"read": 24, "kept": 20, "losses": {"missing": 2, "refused": 2}}
    server.faults.clear()
    said = evaluate(*command, server=server)
    assert "2 samples to ask for" in said
    assert manifest(tmp_path / "e")["samples"]["losses"] == {"refused": 2}


def test_it_is_told_early_that_responses_are_cut_off_or_have_no_answer(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    command: list[str | Path] = [questions, "--samples", "5"]
    told = evaluate(*command, "-o", tmp_path / "e", server=server)
    assert "of the first 50" not in told
    told = evaluate(*command, "-o", tmp_path / "f", "--max-tokens", "9", server=server)
    assert "Note: of the first 50 responses 50 were cut off (max_tokens)" in told
    server.speak = lambda request, sample: "I cannot tell."
    told = evaluate(*command, "-o", tmp_path / "g", server=server)
    assert "Note: of the first 50 responses 50 have no answer in <answer> tags" in told


# -- questions that the model was trained on ------------------------------------------------------


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained-on") / "sft"
    done = run("-i", BUNDLED, "-o", folder, "--attempts", "3")
    assert done.code == 0, done.err
    return folder


def test_questions_of_the_training_data_are_refused_dropped_or_kept(
    server: Server, sft: Path, tmp_path: Path
) -> None:
    named = ["--exclude-sft", str(sft)]
    told = evaluate(BUNDLED, "-o", tmp_path / "e", *named, server=server, code=1)
    assert "questions are in" in told
    assert "--overlap drop" in told
    assert server.asked == 0
    trained = {
        turn["conversations"][0]["content"] for turn in pq.read_table(sft / "sft_train").to_pylist()
    }
    all_of_them = set(pq.read_table(BUNDLED)["question"].to_pylist())
    assert trained < all_of_them

    evaluate(BUNDLED, "-o", tmp_path / "drop", *named, "--overlap", "drop", server=server)
    kept = {row["question"] for row in rows(tmp_path / "drop")}
    assert kept == all_of_them - trained

    told = evaluate(BUNDLED, "-o", tmp_path / "keep", *named, "--overlap", "keep", server=server)
    assert f"{len(trained)} questions are in the training data" in told
    assert {row["question"] for row in rows(tmp_path / "keep")} == all_of_them
    for made_of in ("drop", "keep"):
        table = pq.read_table(tmp_path / made_of / "questions.parquet")
        assert table.column_names[-1] == "question_set"


# -- another model, other settings ----------------------------------------------------------------


def test_what_was_asked_before_is_asked_anew_with_leave_only(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    evaluate(questions, "-o", tmp_path / "e", server=server)
    kept = {path: path.read_bytes() for path in (tmp_path / "e").glob("*.[pjy]*")}
    asked = server.asked
    told = evaluate(questions, "-o", tmp_path / "e", "--temperature", "0", server=server, code=1)
    assert "12 samples would be asked for anew" in told
    assert "because the sampling changed" in told
    with serve(Server(speak=speak)) as moved:
        told = evaluate(questions, "-o", tmp_path / "e", server=moved, code=1)
        assert "because the model changed" in told
        assert f"--identity '{server.url} tiny'" in told
        moved_asked = moved.asked
    assert (server.asked, moved_asked) == (asked, 0)
    for path, data in kept.items():
        assert path.read_bytes() == data, path
    told = evaluate(questions, "-o", tmp_path / "e", "--temperature", "0", "--ask-again",
                    server=server)  # fmt: skip
    assert "12 answered" in told


def test_a_dry_run_writes_nothing_and_asks_nobody(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    said = evaluate(questions, "-o", tmp_path / "e", "--dry-run",
                    "--force-budget", "10,90", server=server)  # fmt: skip
    assert "[user]\nWhat is 7 + 12?" in said
    assert "12 samples to ask for" in said
    assert "budget forcing: at most 24 samples more, each up to 90 tokens in all" in said
    assert server.asked == 0
    assert not (tmp_path / "e").exists()


def test_a_batch_service_can_be_asked(server: Server, questions: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [questions, "-o", tmp_path / "e", "--samples", "2"]
    command += ["--model", "tiny"]
    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    said = evaluate(*command, "--write-requests", requests, server=server)
    assert "12 requests for 24 samples" in said
    assert not (tmp_path / "e" / "responses.parquet").exists()
    serve_batch(requests, answers)
    said = evaluate(*command, "--read-responses", answers, server=server)
    assert "24 new samples" in said
    assert len(rows(tmp_path / "e")) == 24
    assert server.asked == 0


# -- kills ----------------------------------------------------------------------------------------


def _child(arguments: list[str]) -> None:
    os.environ["COLUMNS"] = "80"
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        main(arguments)


@pytest.mark.slow
def test_killed_ten_times_it_ends_as_if_it_never_was(server: Server, tmp_path: Path) -> None:
    """With budget forcing, so that kills come in every round of asking."""
    questions = made(tmp_path / "sums.parquet", "--overwrite")
    command = [str(questions), "--samples", "6", "--seed", "0", "--base-url", server.url]
    command += ["--force-budget", "40,140", "--concurrency", "4"]
    evaluate(*command, "-o", tmp_path / "smooth")
    server.log.clear()
    server.requests.clear()
    server.latency, draw, kills = 0.05, random.Random(1), 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skill_factory.measure.evaluate", "skill_factory.cli.evaluate"])
    while kills < 10:
        child = context.Process(
            target=_child, args=(["evaluate", *command, "-o", str(tmp_path / "killed")],)
        )
        child.start()
        answered = len(server.log) + draw.randint(5, 25)
        while len(server.log) < answered:
            assert child.is_alive(), "it ended before it could be caught"
            time.sleep(0.005)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        kills += 1
        child.join()
    server.latency = 0.0
    evaluate(*command, "-o", tmp_path / "killed")
    for name in ("questions", "responses", "measures"):
        one, two = (tmp_path / place / f"{name}.parquet" for place in ("smooth", "killed"))
        assert pq.read_table(one).equals(pq.read_table(two)), name
    asked = Counter(
        json.dumps(request)
        for request in server.requests
        if request["messages"][0]["content"] != "Say a."  # a look at the server, not a question
    )
    # Only what was in flight at a kill, four requests, or just answered, is asked again.
    assert asked.total() - len(asked) <= 2 * 4 * kills


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "no questions: name a file"),
        (["./none.parquet"], 1, "none.parquet: no such file or folder"),
        (["sums.parquet", "a/sums.parquet"], 2, "two sets of questions are called sums"),
        (["sums.parquet", "--task", "countdonw"], 2, "no task is known as 'countdonw'"),
        (["sums.parquet", "--question-column", "q"], 1, "column 'q' is missing"),
        (["sums.parquet", "--count", "99"], 2, "count: sums.parquet has only 12"),
        (["sums.parquet", "--overlap", "drop"], 2, "overlap: name the SFT folders"),
        (["sums.parquet", "--exclude-sft", "none"], 1, "none: no such folder"),
        (["sums.parquet", "--exclude-sft", "a"], 1, "a: is no SFT folder"),
        (["sums.parquet", "--samples", "0"], 2, "expected 1 to 10000, not 0"),
        (["sums.parquet", "--force-budget", "9,4"], 2, "the second one larger: 4096,8192"),
        (["sums.parquet", "--force-budget", "many"], 2, "expected two numbers of tokens"),
        (["sums.parquet", "--force-with", "x"], 2, "force_with: has no use without force_budget"),
        (["sums.parquet", "--force-budget", "4,9", "--max-tokens", "9"], 2, "max_tokens: force"),
        (["sums.parquet", "--force-budget", "4,9", "--force-with", " "], 2, "expected a text"),
        (
            ["sums.parquet", "--force-budget", "4,9", "--force-with", "</think>"],
            2,
            "a text that does not end the thinking",
        ),
        (["sums.parquet", "--chat-template", "./none"], 1, "./none: no such folder"),
        (["sums.parquet", "--local", "smollm2", "--chat-template", "x"], 2, "has its own"),
        (
            ["sums.parquet", "--local", "smollm2", "--force-budget", "9,4096"],
            2,
            "do not fit a context of 2048: raise --context",
        ),
        (["sums.parquet", "--force-budget", "4,9", "--write-requests", "r"], 2, "not asked by"),
        (["sums.parquet", "--dry-run", "--write-requests", "r"], 2, "choose one of"),
        (["sums.parquet", "--read-responses", "none"], 1, "is missing; --write-requests makes it"),
        (["sums.parquet", "-c", "none.yaml"], 1, "none.yaml: cannot read the config"),
        (["sums.parquet", "-c", "bad.yaml"], 1, "bad.yaml: line 2: evaluate.sample: unknown key"),
        (["sums.parquet", "-o", "a"], 1, "a: holds something else than an evaluation"),
        (["broken.parquet"], 1, "broken.parquet: "),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    server: Server, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    made(tmp_path / "sums.parquet")
    (tmp_path / "a").mkdir()
    made(tmp_path / "a" / "sums.parquet")
    (tmp_path / "bad.yaml").write_text("evaluate:\n  sample: 3\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    before = set(tmp_path.rglob("*"))
    output = [] if "-o" in arguments else ["-o", "e"]
    where = [] if "--local" in arguments else ["--base-url", server.url]
    done = run("evaluate", *arguments, *output, *where, module=MODULE, cwd=tmp_path)
    assert done.code == code, done
    assert "Traceback" not in done.err
    assert words in done.err.splitlines()[-1]
    assert server.asked == 0
    left = {path for path in set(tmp_path.rglob("*")) - before if path.name != ".lock"}
    assert left <= {tmp_path / "e"}


def test_an_evaluation_and_a_run_do_not_share_a_folder(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    evaluate(questions, "-o", tmp_path / "e", server=server)
    done = run("sample", "-i", questions, "-o", tmp_path / "e", module=MODULE)
    assert (done.code, "Traceback" in done.err) == (1, False)
    assert "evaluate: unknown key" in done.err
    sampled = run("sample", "-i", questions, "-o", tmp_path / "run", "--samples", "1",
                  "--base-url", server.url, module=MODULE)  # fmt: skip
    assert sampled.code == 0, sampled.err
    told = evaluate(questions, "-o", tmp_path / "run", server=server, code=1)
    assert "run: holds something else than an evaluation; choose another folder" in told
