"""Answer a file of requests in the OpenAI batch format with a transformers checkpoint.

python answer.py MODEL REQUESTS.jsonl ANSWERS.jsonl [TOKENS]

Requests of about the same length are answered together, so many that their prompts and answers
have at most TOKENS tokens (16,384; a GPU takes a hundred times as many). An answer is held to its
request's `grammar` (GBNF), if it has one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import xgrammar
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from xgrammar.contrib.hf import LogitsProcessor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32


class Prompt(NamedTuple):
    """The tokens that one choice of a request answers."""

    line: int
    choice: int
    ids: list[int]
    grammar: str


def main(folder: str, requests: Path, answers: Path, tokens: int = 16_384) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPE).to(DEVICE).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    lines = [json.loads(line) for line in requests.read_text("utf-8").splitlines()]
    sampling = lines[0]["body"] if lines else {}
    set_seed(sampling.get("seed") or 0)
    choices: list[dict[int, dict[str, Any]]] = [{} for _ in lines]
    grammars = xgrammar.GrammarCompiler(
        xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=model.config.vocab_size)
    )
    prompts = list(prompts_of(lines, tokenizer))
    with torch.inference_mode(), tqdm(total=len(prompts), unit=" answers") as bar:
        for batch in batches(prompts, tokens, sampling["max_tokens"] if lines else 0):
            held = [grammars.compile_grammar(prompt.grammar) for prompt in batch if prompt.grammar]
            found = answered(batch, model, tokenizer, sampling, held)
            for prompt, choice in zip(batch, found, strict=True):
                choices[prompt.line][prompt.choice] = choice
            bar.update(len(batch))
    with answers.open("w", encoding="utf-8") as out:
        for line, found in zip(lines, choices, strict=True):
            out.write(json.dumps(reply(line, found, folder)) + "\n")


def prompts_of(lines: list[dict[str, Any]], tokenizer: Any) -> Iterator[Prompt]:
    """Every choice of every request, the longest prompts last."""
    found = []
    for number, line in enumerate(lines):
        ids = tokenizer.apply_chat_template(
            line["body"]["messages"], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        grammar = line["body"].get("grammar", "")
        found += [Prompt(number, i, ids, grammar) for i in range(line["body"].get("n", 1))]
    yield from sorted(found, key=lambda prompt: (bool(prompt.grammar), len(prompt.ids)))


def batches(prompts: list[Prompt], tokens: int, more: int) -> Iterator[list[Prompt]]:
    batch: list[Prompt] = []
    for prompt in prompts:
        full = (len(batch) + 1) * (len(prompt.ids) + more) > tokens
        if batch and (full or bool(batch[0].grammar) != bool(prompt.grammar)):
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch


def answered(
    batch: list[Prompt],
    model: Any,
    tokenizer: Any,
    sampling: dict[str, Any],
    grammars: list[xgrammar.CompiledGrammar],
) -> Iterator[dict[str, Any]]:
    """A choice, as the API has it, for each prompt of a batch; `grammars` empty: any text."""
    padded = tokenizer.pad({"input_ids": [p.ids for p in batch]}, return_tensors="pt").to(DEVICE)
    warm = (sampling.get("temperature") or 1.0) > 0
    out = model.generate(
        **padded,
        max_new_tokens=sampling["max_tokens"],
        do_sample=warm,
        temperature=sampling.get("temperature", 1.0) if warm else None,
        top_p=sampling.get("top_p", 1.0) if warm else None,
        top_k=sampling.get("top_k", 0) if warm else None,
        repetition_penalty=sampling.get("repetition_penalty", 1.0),
        pad_token_id=tokenizer.pad_token_id,
        logits_processor=[LogitsProcessor(grammars)] if grammars else None,
    )
    ends = torch.tensor(model.generation_config.eos_token_id, device=DEVICE).view(-1)
    for number, ids in enumerate(out[:, padded["input_ids"].shape[1] :]):
        stopped = torch.isin(ids, ends).nonzero()
        length = int(stopped[0]) if len(stopped) else len(ids)
        yield {
            "index": batch[number].choice,
            "message": {
                "role": "assistant",
                "content": tokenizer.decode(ids[:length], skip_special_tokens=True),
            },
            "finish_reason": "stop" if len(stopped) else "length",
            "tokens": length,
        }


def reply(line: dict[str, Any], found: dict[int, dict[str, Any]], model: str) -> dict[str, Any]:
    """A line of a file of answers."""
    tokens = sum(choice.pop("tokens") for choice in found.values())
    body = {
        "id": line["custom_id"],
        "object": "chat.completion",
        "model": line["body"].get("model", model),
        "choices": [found[i] for i in sorted(found)],
        "usage": {"prompt_tokens": 0, "completion_tokens": tokens, "total_tokens": tokens},
    }
    response = {"status_code": 200, "request_id": line["custom_id"], "body": body}
    return {"id": line["custom_id"], "custom_id": line["custom_id"], "response": response}


if __name__ == "__main__":
    given = sys.argv[1:]
    main(given[0], Path(given[1]), Path(given[2]), *map(int, given[3:]))
