"""The scripts for a cluster with Slurm, as they are, with stand-ins for its commands and vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import slurm
import yaml
from conftest import ROOT

pytestmark = pytest.mark.slow

CONFIG = {
    "questions": {"source": "addition", "count": 12},
    "sample": {"samples": 4, "seed": 0},
    "reflect": {"reflections": 3, "seed": 0},
    "create": {"attempts": 3},
}


def soon(happens: Callable[[], bool], about: Callable[[], str]) -> None:
    end = time.monotonic() + 240
    while not happens():
        assert time.monotonic() < end, about()
        time.sleep(0.05)


def test_an_array_of_servers_and_a_run_beside_them(tmp_path: Path) -> None:
    stand_in, place = tmp_path / "bin", tmp_path / "cluster"
    slurm.install(stand_in)
    place.mkdir()
    ours = stand_in / "skill-factory"
    ours.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m skill_factory "$@"\n')
    ours.chmod(0o755)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    done = subprocess.run(
        ["bash", str(ROOT / "examples" / "slurm" / "submit.sh"), "small.yaml", "run"],
        cwd=tmp_path,
        env=os.environ
        | {"PATH": f"{stand_in}{os.pathsep}{os.environ['PATH']}", "SLURM_STANDIN": str(place)}
        | {"PYTHONPATH": str(ROOT), "SERVERS": "3", "MODEL": "org/tiny"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "servers: job 1, their addresses: " in done.stdout
    assert "run: job 2, its output: skill-factory-2.log" in done.stdout
    (addresses,) = tmp_path.glob("servers-*.txt")
    log = tmp_path / "skill-factory-2.log"

    def logs() -> str:
        return "\n".join(path.read_text() for path in tmp_path.glob("*.log"))

    # The run ends the array, whose servers write what they answered, and leave the file.
    soon(lambda: len(list(place.glob("answered-*"))) == 3, logs)
    soon(lambda: addresses.read_text() == "", logs)
    assert "sample: 192 answered, 0 failed" in log.read_text()
    assert (tmp_path / "run" / "sft" / "manifest.json").is_file()
    answers = [json.loads(path.read_text()) for path in place.glob("answered-*")]
    asked = [(digest, seed) for one in answers for digest, seed, _ in one]
    assert len(asked) == len(set(asked))
    # The first that answers begins; whether the others were there in time is the machine's affair.
    assert any(answers)
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]
    assert (kept["base_urls"], kept["name"]) == (str(addresses), "org/tiny")
