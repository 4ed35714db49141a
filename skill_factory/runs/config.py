"""The config file: read from YAML, overlaid with flags, checked once, then frozen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from reprlib import Repr
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from skill_factory.core.yaml_files import NO_TEXT, UNREADABLE, parse
from skill_factory.errors import ConfigError, OptionError
from skill_factory.stages.create.settings import CreateConfig
from skill_factory.stages.fields import Origin
from skill_factory.stages.settings import (
    GradeConfig,
    ModelConfig,
    QuestionsConfig,
    ReflectConfig,
    RunConfig,
    SampleConfig,
)


def load_config(path: Path | None, flags: Mapping[str, Any]) -> CreateConfig:
    """The settings of step 2: the defaults, under those of a config file (None: no file), under
    flags.

    Raises `ConfigError` with the file's line for a key that is unknown or there twice and a value
    of the wrong type or out of range, `OptionError` where it takes the flags to see the fault.
    """
    return load_run(path, {"create": flags}).create


def load_run(
    path: Path | None, flags: Mapping[str, Mapping[str, Any]], *, trusted: bool = True
) -> RunConfig:
    """The settings of all stages, as `load_config`; `flags` are by the stage's key. Not `trusted`:
    the user does not name the file, and code that it names is not loaded."""
    config = load_run_file(path, trusted=trusted) if path else RunConfig()
    settings = config.model_dump(exclude_unset=True)
    for stage, given in flags.items():
        _see_texts(given)
        if given:
            # Another source is another set of questions: settings of the last are not its own.
            before = None if stage == "questions" and "source" in given else settings.get(stage)
            settings[stage] = (before or {}) | dict(given)
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        key, message = _message(error.errors()[0])
        raise OptionError(message.removeprefix(f"{key[0]}.")) from None


def _see_texts(flags: Mapping[str, Any]) -> None:
    """Raises `OptionError` for text that was not UTF-8 on the command line; a dataset may have such
    a name."""
    for name, value in flags.items():
        if name != "input_dataset" and NO_TEXT.search(
            json.dumps(value, ensure_ascii=False, default=str)
        ):
            raise OptionError(f"{name}: is not UTF-8")


def load_run_file(path: Path, *, trusted: bool = True) -> RunConfig:
    """The settings in a config file; raises `ConfigError` as `load_config` does."""
    try:
        content, root = parse(path.read_text(encoding="utf-8"))
        lines = _lines(root, str(path)) if root else {}
        content = content or {}
        if isinstance(content, dict):  # a key with nothing under it, or all of that commented out
            content = {
                key: {} if value is None and key != "questions" else value
                for key, value in content.items()
            }
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config: {error.strerror}") from None
    except UNREADABLE as error:
        hint = "; put names with a * in quotes" if "alias" in str(error) else ""
        raise ConfigError(
            f"{path}: not a YAML file{hint}: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected settings under a key such as 'create:'")
    try:
        context = Origin(path.parent, trusted)
        return _beside(RunConfig.model_validate(content, context=context), path)
    except ValidationError as error:
        key, message = _message(error.errors()[0])
        line = next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), 1)
        raise ConfigError(f"{path}: line {line}: {message}") from None


def _beside(config: RunConfig, path: Path) -> RunConfig:
    """The config, with the prompt file found beside it where it is not in the current folder."""
    name = config.sample.prompts
    if name is None or Path(name).expanduser().exists() or not (path.parent / name).exists():
        return config
    sample = config.sample.model_copy(update={"prompts": str(path.parent / name)})
    return config.model_copy(update={"sample": sample})


def _message(fault: ErrorDetails) -> tuple[tuple[str, ...], str]:
    """The key that a validation error is about, and the error in our words."""
    key = tuple(str(part) for part in fault["loc"])
    if fault["type"] == "value_error":  # one of ours, whose messages begin with the key
        message = str(fault["ctx"]["error"])
        name = message.split(":")[0]
        return (key if key[-1:] == (name,) else (*key, name)), message
    if fault["type"] == "extra_forbidden":
        return key, f"{'.'.join(key)}: unknown key; the keys are {', '.join(_keys(key[:-1]))}"
    if fault["type"] == "missing":
        return key, f"{'.'.join(key)}: is missing"
    expected = _EXPECTED.get(fault["type"]) or fault["msg"].lower()
    return key, f"{'.'.join(key)}: {expected}, not {_repr.repr(fault['input'])}"


def _keys(place: tuple[str, ...]) -> list[str]:
    """The keys that there are under a key of a config; none given: at the top."""
    stages: dict[str, type[BaseModel]] = {
        "questions": QuestionsConfig,
        "model": ModelConfig,
        "sample": SampleConfig,
        "grade": GradeConfig,
        "reflect": ReflectConfig,
        "create": CreateConfig,
    }
    return list((stages[place[0]] if place else RunConfig).model_fields)


_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 200

_EXPECTED = {
    "tuple_type": "expected a list",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "bool_type": "expected true or false",
    "model_type": "expected settings, each on a line of its own",
    "float_type": "expected a number",
    "dict_type": "expected settings, each on a line of its own",
}


def _lines(node: yaml.Node, where: str, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """The line of each key, from 1; the path of a list's item ends in its number."""
    lines: dict[tuple[str, ...], int] = {}
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
