"""How far it is: a bar where there is room for one, else a line now and then."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import pytest

from skill_factory.asking.progress import Meter


@contextmanager
def terminal(rows: int, columns: int) -> Iterator[int]:
    """A terminal of this size as the errors' stream; what to read from it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with os.fdopen(theirs, "w") as stream, redirect_stderr(stream):
        yield ours
    os.close(ours)


def shown(rows: int, columns: int) -> str:
    with terminal(rows, columns) as ours:
        with Meter("sample", 200, every=0.0) as meter:
            meter.show(50, "1.0/s")
            meter.show(100, "2.0/s")
        return os.read(ours, 1 << 16).decode()


def test_a_terminal_of_no_size_gets_lines() -> None:
    assert shown(0, 0).splitlines() == ["sample: 50 of 200, 1.0/s", "sample: 100 of 200, 2.0/s"]


def test_a_terminal_gets_a_bar() -> None:
    said = shown(24, 80)
    assert "sample   0%|" in said
    assert "50 of 200" not in said


def test_a_log_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("grade", 3, every=0.0) as meter:
        meter.show(1, "right 50 %")
    assert capsys.readouterr().err == "grade: 1 of 3, right 50 %\n"


def test_lines_come_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("grade", 3, every=3600.0) as meter:
        for done in range(3):
            meter.show(done, "")
    assert capsys.readouterr().err == ""
