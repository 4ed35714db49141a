"""Write verl's dumps: `python make_verl.py OUT` in an environment with verl (0.9.1, 0.6.1).

The prompts and responses go through a tokenizer and verl's own `_log_rollout_data`, for two steps.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scripted import QUESTIONS, RESPONSES
from transformers import AutoTokenizer

sys.path.append(str(Path(__file__).parents[2] / "trainers"))
from tiny_model import main as make_tiny_model
from verl import DataProto
from verl.trainer.ppo.ray_trainer import RayPPOTrainer


def padded(tokenizer: Any, texts: list[str], side: str) -> Any:
    tokenizer.padding_side = side
    return tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)[
        "input_ids"
    ]


def rows(tokenizer: Any, sample: int) -> DataProto:
    """A batch as the trainer has it: one response to each question."""
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "system", "content": "You are kind."}, {"role": "user", "content": question}],
            tokenize=False,
            add_generation_prompt=True,
        )
        for question in QUESTIONS
    ]
    responses = [f"{RESPONSES[question][sample]}<|im_end|>" for question in QUESTIONS]
    answers = padded(tokenizer, responses, "right")
    scores = torch.zeros(answers.shape)
    for place, (question, gold) in enumerate(QUESTIONS.items()):
        last = RESPONSES[question][sample].rstrip().endswith(f"<answer>\n{gold}\n</answer>")
        scores[place, -1] = float(last)
    return DataProto.from_dict(
        tensors={
            "prompts": padded(tokenizer, prompts, "left"),
            "responses": answers,
            "token_level_scores": scores,
        },
        non_tensors={
            "reward_model": np.array(
                [{"style": "rule", "ground_truth": gold} for gold in QUESTIONS.values()], object
            )
        },
    )


def main(out: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_tiny_model(folder, __file__)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    trainer: Any = object.__new__(RayPPOTrainer)
    trainer.tokenizer = tokenizer
    trainer.config = SimpleNamespace()
    if hasattr(trainer, "_init_dump_executor"):
        trainer._init_dump_executor()
    for step in (1, 2):
        trainer.global_steps = step
        batch = rows(tokenizer, step - 1)
        trainer._log_rollout_data(batch, {"acc": np.zeros(len(QUESTIONS))}, {}, out)
    if hasattr(trainer, "_shutdown_dump_executor"):
        trainer._shutdown_dump_executor()


if __name__ == "__main__":
    main(sys.argv[1])
