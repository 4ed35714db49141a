"""The words of an SFT folder: its dataset card and its entry for LLaMA-Factory."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
        "size_categories": [next((name for limit, name in _SIZES if traces < limit), "1M<n<10M")],
    }
    labels = "\n".join(
        f"| `{label}` | {count:,} |" for label, count in manifest["counts"]["labels"].items()
    )
    settings = yaml.safe_dump(
        {"create": manifest["settings"]}, sort_keys=False, allow_unicode=True
    ).strip()
    source = manifest["input"]
    return f"""---
{yaml.safe_dump(header, sort_keys=False).strip()}
---

# SFT traces made of a model's own text

    {traces:,} traces over {manifest["counts"]["questions"]:,} questions. In each, a model tries,
    reflects on what it wrote, and tries again. All attempts and reflections are the model's own,
    rearranged with SkillFactory {manifest["versions"]["skill_factory"]} (the method of [arXiv
    2512.04072](https://arxiv.org/abs/2512.04072)).

```python
from datasets import load_dataset

traces = load_dataset("PATH_OR_REPO", "sft_train", split="train")
```

| format | traces |
|---|---|
{labels}

## Columns

- `conversations`: a `user` turn, the question, and an `assistant` turn, the trace.
- `sft_template_type_idx`: the format.
- `trace_id`: the trace's row in `plan.parquet`, which says where each of its texts comes from.

## One trace

````text
{sample}
````

## How it was made

    From `{source["name"]}`{f" (revision `{source['revision']}`)" if source["revision"] else ""}:
    {source["rows"]:,} rows with the content digest `{source["digest"]}`.

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
