"""Kinds of values that settings have: what may follow the type in `Annotated`, and short names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.errors import PluginError, TaskError
from skill_factory.plugins import whole

Check = Callable[[Any], Any]
"""Takes a value of the right type, gives the one that is kept; raises `ValueError` with what is
wrong with it."""


@dataclass(frozen=True)
class Origin:
    """Where settings come from: the `folder` of their config file; None: the command line. Not
    `trusted`: the user does not name the file, and it may not bring in code."""

    folder: Path | None = None
    trusted: bool = True


@dataclass(frozen=True)
class FromOrigin:
    """A check that depends on where the setting comes from."""

    check: Callable[[Any, Origin], Any]

    def __call__(self, value: Any, origin: Origin) -> Any:
        return self.check(value, origin)


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included; `high` None: no end. `above`: `low` itself is
    too small."""

    low: float
    high: float | None = None
    above: bool = False

    def __call__(self, value: float) -> float:
        small = value <= self.low if self.above else value < self.low
        if small or (self.high is not None and value > self.high):
            raise ValueError(f"expected {self}, not {value}")
        return value

    def __str__(self) -> str:
        if self.high is None:
            return f"more than {self.low}" if self.above else f"{self.low} or more"
        return f"{'more than ' if self.above else ''}{self.low} to {self.high}"


@dataclass(frozen=True)
class Matches:
    """A text in which a regular expression is found; `expected` says it in words. `secret`: a wrong
    value may be a secret, and is not shown."""

    pattern: str
    expected: str
    secret: bool = False

    def __call__(self, value: str) -> str:
        if not re.search(self.pattern, value):
            shown = "" if self.secret else f", not {value!r}"
            raise ValueError(f"expected {self.expected}{shown}")
        return value


@dataclass(frozen=True)
class NotEmpty:
    """A list with something in it."""

    def __call__(self, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("expected one or more")
        return value


@dataclass(frozen=True)
class Commas:
    """A list whose items may also be written in one text, with commas."""

    def __call__(self, value: Any) -> Any:
        return value


@dataclass(frozen=True)
class Reads:
    """A value that is written in several ways: `read` makes the one kept of any of them."""

    read: Check

    def __call__(self, value: Any) -> Any:
        return self.read(value)


class Range(NamedTuple):
    """From `low` to `high`, both included."""

    low: int
    high: int


_WRITTEN = re.compile(r"\s*(\d{1,3})(?:\s*\.\.\s*(\d{1,3}))?\s*")


def _range(value: Any) -> Any:
    """A range as it may be written: 3, "3", "2..5" or a list of two."""
    if isinstance(value, str) and (match := _WRITTEN.fullmatch(value)):
        value = [int(number or match[1]) for number in match.groups()]
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value, value]
    whole = isinstance(value, list | tuple) and [type(item) for item in value] == [int, int]
    if not whole or not 1 <= value[0] <= value[1]:
        raise ValueError("expected a number of digits, 3, or a range of them, 2..5")
    return Range(*value)


_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


def _size(value: Any) -> Any:
    """A number of bytes, as it may be written: 2GB, 1.5 GiB, 500MB, or a plain number."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        number, unit, binary = match.groups()
        power = " kmgt".index(unit.lower() or " ")
        value = int(float(number) * (1024 if binary else 1000) ** power)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("expected a number of bytes: 2GB, 1.5GiB, 500MB")
    return value


def as_json(value: dict[Any, Any]) -> dict[str, Any]:
    """As JSON has it: from a config and from the run's own, the same."""
    try:
        found: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    return found


def is_address(url: str) -> bool:
    """Whether this can be a server's address."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _address(url: str) -> str:
    if not is_address(url):  # not shown: there may be a password in it
        raise ValueError("is no address of a server: http://HOST:PORT/v1")
    return url


def _task(name: str, origin: Origin) -> str:
    from skill_factory.tasks import TASKS, settled  # heavy, and --help does not need them

    try:
        return settled(name, origin.folder, trusted=origin.trusted)
    except TaskError as error:
        raise ValueError(f"{error}{did_you_mean(name, TASKS)}") from None
    except PluginError as error:
        raise ValueError(str(error).removeprefix("task ")) from None


def _source(name: str, origin: Origin) -> str:
    if not name.strip():
        raise ValueError("expected a name, not an empty one")
    try:
        return whole(name, "source", origin.folder, origin.trusted)
    except PluginError as error:
        raise ValueError(str(error).removeprefix("source ")) from None


class NamedSource(NamedTuple):
    """A source of questions, and the name of the set; None: it is named after the source."""

    name: str | None
    source: str


def named_source(text: str) -> NamedSource:
    """A source as it may be written: SOURCE, or NAME=SOURCE."""
    name, sign, source = text.partition("=")
    if not sign or not re.fullmatch(r"[\w.-]+", name) or Path(text).expanduser().exists():
        return NamedSource(None, text)
    return NamedSource(name, source)


def _named_source(text: str, origin: Origin) -> str:
    name, source = named_source(text)
    found = _source(source, origin)
    return found if name is None else f"{name}={found}"


Word = Annotated[str, Matches(r"\S", "a word")]


def beside(name: Any, origin: Origin) -> Any:
    """The path of a file that may lie beside the config file; anything else as it is."""
    if not isinstance(name, str) or origin.folder is None or Path(name).expanduser().exists():
        return name
    found = origin.folder / name
    return str(found) if found.exists() else name


Texts = tuple[str, ...]
Address = Annotated[str, _address]
Names = Annotated[tuple[str, ...], Commas()]
Count = Annotated[int, Between(1)]
Few = Annotated[int, Between(1, 10_000)]
"""A number of things that are there one by one, in memory, for every question."""
Workers = Annotated[int, Between(1, 1024)]
Engine = Literal["local", "ray"]
RayAddress = Annotated[
    str, Matches(r"^(auto|local|[^/]+:\d+)$", "HOST:PORT of a Ray head, or auto")
]
Seconds = Annotated[float, Between(0, above=True)]
Price = Annotated[float, Between(0)]
KnownTask = Annotated[str, FromOrigin(_task)]
"""The name of a task that there is; one of a user's own file, with its whole path."""
SourceName = Annotated[str, FromOrigin(_source)]
"""The name of a question source; one of a user's own file, with its whole path."""
SetName = Annotated[str, FromOrigin(_named_source)]
"""A source of questions, perhaps with a name for the set: NAME=SOURCE."""
Size = Annotated[int, Reads(_size)]
"""A number of bytes."""
Digits = Annotated[Range, Reads(_range)]
Beside = Annotated[str, FromOrigin(beside)]
"""The path of a file, from the current folder, or else from that of the config file."""
