"""Ctrl-C while a model is asked: the first lets what is in flight come home, the second ends it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from skill_factory.asking.tally import Tally


class Interrupted(Exception):
    """Ctrl-C ended the asking; `tally` says what became of what was asked until then."""

    def __init__(self, tally: Tally) -> None:
        super().__init__("interrupted")
        self.tally = tally


@contextmanager
def on_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C while the block runs call `act`, in the running event loop. The second
    does what it did before the block. Outside the main thread, or where Ctrl-C is ignored, nothing
    changes."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    loop = asyncio.get_running_loop()

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        loop.call_soon_threadsafe(act)

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is first:
            signal.signal(signal.SIGINT, before)
