"""Starts a model server, and ends it with all its descendants when whoever asked for it is gone.

    python guardian.py GRACE COMMAND...        # GRACE: seconds between SIGTERM and SIGKILL

A program of its own, of the standard library alone. Its standard input is a pipe from the run:
when that closes, the run has ended, by kill -9 too. A signal would not do: PR_SET_PDEATHSIG is
sent when the thread ends that forked, and the server's own children do not inherit it. Servers
put processes into groups of their own, and leave orphans: as their subreaper the guardian stays
the ancestor of all of them (prctl(2), PR_SET_CHILD_SUBREAPER, Linux 3.4). Without /proc, only the
server's own group is ended. Its exit code is the server's.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PDEATHSIG, _SUBREAPER = 1, 36
"""PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER, in linux/prctl.h."""

_GIVE_UP = 60.0
"""Seconds after SIGKILL: a process that hangs in a driver may not end at all."""

_PROC = Path("/proc")
_ON_LINUX = sys.platform == "linux"


def main(grace: float, command: list[str]) -> int:
    """Start the server, wait until it or the run has ended, and end what is left of it."""
    run, wakes = os.getppid(), _wake_on_signals()
    prctl = ctypes.CDLL(None).prctl if _ON_LINUX else None
    if prctl:
        prctl(_SUBREAPER, 1, 0, 0, 0)

    def die_with_the_guardian() -> None:
        if prctl:
            prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    try:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_the_guardian,
        )
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode("utf-8", "replace"))  # the log
        return 127
    code = _wait(server.pid, run, wakes)
    _end(server.pid, grace)
    return 0 if code is None else code


def _wake_on_signals() -> int:
    """A file that can be read once a child has ended, or this process is to."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the server would inherit
    return read


def _wait(server: int, run: int, wakes: int) -> int | None:
    """The server's exit code, as a shell has it; None: the run has ended before, or this process
    is to end."""
    while os.getppid() == run:
        ready, _, _ = select.select([sys.stdin, wakes], [], [], 1.0)
        if sys.stdin in ready:  # nothing is ever written: it is closed
            return None
        if wakes in ready and {signal.SIGTERM, signal.SIGHUP} & set(os.read(wakes, 4096)):
            return None
        for pid, status in _reap():
            if pid == server:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
    return None


def _reap() -> Iterator[tuple[int, int]]:
    """The children that have ended, orphans of the server among them, and how."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended


def _end(server: int, grace: float) -> None:
    """End all descendants: SIGTERM once for each, SIGKILL after the grace."""
    start, asked = time.monotonic(), set[int]()
    while True:
        list(_reap())
        left, waited = _descendants(server), time.monotonic() - start
        if not left or waited > grace + _GIVE_UP:
            return
        number = signal.SIGTERM if waited < grace else signal.SIGKILL
        for pid in left if number == signal.SIGKILL else left - asked:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        asked |= left
        time.sleep(0.05)


def _descendants(server: int) -> set[int]:
    """The processes below this one, without those that have ended; without /proc the server's
    group, as kill(2) has it."""
    if not _ON_LINUX:
        with suppress(ProcessLookupError):
            os.killpg(server, 0)
            return {-server}
        return set()
    children: dict[int, list[int]] = {}
    for stat in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            # "pid (name) state ppid ...", and a name may have anything in it.
            state, parent = stat.read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, ahead = set[int](), [os.getpid()]
    while ahead:
        below = children.get(ahead.pop(), [])
        found.update(below)
        ahead += below
    return found


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
