"""Whole runs against a server of ours: questions, attempts, grades, reflections, traces."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from conftest import CORRECT, REFLECTION, ROOT, read_manifest, read_traces
from conftest import run as run_module
from model_server import Fault, Server, serve
from tutor import speak

from skill_factory.cli.main import main
from skill_factory.runs.config import load_run_file
from skill_factory.runs.run import Run

KEY_NAME = "SKILL_FACTORY_TEST_KEY"


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server(speak=speak)) as server:
        yield server


def config(server: Server, **stages: dict[str, Any]) -> dict[str, Any]:
    """A small run's config; `stages` replace settings."""
    settings: dict[str, dict[str, Any]] = {
        "questions": {"source": "addition", "count": 12},
        "model": {"base_url": server.url, "api_key_env": KEY_NAME},
        "sample": {"samples": 4, "seed": 0},
        "reflect": {"reflections": 3, "seed": 0},
        "create": {"attempts": 3},
    }
    return {stage: settings.get(stage, {}) | stages.get(stage, {}) for stage in settings | stages}


def command(*arguments: str | Path, code: int = 0) -> str:
    """Run a command in this process; what it printed."""
    result = CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def go(folder: Path, settings: dict[str, Any], *options: str, code: int = 0) -> str:
    """Run a config into `folder`."""
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(settings))
    return command("run", path, "-o", folder, *options, code=code)


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return table


def accounts(folder: Path) -> dict[str, Any]:
    """What the manifest says of all stages; everything adds up."""
    stages = json.loads((folder / "manifest.json").read_text())["stages"]
    for stage in stages.values():
        for name, account in stage["accounts"].items():
            if name != "grades":
                assert account["read"] == account["kept"] + sum(account["losses"].values())
    return {name: stage["accounts"] for name, stage in stages.items()}


# -- all stages -----------------------------------------------------------------------------------


def test_a_run_ends_in_traces_that_check_finds_no_fault_in(server: Server, tmp_path: Path) -> None:
    said = go(tmp_path / "run", config(server))
    assert "sample: 192 samples to ask for in 48 requests, 0 are in the journal" in said
    told = accounts(tmp_path / "run")
    assert told["questions"]["questions"]["kept"] == 12
    assert told["sample"]["samples"] == {"read": 192, "kept": 192, "losses": {}}
    grades = told["grade"]["grades"]
    assert grades["right"] + grades["wrong"] == 192
    assert 90 < grades["right"] < 160
    assert told["reflect"]["reflections"]["losses"].keys() == {"no_verdict", "wrong_verdict"}
    traces = read_traces(tmp_path / "run" / "sft")
    assert len(traces) == 36
    assert "No fault found." in command("check", tmp_path / "run" / "sft")
    assert read_manifest(tmp_path / "run" / "sft")["input"]["model"] == "tiny"
    answered = server.answered()
    assert set(answered.values()) <= {3, 4}


def test_the_annotated_table_has_the_released_columns(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server))
    graded, annotated = rows(tmp_path / "run", "graded"), rows(tmp_path / "run", "annotated")
    assert len(annotated) == len(graded) == 192
    for row, before in zip(annotated, graded, strict=True):
        assert row[CORRECT] == [before["grade"] == "right"]
        assert row["model_responses__mutated_prompts"] == [before["response"]]
        assert row["reflection_samples"] == [0, 1, 2][: len(row[REFLECTION])]
    command("create", "-i", tmp_path / "run" / "annotated.parquet", "-o", tmp_path / "sft")


def test_the_same_command_again_asks_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what lies there does not matter
    (tmp_path / "addition").mkdir()
    go(tmp_path / "run", config(server))
    (tmp_path / "addition" / "other.txt").touch()
    asked = server.asked
    said = go(tmp_path / "run", config(server))
    assert said.count("is up to date") == 5
    assert server.asked == asked


def test_more_samples_ask_only_for_the_rest(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server), "--to", "sample")
    said = go(tmp_path / "run", config(server, sample={"samples": 8}), "--to", "sample")
    assert "sample: 192 samples to ask for in 48 requests, 192 are in the journal" in said
    assert "sample: 192 answered, 0 failed" in said
    assert sum(server.answered().values()) == 384


