"""Fine-tune a checkpoint on the traces of an SFT folder, with TRL.

python sft.py MODEL SFT_FOLDER OUTPUT [--epochs 3] [--lr 2e-5] [--batch 8] [--seed 0]
"""

from __future__ import annotations

import argparse

import torch
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("traces")
    parser.add_argument("output")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    gpu = torch.cuda.is_available()
    traces = load_dataset(args.traces, "sft_train", split="train")
    trainer = SFTTrainer(
        args.model,
        args=SFTConfig(
            output_dir=args.output,
            num_train_epochs=args.epochs,
            learning_rate=args.lr,
            lr_scheduler_type="cosine",
            warmup_steps=4,
            per_device_train_batch_size=args.batch,
            max_length=None,
            seed=args.seed,
            logging_steps=5,
            save_strategy="no",
            report_to="none",
            use_cpu=not gpu,
            bf16=gpu,
            model_init_kwargs={"dtype": "float32"},
        ),
        # The loss is on the trace alone, as in LLaMA-Factory.
        train_dataset=traces.map(
            lambda row: {"prompt": row["messages"][:1], "completion": row["messages"][1:]},
            remove_columns=traces.column_names,
        ),
    )
    trainer.train()
    trainer.save_model(args.output)


if __name__ == "__main__":
    main()
