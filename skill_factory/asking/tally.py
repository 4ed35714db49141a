"""What became of all that was asked."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field

_WINDOW = 30.0
"""Seconds over which rates are measured."""


@dataclass
class Tally:
    """What became of a run's asks, in samples: those the journal `had`, those `skipped` as they
    were refused before, and those `asked` for. At the end `asked == answered + failed`.

    `refused` are those of the `failed` that are not asked for again, by `models.Refusal`. `retried`
    are requests that were sent again, because of `troubles`. `cost` is None without prices.
    `seconds` is the time so far, the rates are those of the last half minute; `concurrency` is how
    many requests may be in flight just now.
    """

    had: int = 0
    skipped: int = 0
    asked: int = 0
    answered: int = 0
    failed: int = 0
    retried: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    finish_reasons: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    attempts_per_second: float = 0.0
    tokens_per_second: float = 0.0
    concurrency: int = 0
    servers: tuple[int, int] | None = None
    """How many servers answer, of how many; None: there is one."""
    last_trouble: str = ""
    """What made a request be sent again last."""
    last_failure: str = ""
    """What failed last, and why."""
    last_refusal: str = ""
    """What was refused last, and why."""

    def add(self, other: Tally) -> None:
        """Add the counts of what was asked after this; rates are the other's."""
        self.had += other.had
        self.skipped += other.skipped
        self.asked += other.asked
        self.answered += other.answered
        self.failed += other.failed
        self.retried += other.retried
        for name in ("refused", "troubles", "finish_reasons"):
            getattr(self, name).update(getattr(other, name))
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        if other.cost is not None:
            self.cost = (self.cost or 0.0) + other.cost
        self.seconds += other.seconds
        self.attempts_per_second = other.attempts_per_second
        self.tokens_per_second = other.tokens_per_second
        self.concurrency, self.servers = other.concurrency, other.servers
        self.last_trouble = other.last_trouble or self.last_trouble
        self.last_failure = other.last_failure or self.last_failure
        self.last_refusal = other.last_refusal or self.last_refusal


class Rates:
    """How fast samples and tokens come, over the last half minute."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._marks: deque[tuple[float, int, int]] = deque()  # time, samples, tokens

    def measure(self, tally: Tally) -> None:
        """Bring a tally's time and rates up to date."""
        now, marks = time.monotonic(), self._marks
        marks.append((now, tally.answered, tally.completion_tokens))
        while now - marks[0][0] > _WINDOW:
            marks.popleft()
        then, answered, tokens = marks[0]
        tally.seconds = now - self._start
        if now > then:
            tally.attempts_per_second = (tally.answered - answered) / (now - then)
            tally.tokens_per_second = (tally.completion_tokens - tokens) / (now - then)
