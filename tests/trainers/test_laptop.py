"""The way of examples/laptop with the real model and trainers, in its smallest form."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
from conftest import ROOT
from trainers import trainer

MODELS = ("base", "base-grpo-0", "sft-0", "sft-grpo-0")


def test_the_smallest_proof_goes_the_whole_way(tmp_path: Path) -> None:
    proof = ROOT / "examples" / "laptop" / "proof.sh"
    printed = trainer("laptop", "bash", proof, "minimal", tmp_path / "out", PYTHONPATH=str(ROOT))
    made = tmp_path / "out"
    assert pq.read_metadata(made / "run/sft/plan.parquet").num_rows > 0
    for name in MODELS:
        summary = json.loads((made / "eval" / name / "summary.json").read_text("utf-8"))
        assert summary, name
        assert pq.read_metadata(made / "eval" / name / "responses.parquet").num_rows == 4
    for name in MODELS[1::2]:
        [step] = json.loads((made / name / "rewards.json").read_text("utf-8"))
        assert 0 <= step["reward"] <= 1
    assert all(name in (made / "compare.txt").read_text("utf-8") for name in MODELS)
    for name in MODELS[1::2]:
        measures = pq.read_table(made / "grpo" / name / "measures.parquet")
        assert (measures.num_rows, set(measures["step"].to_pylist())) == (4, {1})
        assert name in (made / "grpo.html").read_text("utf-8")
    assert (made / "grpo.svg").read_text("utf-8").startswith("<?xml")
    again = trainer("laptop", "bash", proof, "minimal", made, PYTHONPATH=str(ROOT))
    assert " + skill_factory sample" in printed
    assert " + " not in again  # nothing is done twice
