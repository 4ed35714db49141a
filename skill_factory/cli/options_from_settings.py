"""Options made from the classes of settings: their flags, types, help, and what they say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import click

from skill_factory.cli.paths import PATH, PLACE
from skill_factory.core.places import RemotePath
from skill_factory.core.settings.checking import Kind, check, checked, kinds
from skill_factory.core.settings.fields import Declared, SettingError, Settings, declared
from skill_factory.core.settings.value_types import Commas
from skill_factory.errors import OptionError
from skill_factory.stages.settings import STAGES

S = TypeVar("S", bound=Settings)
Given = dict[str, dict[str, Any]]
"""The settings that were given, by stage and name; None: null."""

_BETWEEN = "__"
"""Stands between stage and name in the name of a parameter."""


class _Null(Enum):
    """An option's `none`: null in a config, and not that the option was not given."""

    NULL = "none"


class Value(click.ParamType[Any]):
    """A value of a setting's kind, checked as in a config file."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = "|".join(kind.choices) or {int: "N", float: "X"}.get(kind.base, "TEXT")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = self.kind.base in (int, float)
        if value == "none" and number and self.kind.optional:
            return _Null.NULL
        try:
            return check(self.kind, _whole(value) if self.kind.base is int else value, ())
        except SettingError as error:
            self.fail(error.problem, param, ctx)


def _whole(text: Any) -> Any:
    """A whole number, or the text that is none."""
    try:
        return int(text)
    except ValueError:
        return text


class SettingOption(click.Option):
    """The option of one setting, under its plain name, its older names and, `dotted`, under its
    stage's and its own: --sample.samples.

    `plain` False: only the dotted one.
    """

    def __init__(
        self,
        stage: str,
        name: str,
        kind: Kind,
        said: Declared,
        default: Any,
        *,
        dotted: bool = False,
        plain: bool = True,
        hidden: bool = False,
        required: bool = False,
    ) -> None:
        self.stage, self.key, self.kind, self.said, self.standard = (
            stage, name, kind, said, default,
        )  # fmt: skip
        many = kind.base in (tuple, dict)
        decls = list(_names(stage, name, kind, said, dotted, plain))
        attributes: dict[str, Any] = {"help": said.help, "hidden": hidden}
        if kind.base is bool:
            attributes["default"] = None  # not given is not no
        else:
            attributes |= {"type": _type(kind), "multiple": many, "metavar": metavar(kind, said)}
        if many:
            attributes["callback"] = _several
        super().__init__(
            [f"{stage}{_BETWEEN}{name}", *decls],
            required=required,
            **attributes,
        )

    @property
    def section(self) -> str:
        """The heading under which the help has it."""
        return self.said.section

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Its own names, for an error."""
        names = [self.said.short, next(name for name in self.opts if name.startswith("--"))]
        return " / ".join(f"'{name}'" for name in names if name)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Its name, and its help with the default, for the help of a command."""
        if self.hidden:
            return None
        default = default_words(self)
        more = "  [required]" if self.required else f"  [default: {default}]" if default else ""
        return names_shown(self), self.said.help + more


def _names(
    stage: str, name: str, kind: Kind, said: Declared, dotted: bool, plain: bool
) -> Iterator[str]:
    """Declarations of the names of an option, as click has them."""
    flag = flag_of(name, said)
    if plain:
        yield from filter(None, (said.short,))
        no = said.off or f"--no-{flag.removeprefix('--')}"
        yield f"{flag}/{no}" if kind.base is bool else flag
        yield from said.was
    if dotted:
        key = f"--{stage}.{name.replace('_', '-')}"
        yield f"{key}/--{stage}.no-{name.replace('_', '-')}" if kind.base is bool else key
        if "_" in name and kind.base is not bool:
            yield f"--{stage}.{name}"


def flag_of(name: str, said: Declared) -> str:
    """The option's plain name."""
    return said.flag or f"--{name.replace('_', '-')}"


def _type(kind: Kind) -> click.ParamType[Any]:
    base = kind.item.base if kind.item else kind.base
    if base in (Path, RemotePath):
        return PATH if base is Path else PLACE
    return click.STRING if kind.base in (tuple, dict) else Value(kind)


def metavar(kind: Kind, said: Declared) -> str:
    """What stands for the value in the help."""
    word = said.metavar or ("KEY=VALUE" if kind.base is dict else "")
    if kind.base is tuple:
        return f"{said.metavar or 'NAME'}..."
    return word or Value(kind).name


def names_shown(option: SettingOption) -> str:
    """The names of an option in the help: its own, with the value; older ones are accepted, and
    only in the reference."""
    said, long = option.said, next(name for name in option.opts if name.startswith("--"))
    if option.kind.base is not bool:
        long = f"{long} {metavar(option.kind, said)}"
    elif said.off:
        long = f"{long} / {said.off}"
    elif option.standard or option.stage in STAGES:  # a config may have said yes
        long = f"--[no-]{long.removeprefix('--')}"
    return f"{said.short}, {long}" if said.short else long


