"""Whether an SFT folder is what its manifest and its input make, and if not, why."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from skill_factory import __version__
from skill_factory.core.copies import named
from skill_factory.core.places import is_remote
from skill_factory.core.settings.checking import checked
from skill_factory.core.settings.fields import SettingError
from skill_factory.core.settings.value_types import Origin
from skill_factory.core.sources.batches import IN_MEMORY, Source
from skill_factory.core.sources.find_source import find_source
from skill_factory.core.whole_files import sha256
from skill_factory.errors import InputError, NothingMadeError, PhraseError, SkillFactoryError
from skill_factory.look.diff import TraceDiff, diff_sft, sft_of
from skill_factory.look.folders import SftFolder, is_run
from skill_factory.look.settings import VerifySettings
from skill_factory.look.spans import Kind
from skill_factory.plugins import is_reference
from skill_factory.stages.create.phrases import PhraseBank, load_phrases
from skill_factory.stages.create.settings import CreateConfig

_PHRASES = {Kind.GLUE, Kind.LEAD, Kind.CLOSING}


class Cause(StrEnum):
    """What a finding is about."""

    FILES = "files"
    """The folder's files are not those that were made."""
    INPUT = "input"
    VERSION = "version"
    SETTINGS = "settings"
    PHRASES = "phrases"
    MANIFEST = "manifest"
    """What the manifest says is not what it said."""


class Finding(NamedTuple):
    """What is to be told. `differs` False: it changes nothing in the traces."""

    cause: Cause
    text: str
    differs: bool = True


@dataclass
class Verification:
    """What came of making an SFT folder again.

    `rebuilt`: that could be done. `traces` compares the folder with what was made; None: they are
    the same, or cannot be compared.
    """

    folder: Path
    findings: list[Finding] = field(default_factory=list)
    rebuilt: bool = False
    traces: TraceDiff | None = None

    @property
    def same(self) -> bool:
        """Whether the folder is what its manifest and input make."""
        return self.rebuilt and not any(finding.differs for finding in self.findings)

    def add(self, cause: Cause, text: object, differs: bool = True) -> None:
        """Note a finding."""
        self.findings.append(Finding(cause, named(str(text)), differs))


def verify(path: Path, settings: VerifySettings | None = None) -> Verification:
    """Make an SFT folder, or a run's, again in a temporary folder, and compare.

    Raises `InputError` for what is no SFT folder, or lacks a file, and `OptionError` for settings
    of the user's. Whatever else stands in the way is a finding.
    """
    settings = settings or VerifySettings()
    folder = sft_of(path)
    found = Verification(folder.path)
    for text in _changed_files(folder):
        found.add(Cause.FILES, text)
    for cause, text in _phrases_since(folder):
        found.add(cause, text, differs=False)
    config, phrases, source = _means(folder, settings, found)
    if config is None or phrases is None or source is None:
        return found
    with tempfile.TemporaryDirectory(prefix="skill-factory-") as work:
        target = Path(work) / folder.path.name
        made = config.model_copy(
            update={"output_dataset": str(target), "workers": settings.workers}
        )
        if _rebuild(made, source, phrases, found):
            _compare(folder, SftFolder(target), source, found)
    return found


def _changed_files(folder: SftFolder) -> Iterator[str]:
    """The files that are not those that the manifest names."""
    for name, expected in folder.manifest["output"]["files"].items():
        path = folder.path / name
        if path.is_file() and sha256(path) != expected["sha256"]:
            yield f"{path}: was changed after it was made; last written {_written(path)}"
    named = {folder.path / name for name in folder.manifest["output"]["files"]}
    for path in sorted(set(folder.path.rglob("*.parquet")) - named):
        yield f"{path}: is not a file that was made; last written {_written(path)}"


def _written(path: Path) -> str:
    """When a file was last written, to the minute."""
    return datetime.fromtimestamp(path.stat().st_mtime).isoformat(" ", "minutes")


def _phrases_since(folder: SftFolder) -> Iterator[tuple[Cause, str]]:
    """Whether `create` would take other phrases today; the manifest has those that were used."""
    name = folder.settings.get("phrases")
    try:
        now = load_phrases(Path(name) if name else None)
    except PhraseError as error:
        yield Cause.PHRASES, f"{error}; those in manifest.json are used"
        return
    with suppress(InputError):
        if now != folder.phrases:
            whose = name or "skill-factory"
            yield (
                Cause.PHRASES,
                f"the phrases of {whose} are others now; those in manifest.json are used",
            )


# -- what it takes --------------------------------------------------------------------------------


def _means(
    folder: SftFolder, given: VerifySettings, found: Verification
) -> tuple[CreateConfig | None, PhraseBank | None, Source | None]:
    """The settings, phrases and input to make it again of; None for what is not to be had, and why
    is then among the findings."""
    config, phrases, source = None, None, None
    try:
        config = _config(folder, given)
    except InputError as error:
        found.add(Cause.SETTINGS, error)
    try:
        phrases = folder.phrases
    except InputError as error:
        found.add(Cause.PHRASES, error)
    try:
        source = _source(folder, given.input)
    except SkillFactoryError as error:
        found.add(Cause.INPUT, error)
    return config, phrases, source


_OWN = {"formats": "--formats", "task": "--task"}
"""Settings that may name code of the user's own, and the option of each."""


