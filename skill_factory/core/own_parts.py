"""Parts from outside the package, carried to the workers of a cluster."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skill_factory.errors import OptionError, PluginError, TaskError
from skill_factory.plugins import digest_of, file_of
from skill_factory.tasks import load_task, own_tasks, references

Load = tuple[Callable[[str], object], str]
"""A function that loads a part, and what it is named by."""


@dataclass(frozen=True)
class OwnParts:
    """What a worker loads, and the sha256 of each file that some of it is in."""

    loads: tuple[Load, ...]
    digests: Mapping[Path, str]

    def __call__(self) -> None:
        """Load all, in this process. Raises `PluginError` where that cannot be done, or a file is
        not the driver's."""
        where = f"on the worker {socket.gethostname()}"
        try:
            for load, word in self.loads:
                load(word)
        except (PluginError, TaskError, OptionError) as error:
            raise PluginError(
                f"{where}: {error}; what is your own must be there on all nodes, at the same path"
            ) from None
        for file, digest in self.digests.items():
            if digest_of(file) != digest:
                raise PluginError(f"{file}: is another file {where} than here")


def own_parts(more: Iterable[Load] = ()) -> OwnParts:
    """All tasks from outside that are loaded here, and more."""
    names = [(references([task]) or [task.name])[0] for task in own_tasks()]
    loads = (*((load_task, name) for name in names), *more)
    files = filter(None, (file_of(word) for _, word in loads))
    return OwnParts(loads, {file: digest_of(file) for file in files})
