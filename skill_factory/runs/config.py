"""The config file: read from YAML, overlaid with flags, checked once, then frozen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from skill_factory.core.places import Place, RemotePath, remote_path
from skill_factory.core.settings.checking import COMMAND_LINE, checked
from skill_factory.core.settings.fields import SettingError, Settings
from skill_factory.core.settings.value_types import Origin
from skill_factory.core.yaml_files import NO_TEXT, UNREADABLE, parse
from skill_factory.errors import ConfigError, InputError, OptionError
from skill_factory.stages.create.settings import CreateConfig
from skill_factory.stages.settings import RunConfig

Lines = dict[tuple[str, ...], int]
S = TypeVar("S", bound=Settings)


def load_config(path: Path | None, flags: Mapping[str, Any]) -> CreateConfig:
    """The settings of step 2: the defaults, under those of a config file (None: no file), under
    flags. Of a run's folder as the input, its annotated.parquet is the input.

    Raises `ConfigError` with the file's line for a key that is unknown or there twice and a value
    of the wrong type or out of range, `OptionError` where it takes the flags to see the fault,
    `InputError` for a run without annotated attempts.
    """
    config = load_run(path, {"create": flags}).create
    folder = _run_folder(config.input_dataset or "")
    if folder is None:
        return config
    annotated = folder / "annotated.parquet"
    if not annotated.is_file():
        raise InputError(f"{annotated}: is missing; `skill-factory reflect {folder}` makes it")
    name = annotated.url if isinstance(annotated, RemotePath) else str(annotated)
    return config.model_copy(update={"input_dataset": name})


def _run_folder(name: str) -> Place | None:
    """The folder of a run, if a name is that of one."""
    try:
        folder = remote_path(name) or Path(name).expanduser()
        return folder if (folder / "journal.sqlite").is_file() else None
    except (OSError, RuntimeError, ValueError, InputError):  # reading it says what is wrong
        return None


def load_run(
    file: Path | Mapping[Any, Any] | None,
    flags: Mapping[str, Mapping[str, Any]],
    *,
    trusted: bool = True,
) -> RunConfig:
    """The settings of all stages, as `load_settings` has them."""
    return load_settings(RunConfig, file, flags, trusted=trusted)


def load_settings(
    kind: type[S],
    file: Path | Mapping[Any, Any] | None,
    flags: Mapping[str, Mapping[str, Any]],
    *,
    trusted: bool = True,
) -> S:
    """A config of a `kind`, whose settings stand under keys, as those of step 2 in `load_config`;
    `file` may also be what a config file would hold, and its faults are `OptionError`s. `flags`
    are by key, and None in them is null. Not `trusted`: the user does not name the file, and code
    that it names is not loaded."""
    if isinstance(file, Mapping):
        try:
            settings = _settings_in(kind, file, COMMAND_LINE)[0]
        except SettingError as error:
            raise OptionError(str(error)) from None
    else:
        settings = _read(kind, file, trusted)[0] if file else {}
    for stage, given in flags.items():
        _check_texts(given)
        if given:
            settings[stage] = _kept(stage, settings.get(stage) or {}, given) | dict(given)
    try:
        return checked(kind, settings)
    except SettingError as error:
        raise OptionError(str(SettingError(error.key[1:], error.problem))) from None


def _kept(stage: str, before: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file that go on under flags."""
    if stage == "questions" and "source" in given:
        return {}  # another set of questions: settings of the last are not its own
    gone = set()
    if stage == "model":
        if given.keys() & {"base_url", "base_urls", "serve"}:
            gone |= {"base_url", "base_urls", "serve"}  # other servers
        if given.keys() & {"base_url", "base_urls"}:
            gone |= {"replicas", "serve_args"}
        if before.get("name") not in (None, given.get("name", before.get("name"))):
            gone.add("identity")  # another model
    return {name: value for name, value in before.items() if name not in gone}


def load_run_file(path: Path) -> RunConfig:
    """The settings in a config file; raises `ConfigError` as `load_config` does."""
    return _read(RunConfig, path)[1]


def _check_texts(flags: Mapping[str, Any]) -> None:
    """Raises `OptionError` for text that was not UTF-8 on the command line; a dataset may have such
    a name."""
    for name, value in flags.items():
        if name != "input_dataset" and NO_TEXT.search(
            json.dumps(value, ensure_ascii=False, default=str)
        ):
            raise OptionError(f"{name}: is not UTF-8")


def _read(kind: type[S], path: Path, trusted: bool = True) -> tuple[dict[str, Any], S]:
    """What a config file says, checked, by its stages' keys; and the settings that it comes to."""
    content, lines = _parsed(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected settings under a key such as 'create:'")
    try:
        return _settings_in(kind, content, Origin(path.parent, trusted))
    except SettingError as error:
        key = error.key
        line = next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), 1)
        raise ConfigError(f"{path}: line {line}: {error}") from None


def _settings_in(
    kind: type[S], content: Mapping[Any, Any], origin: Origin
) -> tuple[dict[str, Any], S]:
    """As `_read`, of a config's content; raises `SettingError`."""
    # A key with nothing under it, or all of that commented out, says nothing.
    content = {
        key: {} if value is None and key != "questions" else value for key, value in content.items()
    }
    config = checked(kind, content, origin=origin)
    found = {
        stage: {name: getattr(getattr(config, stage), name) for name in said}
        for stage, said in content.items()
        if said is not None
    }
    return found, config


def _parsed(path: Path) -> tuple[Any, Lines]:
    """The content of a config file, and the line of each key."""
    try:
        text = path.read_text(encoding="utf-8")
        content = parse(text)[0]
        # Anew: making the content puts what `<<` merges among the keys that it stands beside.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return ({} if content is None else content), (_lines(root, str(path)) if root else {})
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config: {error.strerror}") from None
    except UNREADABLE as error:
        hint = "; put names with a * in quotes" if "alias" in str(error) else ""
        raise ConfigError(
            f"{path}: not a YAML file{hint}: {' '.join(str(error).split())}"
        ) from None


def _lines(node: yaml.Node, where: str, path: tuple[str, ...] = ()) -> Lines:
    """The line of each key, from 1; the path of a list's item ends in its number."""
    lines: Lines = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            line = key.start_mark.line + 1
            if below in lines:
                raise ConfigError(f"{where}: line {line}: the key {'.'.join(below)} is there twice")
            lines |= {below: line} | _lines(value, where, below)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            below = (*path, str(number))
            lines |= {below: value.start_mark.line + 1} | _lines(value, where, below)
    return lines