def test_the_journal_makes_the_same_tables_again_without_the_server(
    server: Server, tmp_path: Path
) -> None:
    settings = config(server, model={"name": "tiny"}, reflect={"until_valid": True})
    go(tmp_path / "run", settings)
    (tmp_path / "again").mkdir()
    shutil.copy(tmp_path / "run" / "journal.sqlite", tmp_path / "again")
    (tmp_path / "again" / ".lock").touch()
    server.die()
    said = go(tmp_path / "again", settings)
    server.revive()
    assert "sample: nothing to ask, 192 samples are in the journal" in said
    assert re.search(r"reflect: nothing to ask, \d+ samples are in the journal", said)
    for name in ("questions", "attempts", "graded", "annotated"):
        one, two = (tmp_path / place / f"{name}.parquet" for place in ("run", "again"))
        assert one.read_bytes() == two.read_bytes()
    one, two = (read_manifest(tmp_path / place / "sft")["output"] for place in ("run", "again"))
    assert one["digest"] == two["digest"]


def test_stages_can_be_chosen(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server), "--to", "grade")
    assert not (tmp_path / "run" / "annotated.parquet").exists()
    said = go(tmp_path / "run", config(server), "--from", "reflect")
    assert "sample:" not in said
    assert (tmp_path / "run" / "sft").is_dir()
    said = go(tmp_path / "none", config(server), "--from", "grade", code=1)
    assert re.search(r"attempts\.parquet: is missing; the stage `sample` makes it", said)
    said = go(tmp_path / "run", config(server), "--from", "create", "--to", "grade", code=2)
    assert "--from create comes after --to grade" in said


def test_what_was_made_with_other_settings_is_told(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server), "--to", "grade")
    said = go(tmp_path / "run", config(server, grade={"keep_cut_off": True}), "--from", "reflect")
    assert "graded.parquet was made with other settings; `run --from grade` makes it anew" in said
    said = go(tmp_path / "run", config(server), "--from", "create")
    assert "Note" not in said


def test_a_dry_run_asks_nobody_and_writes_nothing(server: Server, tmp_path: Path) -> None:
    prices = {"prompt_price": 1.0, "completion_price": 10.0}
    settings = config(server, model=prices, sample={"max_tokens": 100})
    said = go(tmp_path / "run", settings, "--dry-run")
    assert said.count("[user]\n") == 5
    assert re.search(
        r"about 2,\d\d\d prompt tokens, at most 19,200 completion tokens, at most about 0\.19", said
    )
    assert "reflect: at most 576 samples to ask for" in said
    assert not (tmp_path / "run").exists()
    assert server.asked == 0
    said = go(tmp_path / "run", settings)
    assert re.search(r"completion tokens in \d+ s, cost 0\.0\d", said)
    said = go(tmp_path / "run", settings, "--dry-run")
    assert "sample: nothing to ask, 192 samples are in the journal" in said
    assert "reflect: nothing to ask, 576 samples are in the journal" in said


def listen(server: Server) -> list[dict[str, Any]]:
    """The requests that a server gets from now on, each as often as it has samples."""
    bodies: list[dict[str, Any]] = []

    def heard(request: dict[str, Any], sample: int) -> str:
        bodies.append(request)
        return speak(request, sample)

    server.speak = heard
    return bodies


# -- what is asked --------------------------------------------------------------------------------


def test_only_attempts_that_can_be_used_are_reflected_on(server: Server, tmp_path: Path) -> None:
    asked: list[str] = []

    def odd(request: dict[str, Any], sample: int) -> str:
        text = request["messages"][-1]["content"]
        if "Attempt:" in text:
            asked.append(text)
            return speak(request, sample)
        if "What is 7 + 12?" in text:
            return "<answer>0</answer>"  # never right
        return ["It is 5.", "<sample> <answer>5</answer>", "<answer></answer>"][sample % 3] + (
            speak(request, sample) if sample > 2 else ""
        )

    server.speak = odd
    go(tmp_path / "run", config(server, sample={"samples": 6}), "--to", "reflect")
    losses = accounts(tmp_path / "run")["reflect"]["attempts"]["losses"]
    assert losses["no_answer"] > 0
    assert losses["holds_markup"] > 0
    assert losses["no_correct_attempt"] == 24
    assert not any("What is 7 + 12?" in text for text in asked)
    for row in rows(tmp_path / "run", "annotated"):
        usable = row["sample"] > 2 and row["sample"] != 4 and "7 + 12" not in row["question"]
        assert bool(row["reflection_samples"]) <= usable


def test_until_valid_asks_for_no_more_than_is_needed(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "all", config(server))
    all_of_them = sum(entry.count for entry in server.log)
    server.log.clear()
    go(tmp_path / "few", config(server, reflect={"until_valid": True}))
    assert sum(entry.count for entry in server.log) < all_of_them - 150
    every, few = (
        {(r["question"], r["prompt_variant"], r["sample"]): r for r in rows(place, "annotated")}
        for place in (tmp_path / "all", tmp_path / "few")
    )
    for name, row in few.items():
        verdict = "Correct" if row[CORRECT] == [True] else "Incorrect"
        found = [f">{verdict}<" in text for text in row[REFLECTION]]
        assert not any(found[:-1])
        assert found[-1] or len(found) == 3
        assert every[name][REFLECTION][: len(found)] == row[REFLECTION]


