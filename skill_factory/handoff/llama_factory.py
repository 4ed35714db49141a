"""Hand an SFT folder to LLaMA-Factory: its entry, and a training config that fits the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from skill_factory.checks.check import Checks, check
from skill_factory.checks.codes import C
from skill_factory.checks.findings import Report
from skill_factory.core.token_counts import TokenCounter
from skill_factory.core.whole_files import new_file, resolved, verified_manifest
from skill_factory.errors import InputError, OutputError
from skill_factory.stages.create.card import CONFIG, llama_factory_entry

SPARE_TOKENS = 32
"""More than the tokenizer's own template puts around a conversation, LLaMA-Factory's may: Qwen's
system prompt, which its template `qwen` has, is 21 tokens."""

_TEMPLATE = Path(__file__).with_name("llamafactory_sft_example.yaml")

# The token that ends a turn in LLaMA-Factory's templates, by the beginning of their names
# (LLaMA-Factory 0.9.5, data/template.py). A tokenizer without it learns no end of turn.
_ENDS = {
    "qwen": "<|im_end|>",
    "chatml": "<|im_end|>",
    "smollm": "<|im_end|>",
    "yi": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "phi4": "<|im_end|>",
    "olmo": "<|endoftext|>",
}


class LlamaFactoryExport(NamedTuple):
    """What was written: the entry's file and name, the training config; and what was seen."""

    info: Path
    name: str
    config: Path
    report: Report

    def summary(self) -> str:
        """For a person."""
        lines = [f"{self.info}: entry {self.name!r}", f"{self.config}: training config"]
        lines += [f"Note: {note}" for note in self.report.notes]
        return "\n".join([*lines, "", f"llamafactory-cli train {self.config}"])


def export(
    folder: Path,
    output: Path,
    *,
    dataset_dir: Path | None = None,
    name: str | None = None,
    repo: str | None = None,
    overwrite: bool = False,
    tokenizer: str | None = None,
    **settings: Any,
) -> LlamaFactoryExport:
    """Write an entry into the dataset_info.json of `dataset_dir` (None: the folder itself), and the
    training config `output`.

    The entry, `name` (None: the folder's name), is of the folder's files, or of the Hub dataset
    `repo`. `settings` replace keys of the training config (None: left as in the template). Other
    entries stay. Raises `InputError` if LLaMA-Factory would drop a trace or, as `tokenizer` counts,
    cut its answer off; then nothing is written.
    """
    manifest = verified_manifest(folder)
    name = name or folder.resolve().name
    if "," in name:
        raise InputError(f"{name}: LLaMA-Factory reads a comma as the end of a name; use --name")
    changed = {key: value for key, value in settings.items() if value is not None}
    config = yaml.safe_load(_TEMPLATE.read_text(encoding="utf-8")) | changed
    report = _replay(folder, tokenizer, config["cutoff_len"], config["template"])
    layout = manifest["settings"]["layout"]
    place = resolved(dataset_dir or folder)
    if repo:
        entry = llama_factory_entry(repo, layout)
    else:
        files = resolved(folder) / CONFIG
        inside = files.is_relative_to(place)
        where = str(files.relative_to(place)) if inside else str(files)
        entry = llama_factory_entry(where, layout, file=True)
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: exists already; choose another --output, or --overwrite")
    info = place / "dataset_info.json"
    entries = _entries(info)
    if not overwrite and _elsewhere(entries.get(name), entry):
        raise OutputError(
            f"{info}: has an entry {name!r} of other data; choose another --name, or --overwrite"
        )
    entries[name] = entry
    text = _filled({"dataset_dir": str(dataset_dir or folder), "dataset": name, **changed})
    _write(output, text)
    _write(info, json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
    return LlamaFactoryExport(info, name, output, report)


def _replay(folder: Path, tokenizer: str | None, cutoff_len: int, template: str) -> Report:
    """What a trainer would make of the traces; raises `InputError` if it would lose any of them."""
    most = max(cutoff_len - SPARE_TOKENS, 1)
    counter = TokenCounter(tokenizer) if tokenizer else None
    checks = Checks(rewards=False, counter=counter, cutoff_len=most, wording=False)
    report = check(folder, checks)
    if report.errors:
        raise InputError(
            f"{folder}: LLaMA-Factory would not learn these traces whole: {_counted(report)}. "
            f"Nothing was written. For those that are too long, raise --cutoff-len ({cutoff_len} "
            f"leaves {most}, as {SPARE_TOKENS} are for its template), or leave them out with "
            f"`create --max-tokens {most} --tokenizer {tokenizer}`; `skill-factory check {folder}` "
            "names them"
        )
    if counter is None:
        report.tell(
            C.TOKENS,
            f"lengths were not checked against cutoff_len {cutoff_len}; name a --tokenizer",
        )
        return report
    end = next((_ENDS[start] for start in _ENDS if template.startswith(start)), None)
    if end and not counter.has(end):
        raise InputError(
            f"template {template!r} ends turns with {end}, which {tokenizer} has no token for; "
            "choose the model's own --template"
        )
    return report


def _counted(report: Report) -> str:
    """The faults in one line: how many traces have each."""
    return "; ".join(f"{found.code.about}: {found.count:,}" for found in report.errors)


def _elsewhere(there: Any, entry: dict[str, Any]) -> bool:
    """Whether an entry that is there is of other data than ours."""
    places = ("file_name", "hf_hub_url", "subset")
    return isinstance(there, dict) and any(there.get(p) != entry.get(p) for p in places)


def _entries(info: Path) -> dict[str, Any]:
    if not info.exists():
        return {}
    try:
        entries = json.loads(info.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{info}: cannot be read: {error}") from None
    if not isinstance(entries, dict):
        raise InputError(f"{info}: expected an object with an entry for each dataset")
    return entries


def _filled(settings: dict[str, Any]) -> str:
    """The template with its settings replaced, its comments kept."""
    text = _TEMPLATE.read_text(encoding="utf-8")
    text = text[text.index("### model") :]
    for key, value in settings.items():
        line = yaml.safe_dump({key: value}, width=10_000, allow_unicode=True).strip()
        before, found, rest = text.partition(f"\n{key}: ")
        assert found, key
        text = f"{before}\n{line}\n{rest.partition(chr(10))[2]}"
    return text


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    with new_file(path) as part:
        part.write_text(text, encoding="utf-8")
