"""How much memory this process may have: the machine's, or less where a container says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes of memory: the least of the machine's and the limits of the control groups this
    process is in (https://docs.kernel.org/admin-guide/cgroup-v2.html, `memory.max`; version 1:
    `memory.limit_in_bytes`). `root` is where the system's files are."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not on Linux
        return
    for line in groups:
        _, controllers, group = line.split(":", 2)
        if controllers in ("", "memory"):
            mounted = root / "sys/fs/cgroup" / controllers
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            place = mounted / group.lstrip("/")
            # In a container its own group may be mounted as the root, and not be found by its name.
            above = (one for one in place.parents if one.is_relative_to(mounted))
            for folder in {mounted, place, *above}:
                with suppress(OSError, ValueError):  # ValueError: `max`, no limit
                    yield int((folder / name).read_text())