def test_the_gold_answer_is_in_hint_prompts_only(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[bool, str]] = []

    def hear(request: dict[str, Any], sample: int) -> str:
        text = request["messages"][-1]["content"]
        hinted = "right answer is" in text
        seen.append((hinted, text))
        return speak(request, sample) + (" As the hint says." if hinted and sample == 0 else "")

    server.speak = hear
    variants = ["original", "hint_original"]
    settings = config(server, sample={"prompt_variants": variants, "samples": 3})
    go(tmp_path / "run", settings)
    golds = {row["question"]: row["answer"] for row in rows(tmp_path / "run", "questions")}
    for hinted, text in seen:
        question = re.findall(r"What is \d+ \+ \d+\?", text)[0]
        before = text.split("Attempt:")[0].replace(question, "")
        assert (golds[question] in re.findall(r"\d+", before)) == hinted
    told = accounts(tmp_path / "run")
    assert told["grade"]["attempts"]["losses"] == {"leaks_hint": 12}
    for trace in read_traces(tmp_path / "run" / "sft"):
        user, assistant = trace["conversations"]
        assert user["content"] in golds
        assert "hint" not in assistant["content"]


def test_cut_off_answers_are_a_class_of_their_own(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault("length", times=8)]
    go(tmp_path / "run", config(server), "--to", "reflect")
    told = accounts(tmp_path / "run")
    assert told["grade"]["attempts"]["losses"] == {"cut_off": 32}
    for row in rows(tmp_path / "run", "annotated"):
        assert (row[CORRECT] == [None]) == (row["grade"] == "cut_off")
    asked = server.asked
    said = command("grade", tmp_path / "run", "--keep-cut-off")
    assert accounts(tmp_path / "run")["grade"]["attempts"]["losses"] == {}
    assert "missing" in said
    assert f"`skill-factory reflect {tmp_path / 'run'}` asks for what is missing" in said
    assert server.asked == asked
    command("reflect", tmp_path / "run")
    assert accounts(tmp_path / "run")["reflect"]["reflections"]["losses"].keys() == {
        "no_verdict",
        "wrong_verdict",
    }


def test_a_cut_off_reflection_is_no_reflection(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server), "--to", "grade")
    server.faults = [Fault("length", times=5)]
    go(tmp_path / "run", config(server), "--to", "reflect")
    assert accounts(tmp_path / "run")["reflect"]["reflections"]["losses"]["cut_off"] == 15
    assert sum(not row[REFLECTION] for row in rows(tmp_path / "run", "annotated")) >= 5


def test_grading_again_with_another_task_asks_nobody(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server))
    asked, before = server.asked, rows(tmp_path / "run", "annotated")
    said = command("grade", tmp_path / "run", "--task", "text")
    assert "grade:" in said
    assert server.asked == asked
    after = rows(tmp_path / "run", "annotated")
    assert {row["task_source"] for row in after} == {"text"}
    assert [row[CORRECT] for row in after] == [row[CORRECT] for row in before]


# -- the stages, each alone -----------------------------------------------------------------------


def test_each_stage_alone_makes_what_a_run_makes(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server))
    questions = tmp_path / "questions.parquet"
    command("questions", "addition", "--count", "12", "-o", questions)
    folder = tmp_path / "mine"
    at = ("--base-url", server.url, "--seed", "0")
    command("sample", "-i", questions, "-o", folder, "--samples", "4", *at)
    command("grade", folder)
    command("reflect", folder, "--reflections", "3", "--seed", "0")
    assert rows(folder, "annotated") == rows(tmp_path / "run", "annotated")


def test_options_reach_the_server(server: Server, tmp_path: Path) -> None:
    bodies = listen(server)
    questions = tmp_path / "questions.parquet"
    command("questions", "addition", "--count", "2", "-o", questions)
    options = (
        *("--temperature", "0.5", "--top-p", "0.9", "--top-k", "none", "--max-tokens", "99"),
        *("--repetition-penalty", "none", "--stop", "END", "--extra-body", '{"min_p": 0.1}'),
        *("--prompt-variants", "original,rephrase", "--samples", "2", "--model", "tiny"),
    )
    run = tmp_path / "run"
    command("sample", "-i", questions, "-o", run, "--base-url", server.url, *options)
    assert len(bodies) == 8  # a request for two samples comes here twice
    for body in bodies:
        assert {name: value for name, value in body.items() if name != "messages"} == {
            **{"model": "tiny", "temperature": 0.5, "top_p": 0.9, "max_tokens": 99},
            **{"stop": ["END"], "min_p": 0.1},
        }
    assert {row["prompt_variant"] for row in rows(run, "attempts")} == {"original", "rephrase"}


