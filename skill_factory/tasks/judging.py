"""Judges: processes that answer, a question at a time, so that what they do can be given up.

No more judge at a time than there are cores, however many threads ask; a question may take so many
seconds of its judge's CPU time, so what is decided does not depend on what else the machine does.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import math
import os
import queue
import secrets
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from skill_factory.errors import TaskError

START_SECONDS = 60.0
"""CPU time that a judge may take to load its libraries."""

PREPARING_SECONDS = 120.0
"""CPU time that a judge may take to prepare for a kind of question, once."""

PATIENCE = 60.0
"""Seconds by the clock that a question may take besides `SLOWEST` for each second of CPU time."""

SLOWEST = 30.0
"""How much slower than the CPU's own time the clock's is taken to be at most."""

LONGEST_REPLY = 256 << 20
"""Bytes."""

_WORKERS = Path(__file__).parent / "workers"
_CGROUPS = (
    ("/sys/fs/cgroup/cpu.max", None),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)


def cores() -> int:
    """The cores that this process may use: those it is bound to, or its container's share."""
    try:
        bound = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        bound = os.cpu_count() or 1
    return max(1, math.ceil(min(bound, *map(_share, _CGROUPS))))


def _share(files: tuple[str, str | None]) -> float:
    """The cores that a control group may use; infinite where it is not limited."""
    try:
        words = " ".join(Path(file).read_text() for file in files if file).split()
        quota, period = map(float, words)
    except (OSError, ValueError):  # none, or `max`
        return math.inf
    return quota / period if quota > 0 < period else math.inf


class _Lost(Exception):
    """A judge took too long, died, or said what no judge says."""


class _Here:
    """What judging needs once a process: turns, and the thread that starts judges.

    A judge dies with the thread that started it (`judge_sandbox.die_with`), so that must be one
    that lasts.
    """

    def __init__(self) -> None:
        self.turns = threading.BoundedSemaphore(cores())
        self._lock = threading.Lock()
        self._starter: threading.Thread | None = None
        self._wanted: queue.SimpleQueue[tuple[Callable[[], _Judge], Future[_Judge]]] = (
            queue.SimpleQueue()
        )

    def start(self, judge: Callable[[], _Judge]) -> _Judge:
        with self._lock:
            if self._starter is None:
                self._starter = threading.Thread(target=self._work, name="judges", daemon=True)
                self._starter.start()
        started: Future[_Judge] = Future()
        self._wanted.put((judge, started))
        return started.result()

    def _work(self) -> None:
        while True:
            judge, started = self._wanted.get()
            try:
                started.set_result(judge())
            except BaseException as error:
                started.set_exception(error)


_here = _Here()


def _after_fork() -> None:
    global _here
    _here = _Here()


os.register_at_fork(after_in_child=_after_fork)


def is_verdict(reply: Any) -> bool:
    """Whether a reply is True, False or None."""
    return reply is None or isinstance(reply, bool)


