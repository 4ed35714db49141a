"""LLaMA-Factory 0.9.5 keeps every row, learns every answer, and trains."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hub import User, serve
from trainers import ours, trainer, user_folder

HERE = Path(__file__).parent
place = pytest.fixture(scope="module")(user_folder)


@pytest.fixture(scope="module")
def config(place: Path) -> Path:
    ours(
        *("export", "llama-factory", "./sft", "--model", "./model", "--tokenizer", "./model"),
        *("--cutoff-len", "2048"),
        cwd=place,
    )
    return place / "llamafactory_sft.yaml"


def rows(place: Path, config: Path, *changes: str, **variables: str) -> list[dict[str, object]]:
    out = place / "rows.json"
    changes = ("use_cpu=true", "bf16=false", *changes)
    script = HERE / "llamafactory_rows.py"
    trainer("llamafactory", "python", script, config, out, *changes, cwd=place, **variables)
    found: list[dict[str, object]] = json.loads(out.read_text())
    return found


def traces(folder: Path) -> list[list[dict[str, str]]]:
    found: list[list[dict[str, str]]] = pq.read_table(folder / "sft_train")[
        "conversations"
    ].to_pylist()
    return found


def assert_learned_whole(found: list[dict[str, object]], folder: Path) -> None:
    """Each row is there, in order, and the assistant's whole turn is what is learned."""
    expected = traces(folder)
    assert len(found) == len(expected)
    for row, (user, assistant) in zip(found, expected, strict=True):
        assert row["learned"] == f"{assistant['content']}<|im_end|>\n"
        assert str(row["learned"]).endswith("</answer><|im_end|>\n")
        assert f"<|im_start|>user\n{user['content']}<|im_end|>" in str(row["text"])


def test_every_row_of_the_files_is_learned_whole(place: Path, config: Path) -> None:
    assert_learned_whole(rows(place, config), place / "sft")


def test_every_row_from_the_hub_is_learned_whole(place: Path, config: Path) -> None:
    with serve({}, users={"hf_mine": User("me")}) as address:
        there = {"HF_ENDPOINT": address, "HF_TOKEN": "hf_mine", "HF_HOME": str(place / "hf")}
        ours("push", "./sft", "me/sft", cwd=place, HF_HUB_DISABLE_XET="1", **there)
        (place / "data").mkdir()
        ours(
            *("export", "llama-factory", "./sft", "--repo", "me/sft", "--dataset-dir", "./data"),
            *("--model", "./model", "--cutoff-len", "2048", "--output", "hub.yaml"),
            cwd=place,
        )
        found = rows(place, place / "hub.yaml", **there)
    assert_learned_whole(found, place / "sft")


def test_lengths_are_counted_as_llama_factory_does(place: Path, config: Path) -> None:
    from skill_factory.core.token_counts import TokenCounter

    # The template qwen puts Qwen's own system prompt in front, which our tiny template has not.
    said = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    system = f"<|im_start|>system\n{said}<|im_end|>\n"
    counter = TokenCounter(str(place / "model"))
    extra = len(counter.tokenizer(system, add_special_tokens=False)["input_ids"])
    expected = traces(place / "sft")
    counted = counter.count(
        [user["content"] for user, _ in expected], [said["content"] for _, said in expected]
    )
    assert [row["tokens"] for row in rows(place, config)] == [n + extra for n in counted]


def test_what_is_longer_than_cutoff_len_does_lose_its_answer(place: Path, config: Path) -> None:
    """The reason for all this."""
    cut = [
        row
        for row in rows(place, config, "cutoff_len=300")
        if "</answer><|im_end|>" not in str(row["learned"])
    ]
    assert cut


def test_a_step_of_training_on_a_cpu(place: Path, config: Path) -> None:
    out = trainer(
        *("llamafactory", "llamafactory-cli", "train", config, "max_steps=1", "use_cpu=true"),
        *("bf16=false", "logging_steps=1"),
        cwd=place,
    )
    assert f"Num examples = {len(traces(place / 'sft')):,}" in out
    results = json.loads((place / "saves" / "sft" / "all_results.json").read_text())
    assert math.isfinite(results["train_loss"])
    assert 0 < results["train_loss"] < 20
