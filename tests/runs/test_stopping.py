"""Ctrl-C: the first lets the requests in flight come home, the second ends the run at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import started
from model_server import Fault, Server, serve
from test_runs import config, go, rows
from tutor import speak

pytestmark = pytest.mark.slow

Process = subprocess.Popen[str]


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server(speak=speak)) as server:
        yield server


def settings(server: Server, **reflect: Any) -> dict[str, Any]:
    few = {"count": 30}
    return config(server, model={"concurrency": 4}, questions=few, reflect=reflect)


@contextmanager
def running(server: Server, folder: Path, **reflect: Any) -> Iterator[Process]:
    """A run in a process of its own, with a group of its own as a terminal's jobs have."""
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(settings(server, **reflect)))
    with started("-m", "skill_factory", "run", str(path), "-o", str(folder)) as process:
        yield process


def until(process: Process, happens: Callable[[], bool]) -> None:
    while not happens():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def read_to(process: Process, text: str) -> str:
    """What is printed, up to the line with a text in it."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(said)


def interrupt(process: Process) -> None:
    os.killpg(process.pid, signal.SIGINT)


def caught(server: Server, process: Process, answered: int) -> None:
    """Wait until so many answers have gone out and four requests wait for theirs."""
    until(process, lambda: len(server.log) >= answered)
    server.held = True
    until(process, lambda: server.waiting == 4)


@pytest.mark.parametrize("answered", [5, 130])  # in `sample`, and in `reflect`
@pytest.mark.parametrize("until_valid", [False, True])
def test_the_first_waits_for_what_is_in_flight_and_nothing_is_asked_twice(
    server: Server, tmp_path: Path, answered: int, until_valid: bool
) -> None:
    with running(server, tmp_path / "run", until_valid=until_valid) as process:
        caught(server, process, answered)
        asked = server.asked
        interrupt(process)
        said = read_to(process, "stopping")
        assert "requests in flight that are waited for: 4 (Ctrl-C again: stop now)" in said
        server.held = False
        rest, errors = process.communicate()
    assert process.returncode == 130, errors
    stage = "sample" if answered == 5 else "reflect"
    assert re.search(rf"^{stage}: stopped: \d+ answered, 0 failed; ", rest, re.MULTILINE)
    assert errors.splitlines() == [
        f"Stopped. All answers are kept in {tmp_path / 'run'}; the same command goes on from here."
    ]
    assert server.asked == asked
    go(tmp_path / "run", settings(server, until_valid=until_valid))
    most = {"sample": 4, "reflect": 3}
    seeds = [(entry.digest, entry.seed) for entry in server.log]
    assert len(seeds) == len(set(seeds))
    assert max(server.answered().values()) <= max(most.values())
    assert len(rows(tmp_path / "run", "attempts")) == 30 * 16


def test_the_second_stops_now(server: Server, tmp_path: Path) -> None:
    with running(server, tmp_path / "run") as process:
        caught(server, process, 5)
        interrupt(process)
        read_to(process, "stopping")
        interrupt(process)
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "the same command goes on from here" in errors
    server.held = False
    said = go(tmp_path / "run", settings(server), "--to", "sample")
    assert "are in the journal" in said
    assert len(rows(tmp_path / "run", "attempts")) == 30 * 16


def test_a_server_that_is_away_is_not_waited_for(server: Server, tmp_path: Path) -> None:
    with running(server, tmp_path / "run") as process:
        until(process, lambda: len(server.log) >= 5)
        server.faults = [Fault(503, headers={"retry-after": "600"})]
        until(process, lambda: server.faults[0].met >= 1 and server.busy == 0)
        interrupt(process)
        said = read_to(process, "stopping")
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    # The last of those in flight, four at most, may not have been read yet: none is sent again, and
    # the pause is over.
    assert re.search(r"that are waited for: [0-4] ", said)


def test_ctrl_c_before_anything_is_asked_ends_at_once(server: Server, tmp_path: Path) -> None:
    server.held, server.key = True, "k"  # a server with a key is asked for a token first
    os.environ["SKILL_FACTORY_TEST_KEY"] = "k"
    try:
        with running(server, tmp_path / "run") as process:
            until(process, lambda: server.busy == 1)
            interrupt(process)
            _, errors = process.communicate()
    finally:
        del os.environ["SKILL_FACTORY_TEST_KEY"]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


NOTEBOOK = """
import asyncio, sys
import skill_factory as sf

async def cell():
    sf.run(sys.argv[1], sys.argv[2], progress=lambda line: print(line, flush=True))

# As a notebook's kernel: Ctrl-C is a KeyboardInterrupt in the main thread, whose loop is running.
asyncio.new_event_loop().run_until_complete(cell())
"""


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_a_run_in_a_notebook_as_in_a_terminal(
    server: Server, tmp_path: Path, times: int
) -> None:
    path, folder = tmp_path / "run.yaml", tmp_path / "run"
    path.write_text(yaml.safe_dump(settings(server)))
    with started("-c", NOTEBOOK, str(path), str(folder)) as process:
        caught(server, process, 5)
        interrupt(process)
        assert "that are waited for: 4" in read_to(process, "stopping")
        if times == 1:
            server.held = False
        else:
            interrupt(process)
        rest, errors = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert ("sample: stopped: " in rest) == (times == 1)
    server.held = False
    go(folder, settings(server), "--to", "sample")
    assert len(rows(folder, "attempts")) == 30 * 16
    if times == 1:
        assert set(server.answered().values()) == {4}
