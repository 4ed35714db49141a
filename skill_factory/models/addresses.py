"""Where the servers of one model are: a list, which may change while a run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from skill_factory.core.redaction import public_address

_SHOWN = 4
"""Addresses that a message names."""


class Addresses(Protocol):
    """Where servers are; as a text, what people call the list."""

    @property
    def may_come(self) -> bool:
        """Whether servers may come later, so that a run waits for the first one."""
        ...

    def current(self) -> list[str]:
        """The addresses as they are now, as `http://HOST:PORT/v1`. It is called every few seconds,
        in a thread, and may take its time. A `SkillFactoryError` that it raises ends the run."""
        ...


class FixedAddresses:
    """Servers that are named once."""

    may_come = False

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = list(addresses)

    def __str__(self) -> str:
        more = f" and {len(self._addresses) - _SHOWN} more" if len(self._addresses) > _SHOWN else ""
        return ", ".join(map(public_address, self._addresses[:_SHOWN])) + more

    def current(self) -> list[str]:
        return self._addresses


class FileAddresses:
    """Servers in a file, one address a line, which others write while a run goes on. What follows
    a # is a comment. A file that cannot be read just now has what it had; at first, nothing."""

    may_come = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: list[str] = []

    def __str__(self) -> str:
        return str(self._path)

    def current(self) -> list[str]:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # not there yet, or being replaced
            return self._last
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        self._last = [line for line in lines if line]
        return self._last