@pytest.mark.parametrize("how", ["llama.cpp", "vllm"])
def test_a_grammar_goes_out_as_the_server_takes_it(
    server: Server, tmp_path: Path, how: str
) -> None:
    bodies = listen(server)
    prompts = tmp_path / "mine.yaml"
    prompts.write_text(
        "variants: {original: {user: '{question} <answer></answer>', grammar: 'root ::= [a-z]'}}"
    )
    sample = {"prompts": str(prompts), "prompt_variants": ["original", "rephrase"]}
    go(tmp_path / "run", config(server, model={"grammar": how}, sample=sample), "--to", "sample")
    said: dict[str, Any] = {"grammar": "root ::= [a-z]"}
    if how == "vllm":
        said = {"structured_outputs": said}
    for body in bodies:
        sent = {name: body[name] for name in ("grammar", "structured_outputs") if name in body}
        mine = "\n" not in body["messages"][0]["content"]
        assert sent == (said if mine else {})
    assert len(bodies) == 96


# -- batch services -------------------------------------------------------------------------------


def serve_batch(requests: Path, responses: Path, fail: int = 0) -> int:
    """What a batch service does: answer a file of requests, the first `fail` with an error."""
    lines = [json.loads(line) for line in requests.read_text().splitlines()]
    with responses.open("w") as out:
        for number, line in enumerate(reversed(lines)):
            body = line["body"]
            choices = [
                {
                    "index": i,
                    "finish_reason": "stop",
                    "message": {
                        "role": "assistant",
                        "content": speak(body, (body.get("seed") or 0) + i),
                    },
                }
                for i in range(body.get("n", 1))
            ]
            said: dict[str, Any] = {"status_code": 200, "body": {"choices": choices}}
            error = {"message": "out of memory"} if number < fail else None
            answer = {"id": str(number), "custom_id": line["custom_id"], "error": error}
            print(json.dumps(answer | {"response": None if error else said}), file=out)
    return len(lines)


def test_batch_files_do_the_asking(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server))
    asked = server.asked
    questions, folder = tmp_path / "questions.parquet", tmp_path / "mine"
    command("questions", "addition", "--count", "12", "-o", questions)
    ask, answer = tmp_path / "requests.jsonl", tmp_path / "responses.jsonl"
    at = ("--model", "tiny", "--base-url", server.url, "--seed", "0")
    start = ("sample", "-i", questions, "-o", folder, "--samples", "4", *at)
    said = command(*start, "--write-requests", ask)
    assert "48 requests for 192 samples; 0 are in the journal" in said
    assert serve_batch(ask, answer, fail=2) == 48
    said = command(*start, "--read-responses", answer)
    assert "184 new samples" in said
    assert "2 requests failed: out of memory" in said
    assert accounts(folder)["sample"]["samples"]["losses"] == {"missing": 8}
    command(*start, "--write-requests", ask)
    assert serve_batch(ask, answer) == 2
    command(*start, "--read-responses", answer)
    command("grade", folder)
    more = ("reflect", folder, "--reflections", "3", "--seed", "0")
    command(*more, "--write-requests", ask)
    serve_batch(ask, answer)
    command(*more, "--read-responses", answer)
    assert server.asked == asked
    one, two = (rows(place, "annotated") for place in (tmp_path / "run", folder))
    for row in (*one, *two):
        del row["completion_tokens"]  # this service does not count them
    assert one == two


# -- faults, kills, and other people's runs -------------------------------------------------------


@pytest.mark.slow
def test_after_faults_of_all_kinds_nothing_is_missing(server: Server, tmp_path: Path) -> None:
    server.faults = [
        Fault(429, every=9, times=5, headers={"retry-after": "0.05"}),
        Fault(500, every=7, times=5),
        Fault("cut", every=6, times=5),
        Fault("malformed", every=5, times=5),
        Fault("empty", every=4, times=5),
    ]
    said = go(tmp_path / "run", config(server))
    assert "sent again because of" in said
    told = accounts(tmp_path / "run")
    assert told["sample"]["samples"] == {"read": 192, "kept": 192, "losses": {}}
    assert "missing" not in told["reflect"]["reflections"]["losses"]
    names = [
        (row["question"], row["prompt_variant"], row["sample"])
        for row in rows(tmp_path / "run", "annotated")
    ]
    assert len(set(names)) == len(names) == 192


