"""What was asked before is asked anew only with leave: a run says so first, and what to add."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from model_server import Fault, Server, serve
from test_runs import command, config, go, rows
from tutor import speak


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server(speak=speak)) as server:
        yield server


@pytest.fixture
def run(server: Server, tmp_path: Path) -> Path:
    """A whole run's folder; the server forgets that it was asked."""
    go(tmp_path / "run", config(server))
    server.log.clear()
    server.asked = 0
    return tmp_path / "run"


def stops(run: Path, settings: dict[str, Any], *options: str) -> str:
    """The one line that a run ends with before anything is asked."""
    kept = (run / "config.yaml").read_bytes(), (run / "attempts.parquet").read_bytes()
    said = go(run, settings, *options, code=1).splitlines()
    assert [line for line in said if "Error" in line] == said[-1:]
    assert ((run / "config.yaml").read_bytes(), (run / "attempts.parquet").read_bytes()) == kept
    return said[-1]


def test_a_model_that_has_moved_is_named_by_identity(server: Server, run: Path) -> None:
    with serve(Server(speak=speak)) as moved:
        said = stops(run, config(moved))
        assert said.startswith("Error: sample: 192 samples would be asked for anew")
        assert "192 because the model changed." in said
        identity = f"{server.url} tiny"
        assert f"If the same model has moved, add --identity '{identity}'." in said
        assert "add --ask-again" in said
        assert moved.asked == 0
        settings = config(moved, model={"identity": identity})
        assert go(run, settings).count("nothing to ask") == 2
        assert moved.asked == 0


def test_a_name_that_is_given_now_and_was_not_before_is_the_same(server: Server, run: Path) -> None:
    assert go(run, config(server, model={"name": "tiny"})).count("is up to date") == 5
    assert server.asked == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "change", "why"),
    [
        ("sample", {"sample": {"temperature": 0.1}}, "192 because the sampling changed"),
        ("sample", {"sample": {"max_tokens": 9}}, "192 because the sampling changed"),
        ("reflect", {"reflect": {"top_p": 0.1}}, "564 because the sampling changed"),
    ],
)
def test_another_sampling_is_asked_with_leave_only(
    server: Server, run: Path, stage: str, change: dict[str, Any], why: str
) -> None:
    said = stops(run, config(server, **change))
    assert said.startswith(f"Error: {stage}: ")
    assert why in said
    assert "--identity" not in said.split("To ask anew")[0]
    assert server.asked == 0
    said = go(run, config(server, **change), "--ask-again")
    assert "of them anew, because the sampling changed" in said
    assert server.asked > 0


def test_another_prompt_says_how_much_is_asked_anew(server: Server, run: Path) -> None:
    prompts = run.parent / "mine.yaml"
    prompts.write_text("variants: {original: {user: 'Now: {question} <answer></answer>'}}")
    changed = {"prompts": str(prompts)}
    said = stops(run, config(server, sample=changed))
    assert "48 samples would be asked for anew" in said
    assert "48 because the prompt changed" in said
    assert server.asked == 0
    said = go(run, config(server, sample=changed, model={"ask_again": True}), "--to", "sample")
    assert "sample: 48 samples to ask for in 12 requests, 144 are in the journal" in said
    assert "  48 of them anew, because the prompt changed" in said
    go(run, config(server), "--to", "sample")  # back again: it has the answers


def test_several_changes_are_told_apart(server: Server, run: Path) -> None:
    prompts = run.parent / "mine.yaml"
    prompts.write_text("variants: {original: {user: 'Now: {question} <answer></answer>'}}")
    change = {"prompts": str(prompts), "temperature": 0.0}
    said = stops(run, config(server, sample=change))
    assert "144 because the sampling changed" in said
    assert "48 because the prompt and the sampling changed" in said


