"""The SFT folder: its files of traces, plan, card, LLaMA-Factory entry and manifest."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from skill_factory import __version__
from skill_factory.core.sources.batches import Source
from skill_factory.core.tables import PLAN
from skill_factory.core.whole_files import sha256
from skill_factory.plugins import shown
from skill_factory.stages.create import card
from skill_factory.stages.create.mix import read_mix
from skill_factory.stages.create.phrases import Kind, PhraseBank
from skill_factory.stages.create.result import CreateResult
from skill_factory.stages.create.settings import CreateConfig

# Settings that say where and how a run goes, not what it makes.
_NOT_CONTENT = {
    *("input_dataset", "input_config", "input_split", "revision", "output_dataset"),
    *(
        "workers",
        "engine",
        "ray_address",
        "memory",
        "work_dir",
        "check",
        "overwrite",
        "dry_run",
        "push",
        "private",
        "license",
        "model",
    ),
}


_PLANS_AT_ONCE = 8_192
"""Rows of a plan that are read together."""


def join_files(work: Path, full: list[int], folder: Path) -> None:
    """Name the workers' files, leaving out empty shards, and join their parts of the plan."""
    (folder / "sft_train").mkdir()
    with pq.ParquetWriter(folder / "plan.parquet", PLAN, compression="zstd") as plans:
        for place, number in enumerate(full):
            name = f"train-{place:05}-of-{len(full):05}.parquet"
            (work / f"train-{number}.parquet").rename(folder / "sft_train" / name)
            with pq.ParquetFile(work / f"plan-{number}.parquet") as part:
                for batch in part.iter_batches(_PLANS_AT_ONCE):
                    plans.write_batch(batch)


def describe(
    folder: Path,
    config: CreateConfig,
    source: Source,
    phrases: PhraseBank,
    made: CreateResult,
    input_digest: str,
    digest: str,
    excluded: tuple[str, ...],
) -> None:
    """Write the card, the LLaMA-Factory entry and, last, the manifest.

    `input_digest` names the content of the input, `digest` that of the traces; `excluded` are the
    entries of what was left out.
    """
    manifest = _manifest(config, source, phrases, made, input_digest)
    manifest["settings"]["exclude"] = list(excluded) or None
    manifest["output"] = {"digest": digest}
    table, mix = made.ledger.table(), read_mix(folder / "plan.parquet")
    _write(folder / "README.md", card.dataset_card(manifest, made.sample or "", table, mix))
    entry = card.llama_factory_entry(card.CONFIG, config.layout, file=True)
    _write(folder / "dataset_info.json", json.dumps({folder.name: entry}, indent=2) + "\n")
    # The card and the entry are for people to change; these are not.
    manifest["output"]["files"] = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*.parquet"))
    }
    _write(folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _settings(config: CreateConfig) -> dict[str, Any]:
    """The settings that say what is made; of a user's own file only its name."""
    settings = config.model_dump(exclude=_NOT_CONTENT)
    task = config.task and shown(config.task)
    return settings | {"formats": list(map(shown, config.formats)), "task": task}


def _manifest(
    config: CreateConfig, source: Source, phrases: PhraseBank, made: CreateResult, input_digest: str
) -> dict[str, Any]:
    """The manifest but for what it says of the output."""
    ledger = made.ledger
    return {
        "versions": {
            "skill_factory": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("pyarrow", "numpy", "datasets", "huggingface_hub")},
        },
        "input": {
            "name": source.name,
            **source.origin,
            "license": config.license or source.license,
            "model": config.model,
            "rows": ledger.rows.read,
            "files": source.rows,
            "digest": input_digest,
        },
        "settings": _settings(config),
        "counts": {
            "traces": ledger.traces.kept,
            "questions": ledger.questions.kept,
            "labels": dict(sorted(made.labels.items())),
        },
        "ledger": ledger.as_dict(),
        "phrases": {kind.value: phrases.phrases[kind] for kind in Kind},
    }