class Judges:
    """The judges of one file, each used by one thread at a time.

    `script` is the file, beside this one unless it is a path, that `judge_process` runs, and
    `library` the package it imports, called `name` by those who install it, with our `extra`;
    `purpose` is what cannot be done without. `valid` says what a reply may be: a judge that says
    something else is given up. `trusted`: nothing that it is asked is a model's, so it may run what
    it likes. `patience`: for one that hangs without using any CPU time.
    """

    def __init__(
        self,
        script: str,
        library: str,
        name: str,
        extra: str,
        purpose: str,
        valid: Callable[[Any], bool] = is_verdict,
        trusted: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self.script = script
        self.library = library
        self.name = name
        self.extra = extra
        self.purpose = purpose
        self.valid = valid
        self.trusted = trusted
        self.patience = patience
        self._all: set[_Judge] = set()
        self._idle: list[_Judge] = []
        atexit.register(self.dismiss)
        os.register_at_fork(after_in_child=self._forget)

    def ask(self, *arguments: Any, seconds: float) -> Any:
        """What a judge says within so many seconds of CPU time; None if it failed or died over it.

        Waits for a judge if all are busy. Raises `TaskError` if the library is not installed, or
        does not run.
        """
        with _here.turns:
            judge = self._ready()
            try:
                reply = judge.ask(arguments, seconds)
                if not self.valid(reply):
                    raise _Lost
            except _Lost:
                self._give_up(judge)
                return None
            except BaseException:  # Ctrl-C: its reply is still to come
                self._give_up(judge)
                raise
            self._idle.append(judge)
            return reply

    def _ready(self) -> _Judge:
        """An idle judge, or a new one."""
        while True:
            try:
                judge = self._idle.pop()
            except IndexError:
                return self._started()
            if judge.is_quiet():
                return judge
            self._give_up(judge)

    def _started(self) -> _Judge:
        if importlib.util.find_spec(self.library) is None:
            raise TaskError(
                f"{self.purpose} needs {self.name}: pip install 'skill-factory[{self.extra}]'"
            )
        judge = _here.start(self._new)
        try:
            judge.wait_until_ready()
        except _Lost:
            said = judge.last_error() or "it gives no reason"
            self._give_up(judge)
            raise TaskError(f"{self.name} is installed but does not run: {said}") from None
        except BaseException:
            self._give_up(judge)
            raise
        return judge

    def _new(self) -> _Judge:
        judge = _Judge(self.script, self.trusted, self.patience)
        self._all.add(judge)
        return judge

    def _give_up(self, judge: _Judge) -> None:
        self._all.discard(judge)
        judge.close()

    def dismiss(self) -> None:
        """End all judges; those that answer are given up."""
        while self._all:
            self._all.pop().close()

    def _forget(self) -> None:
        """In a forked child: these are the parent's judges, and a pipe that stays open here would
        keep them alive."""
        while self._all:
            self._all.pop().forget()
        self._idle = []


class _Judge:
    """A judging process, and the pipes to it."""

    def __init__(self, script: str, trusted: bool, patience: float) -> None:
        self.patience = patience
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self.process = subprocess.Popen(
            [
                # -P: the modules beside the file are not for the library to import
                *(sys.executable, "-P", str(_WORKERS / "judge_process.py"), str(_WORKERS / script)),
                *(str(os.getpid()), "trusted" if trusted else "guarded"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            bufsize=0,
            cwd="/",
            env=_environment(),
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.questions = self.process.stdin.fileno()
        self.replies = self.process.stdout.fileno()
        self.events = select.poll()
        self.events.register(self.questions, 0)
        self.events.register(self.replies, select.POLLIN)
        for pipe in (self.questions, self.replies):
            os.set_blocking(pipe, False)

    def wait_until_ready(self) -> None:
        if self._exchange(b"", START_SECONDS) != b"ready\n":
            raise _Lost

    def is_quiet(self) -> bool:
        """Whether it lives, and has said nothing unasked."""
        return not self.events.poll(0)

    def ask(self, arguments: tuple[Any, ...], seconds: float) -> Any:
        mark = secrets.token_hex(8)  # no earlier reply passes for this one
        question = json.dumps([mark, seconds, *arguments])
        reply = self._exchange(f"{question}\n".encode(), seconds)
        try:
            given, _, said = reply.decode().partition(" ")
            if given != mark:
                raise _Lost
            return json.loads(said)
        except (ValueError, RecursionError):
            raise _Lost from None

    def _exchange(self, question: bytes, seconds: float) -> bytes:
        """Write a question and read the line that answers it."""
        budget = _Budget(self.process.pid, seconds, self.patience)
        reply = b""
        try:
            while not reply.endswith(b"\n"):
                question = self._write(question)
                if self.events.poll(1000 * budget.next_wait):
                    reply = budget.without_marks(reply + self._read())
                else:
                    budget.waited += budget.next_wait
                if budget.is_spent() or len(reply) > LONGEST_REPLY:
                    raise _Lost
        except OSError:
            raise _Lost from None
        return reply

    def _write(self, question: bytes) -> bytes:
        """Write what the pipe has room for; what of the question is left."""
        if question:
            with contextlib.suppress(BlockingIOError):
                question = question[os.write(self.questions, question) :]
            self.events.modify(self.questions, select.POLLOUT if question else 0)
        return question

    def _read(self) -> bytes:
        try:
            read = os.read(self.replies, 1 << 20)
        except BlockingIOError:
            return b""
        if not read:
            raise _Lost
        return read

    def last_error(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip().rpartition("\n")[2]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._close_files()

    def forget(self) -> None:
        """Leave it to the process that this one was forked from."""
        self.process.returncode = 0  # else Popen looks for a child that is not ours
        self._close_files()

    def _close_files(self) -> None:
        for file in (self.process.stdin, self.process.stdout, self.errors):
            if file:
                file.close()


class _Budget:
    """What a judge may still take for a question: CPU time, and far more time by the clock, for one
    that hangs without working. The clock stands still while this process does not run."""

    def __init__(self, pid: int, seconds: float, patience: float) -> None:
        self.pid = pid
        self.patience = patience
        self._marks = [(b"preparing\n", PREPARING_SECONDS), (b"prepared\n", seconds)]
        self._begin(seconds)

    def _begin(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = _cpu_seconds(self.pid)
        self.waited = 0.0
        self.next_wait = min(1.0, seconds)

    def without_marks(self, reply: bytes) -> bytes:
        """What was read, without the lines that say that preparing begins and ends."""
        while self._marks and reply.startswith(self._marks[0][0]):
            mark, seconds = self._marks.pop(0)
            reply = reply.removeprefix(mark)
            self._begin(seconds)
        return reply

    def is_spent(self) -> bool:
        left = self.seconds - (_cpu_seconds(self.pid) - self.begun)
        self.next_wait = min(1.0, max(0.05, left))
        return left <= 0 or self.waited > self.patience + SLOWEST * self.seconds


def _cpu_seconds(pid: int) -> float:
    """The CPU time of a process; 0.0 where it cannot be had, and only the judge's own timer holds.

    Linux numbers a process's clock so (`clock_getcpuclockid`); Python has no name for it.
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def _environment() -> dict[str, str]:
    """What a judge knows of ours: where modules are. The rest, keys and tokens, is not for it."""
    kept = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
        "PYTHONHASHSEED": "0",  # the same is said of the same in every run
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }
