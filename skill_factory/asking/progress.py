"""How far a stage is, for people: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tqdm import tqdm

from skill_factory.asking.requests import Ask
from skill_factory.asking.tally import Tally
from skill_factory.core.closing import Closing
from skill_factory.core.terminal import echo, has_terminal
from skill_factory.errors import SkillFactoryError
from skill_factory.models import Completion

EVERY = 30.0
"""Seconds between two lines in a log."""

SOON = 5.0
"""Seconds until the first one."""

_WAITING = 256
"""Requests whose answers wait to be judged; those of more are let go unjudged."""

_REST = 19
"""Seconds of rest for one of judging: while one thread computes, the one that asks has to wait."""


class Meter(Closing):
    """Shows how many of `total` things are done; a context manager. `bar` None: a bar if the
    errors' stream is a terminal that has room for one, else a line `every` so many seconds."""

    def __init__(
        self, stage: str, total: int, *, bar: bool | None = None, every: float = EVERY
    ) -> None:
        self._stage, self._total, self._every = stage, total, every
        self._next = time.monotonic() + min(every, SOON)
        self._bar = tqdm(
            total=total,
            desc=stage,
            disable=not (has_terminal() if bar is None else bar),
            leave=False,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, {postfix}",
        )

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def show(self, done: int, text: str) -> None:
        """Show how many are done, and a text."""
        if not self._bar.disable:
            self._bar.n = done
            self._bar.set_postfix_str(text)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            echo(f"{self._stage}: {done:,} of {self._total:,}, {text}", err=True)


class Progress(Closing):
    """Shows a stage's tally; a context manager, whose methods are what `collect` calls.

    `total` is the number of samples in all. `good` says of an answer whether it is `called` so
    ("right"): a thread asks it, so that it may take its time, and of what it has no time for
    nothing is known. Once it raises a `SkillFactoryError`, it is asked no more, and nothing is
    shown of it. `bar` and `every` are as `Meter` has them.
    """

    def __init__(
        self,
        stage: str,
        total: int,
        good: Callable[[Ask, Completion], bool],
        called: str,
        *,
        bar: bool | None = None,
        every: float = EVERY,
    ) -> None:
        self.total, self.called = total, called
        self._good = good
        self._judged = self._found = 0
        self._over = threading.Event()
        self._waiting: queue.Queue[tuple[Ask, list[Completion]]] = queue.Queue(_WAITING)
        self._judge = threading.Thread(target=self._work, name="progress", daemon=True)
        self._meter = Meter(stage, total, bar=bar, every=every)

    def __enter__(self) -> Self:
        self._judge.start()
        return self

    def close(self) -> None:
        """Judge no more, and take the bar away."""
        self._over.set()
        self._judge.join()
        self._meter.close()

    def answered(self, ask: Ask, answers: list[Completion]) -> None:
        """Take in answers."""
        with suppress(queue.Full):
            self._waiting.put_nowait((ask, answers))

    def show(self, tally: Tally) -> None:
        """Show how far it is."""
        self._meter.show(self.total - _left(self.total, tally), self.line(tally))

    def line(self, tally: Tally) -> str:
        """Rates, tokens, cost, how many answers are good so far, and the time left."""
        parts = [
            f"{tally.attempts_per_second:,.1f}/s",
            f"{tally.tokens_per_second:,.0f} tokens/s",
            f"{tally.prompt_tokens + tally.completion_tokens:,} tokens",
        ]
        if tally.servers is not None:
            parts.append("{} of {} servers answer".format(*tally.servers))
        if tally.cost is not None:
            parts.append(f"cost {tally.cost:,.2f}")
        if self._judged:
            parts.append(f"{self.called} {100 * self._found / self._judged:.0f} %")
        if tally.failed:
            parts.append(f"failed {tally.failed:,}")
        if tally.troubles:
            parts.append(f"sent again {tally.retried:,} ({tally.last_trouble[:60]})")
        left = _left(self.total, tally)
        if tally.attempts_per_second:
            parts.append(f"{_span(left / tally.attempts_per_second)} left")
        return ", ".join(parts)

    def _work(self) -> None:
        """The judging thread's loop."""
        while not self._over.is_set():
            try:
                ask, answers = self._waiting.get(timeout=0.1)
            except queue.Empty:
                continue
            start = time.thread_time()
            try:
                for answer in answers:
                    self._found += self._good(ask, answer)
                    self._judged += 1
            except SkillFactoryError:  # the stage that depends on it will tell
                self._judged = 0
                return
            self._over.wait(min(EVERY, _REST * (time.thread_time() - start)))


def _left(total: int, tally: Tally) -> int:
    return total - tally.had - tally.skipped - tally.answered - tally.failed


def _span(seconds: float) -> str:
    """A time for people.

    >>> _span(59), _span(3 * 3600 + 61)
    ('00:59', '3:01:01')
    """
    return str(tqdm.format_interval(seconds))
