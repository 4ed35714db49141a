"""Settings as Python code gives them: keywords, mappings, paths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.errors import OptionError
from skill_factory.runs.folder import Stage
from skill_factory.stages.settings import STAGES


def stage_named(argument: str, name: str) -> Stage:
    """The stage of this name; raises `OptionError` that says which `argument` is wrong."""
    try:
        return Stage(name)
    except ValueError:
        there = ", ".join(Stage)
        raise OptionError(
            f"{argument}: expected one of {there}, not {name!r}{did_you_mean(str(name), Stage)}"
        ) from None


def config_content(config: Any) -> Path | dict[Any, Any]:
    """A config file's path, or what it would hold."""
    if isinstance(config, str | Path):
        return Path(config)
    if not isinstance(config, Mapping):
        raise OptionError(f"config: expected a path or a mapping, not {type(config).__name__}")
    return {
        key: as_texts(said) if isinstance(said, Mapping) else said for key, said in config.items()
    }


def settings_by_stage(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings by the stage that has them; raises `OptionError` for those of no stage, or of
    several."""
    placed: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        if name in STAGES:
            if not isinstance(value, Mapping):
                raise OptionError(f"{name}: expected a mapping of its settings, {name}={{...}}")
            placed.setdefault(name, {}).update(as_texts(value))
            continue
        having = [stage for stage, fields in STAGES.items() if name in fields.model_fields]
        if len(having) != 1:
            where = ", ".join(f"{stage}={{{name!r}: ...}}" for stage in having)
            raise OptionError(
                f"{name}: say which: {where}" if having else f"{name}: no stage has this setting"
            )
        placed.setdefault(having[0], {}).update(as_texts({name: value}))
    return placed


def as_texts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a config file has them: paths as text."""
    return {name: _as_text(value) for name, value in settings.items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_text(item) for item in value]
    return str(value) if isinstance(value, Path) else value
