"""How the memory that step 2 may take is shared out: how much is read, held and woven at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from skill_factory.core.machine_memory import memory_limit
from skill_factory.core.threads import MOST_USEFUL, default_workers
from skill_factory.errors import OptionError
from skill_factory.stages.create.settings import CreateConfig

MB = 1_000_000
_OURS = 170 * MB
"""The interpreter, Arrow, NumPy and our code (105 MB), and what they keep of what they freed."""

_TOKENIZER = 300 * MB
"""transformers and a tokenizer."""

_USED = 0.93
"""Of the budget; the rest is lost between what is allocated."""


_DECODED = 4
"""A batch is there so often: as decoded, with typed columns, as attempts, and as usable ones."""


class Sizes(NamedTuple):
    """How much is held at a time.

    Bytes: of a `batch` of the input, of the `buffer` before the spill, of a `part` of the spill, of
    `woven` traces. `steps`: attempts in planned traces.
    """

    batch: float
    buffer: float
    part: float
    woven: float
    steps: float


LEAST = Sizes(1 << 20, 4 << 20, 4 << 20, 2 << 20, 5_000)
"""With less, most of the time would go to what each piece takes by itself."""

MOST = Sizes(16 << 20, 32 << 20, 256 << 20, 48 << 20, 200_000)
"""More is no faster."""


def _rates(workers: int) -> Sizes:
    """How much of each goes with a byte of memory. A batch is there as it was decoded, with typed
    columns, as attempts and as usable ones, and `in_order` holds some; a part is there as read and
    with its texts in one array; woven traces are there as pieces, traces, and while they are
    checked and compressed."""
    return Sizes(
        batch=0.75 / _DECODED / 2 / (min(workers, MOST_USEFUL) + 2),
        buffer=0.25 / 2,
        part=0.45 / 2.5 / workers,
        woven=0.35 / 6 / workers,
        steps=0.2 / 1_000 / workers,
    )


class Memory(NamedTuple):
    """What step 2 may hold: `budget` bytes in all, in `workers` threads, of each so much at a time.

    `largest_batch` and `largest_part` are the most bytes of what cannot be cut: of a batch of a few
    rows, and of a part of one question, beside which no other part is held.
    """

    budget: int
    workers: int
    batch: int = int(MOST.batch)
    buffer: int = int(MOST.buffer)
    part: int = int(MOST.part)
    woven: int = int(MOST.woven)
    steps: int = int(MOST.steps)
    largest_batch: int = 1 << 62
    largest_part: int = 1 << 62

    @property
    def is_tight(self) -> bool:
        """Whether less is held at a time than is fast."""
        return self.batch < MOST.batch or self.woven < MOST.woven

    def for_batch(self, size: int) -> int:
        """The budget with which a batch of this size could be held."""
        return self._budget(size / self.largest_batch)

    def for_part(self, size: int) -> int:
        """The budget with which a part of this size could be held."""
        return self._budget(size / self.largest_part)

    def _budget(self, times: float) -> int:
        """The budget with so many times the room."""
        room = self.largest_part / _rates(1).part / _USED
        return round(self.budget + (times - 1) * room)


def memory_of(config: CreateConfig) -> Memory:
    """What `create` may hold with these settings: fewer threads where the budget is not enough for
    all. Raises `OptionError` if it is not enough for one."""
    budget = config.memory or memory_limit() // 4
    ours = _OURS + (_TOKENIZER if config.tokenizer else 0)
    room, workers = budget * _USED - ours, config.workers or default_workers()
    while workers > 1 and room < _needed(workers):
        workers -= 1
    if room < _needed(workers):
        least = (ours + _needed(1)) / _USED
        raise OptionError(f"--memory {shown(budget)}: create needs {shown(least, up=True)} or more")
    rates = _rates(workers)
    sizes = {
        name: int(min(getattr(MOST, name), getattr(rates, name) * room)) for name in Sizes._fields
    }
    largest = {
        "largest_batch": int(2 * rates.batch * room),
        "largest_part": int(_rates(1).part * room),
    }
    return Memory(budget, workers, **sizes, **largest)


def _needed(workers: int) -> float:
    return max(least / rate for least, rate in zip(LEAST, _rates(workers), strict=True))


def shown(size: float, up: bool = False) -> str:
    """A number of bytes for a person, as the setting takes it; `up`: not less than it is."""
    unit, sign = (1000 * MB, "GB") if size >= 1000 * MB else (MB, "MB")
    digits = 1 if unit > MB else 0
    more = 0.5 / 10**digits if up else 0
    return f"{size / unit + more:.{digits}f}{sign}"


class Room:
    """So many bytes, of which each thread may hold some. One that asks for more than there are gets
    them when it is alone."""

    def __init__(self, size: int) -> None:
        self._size, self._held = size, 0
        self._changed = threading.Condition()

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Wait until there is room for so many bytes, and hold them while the block runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + size <= self._size)
            self._held += size
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()
