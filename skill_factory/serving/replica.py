"""One server: started under its guardian, waited for, watched, and started again when it dies."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from skill_factory.core.redaction import environment_secrets, redact
from skill_factory.serving import guardian as guarding
from skill_factory.serving.commands import HOST
from skill_factory.serving.gpus import VARIABLE
from skill_factory.serving.probe import State, look

RESTARTS = 3
"""How often a server is started again."""

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

_UNWELL = 15.0
"""Seconds that a server may say that it is not well, or take no connections."""

_STARTING = 10.0
"""Seconds that a look at a server may take while it starts."""

_SOON, _EVERY = 0.2, 2.0
"""Seconds between two looks: while it starts, and later."""

_LINES, _WIDTH, _TAIL = 8, 300, 1 << 15
"""Lines of a log in an error, characters of each, bytes that are read for them."""


@dataclass(frozen=True)
class Launch:
    """What is started: `command` with `environment` besides the run's own, at `port`, where it is
    to list `model` and to take `key`; its output goes to `log`. `startup` is the seconds until it
    has to be ready, `silence` those that it may leave a look without an answer: as many as a
    request may take, as a busy server may answer in turn."""

    number: int
    command: list[str]
    environment: Mapping[str, str]
    port: int
    model: str
    key: str
    log: Path
    startup: float
    silence: float


class _Process(NamedTuple):
    """A server's guardian, and where in the log its output begins."""

    guardian: subprocess.Popen[bytes]
    begin: int


class Replica:
    """One server. `run` is a thread's work. `ready`: it can be asked; `failure`: why it is given
    up, None: it is not. `say` takes what there is to tell, and `changed` is called after each
    change, both in that thread."""

    def __init__(
        self, launch: Launch, say: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self.launch = launch
        self.ready = False
        self.failure: str | None = None
        self._say, self._changed = say, changed
        self._was_ready = False
        self._stopping = threading.Event()
        self._guardian: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is asked; the same after each start."""
        return f"http://{HOST}:{self.launch.port}/v1"

    def stop(self) -> None:
        """Stop the server, and let `run` return once it has ended."""
        self._stopping.set()
        if self._guardian and self._guardian.stdin:
            self._guardian.stdin.close()  # a look that waits for an answer ends with the server

    def run(self) -> None:
        """Keep the server running until `stop`. It is given up if it does not come up at first, or
        has been started again `RESTARTS` times."""
        problem = ""
        for start in range(1, RESTARTS + 2):
            problem = self._live(start)
            if self._stopping.is_set():
                return
            if not self._was_ready:
                break
            if start <= RESTARTS:
                self._say(
                    f"Note: {problem}. It is started again ({start} of {RESTARTS} times at most)"
                )
        self.failure = problem
        self._changed()

    def _live(self, start: int) -> str:
        """Start the server; what went wrong, once something has."""
        try:
            with self._started(start) as process:
                problem = self._come_up(process)
                if problem or self._stopping.is_set():
                    return self._told(process, problem)
                self._set_ready(True)
                if start > 1:
                    self._say(f"server {self.launch.number} is back")
                problem = self._watch(process)
                self._set_ready(False)
                return self._told(process, problem)
        except OSError as error:
            return f"server {self.launch.number} cannot be started: {error}"

    def _set_ready(self, ready: bool) -> None:
        self.ready, self._was_ready = ready, True
        self._changed()

    @contextmanager
    def _started(self, start: int) -> Iterator[_Process]:
        """The server, until the block ends."""
        launch = self.launch
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        with launch.log.open("ab") as log:
            log.write(self._first_line(start).encode("utf-8", "replace"))
            log.flush()
            begin = log.tell()
            guardian = self._guardian = self._guarded(log)
        try:
            yield _Process(guardian, begin)
        finally:
            assert guardian.stdin is not None
            guardian.stdin.close()
            guardian.wait()

    def _guarded(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        own = [sys.executable, "-I", str(Path(guarding.__file__)), str(GRACE)]
        return subprocess.Popen(
            [*own, *self.launch.command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.launch.environment},
            start_new_session=True,  # the terminal's Ctrl-C is the run's
        )

    def _first_line(self, start: int) -> str:
        """What the log says of a start."""
        launch, when = self.launch, time.strftime("%Y-%m-%d %H:%M:%S")
        gpus = launch.environment.get(VARIABLE)
        on = "" if gpus is None else f"{VARIABLE}={gpus} "
        shown = redact(shlex.join(launch.command), environment_secrets())
        return f"--- {when} server {launch.number}, start {start}: {on}{shown}\n"

    def _come_up(self, process: _Process) -> str:
        """Wait until the server can be asked; what is wrong, empty: nothing."""
        launch, end = self.launch, time.monotonic() + self.launch.startup
        while not self._stopping.is_set():
            if process.guardian.poll() is not None:
                return f"ended before it was ready ({_ending(process.guardian.returncode)})"
            seen = look(launch.port, launch.key, _STARTING, with_models=True)
            if seen.state is State.REFUSED:
                return f"refuses the key that it was given in its environment ({seen.words})"
            if seen.state is State.WELL:
                if seen.models and launch.model not in seen.models:
                    there = ", ".join(map(repr, seen.models[:8]))
                    return f"serves {there}, not {launch.model!r}: --model has to be a name it has"
                return ""
            if time.monotonic() > end:
                limit = f"{launch.startup:g} s (--serve-timeout)"
                return f"was not ready within {limit}: {seen.words}"
            self._stopping.wait(_SOON)
        return ""

    def _watch(self, process: _Process) -> str:
        """Wait until the server has ended or is not well for too long; what is wrong."""
        launch, well = self.launch, time.monotonic()
        while not self._stopping.is_set():
            with suppress(subprocess.TimeoutExpired):
                return f"ended ({_ending(process.guardian.wait(_EVERY))})"
            seen = look(launch.port, launch.key, launch.silence, with_models=False)
            if seen.state is State.SILENT:
                return f"gives {seen.words} (--timeout)"
            if seen.state not in (State.UNWELL, State.CLOSED):
                well = time.monotonic()
            elif time.monotonic() - well > _UNWELL:
                return f"has not been well for {_UNWELL:g} s ({seen.words})"
        return ""

    def _told(self, process: _Process, problem: str) -> str:
        """A problem with the last lines of the log, on one line."""
        launch = self.launch
        lines = _last_lines(launch.log, process.begin, [launch.key, *environment_secrets()])
        ends = f"its log, {launch.log}, ends: {' | '.join(lines)}" if lines else "its log is empty"
        return f"server {self.launch.number} {problem}; {ends}"


def _ending(code: int) -> str:
    """An exit code, or a signal, as a shell or Python has it."""
    number = -code if code < 0 else code - 128
    return f"signal {number}" if 0 < number < 65 else f"exit code {code}"


def _last_lines(log: Path, begin: int, secrets: list[str]) -> list[str]:
    """The last lines of a log, from a place on, without secrets."""
    with log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if end - _TAIL > begin:
            file.seek(end - _TAIL)
            file.readline()  # a part of a line, and perhaps of a secret
        else:
            file.seek(begin)
        text = redact(file.read().decode("utf-8", "replace"), secrets)
    lines = text.splitlines()
    return [line.strip()[:_WIDTH] for line in lines if line.strip()][-_LINES:]