def test_what_failed_is_noted_and_asked_for_by_the_next_run(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(500, holds="What is 7 + 12?")]
    settings = config(server, model={"tries": 1})
    said = go(tmp_path / "run", settings, "--to", "sample")
    assert "Note: 16 samples failed and are asked for by the next run; the last: sample" in said
    assert accounts(tmp_path / "run")["sample"]["samples"]["losses"] == {"missing": 16}
    server.faults.clear()
    said = go(tmp_path / "run", settings, "--to", "sample")
    assert "sample: 16 samples to ask for in 4 requests, 176 are in the journal" in said
    assert "sample: 16 answered, 0 failed" in said
    assert accounts(tmp_path / "run")["sample"]["samples"]["losses"] == {}


def _child(arguments: list[str]) -> None:
    os.environ["COLUMNS"] = "80"
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        main(arguments)


@pytest.mark.slow
def test_killed_twenty_times_a_run_ends_as_if_it_never_was(server: Server, tmp_path: Path) -> None:
    settings = config(server, questions={"count": 60}, reflect={"until_valid": True})
    go(tmp_path / "smooth", settings)
    server.log.clear()
    server.latency, draw, kills = 0.05, random.Random(1), list[float]()
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skill_factory.runs.run", "skill_factory.cli.run"])
    while len(kills) < 20:
        child = context.Process(
            target=_child, args=(["run", str(path), "-o", str(tmp_path / "run")],)
        )
        child.start()
        time.sleep(0.1 + draw.random() * 0.4)
        assert child.pid is not None
        if not child.is_alive():
            break
        os.kill(child.pid, signal.SIGKILL)
        kills.append(time.time())
        child.join()
    assert len(kills) >= 10
    server.latency = 0.0
    go(tmp_path / "run", settings)
    for name in ("questions", "attempts", "graded", "annotated"):
        one, two = (tmp_path / place / f"{name}.parquet" for place in ("smooth", "run"))
        assert one.read_bytes() == two.read_bytes()
    for digest, count in server.answered().items():
        entries = [entry for entry in server.log if entry.digest == digest]
        if count > max(entry.count for entry in entries):  # asked again: a kill was near
            for entry in entries[:-1]:
                assert any(kill - 0.3 < entry.at < kill + 0.3 for kill in kills)


def test_two_runs_do_not_share_a_folder(server: Server, tmp_path: Path) -> None:
    server.latency = 0.3
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config(server)))
    arguments = [sys.executable, "-m", "skill_factory", "run", str(path), "-o"]
    with subprocess.Popen(
        [*arguments, str(tmp_path / "run")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    ) as process:
        while not server.asked:
            assert process.poll() is None
            time.sleep(0.01)
        said = command("run", path, "-o", tmp_path / "run", code=1)
        process.kill()
    assert "another run is at work in it" in said


# -- bad input ------------------------------------------------------------------------------------


def fails(folder: Path, settings: dict[str, Any]) -> str:
    """The one line that a run ends with."""
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(settings))
    result = CliRunner(env={KEY_NAME: "wrong-key"}).invoke(
        main, ["run", str(path), "-o", str(folder)], catch_exceptions=False
    )
    assert result.exit_code == 1, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.slow
def test_an_error_is_one_line_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("questions: {source: addition}\nmodel: {base_url: 'http://127.0.0.1:9/v1'}\n")
    done = run_module("run", path, "-o", tmp_path / "run", module="skill_factory")
    assert done.code == 1
    assert done.err.startswith("Error: no server answers at http://127.0.0.1:9/v1")
    assert done.err.count("\n") == 1


