"""Asks that are read again and again, and of which there may be more than fit in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from skill_factory.asking.requests import Ask
from skill_factory.core.closing import Closing


class AsksOnDisk(Closing):
    """`count` asks in a file of the system's temporary folder, which goes when the block ends. What
    they are `about` is kept as JSON."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="skill-factory-")
        self._path = Path(self._folder.name) / "asks.jsonl"
        self.count = 0

    def close(self) -> None:
        """Remove the file."""
        self._folder.cleanup()

    def write(self, asks: Iterable[Ask]) -> None:
        """Put asks there."""
        with self._path.open("w", encoding="utf-8") as out:
            for ask in asks:
                out.write(json.dumps(ask) + "\n")
                self.count += 1

    def read(self) -> Iterator[Ask]:
        """All of them, in their order."""
        with self._path.open(encoding="utf-8") as lines:
            for line in lines:
                messages, count, name, *rest = json.loads(line)
                yield Ask(messages, count, tuple(name), *rest)