def default_words(option: SettingOption) -> str:
    """The default, as the help says it; empty: nothing is to be said of it."""
    default, said = option.standard, option.said
    if default is MISSING or default in ((), {}):
        return ""
    if said.unset or default is None:
        return said.unset
    if isinstance(default, bool):
        return "yes" if default else said.off
    if isinstance(default, tuple):
        is_range = hasattr(default, "low")
        return ("..".join if is_range else " ".join)(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


# -- all options of a class ------------------------------------------------------------------------


def options(
    stage: str, settings: type[Settings], *, leave_out: Iterable[str] = ()
) -> list[click.Parameter]:
    """The options of a class of settings, in its order."""
    left_out = set(leave_out)
    return [
        option(stage, settings, name, required=field.default is field.default_factory is MISSING)
        for name, field in settings.model_fields.items()
        if name not in left_out
    ]


def option(
    stage: str,
    settings: type[Settings],
    name: str,
    *,
    dotted: bool = False,
    plain: bool = True,
    hidden: bool = False,
    required: bool = False,
    **changes: Any,
) -> SettingOption:
    """The option of one setting; `changes` replace what is `Declared` of it."""
    field = settings.model_fields[name]
    default = {} if callable(field.default_factory) else field.default
    said = replace(declared(field), **changes)
    return SettingOption(
        stage, name, kinds(settings)[name], said, default,
        dotted=dotted, plain=plain, hidden=hidden, required=required,
    )  # fmt: skip


def options_of_all_stages() -> list[click.Parameter]:
    """The options of every setting that a run has a use for: dotted, and plain where only one stage
    has the name, or one is meant by it; the help has those that are `common`."""
    found = [
        (stage, settings, name, declared(field))
        for stage, settings in STAGES.items()
        for name, field in settings.model_fields.items()
        if declared(field).in_run
    ]
    owners: dict[str, list[str]] = {}
    for stage, _, name, said in found:
        owners.setdefault(flag_of(name, said), []).append(f"--{stage}.{name.replace('_', '-')}")
    meant = {flag_of(name, said) for _, _, name, said in found if said.common}
    made: list[click.Parameter] = [
        option(
            stage,
            settings,
            name,
            dotted=True,
            plain=said.common or len(owners[flag_of(name, said)]) == 1,
            hidden=not said.common,
            short="",
        )
        for stage, settings, name, said in found
    ]
    unclear = {flag: names for flag, names in owners.items() if len(names) > 1}
    return [*made, *(_ambiguous(flag, unclear[flag]) for flag in unclear if flag not in meant)]


def _ambiguous(flag: str, names: list[str]) -> click.Option:
    """An option that several stages have: it says which ones there are."""

    def say_which(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value is not None:
            raise click.UsageError(f"{flag}: say which: {', '.join(names)}", ctx)

    return click.Option([flag], hidden=True, expose_value=False, callback=say_which)


# -- what they say ---------------------------------------------------------------------------------


def _several(ctx: click.Context, param: click.Parameter, values: tuple[Any, ...]) -> Any:
    """The values of an option that may be given several times; None: it was not."""
    assert isinstance(param, SettingOption)
    if not values:
        return None
    if param.kind.base is dict:
        return {key: value for text in values for key, value in _object(text).items()}
    if not any(isinstance(one, Commas) for one in param.kind.checks):
        return values
    names = tuple(part.strip() for value in values for part in value.split(",") if part.strip())
    if not names:
        raise click.BadParameter("expected a name", ctx, param)
    return names


def _object(text: str) -> dict[str, Any]:
    """A JSON object, or a key and its value, which is read as YAML is."""
    from skill_factory.core.yaml_files import UNREADABLE, parse

    try:
        if text.lstrip().startswith("{"):
            found = json.loads(text)
            assert isinstance(found, dict)
            return found
        key, sign, value = text.partition("=")
        if key and sign:
            return {key: parse(value)[0]}
    except UNREADABLE:
        pass
    raise click.BadParameter('expected KEY=VALUE, as min_terms=2, or JSON, as {"min_terms": 2}')


def given_by_stage(values: Mapping[str, Any]) -> Given:
    """The settings that were given, of all the values that a command has."""
    found: Given = {}
    for name, value in values.items():
        if value is not None:
            stage, _, key = name.partition(_BETWEEN)
            found.setdefault(stage, {})[key] = None if value is _Null.NULL else value
    return found


def read(settings: type[S], stage: str, values: Mapping[str, Any]) -> S:
    """The settings of a class that is no part of a config; raises `OptionError`, which names the
    option."""
    try:
        return checked(settings, given_by_stage(values).get(stage, {}))
    except SettingError as error:
        field = settings.model_fields.get(error.key[0]) if error.key else None
        if field is None:
            raise OptionError(str(error)) from None
        raise OptionError(f"{flag_of(error.key[0], declared(field))}: {error.problem}") from None


def without(values: Mapping[str, Any], stage: str) -> Given:
    """As `given_by_stage`, but for one that is no part of a config."""
    return {name: given for name, given in given_by_stage(values).items() if name != stage}
