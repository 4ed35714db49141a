"""Runs that are cut off: nothing half-made under the final name, and the next run works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REAL, ROOT, attempts, read_manifest, run, write_rows

pytestmark = pytest.mark.slow

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand questions: enough to be caught at work."""
    rows = [row for i in range(2000) for row in attempts(4, 4, f"What is {i} + {i}?")]
    return write_rows(tmp_path_factory.mktemp("large") / "rows.parquet", rows)


def start(source: Path, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    module = "skill_factory.sft_data_creation"
    return subprocess.Popen(
        [sys.executable, "-m", module, "-i", str(source), "-o", str(folder), *options],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder.parent,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    """A shell that runs these tests in the background has Ctrl-C ignored, by its children too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for_work(parent: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the run has something on disk."""
    while not list(parent.glob(".skill-factory-work-*/**/*.arrows")):
        assert process.poll() is None, "the run ended before it could be caught"
        time.sleep(0.002)


def test_a_killed_run_leaves_nothing_and_the_next_one_cleans_up(
    large: Path, tmp_path: Path
) -> None:
    draw = random.Random(0)
    killed = 0
    for _ in range(8):
        with start(large, tmp_path / "sft", "--repeats", "3") as process:
            wait_for_work(tmp_path, process)
            time.sleep(draw.random() * 0.4)
            process.kill()
        killed += process.returncode == -signal.SIGKILL
        if (tmp_path / "sft").exists():
            assert read_manifest(tmp_path / "sft")["counts"]["traces"] == 30_000
            break
    assert killed
    done = run("-i", large, "-o", tmp_path / "sft", "--repeats", "3", "--overwrite")
    assert done.code == 0, done.err
    assert [path.name for path in tmp_path.iterdir()] == ["sft"]
    assert read_manifest(tmp_path / "sft")["counts"]["traces"] == 30_000


def test_ctrl_c_is_one_line_and_leaves_nothing(large: Path, tmp_path: Path) -> None:
    with start(large, tmp_path / "sft", "--repeats", "9") as process:
        wait_for_work(tmp_path, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.decode() == "Stopped; nothing was left half-made.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kilobytes", [8, 300, 1500])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    large: Path, tmp_path: Path, kilobytes: int
) -> None:
    # A limit on the size of files makes writes fail as a full disk does, wherever they come from.
    command = f'ulimit -f {kilobytes}; exec "$0" -m skill_factory create -i "$1" -o ./sft'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, str(large)],
        env=ENVIRONMENT,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be written: File too large. Nothing was left there" in done.stderr
    assert not list(tmp_path.iterdir())
    assert run("-i", large, "-o", tmp_path / "sft").code == 0


def test_what_a_killed_run_was_replacing_is_put_back(tmp_path: Path) -> None:
    folder = tmp_path / "sft[1]"
    assert run("-i", REAL, "-o", folder).code == 0
    # As it is between the two renames that replace a folder.
    work = tmp_path / ".sft[1].partial-abc"
    work.mkdir()
    (work / "lock").touch()
    folder.rename(work / "replaced")
    refused = run("-i", REAL, "-o", folder)
    assert "exists already" in refused.err
    assert read_manifest(folder)["counts"]["traces"] == 260
    assert [path.name for path in tmp_path.iterdir()] == ["sft[1]"]


def test_a_failed_run_leaves_no_new_folders(tmp_path: Path) -> None:
    assert run("-i", REAL, "-o", tmp_path / "a" / "b" / "c", "--attempts", "99").code == 1
    assert not list(tmp_path.iterdir())


def test_a_run_beside_another_does_not_disturb_it(large: Path, tmp_path: Path) -> None:
    with start(large, tmp_path / "sft") as first:
        wait_for_work(tmp_path, first)
        first.send_signal(signal.SIGSTOP)  # so it is at work as long as the second one is
        second = run("-i", REAL, "-o", tmp_path / "sft")
        first.send_signal(signal.SIGCONT)
        _, err = first.communicate()
    assert second.code == 0, second.err
    assert first.returncode == 1
    assert "exists already" in err.decode()
    assert read_manifest(tmp_path / "sft")["counts"]["traces"] == 260
    assert [path.name for path in tmp_path.iterdir()] == ["sft"]
