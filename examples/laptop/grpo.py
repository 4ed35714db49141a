"""Reinforcement learning on questions with TRL's GRPO; the reward is 1 for a right final answer.

python grpo.py MODEL QUESTIONS.parquet OUTPUT [--prompts FILE.yaml VARIANT] [--steps 50] ...

QUESTIONS are what `skill-factory export verl` writes. A base model answers in no tags of its own:
with `--prompts` it is shown the worked examples of a prompt variant. OUTPUT/rewards.json has the
mean reward of each step, OUTPUT/completions what `skill-factory measure` reads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import yaml
from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from skill_factory.rewards import answer_reward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("questions")
    parser.add_argument("output")
    parser.add_argument("--prompts", nargs=2, metavar=("FILE", "VARIANT"))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--lr", type=float, default=1e-6)
    parser.add_argument("--prompts-a-step", type=int, default=4)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--at-once", type=int, default=16, help="completions in a backward pass")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    gpu = torch.cuda.is_available()
    completions = args.prompts_a_step * args.group
    at_once = min(args.at_once, completions)
    trainer = GRPOTrainer(
        args.model,
        reward_funcs=answer_reward,
        args=GRPOConfig(
            output_dir=args.output,
            max_steps=args.steps,
            learning_rate=args.lr,
            lr_scheduler_type="constant",
            per_device_train_batch_size=at_once,
            gradient_accumulation_steps=completions // at_once,
            num_generations=args.group,
            max_completion_length=args.tokens,
            temperature=args.temperature,
            beta=0.0,
            seed=args.seed,
            logging_steps=1,
            log_completions=True,
            num_completions_to_print=1,
            save_strategy="no",
            report_to="none",
            use_cpu=not gpu,
            bf16=gpu,
            model_init_kwargs={"dtype": "float32"},
        ),
        train_dataset=questions(args.questions, args.prompts),
        processing_class=AutoTokenizer.from_pretrained(args.model, padding_side="left"),
    )
    trainer.train()
    trainer.save_model(args.output)
    log = [line for line in trainer.state.log_history if "reward" in line]
    Path(args.output, "rewards.json").write_text(json.dumps(log, indent=1), encoding="utf-8")


def questions(path: str, prompts: list[str] | None) -> Dataset:
    """What verl is given; with `prompts`, each question stands at the end of worked examples."""
    rows = Dataset.from_parquet(path)
    if prompts is None:
        return rows
    file, variant = prompts
    shown = yaml.safe_load(Path(file).read_text("utf-8"))["variants"][variant]["messages"]

    def asked(row: dict[str, Any]) -> dict[str, Any]:
        question = row["prompt"][-1]["content"]
        return {"prompt": [*shown[:-1], {"role": "user", "content": question}]}

    return rows.map(asked)


if __name__ == "__main__":
    main()
