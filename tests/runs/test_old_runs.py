"""A run's folder that an older version made goes on.

tests/data/old_run was made, up to reflect, by version 0.2 before a run's stages were objects:
its manifest and its journal are read as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from model_server import Server, serve
from test_runs import go, rows
from tutor import speak

DATA = ROOT / "tests" / "data"


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server(speak=speak)) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(DATA / "old_run", tmp_path / "run")


def config(server: Server, samples: int = 2, **model: Any) -> dict[str, Any]:
    """The settings that the run was made with, but for the server's address."""
    prompts = str(DATA / "old_run_prompts.yaml")
    return {
        "questions": {"source": "addition", "count": 4},
        "model": {"base_url": server.url, "name": "tiny", "identity": "the tutor"} | model,
        "sample": {
            **{"samples": samples, "prompt_variants": ["original", "rephrase"]},
            **{"prompts": prompts, "seed": 0},
        },
        "reflect": {"reflections": 2, "seed": 0},
        "create": {"attempts": 2},
    }


def test_what_was_made_is_made(server: Server, folder: Path) -> None:
    before = {name: rows(folder, name) for name in ("attempts", "graded", "annotated")}
    said = go(folder, config(server))
    assert "sample: 16 samples to ask for" not in said
    assert server.asked == 0
    assert {name: rows(folder, name) for name in before} == before
    assert (folder / "sft" / "manifest.json").is_file()


def test_more_is_asked_for_and_nothing_twice(server: Server, folder: Path) -> None:
    before = rows(folder, "attempts")
    said = go(folder, config(server, samples=3), "--to", "reflect")
    assert "sample: 8 samples to ask for in 8 requests, 16 are in the journal" in said
    after = rows(folder, "attempts")
    assert [row for row in after if row["sample"] < 2] == before
    assert len(after) == 24


def test_what_would_be_asked_anew_is_told_first(server: Server, folder: Path) -> None:
    said = go(folder, config(server, identity="another tutor"), code=1)
    assert "16 samples would be asked for anew" in said
    assert "add --identity 'the tutor'" in said
    assert server.asked == 0
