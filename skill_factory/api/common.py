"""What all functions of the API share: paths as they may be given, and the errors of the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skill_factory.errors import OutputError, of_disk

PathLike = str | Path
"""A path; a text may also be the URL of a store, where a function says that it takes one."""


@contextmanager
def disk() -> Iterator[None]:
    """Turn errors of the disk into ours."""
    try:
        yield
    except OSError as error:
        raise OutputError(of_disk(error)) from None