def test_what_is_wrong_with_the_server_is_told_before_anything_is_asked(
    server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert "no model 'huge' there" in fails(folder, config(server, model={"name": "huge"}))
    server.key = "right-key"
    said = fails(folder, config(server))
    assert f"refuses the key in ${KEY_NAME}" in said
    assert "wrong-key" not in said
    server.key, server.context = None, 400
    questions = tmp_path / "long.parquet"
    rows = [
        {"question": f"What is {n} + {n}?" + " Think." * (100 if n == 30 else 1), "answer": "4"}
        for n in range(40)
    ]
    pq.write_table(pa.Table.from_pylist(rows), questions)
    asked = config(server, questions={"source": str(questions), "task": "integers", "count": 40})
    assert "maximum context length is 400" in fails(folder, asked)
    assert all(one.seed is None for one in server.log)  # a greeting, and no question
    server.die()
    assert f"no server answers at {server.url}" in fails(folder, config(server))
    server.revive()


def test_what_is_wrong_with_the_questions_is_told_before_anything_is_asked(
    server: Server, tmp_path: Path
) -> None:
    def asked(rows: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
        path = tmp_path / f"questions-{len(list(tmp_path.iterdir()))}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        found = config(server)
        return found | {"questions": {"source": str(path), "task": "integers"} | settings}

    folder = tmp_path / "run"
    said = fails(folder, asked([{"question": "What is 1 + 1?"}]))
    assert "column 'answer' is missing" in said
    said = fails(folder, asked([{"question": "What is 1 + 1?", "answer": None}] * 3))
    assert "answer" in said
    assert server.asked == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sample": {"sample": 4}}, "sample.sample: unknown key; the keys are temperature, top_p"),
        ({"sample": {"samples": 0}}, "sample.samples: "),
        ({"sample": {"prompt_variants": ["orginal"]}}, "no prompt variant 'orginal'; the variants"),
        ({"model": {"local": "smollm2"}}, "a model in this process has no base_url"),
        ({"grade": {"task": "sums"}}, "no task is known as 'sums'"),
        ({"questions": {"sorce": "x"}}, "questions.sorce: unknown key; the keys are source"),
        ({"create": {"output_dataset": "./sft"}}, "the SFT folder of a run is"),
        ({"create": {"output_dataset": "hf://a/b/c"}}, "a repository on the Hub is written as hf:"),
        ({"create": {"input_dataset": "x"}}, "has no place in a run: the input is its own"),
        ({"model": {"base_url": "nowhere"}}, "base_url: is no address of a server"),
    ],
)
def test_settings_that_cannot_be_are_told(
    server: Server, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config(server, **change)))
    result = CliRunner().invoke(main, ["run", str(path), "-o", str(tmp_path / "run")])
    assert result.exit_code in (1, 2)
    assert told in result.output
    assert not server.asked


def test_a_folder_of_something_else_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    said = go(tmp_path / "run", config(server), code=1)
    assert "holds something else than a run" in said
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_a_run_keeps_no_secrets(server: Server, tmp_path: Path) -> None:
    url = server.url.replace("http://", "http://me:secret@")
    go(tmp_path / "run", config(server, model={"base_url": url}), "--to", "sample")
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            assert b"secret" not in path.read_bytes(), path


# -- what a run is made from ----------------------------------------------------------------------


def test_another_server_and_another_model_are_asked_again(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server))
    with serve(Server(("other",), speak=speak)) as other:
        said = go(tmp_path / "run", config(other), "--ask-again")
        assert sum(entry.count for entry in other.log) >= 192
    assert "192 of them anew, because the model changed" in said
    assert "up to date" in said  # the questions
    server.models = ("newer",)
    said = go(tmp_path / "run", config(server), "--to", "sample", "--ask-again")
    assert "192 samples to ask for in 48 requests, 0 are in the journal" in said


def test_a_server_that_does_not_answer_is_taken_to_have_the_model_it_had(
    server: Server, tmp_path: Path
) -> None:
    go(tmp_path / "run", config(server))
    server.die()
    said = go(tmp_path / "run", config(server))
    server.revive()
    assert "taken to be the model that was asked before, tiny" in said
    assert said.count("is up to date") == 5


def test_the_environment_says_where_the_server_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(server)
    del settings["model"]["base_url"]
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    go(tmp_path / "run", settings, "--to", "sample")
    with serve(Server(("other",), speak=speak)) as other:
        monkeypatch.setenv("OPENAI_BASE_URL", other.url)
        go(tmp_path / "run", settings, "--to", "sample", "--ask-again")
        assert sum(entry.count for entry in other.log) == 192
        command("grade", tmp_path / "run")
        monkeypatch.delenv("OPENAI_BASE_URL")
        command("reflect", tmp_path / "run")  # which it remembers
        assert sum(entry.count for entry in other.log) > 192


def test_grading_again_never_throws_reflections_away(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server))
    before = (tmp_path / "run" / "annotated.parquet").read_bytes()
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(config(server, reflect={"temperature": 0.1})))
    said = command("grade", tmp_path / "run", "-c", path)
    assert "annotated.parquet is left as it is, as it was made with other settings" in said
    path.write_text(yaml.safe_dump(config(server)))
    (tmp_path / "run" / "journal.sqlite").rename(tmp_path / "elsewhere.sqlite")
    said = command("grade", tmp_path / "run", "-c", path, code=1)
    assert "journal.sqlite: is missing" in said
    assert (tmp_path / "run" / "annotated.parquet").read_bytes() == before


