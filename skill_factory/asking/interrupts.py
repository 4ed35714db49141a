"""Ctrl-C while a model is asked: the first lets what is in flight come home, the second ends it.

In a notebook an event loop runs in the main thread, which alone is told of Ctrl-C: there the asking
goes on in a thread, and is told by the main one.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from skill_factory.asking.tally import Tally

_T = TypeVar("_T")
_Act = Callable[[], None]

_acts: dict[asyncio.AbstractEventLoop, _Act] = {}
"""What the first Ctrl-C does, by the event loop of a thread."""


class Interrupted(Exception):
    """Ctrl-C ended the asking; `tally` says what became of what was asked until then."""

    def __init__(self, tally: Tally) -> None:
        super().__init__("interrupted")
        self.tally = tally


@contextmanager
def on_interrupt(act: _Act) -> Iterator[None]:
    """Let the first Ctrl-C while the block runs call `act`, in the running event loop. The second
    does what it did before the block. Where Ctrl-C is ignored, nothing changes."""
    loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        _acts[loop] = act
        try:
            yield
        finally:
            _acts.pop(loop, None)
        return
    if not callable(before):
        yield
        return

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        loop.call_soon_threadsafe(act)

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is first:
            signal.signal(signal.SIGINT, before)


def run_async(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end, as `asyncio.run`; where an event loop runs already, in a thread,
    to which Ctrl-C is passed on."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    started: Future[tuple[asyncio.AbstractEventLoop, _Act]] = Future()

    async def inside() -> _T:
        task = asyncio.current_task()
        assert task is not None

        def cancel() -> None:
            task.cancel()

        started.set_result((asyncio.get_running_loop(), cancel))
        return await work

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(asyncio.run, inside())
        while True:
            try:
                return done.result()
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None
            except KeyboardInterrupt:
                if done.done():
                    raise
                loop, cancel = started.result()
                loop.call_soon_threadsafe(_acts.pop(loop, cancel))
