"""A step of TRL's SFTTrainer on each layout, and of its GRPOTrainer with our reward.

python trl_steps.py MODEL CONVERSATIONS MESSAGES QUESTIONS.parquet OUT.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from skill_factory.rewards import answer_reward

QUIET: dict[str, Any] = {"max_steps": 1, "use_cpu": True, "bf16": False, "report_to": "none"}


def main(model: str, conversations: str, messages: str, questions: str, out: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    layouts = {
        "messages": load_dataset(messages, "sft_train", split="train"),
        "conversations": load_dataset(conversations, "sft_train", split="train").rename_column(
            "conversations", "messages"
        ),
    }
    found: dict[str, Any] = {}
    for name, rows in layouts.items():
        trainer = SFTTrainer(
            model,
            args=SFTConfig(output_dir=f"trl-{name}", max_length=None, **QUIET),
            train_dataset=rows,
            processing_class=tokenizer,
        )
        found[name] = {"rows": len(trainer.train_dataset), "loss": trainer.train().training_loss}
    grpo = GRPOTrainer(
        model,
        reward_funcs=answer_reward,
        args=GRPOConfig(
            output_dir="trl-grpo",
            per_device_train_batch_size=2,
            num_generations=2,
            max_completion_length=8,
            **QUIET,
        ),
        train_dataset=Dataset.from_parquet(questions),
        processing_class=tokenizer,
    )
    row = grpo.train_dataset[0]
    gold = row["reward_model"]["ground_truth"]
    said = [f"<think>\n</think>\n\n<answer>{text}</answer>" for text in (gold, f"{gold}0")]
    completions = [[{"role": "assistant", "content": text}] for text in said]
    ids = [tokenizer(text)["input_ids"] for text in said]
    rewards = grpo._calculate_rewards([row, row], [row["prompt"]] * 2, completions, ids)
    found["rewards"] = rewards.flatten().tolist()
    grpo.train()
    found["logged"] = sorted({key for line in grpo.state.log_history for key in line})
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
