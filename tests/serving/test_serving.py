"""Servers that a run starts itself: started, waited for, watched, and ended with the run."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from conftest import ROOT, Outcome, read_traces, started
from conftest import run as run_command
from model_server import Server, serve
from test_runs import accounts, rows
from tutor import speak

SERVED = f"{shlex.quote(sys.executable)} {ROOT / 'tests' / 'fakes' / 'served.py'}"
COMMAND = f"{SERVED} --model {{model}} --port {{port}}"
MARK = "SKILL_FACTORY_TEST_MARK"


def sums(folder: Path) -> tuple[str | Path, ...]:
    """Twelve sums beside a folder, which are asked four times under four prompts."""
    path = folder.with_name("sums.jsonl")
    lines = [
        {"question": f"What is {i} + 7?", "answer": f"{i + 7}", "task_source": "addition"}
        for i in range(12)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ("-i", path, "--samples", "4")


def command(*arguments: str | Path) -> Outcome:
    return run_command(*arguments, module="skill_factory")


def sample(folder: Path, serve: str = COMMAND, *options: str | Path) -> Outcome:
    """Ask a served model for attempts at twelve sums."""
    return command(
        "sample", "-o", folder, *sums(folder), "--serve", serve, "--model", "tiny", *options
    )


def starts(path: Path) -> list[dict[str, Any]]:
    """What the server was started with, each time."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def asked(done: Outcome) -> int:
    """How many samples were asked for."""
    assert done.code == 0, done
    found = re.search(r"(\d+) samples to ask for", done.out)
    return int(found[1]) if found else 0


# -- started, asked, stopped ----------------------------------------------------------------------


def test_a_model_is_served_asked_and_its_server_stopped(tmp_path: Path) -> None:
    done = sample(tmp_path / "run", f"{COMMAND} --tells {tmp_path / 'starts'}")
    assert asked(done) == 192
    assert accounts(tmp_path / "run")["sample"]["samples"]["kept"] == 192
    (start,) = starts(tmp_path / "starts")
    log = (tmp_path / "run" / "servers" / "0.log").read_text().splitlines()
    assert re.match(r"--- \S+ \S+ server 0, start 1: .*--port \d+", log[0])
    assert log[1] == "serving"
    with serve(Server(port=start["port"])) as free:  # the port is free again
        assert free.port == start["port"]


def test_a_finished_run_starts_nothing(tmp_path: Path) -> None:
    told = f"{COMMAND} --tells {tmp_path / 'starts'}"
    sample(tmp_path / "run", told)
    again = sample(tmp_path / "run", told)
    assert asked(again) == 0
    assert "starting" not in again.out
    assert len(starts(tmp_path / "starts")) == 1


def test_other_ports_are_the_same_model(tmp_path: Path) -> None:
    told = f"{COMMAND} --tells {tmp_path / 'starts'}"
    sample(tmp_path / "run", told)
    assert asked(sample(tmp_path / "run", told, "--samples", "5")) == 48
    first, second = starts(tmp_path / "starts")
    assert first["port"] != second["port"]


