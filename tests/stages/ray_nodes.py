"""Real Ray on the loopback: nodes that can be killed one by one, and what is left of them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from conftest import ROOT

_MARK = "SKILL_FACTORY_TEST_NODE"
_TOKEN = secrets.token_hex(16)
"""What the nodes of a cluster, and those who join it, show each other."""


def marked(mark: str) -> list[psutil.Process]:
    """The processes that live and have this mark in their environment, which children inherit."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(done: Callable[[], object], seconds: float = 300) -> None:
    """Wait; a machine may be slow, but nothing here takes so long."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def kill(mark: str) -> None:
    """End all processes with a mark, as a machine that loses its power does."""
    while left := marked(mark):
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=10)


def working(mark: str, name: str) -> list[psutil.Process]:
    """The workers with this mark that are at work on a task of this name: Ray titles them so."""
    found = []
    for process in marked(mark):
        try:
            if f"ray::{name}" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short path: Ray has sockets in it, whose paths may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="sf-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def none_left(mark: str) -> Iterator[None]:
    """No process with this mark is there after the block; those that are, are ended."""
    try:
        yield
        wait_until(lambda: not marked(mark), 30)
    finally:
        kill(mark)


def environment(mark: str, folder: Path, **more: str) -> dict[str, str]:
    """The environment of a command, or of a node, whose processes have a mark."""
    return os.environ | {
        "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), _MARK: mark, "RAY_ADDRESS": "",
        "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0",
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _TOKEN, **more,
    }  # fmt: skip


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def start_node(mark: str, folder: Path, *options: str, **more: str) -> None:
    """Start a node of one core; Ray returns once it is up."""
    ports = (
        "--dashboard-agent-listen-port",
        "--dashboard-agent-grpc-port",
        "--metrics-export-port",
    )
    words = [
        *("start", "--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats"),
        *("--node-ip-address=127.0.0.1", f"--temp-dir={folder / 'ray'}"),
        *(f"{port}={free_port()}" for port in ports),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", *words, *options],
        env=environment(mark, folder, **more),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def two_nodes(mark: str, *options: str, **more: str) -> Iterator[tuple[str, Path]]:
    """A cluster of two nodes, of a core and 80 MB of object store each: its address, and a folder
    for what it needs. The second one's processes have the mark with a 2 after it."""
    with short_folder() as folder:
        port = free_port()
        try:
            start_node(mark, folder, "--head", f"--port={port}", *options, **more)
            start_node(f"{mark}2", folder, f"--address=127.0.0.1:{port}", **more)
            yield f"127.0.0.1:{port}", folder
        finally:
            kill(mark)
            kill(f"{mark}2")


def interrupted_by_ctrl_c() -> None:
    """A shell that runs these tests in the background has Ctrl-C ignored, by its children too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
