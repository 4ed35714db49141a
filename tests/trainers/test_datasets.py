"""What the trainers' versions of `datasets` load of an SFT folder that is made anew."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import REAL
from trainers import ours, trainer

LOAD = """
import sys
from datasets import load_dataset
print(load_dataset(sys.argv[1], "sft_train", split="train").num_rows)
"""


@pytest.mark.parametrize("environment", ["llamafactory", "verl-0.6", "verl-0.9"])
def test_what_is_made_anew_is_loaded_anew(environment: str, tmp_path: Path) -> None:
    for attempts in ("1", "3"):
        words = ("--attempts", attempts, "--overwrite")
        ours("create", "-i", REAL, "-o", tmp_path / "sft", *words)
        printed = trainer(
            *(environment, "python", "-c", LOAD, tmp_path / "sft"), HF_HOME=str(tmp_path / "hf")
        )
        there = pq.read_table(tmp_path / "sft" / "sft_train").num_rows
        assert int(printed.split()[-1]) == there
