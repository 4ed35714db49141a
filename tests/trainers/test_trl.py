"""TRL trains on our folders, and calls our reward."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from trainers import ours, trainer, user_folder

HERE = Path(__file__).parent
place = pytest.fixture(scope="module")(user_folder)


@pytest.fixture(scope="module")
def steps(place: Path) -> dict[str, Any]:
    source = ("-i", "annotated.parquet")
    ours("create", *source, "-o", "./messages", "--layout", "messages", cwd=place)
    ours("create", *source, "-o", "./plain", cwd=place)
    ours("export", "verl", *source, "-o", "./rl", cwd=place)
    trainer(
        *("verl-0.9", "python", HERE / "trl_steps.py", "model", "plain", "messages"),
        *("rl/train.parquet", "trl.json"),
        cwd=place,
        PYTHONPATH=str(ROOT),
    )
    found: dict[str, Any] = json.loads((place / "trl.json").read_text())
    return found


@pytest.mark.parametrize("layout", ["messages", "conversations"])
def test_a_step_of_sft(steps: dict[str, Any], layout: str) -> None:
    assert steps[layout]["rows"] == 260
    assert math.isfinite(steps[layout]["loss"])


def test_grpo_asks_our_reward(steps: dict[str, Any]) -> None:
    assert steps["rewards"] == [1.0, 0.0]
    assert "rewards/answer_reward/mean" in steps["logged"]
