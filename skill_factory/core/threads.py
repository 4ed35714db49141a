"""Where the parts of a stage run: in threads of this process.

Threads, because nearly all of the work is Arrow's, which lets go of the GIL: on two cores, for
450 MB of text, they took 2.9 s and 490 MB, and spawned processes 3.3 s and 620 MB.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

S = TypeVar("S")
T = TypeVar("T")

MOST_USEFUL = 4
"""More threads than this wait for each other's Python."""


def default_workers() -> int:
    """One for each core this process may use, but no more than are useful."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(there or 1, MOST_USEFUL)


def in_order(task: Callable[[S], T], items: Iterable[S], workers: int) -> Iterator[tuple[S, T]]:
    """Each item with `task(item)`, in the items' order, while up to `workers` threads work ahead.

    Items are taken as they are needed, so that few are in memory. The first exception, of a task
    or of the items, is raised when its turn comes; tasks that have not begun are then dropped.
    """
    waiting: deque[tuple[S, Future[T]]] = deque()
    source = iter(items)
    pool = ThreadPoolExecutor(workers)
    try:
        failure: Exception | None = None
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            waiting.append((item, pool.submit(task, item)))
            if len(waiting) > workers:
                first, result = waiting.popleft()
                yield first, result.result()
        while waiting:
            first, result = waiting.popleft()
            yield first, result.result()
        if failure:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)


def release_at_once() -> None:
    """Let Arrow give freed memory back at once, and not within a second or, where the machine is
    busy, many (https://arrow.apache.org/docs/python/generated/pyarrow.jemalloc_set_decay_ms.html).
    """
    if pa.default_memory_pool().backend_name == "jemalloc":
        pa.jemalloc_set_decay_ms(0)


def save_memory() -> None:
    """Let Arrow allocate with jemalloc where it is built in: it gives freed memory back.

    450 MB of text peak at 380 to 400 MB so, and at 440 MB with Arrow's default (pyarrow 26).
    """
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