def test_both_stages_of_a_run_ask_one_server(tmp_path: Path) -> None:
    settings = {
        "questions": {"source": "addition", "count": 12},
        "model": {"name": "tiny", "serve": f"{COMMAND} --tells {tmp_path / 'starts'}"},
        "sample": {"samples": 4},
        "reflect": {"reflections": 3},
        "create": {"attempts": 3},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    done = command("run", tmp_path / "run.yaml", "-o", tmp_path / "run")
    assert done.code == 0, done
    assert len(rows(tmp_path / "run", "annotated")) == 192
    assert len(starts(tmp_path / "starts")) == 1
    assert "is up to date" in command("run", tmp_path / "run.yaml", "-o", tmp_path / "run").out
    assert len(starts(tmp_path / "starts")) == 1


def test_an_evaluation_serves_its_model(tmp_path: Path) -> None:
    def evaluate(*options: str) -> Outcome:
        served = ("--serve", f"{COMMAND} --tells {tmp_path / 'starts'}", "--model", "tiny")
        return command("evaluate", "addition", "--count", "9", "-o", tmp_path / "e", *served,
                       *options)  # fmt: skip

    assert asked(evaluate()) == 9
    assert len(rows(tmp_path / "e", "responses")) == 9
    assert asked(evaluate()) == 0
    assert asked(evaluate("--samples", "2")) == 9
    assert len(starts(tmp_path / "starts")) == 2


def test_what_is_not_asked_starts_nothing(tmp_path: Path) -> None:
    told = f"{COMMAND} --tells {tmp_path / 'starts'}"
    assert "would ask tiny" in sample(tmp_path / "run", told, "--dry-run").out
    assert sample(tmp_path / "run", told, "--write-requests", tmp_path / "batch").code == 0
    assert '"model": "tiny"' in (tmp_path / "batch").read_text()
    assert not (tmp_path / "starts").exists()


def test_the_key_is_no_secret_of_the_command_line(tmp_path: Path) -> None:
    """The stand-in asks for the key in its environment, and would refuse us without it."""
    look = f'bash -c \'tr "\\0" " " < /proc/$$/environ > {tmp_path / "environment"}; exec {SERVED}'
    assert asked(sample(tmp_path / "run", f"{look} --model {{model}} --port {{port}}'")) == 192
    (key,) = re.findall(r"VLLM_API_KEY=(\S+)", (tmp_path / "environment").read_text())
    assert len(key) > 30
    log = tmp_path / "run" / "servers" / "0.log"
    for path in (log, tmp_path / "run" / "config.yaml", tmp_path / "run" / "manifest.json"):
        assert key not in path.read_text()


def test_no_proxy_is_asked_for_a_server_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert asked(sample(tmp_path / "run")) == 192


# -- who the model is -----------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server(speak=speak)) as server:
        yield server


def at(server: Server, folder: Path, *options: str) -> Outcome:
    there = ("--base-url", server.url, "--model", "tiny", *options)
    return command("sample", "-o", folder, *sums(folder), *there)


def test_the_model_of_a_server_elsewhere_is_served_and_asked_nothing_twice(
    server: Server, tmp_path: Path
) -> None:
    assert asked(at(server, tmp_path / "run")) == 192
    assert asked(sample(tmp_path / "run")) == 0
    assert asked(sample(tmp_path / "run", COMMAND, "--samples", "5")) == 48
    assert asked(at(server, tmp_path / "run", "--samples", "5")) == 0


def test_a_model_that_was_served_is_asked_nothing_twice_elsewhere(
    server: Server, tmp_path: Path
) -> None:
    assert asked(sample(tmp_path / "run")) == 192
    assert asked(at(server, tmp_path / "run")) == 0
    assert asked(at(server, tmp_path / "run", "--samples", "5")) == 48
    assert asked(sample(tmp_path / "run", COMMAND, "--samples", "5")) == 0


def test_an_evaluation_knows_its_model_with_servers_of_its_own_and_without(
    server: Server, tmp_path: Path
) -> None:
    def evaluate(*options: str) -> int:
        return asked(command("evaluate", "addition", "--count", "9", "-o", tmp_path / "e",
                             "--model", "tiny", *options))  # fmt: skip

    assert evaluate("--serve", COMMAND) == 9
    assert evaluate("--base-url", server.url) == 0
    assert evaluate("--base-url", server.url, "--samples", "2") == 9
    assert evaluate("--serve", COMMAND, "--samples", "2") == 0


def test_a_model_of_another_name_is_another_model(tmp_path: Path) -> None:
    sample(tmp_path / "run")
    other = command(
        "sample",
        "-o",
        tmp_path / "run",
        *sums(tmp_path / "run"),
        "--serve",
        COMMAND,
        "--model",
        "big",
    )
    assert other.code == 1
    assert "--identity 'tiny'" in other.err


# -- what goes wrong ------------------------------------------------------------------------------


def test_the_last_lines_of_a_server_that_ends_at_once_are_in_the_error(tmp_path: Path) -> None:
    done = sample(tmp_path / "run", f"{COMMAND} --fails 'CUDA out of memory'")
    assert done.code == 1
    (line,) = done.err.splitlines()
    log = tmp_path / "run" / "servers" / "0.log"
    assert line.startswith("Error: server 0 ended before it was ready (exit code 3); ")
    assert line.endswith(f"its log, {log}, ends: CUDA out of memory | key: ***")


def test_a_server_that_does_not_get_ready_in_time_is_an_error(tmp_path: Path) -> None:
    done = sample(tmp_path / "run", f"{COMMAND} --never-healthy", "--serve-timeout", "1")
    assert done.code == 1
    assert "server 0 was not ready within 1 s (--serve-timeout): " in done.err


def test_a_server_of_another_model_is_an_error(tmp_path: Path) -> None:
    done = sample(tmp_path / "run", f"{COMMAND} --other-model")
    assert done.code == 1
    assert "server 0 serves 'other', not 'tiny'" in done.err


def test_a_server_that_dies_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    once = f"{COMMAND} --dies-after 40 --lives-once {tmp_path / 'died'}"
    done = sample(tmp_path / "run", once)
    assert asked(done) == 192
    assert "Note: server 0 ended (exit code 9)" in done.out
    assert "server 0 is back" in done.out
    assert accounts(tmp_path / "run")["sample"]["samples"] == {
        "read": 192, "kept": 192, "losses": {}
    }  # fmt: skip
    log = (tmp_path / "run" / "servers" / "0.log").read_text()
    assert len(re.findall(r"^--- .* server 0, start [12]: ", log, re.MULTILINE)) == 2


@pytest.mark.slow
def test_a_server_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    done = sample(tmp_path / "run", f"{COMMAND} --dies-after 20")
    assert done.code == 1
    assert done.out.count("It is started again") == 3
    assert "Error: server 0 ended (exit code 9); its log, " in done.err
    assert asked(sample(tmp_path / "run")) < 192  # what came is kept


@pytest.mark.slow
def test_others_go_on_while_one_dies_again_and_again(tmp_path: Path) -> None:
    """Of two servers the one that starts first dies, again and again."""
    first = tmp_path / "first"
    dies = f"bash -c 'mkdir {first} 2>/dev/null && echo {{port}} > {first}/port; sleep 0.3; "
    dies += f"[ {{port}} = $(cat {first}/port) ] && dies=--dies-after=5; "
    dies += f"exec {COMMAND} --slow 0.5 $dies'"
    done = sample(tmp_path / "run", dies, "--replicas", "2", "--concurrency", "2")
    assert asked(done) == 192
    assert "It is started again (1 of 3 times at most)" in done.out
    assert accounts(tmp_path / "run")["sample"]["samples"]["kept"] == 192


@pytest.mark.slow
def test_a_server_that_stays_unhealthy_is_started_again(tmp_path: Path) -> None:
    sick = f"{COMMAND} --slow 0.5 --sickens-after 8"
    done = sample(tmp_path / "run", sick, "--concurrency", "1", "--samples", "1")
    assert asked(done) == 48
    assert "has not been well for 15 s (GET /health: status 503)" in done.out


# -- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--serve", "vllm"], "serve: which model? Give its path, or its name on the Hub"),
        (["--serve", "vlm", "--model", "x"], "did you mean vllm?"),
        (["--serve", "mine {model}", "--model", "x"], "or a command with {port} in it"),
        (["--serve", "mine '{port}", "--model", "x"], "cannot be read as a command: No closing"),
        (["--serve", "vllm", "--model", "x", "--base-url", "http://a/v1"], "leave out base_url"),
        (["--serve", "vllm", "--local", "smollm2"], "serve: starts servers of its own: leave out"),
        (["--serve", "vllm", "--model", "x", "--serve-args", "-tp 2 --port 3"], "leave it out"),
        (["--serve", "no-such-program {port}", "--model", "x"], "no program 'no-such-program'"),
        (["--replicas", "2"], "replicas: has no use without serve"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, options: list[str], said: str) -> None:
    done = command("sample", "-o", tmp_path / "run", *sums(tmp_path / "run"), *options)
    assert done.code == 2, done
    assert said in done.err.splitlines()[-1]


def test_a_command_in_a_runs_own_config_is_not_run(tmp_path: Path) -> None:
    """The folder may be another's."""
    sample(tmp_path / "run")
    own = tmp_path / "run" / "config.yaml"
    settings = yaml.safe_load(own.read_text())
    assert settings["model"]["serve"] is None
    settings["model"]["serve"] = f"touch {tmp_path / 'harm'} {{port}}"
    own.write_text(yaml.safe_dump(settings))
    done = command("sample", "-o", tmp_path / "run", "--samples", "5")
    assert done.code == 1
    assert "only the run's own config.yaml says so: give it as --serve" in done.err
    assert not (tmp_path / "harm").exists()


# -- presets and GPUs -----------------------------------------------------------------------------


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, first on the PATH, with a stand-in of vLLM that tells its arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    told = f'echo vllm "$@" >> {tmp_path}/words'
    write_program(folder / "vllm", f'{told}\nexec {SERVED} --tells {tmp_path}/starts "$@"')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("programs")
def test_vllm_is_started_as_its_page_says(tmp_path: Path) -> None:
    more = ("--replicas", "1", "--serve-args", "--slow '0.01'", "--model", "org/tiny")
    assert asked(sample(tmp_path / "run", "vllm", *more)) == 192
    assert re.fullmatch(
        r"vllm serve org/tiny --host 127\.0\.0\.1 --port \d+ --served-model-name org/tiny "
        r"--slow 0\.01\n",
        (tmp_path / "words").read_text(),
    )


NVIDIA_SMI = """
[ "$GPUS" = 0 ] && { echo No devices were found; exit 6; }
for ((i = 0; i < GPUS; i++)); do
    echo "GPU $i: NVIDIA H100 (UUID: GPU-$i)"
    echo "  MIG 1g.10gb Device 0: (UUID: MIG-$i)"
done"""


@pytest.mark.parametrize(
    ("variable", "value", "replicas", "gpus"),
    [
        ("CUDA_VISIBLE_DEVICES", "2,3", [], ["2", "3"]),
        ("CUDA_VISIBLE_DEVICES", "GPU-aa, GPU-bb", ["--replicas", "1"], ["GPU-aa,GPU-bb"]),
        ("CUDA_VISIBLE_DEVICES", "", [], [""]),
        ("GPUS", "4", ["--replicas", "2"], ["0,1", "2,3"]),
        ("GPUS", "1", ["--replicas", "2"], ["0", "0"]),
        ("GPUS", "0", [], [None]),
    ],
)
def test_each_server_has_gpus_of_its_own(
    programs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    replicas: list[str],
    gpus: list[Any],
) -> None:
    write_program(programs / "nvidia-smi", NVIDIA_SMI)
    monkeypatch.setenv(variable, value)
    assert asked(sample(tmp_path / "run", "vllm", *replicas)) == 192
    assert sorted(start["gpus"] for start in starts(tmp_path / "starts")) == gpus


@pytest.mark.slow
def test_a_whole_run_on_a_node_with_eight_gpus(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """examples/one_node, with stand-ins for vLLM and the GPUs."""
    write_program(programs / "nvidia-smi", NVIDIA_SMI)
    write_program(programs / "skill-factory", f'exec {sys.executable} -m skill_factory "$@"')
    monkeypatch.setenv("GPUS", "8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    settings = {
        "questions": {"source": "addition", "count": 24},
        "sample": {"samples": 4},
        "reflect": {"reflections": 3},
        "create": {"attempts": 3},
    }
    (tmp_path / "sums.yaml").write_text(yaml.safe_dump(settings))
    script = ["bash", str(ROOT / "examples" / "one_node" / "run.sh"), "sums.yaml", "org/tiny"]
    done = subprocess.run(
        [*script, "--concurrency", "4"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(start["gpus"] for start in starts(tmp_path / "starts")) == list("01234567")
    run = tmp_path / "outputs" / "sums"
    assert len(rows(run, "annotated")) == 384
    assert read_traces(run / "sft")
    assert len(list((run / "servers").glob("?.log"))) == 8


# -- whatever ends the run ------------------------------------------------------------------------


def marked(mark: str) -> set[int]:
    """The processes that have a mark in their environment."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            pass
    return found


def wait_until_gone(mark: str) -> None:
    """See the processes with a mark end, within a generous minute."""
    end = time.monotonic() + 60
    while left := marked(mark):
        if time.monotonic() > end:
            names = [psutil.Process(pid).cmdline() for pid in left]
            pytest.fail(f"still there: {names}")
        time.sleep(0.05)


@contextmanager
def running(folder: Path, mark: str, *options: str, serve: str = COMMAND) -> Iterator[Any]:
    """A run in a process of its own, whose descendants all have a mark."""
    arguments = [
        "sample",
        "-o",
        folder,
        *sums(folder),
        "--serve",
        serve,
        "--model",
        "tiny",
        *options,
    ]
    with started("-m", "skill_factory", *arguments, **{MARK: mark}) as process:
        yield process


WILD = f"{COMMAND} --slow 0.3 --ignores-sigterm --forks"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_no_process_outlives_a_run_that_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    """Its servers ignore SIGTERM, and have a child and an orphan in sessions of their own."""
    mark = uuid.uuid4().hex
    options = ("--replicas", "2", "--concurrency", "2")
    with running(tmp_path / "run", mark, *options, serve=WILD) as process:
        for line in process.stdout:
            if "samples to ask for" in line:
                break
        assert len(marked(mark)) >= 1 + 2 * 4, "the run, and of each server a guardian and three"
        process.send_signal(number)
        if number is signal.SIGINT:
            process.send_signal(number)
        process.communicate()
    wait_until_gone(mark)
    assert asked(sample(tmp_path / "run")) <= 192


@pytest.mark.slow
def test_no_process_outlives_a_run_that_is_killed_while_servers_start(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    with running(tmp_path / "run", mark, serve=f"{WILD} --never-healthy") as process:
        for line in process.stdout:
            if line.startswith("servers: starting"):
                break
        while len(marked(mark)) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    wait_until_gone(mark)


@pytest.mark.slow
def test_no_process_outlives_a_run_that_ends_in_an_error(tmp_path: Path) -> None:
    """One of the two servers does not come up."""
    mark, first = uuid.uuid4().hex, tmp_path / "first"
    broken = f"bash -c 'mkdir {first} && sleep 1 && exit 7; exec {WILD}'"
    with running(tmp_path / "run", mark, "--replicas", "2", serve=broken) as process:
        _, err = process.communicate()
    assert process.returncode == 1
    assert "ended before it was ready (exit code 7)" in err
    assert not marked(mark), "they are gone before the command is"


@pytest.mark.slow
def test_no_process_outlives_a_whole_run(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    with running(tmp_path / "run", mark, serve=f"{COMMAND} --ignores-sigterm --forks") as process:
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert not marked(mark), "they are gone before the command is"


@pytest.mark.slow
def test_the_first_ctrl_c_lets_requests_in_flight_come_home(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    served = f"{COMMAND} --slow 1"
    with running(tmp_path / "run", mark, "--concurrency", "4", serve=served) as process:
        for line in process.stdout:
            if "samples to ask for" in line:
                break
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert re.search(r"sample: stopped: [1-9]\d* answered, 0 failed", out), out
    assert "the same command goes on from here" in err
    wait_until_gone(mark)
