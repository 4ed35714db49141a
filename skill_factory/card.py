"""The words of an SFT folder: its dataset card and its entry for LLaMA-Factory."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import yaml

TRAIN_FILES = "sft_train/train-*.parquet"
"""Where the traces lie in an SFT folder."""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(manifest: Mapping[str, Any], sample: str, ledger: str) -> str:
    """README.md of an SFT folder; its header lets `load_dataset(FOLDER, "sft_train")` find the
    traces.

    `sample` is the text of one trace, `ledger` the printed ledger.
    """
    traces = manifest["counts"]["traces"]
    header = {
        "configs": [
            {"config_name": "sft_train", "data_files": [{"split": "train", "path": TRAIN_FILES}]}
        ],
        "task_categories": ["text-generation"],
        "tags": ["skill-factory", "sft", "reasoning"],
        "size_categories": [next((name for size, name in _SIZES if traces < size), "1M<n<10M")],
    }
    source = manifest["input"]
    revision = f" at commit `{source['revision']}`" if source["revision"] else ""
    return _CARD.format(
        header=yaml.safe_dump(header, sort_keys=False).strip(),
        traces=traces,
        questions=manifest["counts"]["questions"],
        version=manifest["versions"]["skill_factory"],
        labels="\n".join(f"| `{k}` | {n:,} |" for k, n in manifest["counts"]["labels"].items()),
        # Longer than any fence in the trace, which could else end it.
        fence="`" * (1 + max(map(len, re.findall("`+", f"``` {sample}")))),
        sample=sample,
        source=source["name"] if source["revision"] else PurePath(source["name"]).name,
        revision=revision,
        rows=source["rows"],
        digest=source["digest"],
        settings=yaml.safe_dump(
            {"create": manifest["settings"]}, sort_keys=False, allow_unicode=True
        ).strip(),
        ledger=ledger,
    )


_CARD = """\
---
{header}
---

# SFT traces made of a model's own text

{traces:,} traces over {questions:,} questions, each made of attempts at the question and of
reflections on them: all the model's own, rearranged with SkillFactory {version}, by the method of
[arXiv 2512.04072](https://arxiv.org/abs/2512.04072).

```python
from datasets import load_dataset

traces = load_dataset("PATH_OR_REPO", "sft_train", split="train")
```

| label | traces |
|---|---|
{labels}

## Columns

- `conversations`: a `user` turn, the question, and an `assistant` turn, the trace.
- `sft_template_type_idx`: the label.
- `trace_id`: names the trace in `plan.parquet`, which says where each of its texts comes from.

## One trace

{fence}text
{sample}
{fence}

## How it was made

From `{source}`{revision}: {rows:,} rows, with the content digest `{digest}`.

```yaml
{settings}
```

```text
{ledger}
```
"""


def llama_factory_entry(name: str) -> str:
    """dataset_info.json: the entry with which LLaMA-Factory reads the folder it lies in."""
    entry = {
        "file_name": "sft_train",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    }
    return json.dumps({name: entry}, indent=2) + "\n"