def test_what_step_2_is_made_from_is_looked_at(server: Server, tmp_path: Path) -> None:
    phrases = tmp_path / "phrases.yaml"
    shutil.copy(ROOT / "skill_factory" / "stages" / "create" / "phrases.yaml", phrases)
    settings = config(server, create={"phrases": str(phrases)})
    go(tmp_path / "run", settings)
    text = phrases.read_text()
    phrases.write_text(text + "# looked over\n")
    assert go(tmp_path / "run", settings).count("is up to date") == 4
    shutil.rmtree(tmp_path / "run" / "sft" / "sft_train")
    assert go(tmp_path / "run", settings).count("is up to date") == 4
    assert read_traces(tmp_path / "run" / "sft")


def test_other_questions_are_other_questions(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server), "--to", "sample")
    folder = tmp_path / "mine"
    folder.mkdir()

    def write(name: str, count: int) -> None:
        rows = [
            {
                **{"question": f"What is {n} + {n}?", "answer": str(2 * n)},
                **{"task_source": "addition", "metadata": "{}"},
            }
            for n in range(count)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / name)

    write("a.parquet", 30)
    said = command("sample", "-i", folder, "-o", tmp_path / "run")
    assert "480 answered" in said  # 4 samples are remembered, 12 questions are not
    write("a.parquet", 31)
    said = command("sample", "-o", tmp_path / "run")
    assert "16 samples to ask for in 4 requests, 480 are in the journal" in said


def test_what_a_run_remembers_is_what_it_was_told(server: Server, tmp_path: Path) -> None:
    body = {"logit_bias": {9: 1, 100: 2}}
    go(tmp_path / "run", config(server, sample={"extra_body": body}), "--to", "sample")
    said = command("sample", "-o", tmp_path / "run", "--samples", "5")
    assert "48 samples to ask for in 48 requests, 192 are in the journal" in said


def test_a_prompt_that_does_not_fit_is_counted_once(server: Server, tmp_path: Path) -> None:
    server.context = 700
    questions = tmp_path / "long.parquet"
    rows = [
        {"question": f"What is {n} + {n}?" + " Think." * (100 if n == 3 else 1), "answer": "4"}
        for n in range(5)
    ]
    pq.write_table(pa.Table.from_pylist(rows), questions)
    asked = config(server, model={"skip_too_long": True}) | {
        "questions": {"source": str(questions), "task": "integers"}
    }
    said = go(tmp_path / "run", asked, "--to", "sample")
    assert "sample: 64 answered, 16 failed" in said
    said = go(tmp_path / "run", asked, "--to", "sample")
    assert "16 samples to ask for in 4 requests, 64 are in the journal" in said
    assert "sample: 0 answered, 16 failed" in said
    server.context = 330
    until = asked | {"reflect": {"until_valid": True}}
    said = go(tmp_path / "run", until, "--from", "grade", "--to", "reflect")
    reflected = accounts(tmp_path / "run")["reflect"]
    failed = re.search(r"reflect: .* (\d+) failed", said)
    assert failed
    assert reflected["reflections"]["losses"]["missing"] == 4 * int(failed[1])


# -- folders that somebody has been at ------------------------------------------------------------


def test_a_forgotten_option_does_not_spoil_the_folder(server: Server, tmp_path: Path) -> None:
    folder, questions = tmp_path / "run", tmp_path / "questions.parquet"
    assert "there are no questions" in command("sample", "-o", folder, code=2)
    command("questions", "addition", "--count", "2", "-o", questions)
    command("sample", "-o", folder, "-i", questions, "--base-url", server.url, "--samples", "1")
    said = command("sample", "-o", folder, "--prompt-variants", "orignal", code=2)
    assert "no prompt variant 'orignal'" in said


def test_stages_whose_input_is_missing_say_so(server: Server, tmp_path: Path) -> None:
    for options in (["--from", "sample"], ["--from", "reflect"], ["--from", "create"]):
        said = go(tmp_path / "none", config(server), *options, "--dry-run", code=1)
        assert "is missing; the stage `" in said
    go(tmp_path / "run", config(server), "--to", "sample")
    for option in ("--write-requests", "--read-responses"):
        said = command("reflect", tmp_path / "run", option, tmp_path / "x.jsonl", code=1)
        assert "graded.parquet: is missing; the stage `grade` makes it" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("questions", "sample"),
        ("attempts", "grade"),
        ("graded", "reflect"),
        ("annotated", "create"),
    ],
)
def test_damaged_tables_are_told_in_one_line(
    server: Server, tmp_path: Path, name: str, stage: str
) -> None:
    go(tmp_path / "run", config(server))
    path = tmp_path / "run" / f"{name}.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    said = go(tmp_path / "run", config(server), "--from", stage, code=1)
    assert "damaged" in said.splitlines()[-1]
    pq.write_table(pa.table({"question": ["What?"]}), path)
    said = go(tmp_path / "run", config(server), "--from", stage, code=1)
    assert "has no column 'answer' of the type string" in said
    path.write_bytes(whole)
    assert "Error" not in go(tmp_path / "run", config(server))


