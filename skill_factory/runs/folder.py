"""A run's folder: the stages' files, and what each was made from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import yaml

from skill_factory import __version__
from skill_factory.core.redaction import public_address
from skill_factory.core.settings.fields import Settings
from skill_factory.core.sources.batches import DAMAGED
from skill_factory.core.whole_files import new_file, resolved
from skill_factory.errors import InputError, SkillFactoryError
from skill_factory.runs import lock
from skill_factory.stages.settings import ModelConfig


class Stage(StrEnum):
    """The stages, in their order."""

    QUESTIONS = "questions"
    SAMPLE = "sample"
    GRADE = "grade"
    REFLECT = "reflect"
    CREATE = "create"

    @property
    def before(self) -> Stage | None:
        """The stage that makes this one's input; None: there is none."""
        place = STAGES.index(self)
        return STAGES[place - 1] if place else None


STAGES = list(Stage)

_FILES = {
    Stage.QUESTIONS: "questions.parquet",
    Stage.SAMPLE: "attempts.parquet",
    Stage.GRADE: "graded.parquet",
    Stage.REFLECT: "annotated.parquet",
    Stage.CREATE: "sft/manifest.json",
}


class ModelSettings(Protocol):
    """Settings, those of a model among them, by stage: a class of `Settings`."""

    @property
    def model(self) -> ModelConfig: ...

    def model_copy(self, *, update: Mapping[str, Any]) -> Settings: ...


@dataclass
class Record:
    """What the manifest says of a stage: fingerprints of its settings and its input (`key`), of its
    `settings` alone, and of its `file`; whether the file is `whole`, nothing missing; the
    `identity` of the model that was asked, None: none was; accounts; the seconds it took."""

    key: str
    settings: str
    file: str
    whole: bool = True
    identity: str | None = None
    accounts: dict[str, dict[str, object]] = field(default_factory=dict)
    seconds: float = 0.0


class ConfiguredModel(NamedTuple):
    """The model that a folder's settings name: where its servers are, or that they are `in_file`,
    its `name` and its `identity`. None: that is open."""

    addresses: tuple[str, ...] = ()
    in_file: bool = False
    name: str | None = None
    identity: str | None = None

    @property
    def several(self) -> bool:
        """Whether there are several servers, or may be."""
        return self.in_file or len(self.addresses) > 1

    @property
    def served(self) -> bool:
        """Whether the run had servers of its own, which have no address to go by."""
        return bool(self.name) and not (self.addresses or self.in_file)

    @property
    def known_by(self) -> str | None:
        """What a journal knows the model by; None: that is open."""
        if self.identity or not self.name or self.several:
            return self.identity or self.name
        return f"{self.addresses[0]} {self.name}" if self.addresses else None


class JournalFolder:
    """A folder with a journal in it, and the settings that it was asked with."""

    def __init__(self, path: Path) -> None:
        # Of x/.. where there is no x, the folder would be another before and after it is made.
        found = resolved(path)
        self.root = found if ".." in path.parts else path

    def __str__(self) -> str:
        return str(self.root)

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.root / "journal.sqlite"

    @property
    def settings(self) -> Path:
        """The file with the settings."""
        return self.root / "config.yaml"

    @property
    def has_records(self) -> bool:
        """Whether something was made in it."""
        raise NotImplementedError

    @property
    def configured(self) -> ConfiguredModel:
        """The model that the settings named before they were put in the folder now."""
        raise NotImplementedError

    def identities(self) -> Iterator[str]:
        """The identities of the models that were asked before."""
        raise NotImplementedError

    def reread(self) -> None:
        """Read what is there again, as another run may have ended a moment ago."""
        raise NotImplementedError

    @contextmanager
    def locked(self, config: ModelSettings) -> Iterator[None]:
        """Have the folder to oneself, and put the settings in it; raises `OutputError` if another
        run has it. Settings that led to an error are not remembered, but for the first ones with
        which a stage was made. What Arrow says of a damaged table becomes an `InputError`."""
        with lock.locked(self.root):
            self.reread()
            before = self.settings.read_bytes() if self.settings.is_file() else None
            self.keep(config)
            try:
                with one_line_for_damaged_tables():
                    yield
            except SkillFactoryError:
                if before is not None:
                    write_whole(self.settings, before)
                elif not self.has_records:
                    self.settings.unlink(missing_ok=True)
                raise

    def keep(self, config: ModelSettings) -> None:
        """Put the settings in the folder."""
        settings = _to_keep(config).model_dump()
        settings = {stage: said for stage, said in settings.items() if said is not None}
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        write_whole(self.settings, text.encode())


class RunFolder(JournalFolder):
    """A folder that is a run's, or will be. Raises `InputError` for one of another kind."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reread()
        self._configured = configured_model(self.settings)

    def path(self, stage: Stage) -> Path:
        """The file that a stage makes."""
        return self.root / _FILES[stage]

    def input_of(self, stage: Stage) -> Path:
        """The file that a stage is made from; the questions have none."""
        assert stage.before is not None
        return self.path(stage.before)

    @property
    def sft(self) -> Path:
        """The SFT folder."""
        return self.path(Stage.CREATE).parent

    @property
    def has_records(self) -> bool:
        return bool(self.records)

    @property
    def configured(self) -> ConfiguredModel:
        return self._configured

    def identities(self) -> Iterator[str]:
        for stage in (Stage.SAMPLE, Stage.REFLECT):
            record = self.records.get(stage)
            if record and record.identity:
                yield record.identity
        if identity := self.configured.known_by:
            yield identity

    def reread(self) -> None:
        self.records = _read_manifest(self.root)

    def note(self, stage: Stage, record: Record) -> None:
        """Keep what became of a stage."""
        self.records[stage] = record
        records = {name: asdict(self.records[name]) for name in STAGES if name in self.records}
        manifest = {"skill_factory": __version__, "stages": records}
        write_whole(self.root / "manifest.json", json.dumps(manifest, indent=2).encode() + b"\n")


def _to_keep(config: ModelSettings) -> Settings:
    """The settings without what may be secret in them, and without leave to ask anew and to start
    servers: that is given each time."""
    changes: dict[str, object] = {"ask_again": False}
    changes |= {"serve": None, "replicas": None, "serve_args": ""}
    if (urls := config.model.base_url) is not None:
        public = tuple(map(public_address, urls))
        changes["base_url"] = public if len(public) > 1 else public[0]
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    with new_file(path) as part:
        part.write_bytes(data)


def _read_manifest(folder: Path) -> dict[Stage, Record]:
    path = folder / "manifest.json"
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))["stages"]
        return {Stage(name): Record(**said) for name, said in stages.items()}
    except FileNotFoundError:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / lock.NAME).exists():
            raise InputError(
                f"{folder}: holds something else than a run; choose another folder"
            ) from None
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{folder}: is no run's folder; choose another one") from None


def configured_model(settings: Path) -> ConfiguredModel:
    """The server's model that a file of settings names."""
    try:
        model = yaml.safe_load(settings.read_bytes())["model"]
        urls = model.get("base_url") or []
        urls = [urls] if isinstance(urls, str) else urls
        name, identity = model.get("name"), model.get("identity")
        return ConfiguredModel(
            tuple(map(str, urls)),
            bool(model.get("base_urls")),
            str(name) if name else None,
            str(identity) if identity else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return ConfiguredModel()


@contextmanager
def one_line_for_damaged_tables() -> Iterator[None]:
    """What Arrow says of a table that is damaged, as an `InputError`."""
    try:
        yield
    except (*DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not Arrow's
        said = str(error).strip().split("\n")[0]
        raise InputError(
            f"a table of this run is damaged ({said}); make it anew with `run --from`"
        ) from None
