"""Where the parts of a stage run: here, or in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import pyarrow as pa

from skill_factory.errors import EngineError

S = TypeVar("S")
T = TypeVar("T")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(task: Callable[[int], T], parts: int, workers: int) -> Iterator[T]:
    """The results of `task(0)` to `task(parts - 1)`, in this order; `task` must be picklable if `workers` > 1.

    An exception in a task is raised here. Raises `EngineError` if a worker process is killed.
    """
    if workers == 1 or parts == 1:
        yield from map(task, range(parts))
        return
    # Spawned, not forked: Arrow has threads, and a fork copies their locks but not them.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, parts), context, initializer=_start_worker) as pool:
        try:
            yield from pool.map(task, range(parts))
        except BrokenProcessPool:
            raise EngineError(
                "a worker process was killed, most often because memory ran out; try fewer --workers"
            ) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def ahead(task: Callable[[S], T], items: Iterable[S]) -> Iterator[tuple[S, T]]:
    """Each item with `task(item)`, in order, while threads work on the next two; for tasks that let go of the GIL."""
    with ThreadPoolExecutor(2) as pool:
        waiting: deque[tuple[S, Future[T]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(task, item)))
            if len(waiting) > 2:
                first, result = waiting.popleft()
                yield first, result.result()
        for first, result in waiting:
            yield first, result.result()


def _start_worker() -> None:
    """Save memory, and do not outlive a parent that was killed: it cannot tell its workers any more."""
    save_memory()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def save_memory() -> None:
    """Let Arrow allocate with jemalloc where it is built in: it gives freed memory back, the default keeps it."""
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
