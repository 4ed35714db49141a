"""What LLaMA-Factory makes of a training config: each row's length and the text it learns, as JSON.

python llamafactory_rows.py CONFIG.yaml OUT.json [KEY=VALUE...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer


def main(config: str, out: str, *changes: str) -> None:
    settings = yaml.safe_load(Path(config).read_text())
    settings |= {key: yaml.safe_load(value) for key, value in (c.split("=", 1) for c in changes)}
    model_args, data_args, training_args, _, _ = get_train_args(settings)
    loaded = load_tokenizer(model_args)
    tokenizer = loaded["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    rows = get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)
    found = []
    for row in rows["train_dataset"]:
        learned = [token for token in row["labels"] if token != -100]
        found.append(
            {
                "tokens": len(row["input_ids"]),
                "text": tokenizer.decode(row["input_ids"]),
                "learned": tokenizer.decode(learned),
            }
        )
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
