"""What a user wrote, made into settings: the type of each value, its range, its name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, replace
from functools import cache
from pathlib import Path
from reprlib import Repr
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.places import RemotePath, place
from skill_factory.core.settings.fields import SettingError, Settings
from skill_factory.core.settings.value_types import Check, FromOrigin, Origin, Reads

S = TypeVar("S", bound=Settings)
Key = tuple[str, ...]
COMMAND_LINE = Origin()


@dataclass(frozen=True)
class Kind:
    """A setting's type, taken apart.

    `base` is int, float, bool, str, Path, tuple, dict, RemotePath (for a `Place`) or a class of
    settings. `optional`: it may
    be None. `choices` are all texts that there are to choose from; empty: any. `item` is the kind
    of a tuple's items.
    """

    base: Any
    optional: bool = False
    choices: tuple[str, ...] = ()
    item: Kind | None = None
    checks: tuple[Check | FromOrigin, ...] = ()

    @property
    def is_read(self) -> bool:
        """Whether its own function reads it, from whatever was written."""
        return any(isinstance(check, Reads) for check in self.checks)


def kinds(settings: type[Settings]) -> dict[str, Kind]:
    """The kinds of a class of settings, by name, in their order."""
    return _kinds(cast(Any, settings))


@cache
def _kinds(settings: Any) -> dict[str, Kind]:
    hints = get_type_hints(settings, include_extras=True)
    return {name: _kind(hints[name]) for name in settings.model_fields}


def _kind(hint: Any) -> Kind:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner = _kind(parts[0])
        return replace(inner, checks=(*inner.checks, *parts[1:]))
    if origin in (Union, UnionType):
        there = [part for part in parts if part is not NoneType]
        only = RemotePath if RemotePath in there else there[0]
        return replace(_kind(only), optional=NoneType in parts)
    if origin is Literal:
        return Kind(str, choices=parts)
    if origin is tuple:
        return Kind(tuple, item=_kind(parts[0]))
    return Kind(origin or hint)


def checked(settings: type[S], content: Any, key: Key = (), origin: Origin = COMMAND_LINE) -> S:
    """Settings made of what was written: a dict by their names; what is not there is the default.

    Raises `SettingError`, whose key begins with `key`, for a name that is unknown or missing, a
    value of the wrong type or out of range, and settings that do not go together.
    """
    if isinstance(content, settings):
        return content
    if not isinstance(content, dict):
        raise _wrong(key, "settings, each on a line of its own", content)
    there = kinds(settings)
    for name in content:
        if name not in there:
            names = f"the keys are {', '.join(there)}{did_you_mean(str(name), there)}"
            raise SettingError((*key, str(name)), f"unknown key; {names}")
    values = {
        name: check(there[name], value, (*key, name), origin) for name, value in content.items()
    }
    for name, field in settings.model_fields.items():
        if name not in values and field.default is field.default_factory is MISSING:
            raise SettingError((*key, name), "is missing")
    try:
        return settings(**values)
    except SettingError as error:
        raise SettingError((*key, *error.key), error.problem) from None


def check(kind: Kind, value: Any, key: Key, origin: Origin = COMMAND_LINE) -> Any:
    """One value as it is kept; raises `SettingError`."""
    if value is None and kind.optional:
        return None
    if isinstance(kind.base, type) and issubclass(kind.base, Settings):
        return checked(kind.base, value, key, origin)
    value = value if kind.is_read else _typed(kind, value, key, origin)
    for one in kind.checks:
        try:
            value = one(value, origin) if isinstance(one, FromOrigin) else one(value)
        except ValueError as error:
            raise SettingError(key, str(error)) from None
    return value


def _typed(kind: Kind, value: Any, key: Key, origin: Origin) -> Any:
    if kind.choices:
        if value not in kind.choices:
            hint = did_you_mean(value, kind.choices) if isinstance(value, str) else ""
            raise SettingError(
                key, f"expected {' or '.join(kind.choices)}, not {_shown(value)}{hint}"
            )
        return value
    if kind.item is not None:
        if not isinstance(value, list | tuple):
            raise _wrong(key, "a list", value)
        items = enumerate(value)
        return tuple(check(kind.item, item, (*key, str(n)), origin) for n, item in items)
    expected, typed = _TYPES[kind.base]
    found = typed(value)
    if found is None:
        raise _wrong(key, expected, value)
    return found


def _float(value: Any) -> float | None:
    """A finite number; YAML takes 1e-3 for a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _of(base: type) -> Callable[[Any], Any]:
    return lambda value: value if type(value) is base else None


def _path(value: Any, kind: Any) -> Any:
    found = place(value) if isinstance(value, str | Path | RemotePath) else None
    return found if isinstance(found, kind) else None


_TYPES: dict[Any, tuple[str, Callable[[Any], Any]]] = {
    bool: ("true or false", _of(bool)),
    int: ("a whole number", _of(int)),
    float: ("a number", _float),
    str: ("text", _of(str)),
    dict: ("settings, each on a line of its own", _of(dict)),
    Path: ("a local path", lambda value: _path(value, Path)),
    RemotePath: ("a path or a URL", lambda value: _path(value, Path | RemotePath)),
}
"""What is expected of each type, in words, and the value of that type; None: it is none."""

_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 200


def _shown(value: Any) -> str:
    return _repr.repr(value)


def _wrong(key: Key, expected: str, value: Any) -> SettingError:
    return SettingError(key, f"expected {expected}, not {_shown(value)}")
