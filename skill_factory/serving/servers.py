"""The servers of a run: started when something is to be asked, ended with the run."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skill_factory.core.closing import Closing
from skill_factory.models import ModelError
from skill_factory.serving.commands import KEY_VARIABLES, command_of
from skill_factory.serving.gpus import VARIABLE, shares, visible_gpus
from skill_factory.serving.probe import free_ports
from skill_factory.serving.replica import Launch, Replica

_FOLDER = "servers"
"""Where the logs are, in a run's folder."""


@dataclass(frozen=True)
class Serving:
    """What is served, and how: `serve` is a name or a command, as `--serve` has it. `replicas`
    None: one a GPU, or one. `startup` is the seconds until a server has to be ready, `silence`
    those that it may leave a look without an answer."""

    serve: str
    model: str
    replicas: int | None
    arguments: str
    startup: float
    silence: float


class OwnServers(Closing):
    """The servers that a run starts itself, as `models.addresses.Addresses`; a context manager,
    which ends them. They are started once, by `start`, and all have the same `key`, which nobody
    else knows. `say` takes what there is to tell, in lines, also in threads of their own."""

    may_come = True

    def __init__(self, serving: Serving, folder: Path, say: Callable[[str], None]) -> None:
        self.key = secrets.token_urlsafe(32)
        self._serving, self._folder, self._say = serving, folder / _FOLDER, say
        self._changed = threading.Condition()
        self._replicas: list[Replica] = []
        self._threads: list[threading.Thread] = []

    def __str__(self) -> str:
        return "servers of its own"

    def start(self) -> None:
        """Start the servers, unless that is done, and wait until all can be asked.

        Raises `ModelError` with the end of its log for one that cannot, `OptionError` if there is
        no such program.
        """
        if self._replicas:
            return
        begin = time.monotonic()
        self._replicas = [Replica(one, self._say, self._notify) for one in self._launches()]
        first = self._replicas[0].launch
        self._say(
            f"servers: starting {len(self._replicas)} of {self._serving.model}; what they print is "
            f"in {first.log.parent}"
        )
        self._threads = [
            threading.Thread(target=one.run, name=f"server {one.launch.number}", daemon=True)
            for one in self._replicas
        ]
        for thread in self._threads:
            thread.start()
        with self._changed:
            while not all(one.ready for one in self._replicas):
                self._raise_first([one for one in self._replicas if one.failure])
                self._changed.wait(1.0)  # with an end, so that Ctrl-C is heard
        self._say(f"servers: ready after {time.monotonic() - begin:.0f} s")

    def current(self) -> list[str]:
        """Where the servers are that can be asked at this moment; none before they are started, or
        while all are being started again. Raises `ModelError` once all are given up."""
        if self._replicas and all(one.failure for one in self._replicas):
            self._raise_first(self._replicas)
        return [one.address for one in self._replicas if one.ready]

    def close(self) -> None:
        """End the servers, and wait for that."""
        for one in self._replicas:
            one.stop()
        for thread in self._threads:
            thread.join()
        self._replicas, self._threads = [], []

    def _launches(self) -> list[Launch]:
        serving = self._serving
        gpus = shares(visible_gpus(), serving.replicas)
        keys = dict.fromkeys(KEY_VARIABLES, self.key)
        return [
            Launch(
                number=number,
                command=command_of(serving.serve, serving.model, port, serving.arguments),
                environment=keys if share is None else keys | {VARIABLE: share},
                port=port,
                model=serving.model,
                key=self.key,
                log=self._folder / f"{number}.log",
                startup=serving.startup,
                silence=serving.silence,
            )
            for number, (share, port) in enumerate(zip(gpus, free_ports(len(gpus)), strict=True))
        ]

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _raise_first(self, failed: list[Replica]) -> None:
        """Raise `ModelError` for the first of some that are given up."""
        if failed:
            more = f"; given up: {len(failed)} servers" if len(failed) > 1 else ""
            raise ModelError(f"{failed[0].failure}{more}")