def test_more_of_the_same_and_what_is_missing_goes_on_at_once(
    server: Server, tmp_path: Path
) -> None:
    server.faults = [Fault(500, holds="What is 7 + 12?")]
    go(tmp_path / "run", config(server, model={"tries": 1}), "--to", "sample")
    server.faults.clear()
    more = config(server, sample={"samples": 6}, questions={"count": 14})
    go(tmp_path / "run", more)
    assert len(rows(tmp_path / "run", "attempts")) == 14 * 4 * 6


def test_leave_is_not_remembered(server: Server, run: Path) -> None:
    go(run, config(server, sample={"temperature": 0.1}), "--ask-again")
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["ask_again"] is False
    said = command("sample", "-o", run, "--temperature", "0.2", code=1)
    assert "192 samples would be asked for anew" in said
    command("sample", "-o", run, "--temperature", "0.2", "--ask-again")
    said = command("reflect", run, "--temperature", "0.3", "--reflections", "2", code=1)
    assert "would be asked for anew" not in said or "reflect" in said


def test_each_stage_alone_stops_too(server: Server, run: Path) -> None:
    said = command("reflect", run, "--temperature", "0.3", code=1)
    assert re.search(r"Error: reflect: \d+ samples would be asked for anew", said)
    said = command("sample", "-o", run, "--top-k", "5", code=1)
    assert "Error: sample: 192 samples would be asked for anew" in said
    requests = run.parent / "requests.jsonl"
    said = command("sample", "-o", run, "--top-k", "5", "--write-requests", requests, code=1)
    assert "192 samples would be asked for anew" in said
    assert not requests.exists()
    assert server.asked == 0


def test_a_dry_run_says_what_would_be_asked_anew(server: Server, run: Path) -> None:
    said = command("sample", "-o", run, "--top-k", "5", "--dry-run")
    assert "192 of them anew, because the sampling changed" in said
    assert "Note: 192 samples would be asked for anew" in said
    assert "Note" not in command("sample", "-o", run, "--top-k", "5", "--dry-run", "--ask-again")


def test_a_run_killed_in_its_first_answers_knows_its_model(server: Server, run: Path) -> None:
    shutil.copy(run / "manifest.json", run / "manifest.bak")
    (run / "manifest.json").unlink()  # it is written when a stage ends
    with serve(Server(speak=speak)) as moved:
        assert f"add --identity '{server.url} tiny'" in stops(run, config(moved))


def test_a_question_that_stands_there_with_two_answers_is_no_change(
    server: Server, tmp_path: Path
) -> None:
    def write(answers: list[str]) -> dict[str, Any]:
        table = [
            {
                **{"question": "What is 3 + 4?", "answer": answer},
                **{"task_source": "addition", "metadata": "{}"},
            }
            for answer in answers
        ]
        pq.write_table(pa.Table.from_pylist(table), tmp_path / "questions.parquet")
        variants = {"prompt_variants": ["hint_original"], "samples": 2}
        questions = {"source": str(tmp_path / "questions.parquet")}
        return config(server, sample=variants) | {"questions": questions}

    go(tmp_path / "run", write(["7"]), "--to", "sample")
    said = go(tmp_path / "run", write(["7", "8"]), "--to", "sample")
    assert "anew" not in said
    assert "may" not in said or "2 are in the journal" in said


def test_reflections_until_one_is_valid_are_so_many_at_most(server: Server, tmp_path: Path) -> None:
    settings = config(server, reflect={"until_valid": True})
    go(tmp_path / "run", settings)
    settings["reflect"]["temperature"] = 0.1
    said = go(tmp_path / "run", settings, code=1)
    assert "Error: reflect: at most 564 samples would be asked for anew" in said
    assert "Note: at most 564 samples" in go(tmp_path / "run", settings, "--dry-run")


def test_what_a_file_asks_for_is_asked_before_too(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config(server)))
    place = ("sample", "-o", tmp_path / "run")
    command(*place, "-c", path, "--write-requests", tmp_path / "requests.jsonl")
    said = command(*place, "--temperature", "0.1", code=1)
    assert "192 samples would be asked for anew" in said
    assert "or a file of requests asks for them: 192 because the sampling changed" in said
