"""An evaluation's folder, and what asking needs of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from skill_factory.errors import InputError
from skill_factory.measure.evaluate_settings import EvaluateConfig
from skill_factory.models.addresses import Addresses
from skill_factory.runs import lock
from skill_factory.runs.context import Say
from skill_factory.runs.folder import ConfiguredModel, JournalFolder, configured_model
from skill_factory.runs.watcher import Watcher


class EvaluationFolder(JournalFolder):
    """A folder that is an evaluation's, or will be. Raises `InputError` for one of another kind."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reread()
        self._configured = configured_model(self.settings)

    @property
    def questions(self) -> Path:
        """The file with what is asked."""
        return self.root / "questions.parquet"

    @property
    def has_records(self) -> bool:
        return (self.root / "responses.parquet").is_file()

    @property
    def configured(self) -> ConfiguredModel:
        return self._configured

    def identities(self) -> Iterator[str]:
        if identity := self.configured.known_by:
            yield identity

    def reread(self) -> None:
        """See that it is an evaluation's, or empty."""
        if not self.root.is_dir() or not any(self.root.iterdir()):
            return
        if not (self.root / lock.NAME).exists() or not self._is_evaluation():
            raise InputError(
                f"{self.root}: holds something else than an evaluation; choose another folder"
            )

    def _is_evaluation(self) -> bool:
        if not self.settings.is_file():  # one that failed before anything was asked
            return not (self.root / "manifest.json").exists()
        return is_evaluation(self.root)


def is_evaluation(folder: Path) -> bool:
    """Whether a folder has the settings of an evaluation, which may have only begun."""
    try:
        return "evaluate" in yaml.safe_load((folder / "config.yaml").read_bytes())
    except (OSError, ValueError, TypeError, yaml.YAMLError):
        return False


@dataclass
class EvaluationContext:
    """As `runs.context.AskingContext` has it."""

    folder: EvaluationFolder
    config: EvaluateConfig
    say: Say
    watcher: Watcher = field(default_factory=Watcher)
    addresses: Addresses | None = None
    noted: set[str] = field(default_factory=set)

    def name_model(self, name: str, identity: str | None = None) -> None:
        changes = {"name": name, "identity": identity or self.config.model.identity}
        model = self.config.model.model_copy(update=changes)
        self.config = self.config.model_copy(update={"model": model})
