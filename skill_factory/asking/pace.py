"""How hard a server is asked: at most so many requests at a time, found out as TCP does (RFC 5681).

The number of requests in flight doubles, then grows by steps, and is halved when the server is too
busy or too slow. A server that answers nothing any more is left in peace, but for one request now
and then, until it is back.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from skill_factory.models import Kind, Trouble

_DEAD = 8
"""Requests in a row that fail until the server is taken to be gone."""


@dataclass(frozen=True)
class Pace:
    """How hard a server is asked; times in seconds.

    At most `concurrency` requests are in flight at each server. A request that fails is sent again
    after `wait`, then after twice as long and so on up to `longest_wait`, `tries` times in all:
    then its samples are counted as failed, and the next run asks for them. A server that is not
    there uses up no tries; when it has not been for `patience` (None: ever), the run ends.
    `skip_too_long`: prompts that do not fit the model's context are counted as failed instead of
    ending the run.
    `retry_refused`: ask again what the server refused before. Prices are of a million tokens; None:
    not known. Progress is told `every` so often.
    """

    concurrency: int = 256
    patience: float | None = 1800.0
    tries: int = 6
    wait: float = 1.0
    longest_wait: float = 30.0
    skip_too_long: bool = False
    retry_refused: bool = False
    prompt_price: float | None = None
    completion_price: float | None = None
    every: float = 0.5


class Throttle:
    """How many requests may be in flight, and from when on. Times are of `time.monotonic`."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.limit = float(min(pace.concurrency, 16))
        self.ceiling = float(pace.concurrency)  # up to here the limit doubles
        self.streak = 0  # troubles since the last success
        self.since = 0.0  # when the first of them was
        self.pause = 0.0  # seconds of the last pause
        self.until = 0.0  # when the pause ends
        self.asked_until = 0.0  # until when the server has asked to be left alone
        self.eased = 0.0  # when the pace was last lowered
        self.last_success = 0.0
        self.last = ""

    @property
    def is_dead(self) -> bool:
        """Whether nothing is answered any more."""
        return self.streak >= _DEAD

    def room(self, now: float) -> int:
        """How many requests may be in flight."""
        return 0 if now < self.until else int(self.limit)

    def exhausted(self, now: float) -> bool:
        """Whether the server has been away, or asks to be left alone, for too long."""
        patience = self.pace.patience
        if patience is None:
            return False
        away = self.is_dead and now - self.since > patience
        return away or self.asked_until - now > patience

    def asks_for_too_much(self, now: float) -> str:
        """That the server asks for more than our patience, for a message; empty: it does not."""
        wait, patience = self.asked_until - now, self.pace.patience
        if patience is None or wait <= patience:
            return ""
        return f"; it asks to be left alone for {wait:,.0f} s, the patience is {patience:,.0f} s"

    def sleep(self, now: float, due: list[float]) -> float:
        """Seconds until something changes by itself: the pause ends, or something is `due`."""
        return min((when for when in (self.until, *due) if when > now), default=now + 60.0) - now

    def succeed(self) -> None:
        """Take in an answer."""
        self.streak, self.pause, self.last_success = 0, 0.0, time.monotonic()
        step = 1.0 if self.limit < self.ceiling else max(1, self.pace.concurrency / 64) / self.limit
        self.limit = min(self.limit + step, self.pace.concurrency)

    def struggle(self, trouble: Trouble, started: float) -> None:
        """Take in a trouble of a request that was sent when it `started`."""
        now, stale = time.monotonic(), started < self.eased
        self.last = str(trouble)
        if trouble.retry_after is not None:
            self.asked_until = max(self.asked_until, now + trouble.retry_after)
            self.until = max(self.until, self.asked_until)
        if stale and trouble.kind is Kind.BUSY:
            return  # one of the same burst as the last: nothing new
        self.since = now if self.streak == 0 else self.since
        self.streak += 1
        if stale and self.streak != _DEAD:
            return
        dead = self.is_dead
        if not dead and trouble.kind not in (Kind.BUSY, Kind.SLOW):
            return
        if self.limit > 1:
            self.ceiling = max(1.0, self.limit / 2)
        self.limit = 1.0 if dead else self.ceiling
        self.eased = now
        if dead or (trouble.retry_after is None and trouble.kind is Kind.BUSY):
            self.pause = min(self.pace.longest_wait, max(self.pace.wait, 2 * self.pause))
            self.until = max(self.until, now + self.pause * random.uniform(0.5, 1))
