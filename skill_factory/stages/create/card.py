"""The words of an SFT folder: its dataset card and its entry for LLaMA-Factory."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import yaml

from skill_factory.core.yaml_files import parse
from skill_factory.stages.create.mix import Mix, funnel

CONFIG = "sft_train"
"""The config's name, and the folder of its files."""

TRAIN_FILES = f"{CONFIG}/train-*.parquet"
"""Where the traces lie in an SFT folder."""

NAME_HERE = "PATH_OR_REPO"
"""Stands in a card for where the dataset is, until it is pushed somewhere."""

REPORT = "report.html"
"""The page with the report, in a repository that has one."""

REPORT_SIGNATURE = 'name="generator" content="SkillFactory'
"""Stands at the beginning of every page of ours."""

_REPORT_HERE = "`skill-factory report` draws all of this as one page, with traces to read."
_REPORT_THERE = (
    f"[{REPORT}]({REPORT}) has all of this as one page, with traces to read: download it, and open "
    "it."
)
_TRUTH = {"R": "right", "W": "wrong", "?": "not known"}
_MOST_PATTERNS = 12
_HEADER = re.compile(r"\s*---\s*\n(.*?)\n---", re.DOTALL)
_BEGIN, _END = f"<!-- skill-factory {CONFIG} -->", f"<!-- end of skill-factory {CONFIG} -->"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(manifest: Mapping[str, Any], sample: str, ledger: str, mix: Mix) -> str:
    """README.md of an SFT folder; its header lets `load_dataset(FOLDER, "sft_train")` find the
    traces.

    `sample` is the text of one trace, `ledger` the printed ledger, `mix` that of the traces.
    """
    from huggingface_hub import DatasetCardData

    traces = manifest["counts"]["traces"]
    source, license = manifest["input"], manifest["input"]["license"]
    header = DatasetCardData(
        configs=[
            {
                "config_name": CONFIG,
                "description": _content(manifest),
                "data_files": [{"split": "train", "path": TRAIN_FILES}],
            },
        ],
        license=license,
        task_categories=["text-generation"],
        tags=["skill-factory", "sft", "reasoning"],
        size_categories=[next((name for size, name in _SIZES if traces < size), "1M<n<10M")],
        source_datasets=[source["name"]] if source["revision"] else None,
    )
    name = source["name"] if source["revision"] else PurePath(source["name"]).name
    versions = manifest["versions"]
    return _CARD.format(
        header=header.to_yaml().strip(),
        begin=_BEGIN,
        end=_END,
        here=NAME_HERE,
        traces=traces,
        questions=manifest["counts"]["questions"],
        version=versions["skill_factory"],
        labels="\n".join(_label_rows(mix)),
        patterns="\n".join(_pattern_rows(mix)),
        funnel="\n".join(_funnel_rows(manifest["ledger"])),
        report=_REPORT_HERE,
        turns=manifest["settings"]["layout"],
        entry=json.dumps(
            {"sft": llama_factory_entry(NAME_HERE, manifest["settings"]["layout"])}, indent=2
        ),
        # Longer than any fence in the trace, which could else end it.
        fence="`" * (1 + max(map(len, re.findall("`+", f"``` {sample}")))),
        sample=sample,
        model=f" The model is `{source['model']}`." if source["model"] else "",
        source=name,
        revision=f" at commit `{source['revision']}`" if source["revision"] else "",
        rows=source["rows"],
        digest=source["digest"],
        command=_command(name, source, manifest["settings"]),
        seed=manifest["settings"]["seed"],
        versions=", ".join(f"{tool} {number}" for tool, number in versions.items()),
        settings=yaml.safe_dump(
            {"create": manifest["settings"]}, sort_keys=False, allow_unicode=True
        ).strip(),
        ledger=ledger,
    )


def _content(manifest: Mapping[str, Any]) -> str:
    """Which traces these are, in words that no others have. `datasets` (4.0 to 5.2) takes a local
    folder from its cache if one of the same name had the same configs, whatever its files are."""
    return f"traces {manifest['output']['digest']}, layout {manifest['settings']['layout']}"


def _label_rows(mix: Mix) -> Iterator[str]:
    """Labels with the numbers of attempts, and how many traces have each."""
    for label, lengths in mix.labels.items():
        for attempts, count in lengths.items():
            yield f"| `{label}` | {attempts} | {count:,} | {count / mix.traces:.0%} |"


def _pattern_rows(mix: Mix) -> Iterator[str]:
    """The most frequent orders of right and wrong attempts."""
    for letters, count in mix.patterns.most_common(_MOST_PATTERNS):
        order = ", ".join(_TRUTH[letter] for letter in letters)
        yield f"| {order} | {count:,} | {count / mix.traces:.0%} |"


