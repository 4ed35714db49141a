"""The SFT folder of a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from skill_factory.core.whole_files import resolved, verified_manifest
from skill_factory.core.whole_files import sha256 as file_digest
from skill_factory.errors import InputError, OutputError
from skill_factory.runs.context import Context
from skill_factory.runs.fingerprint import code_of
from skill_factory.runs.folder import Stage
from skill_factory.runs.stage import Made
from skill_factory.stages.create import pipeline
from skill_factory.stages.create.excluded import load_excluded


class CreateStage:
    """Makes the folder sft."""

    stage = Stage.CREATE

    def __init__(self, context: Context) -> None:
        self._context = context

    def settings(self) -> Any:
        """As `StageOfRun` has it: the phrases belong to it, what is left out, and code of the
        user's own."""
        config = self._context.config.create
        how = {
            *("workers", "memory", "work_dir", "check", "overwrite", "private", "push", "exclude"),
            *("engine", "ray_address"),
        }
        named = config.model_dump(exclude=how)
        excluded = load_excluded(config.exclude).entries
        phrases = config.phrases and file_digest(Path(config.phrases))
        left_out = [sorted(set(excluded))] if excluded else []
        return [named, phrases, *code_of(config.task, *config.formats), *left_out]

    def make(self) -> Made:
        """As `StageOfRun` has it."""
        folder, config = self._context.folder.sft, self._context.config
        if folder.is_symlink():  # what it leads to may be anybody's
            raise OutputError(f"{folder}: is a link, and is not written through; remove it")
        settings = {
            "input_dataset": str(self._context.folder.input_of(self.stage)),
            "output_dataset": str(resolved(folder)),
            "overwrite": True,
            "model": config.create.model or config.model.name or config.model.local,
        }
        if (folder / "manifest.json").is_file() and not is_whole(folder):
            shutil.rmtree(folder)  # what is left of an SFT folder of this run
        made = pipeline.create(config.create.model_copy(update=settings))
        self._context.say(f"\n{made.summary()}\n\nSFT dataset: {folder}")
        return Made(made.ledger.as_dict())


def is_whole(folder: Path) -> bool:
    """Whether an SFT folder is as it was made."""
    try:
        verified_manifest(folder)
    except InputError:
        return False
    return True
