"""Answer a file of requests in the OpenAI batch format with a transformers checkpoint.

python answer.py MODEL REQUESTS.jsonl ANSWERS.jsonl [TOKENS]

Requests that begin alike are answered together, so many that their prompts and answers have at
most TOKENS tokens (32,768; a GPU takes twenty times as many). What they have in common, worked
examples as a rule, is read once. An answer is held to the `grammar` (GBNF) of its request, if any.
"""

from __future__ import annotations

import itertools
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


def main(folder: str, requests: Path, answers: Path, tokens: int = 32_768) -> None:
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
    """Every choice of every request; those that begin alike follow each other."""
    found = []
    for number, line in enumerate(lines):
        ids = tokenizer.apply_chat_template(
            line["body"]["messages"], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        grammar = line["body"].get("grammar", "")
        found += [Prompt(number, i, ids, grammar) for i in range(line["body"].get("n", 1))]
    yield from sorted(found, key=lambda prompt: (bool(prompt.grammar), prompt.ids))


def batches(prompts: list[Prompt], tokens: int, more: int) -> Iterator[list[Prompt]]:
    """Prompts that share at least half of the first one's beginning, held to a grammar or not."""
    batch: list[Prompt] = []
    longest = 0
    for prompt in prompts:
        longest = max(longest, len(prompt.ids))
        full = (len(batch) + 1) * (longest + more) > tokens
        if batch and (full or not alike(batch[0], prompt)):
            yield batch
            batch, longest = [], len(prompt.ids)
        batch.append(prompt)
    if batch:
        yield batch


def alike(one: Prompt, other: Prompt) -> bool:
    return bool(one.grammar) == bool(other.grammar) and 2 * shared([one, other]) >= len(one.ids)


def shared(batch: list[Prompt]) -> int:
    """How many tokens all prompts begin with; a last one is left to each."""
    first, last = min(one.ids for one in batch), max(one.ids for one in batch)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return min(sum(1 for _ in same), min(len(one.ids) for one in batch) - 1)


def answered(
    batch: list[Prompt],
    model: Any,
    tokenizer: Any,
    sampling: dict[str, Any],
    grammars: list[xgrammar.CompiledGrammar],
) -> Iterator[dict[str, Any]]:
    """A choice, as the API has it, for each prompt of a batch; `grammars` empty: any text."""
    common = torch.tensor(batch[0].ids[: shared(batch)], device=DEVICE)
    rest = tokenizer.pad({"input_ids": [p.ids[len(common) :] for p in batch]}, return_tensors="pt")
    before = common.expand(len(batch), -1)
    ids = torch.cat([before, rest["input_ids"].to(DEVICE)], 1)
    mask = torch.cat([torch.ones_like(before), rest["attention_mask"].to(DEVICE)], 1)
    read = model(common[None]).past_key_values if len(common) else None
    if read is not None:
        read.batch_repeat_interleave(len(batch))
    warm = sampling.get("temperature") != 0
    out = model.generate(
        ids,
        attention_mask=mask,
        past_key_values=read,
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
    for number, tokens in enumerate(out[:, ids.shape[1] :]):
        stopped = torch.isin(tokens, ends).nonzero()
        length = int(stopped[0]) if len(stopped) else len(tokens)
        yield {
            "index": batch[number].choice,
            "message": {
                "role": "assistant",
                "content": tokenizer.decode(tokens[:length], skip_special_tokens=True),
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
