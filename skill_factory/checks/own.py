"""Checks from outside: a user's own, named `module:name` or `file.py:name`, or installed under the
entry point group `skill_factory.checks` (docs/extending.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from skill_factory.checks.findings import Code, Severity
from skill_factory.checks.traces import Trace
from skill_factory.errors import OptionError, PluginError
from skill_factory.plugins import Door, check_unchanged, guarded, is_reference, takes


class Check(NamedTuple):
    """A check of a user's own: its `name`, and `faults(trace)`, which gives the faults of a trace,
    each a line of text; none for a good one. `about` is a line for a person.

    It is asked about traces in which no error was found. Its faults are errors, under its name.
    """

    name: str
    faults: Callable[[Trace], Iterable[str]]
    about: str = ""

    @property
    def code(self) -> Code:
        """What its faults are reported under."""
        return Code(
            self.name, "", Severity.ERROR, self.about or "a fault by a check of your own", ""
        )


def _admitted(found: Check, where: str) -> Check:
    """A check from outside that raises nothing but `PluginError`s; raises one for a wrong shape."""
    if not (isinstance(found.name, str) and re.fullmatch(r"[\w-]+", found.name)):
        raise PluginError(f"{where}: name: expected letters, digits, _ and -, found {found.name!r}")
    if not takes(found.faults, 1):
        raise PluginError(f"{where}: faults: expected a function of (trace), not {found.faults!r}")
    if not isinstance(found.about, str):
        raise PluginError(f"{where}: about: expected text, found {found.about!r:.80}")

    def faults(trace: Trace) -> list[str]:
        look = guarded(
            lambda: list(found.faults(trace)), where, "faults", _lines, f"trace {trace.id}"
        )
        return look()

    return found._replace(faults=faults)


def _lines(found: list[Any]) -> str | None:
    return None if all(isinstance(fault, str) and fault.strip() for fault in found) else "texts"


_DOOR: Door[Check] = Door("check", Check, _admitted, lambda name: False)


def load_check(word: str) -> Check:
    """The check that a user names: installed, or code, `module:name` or `file.py:name`. Raises
    `OptionError` if there is none, `PluginError` for one that cannot be loaded, or whose file was
    changed after it was."""
    if is_reference(word):
        found = _DOOR.load(word)
        check_unchanged(_DOOR.references[found.name], "check")
        return found
    installed = _DOOR.installed(word)
    if installed is not None:
        return installed
    names = ", ".join(_DOOR.everything_installed()) or "none"
    raise OptionError(
        f"unknown check {word!r}; installed are: {names}; one of your own is named file.py:NAME"
    )


def installed_checks() -> dict[str, str]:
    """A line of text for each check of installed packages, by name."""
    return _DOOR.meanings()