def _config(folder: SftFolder, given: VerifySettings) -> CreateConfig:
    """The settings it was made with. Raises `InputError` for what this version does not know, and
    for parts of a user's own that were not named again."""
    where, said = folder.path / "manifest.json", folder.settings
    mine = {name: getattr(given, name) for name in _OWN if getattr(given, name)}
    theirs = {name: value for name, value in said.items() if name not in (*mine, "phrases")}
    theirs |= {"tokenizer": given.tokenizer} if given.tokenizer else {}
    own = checked(CreateConfig, mine)
    try:
        config = checked(CreateConfig, theirs, origin=Origin(trusted=False))
        return config.model_copy(update={name: getattr(own, name) for name in mine})
    except SettingError as error:
        for name, option in _OWN.items():
            words = said.get(name) or ()
            words = [words] if isinstance(words, str) else list(map(str, words))
            if any(map(is_reference, words)) and name not in mine:
                raise InputError(
                    f"{where}: was made with code of your own, of which only the name is kept; "
                    f"say where it is: {option} {' '.join(words)}, with the path of each file"
                ) from None
        raise InputError(
            f"{where}: settings: {error}; it was made by skill-factory {_version(folder.manifest)}"
            f", and this is {__version__}: verify it with that version, or make it again"
        ) from None


def _version(manifest: Mapping[str, Any]) -> str:
    return str(manifest["versions"]["skill_factory"])


def _source(folder: SftFolder, moved: str | None) -> Source:
    """The input, where it was or where it has `moved`; raises `InputError`."""
    said = folder.manifest["input"]
    name, revision = moved or str(said["name"]), said.get("revision")
    if moved is None and name == IN_MEMORY:
        raise InputError(
            f"{folder.path}: was made from rows in memory; save them to a file and name it with "
            "--input"
        )
    if moved is None and not revision:
        try:
            name = str(folder.input_path(name))
        except InputError as error:
            raise InputError(f"{error}, or name it with --input") from None
    if moved is not None and (is_remote(moved) or Path(moved).expanduser().exists()):
        revision = None
        if is_run(Path(moved)):
            name = str(Path(moved) / "annotated.parquet")
    split = None if Path(name).expanduser().is_file() else said.get("split")
    config = None if split is None else said.get("config")
    return find_source(name, config, split, revision)


# -- made again -----------------------------------------------------------------------------------


def _rebuild(
    config: CreateConfig, source: Source, phrases: PhraseBank, found: Verification
) -> bool:
    """Make it again; whether that could be done."""
    from skill_factory.stages.create import pipeline

    try:
        pipeline.create(config, source, phrases)
    except NothingMadeError:
        found.add(Cause.INPUT, f"{source.name}: no trace can be made of it any more")
        return False
    except InputError as error:
        found.add(Cause.INPUT, error)
        return False
    except SkillFactoryError as error:
        found.add(Cause.SETTINGS, error)
        return False
    found.rebuilt = True
    return True


def _compare(folder: SftFolder, again: SftFolder, source: Source, found: Verification) -> None:
    """Find what differs between a folder and what was made again, and why."""
    was, now = folder.manifest, again.manifest
    other_input = was["input"]["digest"] != now["input"]["digest"]
    other_output = was["output"]["digest"] != now["output"]["digest"]
    versions = _version(was), __version__
    if other_input:
        found.add(Cause.INPUT, _input_changed(was, now, source))
    if other_output or any(one.cause is Cause.FILES for one in found.findings):
        with suppress(InputError):  # a file that was changed may be damaged
            traces = diff_sft(folder, again).traces
            found.traces = traces if traces.differ else None
    if versions[0] != versions[1]:
        unlike = other_output and not other_input
        does = "makes other traces" if other_output else "makes the same traces"
        text = f"was made by skill-factory {versions[0]}; this is {versions[1]}, and {does}"
        found.add(Cause.VERSION, text, differs=unlike)
    elif other_output and not other_input:
        found.add(*_unexplained(folder, found))
    elif not other_input and was["ledger"] != now["ledger"]:
        text = f"{folder.path / 'manifest.json'}: its ledger is not what was counted"
        found.add(Cause.MANIFEST, text)


def _input_changed(was: Mapping[str, Any], now: Mapping[str, Any], source: Source) -> str:
    rows = was["input"]["rows"], now["input"]["rows"]
    counted = f"{rows[0]:,} rows then, {rows[1]:,} now" if rows[0] != rows[1] else "as many rows"
    paths = [path for path in map(Path, now["input"]["files"]) if path.is_file()]
    since = f"; last written {max(map(_written, paths))}" if paths else ""
    return f"{source.name}: its content is not what it was ({counted}){since}"


def _unexplained(folder: SftFolder, found: Verification) -> tuple[Cause, str]:
    """Why the same version makes other traces of the same input."""
    where = folder.path / "manifest.json"
    if found.traces and found.traces.changed and _PHRASES.issuperset(found.traces.spans):
        return Cause.PHRASES, f"{where}: its phrases are not those that the traces were made with"
    words = [folder.settings.get("task") or "", *folder.settings.get("formats", ())]
    if own := [word for word in words if is_reference(word)]:
        return Cause.SETTINGS, f"{' '.join(own)}: this code now does something else"
    return Cause.MANIFEST, (
        f"{where}: its settings, or its output's digest, are not those that the traces were made "
        "with"
    )
