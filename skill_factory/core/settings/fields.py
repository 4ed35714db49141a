"""How a setting is declared, once: type, default, help, section of the help, and other names.

A class of `Settings` is a frozen dataclass. Its fields are declared by calling a `Section`:

    _TRACES = Section("Traces")

    class CreateConfig(Settings):
        attempts: Annotated[int, Between(1, 1000)] = _TRACES(5, "Attempts in the longest trace.")

Config files, options and docs/reference.md are made from these. Nothing here is heavy: the help
of every command imports it. `checking` checks what a user wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from enum import Enum
from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform

from skill_factory.errors import OptionError

T = TypeVar("T")
_DECLARED = "declared"


class SettingError(OptionError):
    """A setting with a wrong value. `key` is its place in a config: ("create", "attempts")."""

    def __init__(self, key: tuple[str, ...], problem: str) -> None:
        super().__init__(f"{'.'.join(key)}: {problem}" if key else problem)
        self.key = key
        self.problem = problem


@dataclass(frozen=True)
class Declared:
    """What is said of a setting besides its type and default.

    `unset`: what None comes to, for the help; empty: nothing is said of it. `flag` is its option;
    empty: its name with dashes. `off` is the flag that says no; empty: --no- and its name. `was`
    are older names of the option, which are accepted. `common`: in the help of `run`, and what its
    plain name means there. `in_run`: a run has a use for it.
    """

    section: str
    help: str
    unset: str = ""
    metavar: str = ""
    short: str = ""
    flag: str = ""
    off: str = ""
    was: tuple[str, ...] = ()
    common: bool = False
    in_run: bool = True


@dataclass(frozen=True)
class Section:
    """A heading in the help; calling it declares a setting under it.

    `in_run` False: the settings of `run` have no use for those under it.
    """

    title: str
    in_run: bool = True

    def __call__(
        self,
        default: T,
        help: str,
        *,
        unset: str = "",
        metavar: str = "",
        short: str = "",
        flag: str = "",
        off: str = "",
        was: str = "",
        common: bool = False,
        in_run: bool = True,
    ) -> T:
        """A dataclass field; the arguments are those of `Declared`."""
        said = Declared(
            self.title, help, unset, metavar, short, flag, off, tuple(was.split()), common,
            in_run and self.in_run,
        )  # fmt: skip
        return cast(T, _field(default, said))

    def required(self, help: str, *, metavar: str = "", short: str = "") -> Any:
        """A setting without a default."""
        return field(metadata={_DECLARED: Declared(self.title, help, metavar=metavar, short=short)})


def _field(default: Any, said: Declared) -> Any:
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={_DECLARED: said})
    return field(default=default, metadata={_DECLARED: said})


def same_as(settings: type[Settings], name: str, **changes: Any) -> Any:
    """A setting as another class declares it, with some of `Declared` said otherwise."""
    there = settings.model_fields[name]
    default = there.default_factory() if callable(there.default_factory) else there.default
    return _field(default, replace(declared(there), **changes))


def declared(setting: Field[Any]) -> Declared:
    """What a field was declared with; raises `KeyError` if it is not by a `Section`."""
    found = setting.metadata[_DECLARED]
    assert isinstance(found, Declared)
    return found


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Settings:
    """A class of settings: each subclass is a frozen dataclass with keyword arguments.

    What a user wrote goes through `checking.checked`; the class itself only sees, in
    `__post_init__`, whether its settings go together, and raises `SettingError`.
    """

    model_fields: ClassVar[Mapping[str, Field[Any]]]
    """The settings by name, in their order."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)
        cls.model_fields = {setting.name: setting for setting in fields(cast(Any, cls))}

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """The settings with some of them changed; not checked one by one."""
        changed: Self = replace(cast(Any, self), **update)
        return changed

    def model_dump(
        self,
        *,
        include: Iterable[str] | None = None,
        exclude: Iterable[str] = (),
    ) -> dict[str, Any]:
        """The settings by name, as JSON and YAML have them: lists for tuples, texts for enums."""
        chosen, left_out = None if include is None else set(include), set(exclude)
        return {
            name: _plain(getattr(self, name))
            for name in self.model_fields
            if name not in left_out and (chosen is None or name in chosen)
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.model_dump()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.value if isinstance(value, Enum) else value