def _funnel_rows(ledger: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The way from questions to traces."""
    for step in funnel(ledger):
        share = "" if step.of is None else f"{step.share:.0%} "
        yield f"| {step.name} | {step.count:,} | {share}{step.note} |"


def _command(name: str, source: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The command that makes the same traces, given the settings as a config file."""
    words = ["skill-factory", "create", "--config", "create.yaml", "-i", name]
    for option in ("config", "split", "revision"):
        if source[option]:
            words += ["--revision" if option == "revision" else f"--input-{option}", source[option]]
    return shlex.join([*words, "-o", "./sft"])


_CARD = """\
---
{header}
---

{begin}

# SFT traces made of a model's own text

{traces:,} traces over {questions:,} questions, each made of attempts at the question and of
reflections on them: all the model's own, rearranged with SkillFactory {version}, by the method of
[arXiv 2512.04072](https://arxiv.org/abs/2512.04072).{model}

```python
from datasets import load_dataset

traces = load_dataset("{here}", "sft_train", split="train")
```

For LLaMA-Factory, in its `dataset_info.json`:

```json
{entry}
```

## What is in it

{report}

| label | attempts | traces | share |
|---|---|---|---|
{labels}

The attempts of a trace, in their order; the most frequent orders:

| attempts | traces | share |
|---|---|---|
{patterns}

From questions to traces:

| | count | |
|---|---|---|
{funnel}

## Columns

- `{turns}`: a `user` turn, the question, and an `assistant` turn, the trace.
- `sft_template_type_idx`: the label.
- `trace_id`: names the trace in `plan.parquet`, which says where each of its texts comes from.

## One trace

{fence}text
{sample}
{fence}

## How it was made

From `{source}`{revision}: {rows:,} rows, with the content digest `{digest}`; seed {seed}. With
these settings as `create.yaml`, the same command on the same input makes the same traces:

```text
{command}
```

```yaml
{settings}
```

Made with {versions}. What was read, what is in it, and why the rest is not:

```text
{ledger}
```

## Citation

```bibtex
@misc{{sprague2025skillfactory,
  title  = {{SkillFactory: Self-Distillation for Learning Cognitive Behaviors}},
  author = {{Sprague, Zayne and Lu, Jack and Wadhwa, Manya and
            Keh, Sedrick and Ren, Mengye and Durrett, Greg}},
  year   = {{2025}},
  eprint = {{2512.04072}},
  archivePrefix = {{arXiv}},
  url    = {{https://arxiv.org/abs/2512.04072}}
}}
```

{end}
"""


def pushed_card(
    ours: str, repo: str, theirs: str | None, default: list[dict[str, Any]], report: bool = False
) -> str:
    """The card of a folder as it stands in a repository; `report`: its report is there too.

    `theirs` is the card that is there (None: none): its other configs and the rest of it stay, an
    older card of ours in it is replaced. `default` are the configs of a repository whose card names
    none, which naming ours would hide. Raises `ValueError` for a header that is no YAML mapping.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    head, _, sample = ours.partition("\n## One trace\n")
    if report:
        head = head.replace(_REPORT_HERE, _REPORT_THERE)
    ours = head.replace(NAME_HERE, repo) + "\n## One trace\n" + sample
    if theirs is None:
        return ours
    try:
        mine, there = DatasetCard(ours), DatasetCard(_bare(theirs))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    header, new = dict(vars(there.data)), dict(vars(mine.data))
    others = [
        config
        for config in _listed(header.get("configs")) or default
        if config.get("config_name") != CONFIG
    ]
    merged = new | header | {"configs": [*others, *new["configs"]]}
    merged["tags"] = list(dict.fromkeys([*(header.get("tags") or []), *new["tags"]]))
    if not others:
        merged["size_categories"] = new["size_categories"]
        merged["license"] = new.get("license") or header.get("license")
    # What `push_to_hub` noted of an older sft_train; `datasets` would hold the new one to it.
    noted = [
        info for info in _listed(header.get("dataset_info")) if info.get("config_name") != CONFIG
    ]
    merged["dataset_info"] = noted if others and noted else None
    block = f"{_BEGIN}{mine.text.partition(_BEGIN)[2].partition(_END)[0]}{_END}"
    before, _, rest = there.text.partition(_BEGIN)
    _, whole, after = rest.partition(_END)
    if not whole:  # none of ours there, or one that was cut: nothing of it is thrown away
        before, after = there.text, ""
    body = "\n\n".join(part for part in (before.strip(), block, after.strip()) if part)
    return f"---\n{DatasetCardData(**merged).to_yaml().strip()}\n---\n\n{body}\n"


def config_files(card: str | None) -> dict[str, list[str]]:
    """The configs that a card's header names, each with its patterns of files; raises `ValueError`
    if the header is no YAML mapping."""
    from huggingface_hub import DatasetCard

    try:
        header = vars(DatasetCard(_bare(card)).data) if card else {}
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    configs = _listed(header.get("configs"))
    return {
        str(config.get("config_name")): _patterns(config.get("data_files")) for config in configs
    }


def _patterns(found: Any) -> list[str]:
    """All patterns in a config's `data_files`: text, a list, or a mapping by splits."""
    if isinstance(found, str):
        return [found]
    if isinstance(found, dict):
        found = [found["path"]] if "path" in found else list(found.values())
    return [pattern for item in found or [] for pattern in _patterns(item)]


def _bare(card: str) -> str:
    """A card without the mark that some editors put before its header, whose aliases must not stand
    for too much."""
    bare = card.removeprefix("\ufeff")
    if header := _HEADER.match(bare):
        parse(header[1])
    return bare


def _listed(found: Any) -> list[dict[str, Any]]:
    """One mapping or a list of them, as both may stand in a header."""
    if isinstance(found, dict):
        return [found]
    return [item for item in found or [] if isinstance(item, dict)]


def llama_factory_entry(name: str, layout: str, file: bool = False) -> dict[str, Any]:
    """What LLaMA-Factory's dataset_info.json says of a dataset: a repository, or a folder of files.

    `layout` is the column of the turns. (LLaMA-Factory's data/README.md; a tag that is not set is
    None there, not its default.)
    """
    where = (
        {"file_name": name} if file else {"hf_hub_url": name, "subset": CONFIG, "split": "train"}
    )
    return where | {
        "formatting": "sharegpt",
        "columns": {"messages": layout},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    }
