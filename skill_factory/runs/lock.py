"""One run at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skill_factory.errors import OutputError

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder, which is made if it is not there. Raises `OutputError` if it cannot be
    written, or another run has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / NAME, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"{folder}: another run is at work in it; wait until it has ended"
        ) from None
    except OSError:
        pass  # a file system without locks
