"""Score texts as verl's training loop does: its config, its dataset, its reward manager.

    python verl_scores.py PARQUET TEXTS.json OUT.json SETTING...

Every text is scored as a response to the parquet's row of the same number.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import verl
from hydra import compose, initialize_config_dir
from tensordict import TensorDict
from transformers import AutoTokenizer
from verl import DataProto
from verl.trainer.ppo.reward import load_reward_manager
from verl.utils.dataset.rl_dataset import RLHFDataset


def main(parquet: str, texts: str, out: str, *settings: str) -> None:
    folder = Path(verl.__file__).parent / "trainer" / "config"
    with initialize_config_dir(str(folder), version_base=None):
        config = compose("ppo_trainer", list(settings))
    tokenizer = AutoTokenizer.from_pretrained(config.actor_rollout_ref.model.path)
    dataset = RLHFDataset(parquet, tokenizer, config.data)
    responses = json.loads(Path(texts).read_text())
    assert len(dataset) == len(responses), (len(dataset), len(responses))
    print(f"{len(dataset)} rows in, {len(responses)} scored with verl {verl.__version__}")
    Path(out).write_text(json.dumps(scores(config, tokenizer, dataset, responses)))


def scores(config: Any, tokenizer: Any, dataset: Any, responses: list[str]) -> list[float]:
    rows = [dataset[i] for i in range(len(dataset))]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in responses]
    width = max(map(len, ids))
    pad = tokenizer.pad_token_id
    responses_ = torch.tensor([i + [pad] * (width - len(i)) for i in ids])
    prompts = torch.full((len(rows), 4), pad)
    seen = torch.tensor([[1] * len(i) + [0] * (width - len(i)) for i in ids])
    mask = torch.cat([torch.ones_like(prompts), seen], dim=1)
    batch = TensorDict(
        {
            "prompts": prompts,
            "responses": responses_,
            "attention_mask": mask,
            "input_ids": torch.cat([prompts, responses_], dim=1),
            "response_mask": seen,
        },
        batch_size=len(rows),
    )
    columns = ("data_source", "reward_model", "extra_info")
    others = {name: np.array([row.get(name) for row in rows], dtype=object) for name in columns}
    data = DataProto(batch=batch, non_tensor_batch=others)
    if "reward_manager" in config.get("reward", {}):
        return asyncio.run(one_by_one(config, tokenizer, data))
    manager = load_reward_manager(config, tokenizer, num_examine=0)
    return manager(data).sum(dim=-1).tolist()


async def one_by_one(config: Any, tokenizer: Any, data: DataProto) -> list[float]:
    """As verl 0.9 scores each response, in an event loop."""
    manager = load_reward_manager(config, tokenizer)
    return [(await manager.run_single(data[i : i + 1]))["reward_score"] for i in range(len(data))]


if __name__ == "__main__":
    main(*sys.argv[1:])