def test_a_damaged_journal_is_told_in_one_line(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server))
    path = tmp_path / "run" / "journal.sqlite"
    data = bytearray(path.read_bytes())
    data[8192:-4096] = b"\xff" * (len(data) - 8192 - 4096)
    path.write_bytes(data)
    said = go(tmp_path / "run", config(server), "--from", "sample", code=1)
    assert "journal.sqlite" in said.splitlines()[-1]
    assert "damaged" in said.splitlines()[-1] or "cannot be written" in said.splitlines()[-1]


def test_settings_that_led_to_an_error_are_not_remembered(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server), "--to", "sample")
    said = command("sample", "-o", tmp_path / "run", "--model", "nosuch", code=1)
    assert "no model 'nosuch' there" in said
    assert "is up to date" in command("sample", "-o", tmp_path / "run")


def test_a_moved_server_is_told_before_it_is_asked_again(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server), "--to", "sample")
    before = f"{server.url} tiny"
    with serve(Server(speak=speak)) as moved:
        said = go(tmp_path / "dry", config(moved), "--dry-run")
        assert f"sample: would ask {moved.url}" in said
        said = command(
            *("sample", "-o", tmp_path / "run", "--base-url", moved.url),
            *("--model", "tiny", "--samples", "5", "--dry-run"),
        )
        assert "240 of them anew, because the model changed" in said
        assert f"add --identity '{before}'" in said
        said = command(
            *("sample", "-o", tmp_path / "run", "--base-url", moved.url),
            *("--identity", before, "--samples", "5"),
        )
    assert "48 samples to ask for in 48 requests, 192 are in the journal" in said


def test_a_trace_longer_than_all_attempts_is_told_before_anything_is_asked(
    server: Server, tmp_path: Path
) -> None:
    said = go(tmp_path / "run", config(server, create={"attempts": 17}), code=2)
    assert "create.attempts: 17 are more than the 16 attempts that a question gets" in said
    assert not server.log


def test_a_runs_own_config_goes_on_in_its_folder(tmp_path: Path) -> None:
    with serve(Server(speak=speak)) as server:
        go(tmp_path / "run", config(server))
        asked = server.asked
        own = tmp_path / "run" / "config.yaml"
        done = run_module("run", own, module="skill_factory", cwd=tmp_path)
        assert done.code == 0, done.err
        assert server.asked == asked
    assert "is up to date" in done.out
    assert not (tmp_path / "outputs").exists()


def test_a_model_that_is_known_by_identity_has_a_name_in_a_file_of_requests(
    server: Server, tmp_path: Path
) -> None:
    path, requests = tmp_path / "run.yaml", tmp_path / "requests.jsonl"
    path.write_text(yaml.safe_dump(config(server, model={"identity": "mine"})))
    write = ("sample", "-o", tmp_path / "run", "-c", path, "--write-requests", requests)
    said = command(*write, code=1)
    assert "which model? Give its name" in said.splitlines()[-1]
    assert not requests.exists()
    command(*write, "--model", "tiny")
    models = [json.loads(line)["body"]["model"] for line in requests.read_text().splitlines()]
    assert set(models) == {"tiny"}


def test_where_nothing_was_answered_the_older_attempts_stay(server: Server, tmp_path: Path) -> None:
    folder, nothing = tmp_path / "run", tmp_path / "answers.jsonl"
    go(folder, config(server), "--to", "sample")
    kept = (folder / "attempts.parquet").read_bytes()
    nothing.write_text("")
    other = ("sample", "-o", folder, "--temperature", "0.1", "--read-responses", nothing)
    assert "none of the 192 samples was answered" in command(*other, code=1)
    assert (folder / "attempts.parquet").read_bytes() == kept
    assert "is up to date" in go(folder, config(server), "--to", "sample")


def test_a_first_run_that_fails_halfway_remembers_its_settings(
    server: Server, tmp_path: Path
) -> None:
    server.faults = [Fault(401, holds="Attempt:")]
    said = go(tmp_path / "run", config(server, reflect={"reflections": 2}), code=1)
    assert "wants a key" in said
    server.faults.clear()
    command("reflect", tmp_path / "run")
    assert accounts(tmp_path / "run")["reflect"]["reflections"]["read"] == 192 * 2


def test_a_run_knows_what_another_has_made_since_it_was_begun(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config(server)))
    said: list[str] = []
    begun = Run(tmp_path / "run", load_run_file(path), said.append)
    go(tmp_path / "run", config(server))
    begun.go()
    assert sum("is up to date" in line for line in said) == 5
