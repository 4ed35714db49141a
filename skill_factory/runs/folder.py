"""A run's folder: the stages' files, what each was made from, and who is at work in it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from skill_factory import __version__
from skill_factory.core.files import new_file, resolved
from skill_factory.errors import InputError, OutputError, SkillFactoryError
from skill_factory.stages.settings import RunConfig


class Stage(StrEnum):
    """The stages, in their order."""

    QUESTIONS = "questions"
    SAMPLE = "sample"
    GRADE = "grade"
    REFLECT = "reflect"
    CREATE = "create"


STAGES = list(Stage)

_FILES = {
    Stage.QUESTIONS: "questions.parquet",
    Stage.SAMPLE: "attempts.parquet",
    Stage.GRADE: "graded.parquet",
    Stage.REFLECT: "annotated.parquet",
    Stage.CREATE: "sft/manifest.json",
}


@dataclass
class Done:
    """What the manifest says of a stage: digests of its settings and its input (`key`), of its
    `settings` alone, and of its `file`; whether nothing was `missing`; the `identity` of the model
    that was asked; accounts."""

    key: str
    settings: str
    file: str
    whole: bool = True
    identity: str | None = None
    accounts: dict[str, dict[str, object]] = field(default_factory=dict)
    seconds: float = 0.0


class RunFolder:
    """A folder that is a run's, or will be. Raises `InputError` for one of another kind."""

    def __init__(self, path: Path) -> None:
        # Of x/.. where there is no x, the folder would be another before and after it is made.
        found = resolved(path)
        self.root = found if ".." in path.parts else path
        self.done = _read_manifest(self.root)

    def __str__(self) -> str:
        return str(self.root)

    def path(self, stage: Stage) -> Path:
        """The file that a stage makes."""
        return self.root / _FILES[stage]

    @property
    def sft(self) -> Path:
        """The SFT folder."""
        return self.path(Stage.CREATE).parent

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.root / "journal.sqlite"

    @contextmanager
    def alone(self, config: RunConfig) -> Iterator[None]:
        """Have the folder, and put the settings in it; raises `OutputError` if another run has
        it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise OutputError(f"{self.root}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise OutputError(
                f"{self.root}: another run is at work in it; wait until it has ended"
            ) from None
        except OSError:
            pass  # a file system without locks
        try:
            before = self._settings.read_bytes() if self._settings.is_file() else None
            self.keep(config)
            try:
                yield
            except SkillFactoryError:
                self._keep_again(before)  # settings that led to an error are not remembered
                raise
        finally:
            os.close(handle)

    def keep(self, config: RunConfig) -> None:
        """Put the settings in the folder."""
        settings = _public(config).model_dump(mode="json")
        settings = {stage: said for stage, said in settings.items() if said is not None}
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        _write(self._settings, text)

    def _keep_again(self, before: bytes | None) -> None:
        if before is None:
            self._settings.unlink(missing_ok=True)
        else:
            _write(self._settings, before.decode())

    @property
    def _settings(self) -> Path:
        return self.root / "config.yaml"

    def note(self, stage: Stage, done: Done) -> None:
        """Keep what became of a stage."""
        self.done[stage] = done
        manifest = {
            "skill_factory": __version__,
            "stages": {name: asdict(self.done[name]) for name in STAGES if name in self.done},
        }
        _write(self.root / "manifest.json", json.dumps(manifest, indent=2) + "\n")


def public_address(url: str | None) -> str:
    """A server's address without what may be secret in it; empty: there is none, or what is there
    is no address."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl().rstrip("/")


def _public(config: RunConfig) -> RunConfig:
    """The settings without what may be secret in them."""
    if config.model.base_url is None:
        return config
    model = config.model.model_copy(update={"base_url": public_address(config.model.base_url)})
    return config.model_copy(update={"model": model})


def _write(path: Path, text: str) -> None:
    with new_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _read_manifest(folder: Path) -> dict[Stage, Done]:
    path = folder / "manifest.json"
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))["stages"]
        return {Stage(name): Done(**said) for name, said in stages.items()}
    except FileNotFoundError:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / ".lock").exists():
            raise InputError(
                f"{folder}: holds something else than a run; choose another folder"
            ) from None
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{folder}: is no run's folder; choose another one") from None
