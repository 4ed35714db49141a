"""Write TRL's completions: `python make_trl.py OUT` in an environment with TRL (1.16.0).

A tiny random model is trained with GRPO for a step, so that the trainer is what it is in a run;
then the scripted responses take the place of its own, and the trainer logs them as steps 2 and 3.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from datasets import Dataset
from scripted import QUESTIONS, RESPONSES
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

sys.path.append(str(Path(__file__).parents[2] / "trainers"))
from tiny_model import main as make_tiny_model


def reward(completions: list[Any], **columns: Any) -> list[float]:
    return [float(len(str(text)) % 2) for text in completions]


def main(out: str) -> None:
    prompts = [[{"role": "user", "content": question}] for question in QUESTIONS]
    with tempfile.TemporaryDirectory() as folder:
        make_tiny_model(folder, __file__)
        trainer: Any = GRPOTrainer(
            folder,
            reward_funcs=reward,
            args=GRPOConfig(
                output_dir=out,
                per_device_train_batch_size=4,
                num_generations=2,
                max_completion_length=8,
                log_completions=True,
                logging_steps=1,
                max_steps=1,
                use_cpu=True,
                bf16=False,
                report_to="none",
                save_strategy="no",
            ),
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=AutoTokenizer.from_pretrained(folder),
        )
        trainer.train()
    for step in (2, 3):
        trainer.state.global_step = step
        for name in ("prompt", "completion", "advantages"):
            trainer._logs[name].clear()
        trainer._logs["rewards"].clear()
        trainer._logs["prompt"].extend(prompts)
        trainer._logs["completion"].extend(
            [{"role": "assistant", "content": RESPONSES[question][step - 2]}]
            for question in QUESTIONS
        )
        trainer._logs["rewards"]["reward"].extend([0.0] * len(QUESTIONS))
        trainer._logs["advantages"].extend([0.0] * len(QUESTIONS))
        trainer.log({})


if __name__ == "__main__":
    main(sys.argv[1])
