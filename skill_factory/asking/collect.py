"""Ask a model for the samples that a journal lacks: all of them, each once.

How fast is found out (as TCP does, RFC 5681): the number of requests in flight doubles, then grows
by steps, and is halved when the server is too busy or too slow. A server that answers nothing any
more is left in peace, but for one request now and then, until it is back.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, NamedTuple

from skill_factory.asking.journal import Asked, Journal, Refused, Sample
from skill_factory.models import (
    Completion,
    Identified,
    Kind,
    Messages,
    Model,
    ModelError,
    Refusal,
    RefusedError,
    Sampling,
    TooLongError,
    Trouble,
)

_CHUNK = 64
"""Asks that are looked up in the journal together."""

_DEAD = 8
"""Requests in a row that fail until the server is taken to be gone."""

_ALL_REFUSED = 8
"""Prompts: when the first ones are all refused, it is the settings that are."""

_MOST_REFUSED = 32
"""Prompts: from so many on it is the settings, if fewer requests were answered."""

_WINDOW = 30.0
"""Seconds over which rates are measured."""


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

NEW = "not asked before"
"""Why most samples are asked for."""


class Ask(NamedTuple):
    """`count` samples are wanted of a prompt. `name` says to people, and from run to run, what is
    asked: the stage, the question's digest, the variant, ... `extra_body` goes into this prompt's
    requests besides (a grammar, as servers take one); None: nothing. `about` is for whoever asks,
    and goes nowhere."""

    messages: Messages
    count: int  # type: ignore[assignment]  # hides tuple.count
    name: tuple[str, ...]
    extra_body: Mapping[str, Any] | None = None
    about: Any = None

    def drawn(self, sampling: Sampling) -> Sampling:
        """How its samples are drawn, given how all of them are."""
        if not self.extra_body:
            return sampling
        return replace(sampling, extra_body={**sampling.extra_body, **self.extra_body})

    def key(self, model: Identified, sampling: Sampling) -> bytes:
        """The key of its samples in a journal."""
        return key_of(model, self.drawn(sampling), self.messages)


@dataclass(frozen=True)
class Pace:
    """How hard a server is asked; times in seconds.

    At most `concurrency` requests are in flight. A request that fails is sent again after `wait`,
    then after twice as long and so on up to `longest_wait`, `tries` times in all: then its samples
    are counted as failed, and the next run asks for them. A server that is not there uses up no
    tries; when it has not been for `patience` (None: ever), the run ends. `skip_too_long`: prompts
    that do not fit the model's context are counted as failed instead of ending the run.
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


@dataclass
class Tally:
    """What became of a run's asks, in samples: those the journal `had`, those `skipped` as they
    were refused before, and those `asked` for. At the end `asked == answered + failed`.

    `refused` are those of the `failed` that are not asked for again, by `models.Refusal`. `reasons`
    says why samples were asked for. `retried` are requests that were sent again, because of
    `troubles`. `cost` is None without prices. `seconds` is the time so far, the rates are those of
    the last half minute; `concurrency` is how many requests may be in flight just now.
    """

    had: int = 0
    skipped: int = 0
    asked: int = 0
    answered: int = 0
    failed: int = 0
    retried: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    finish_reasons: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    attempts_per_second: float = 0.0
    tokens_per_second: float = 0.0
    concurrency: int = 0
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
        for name in ("refused", "reasons", "troubles", "finish_reasons"):
            getattr(self, name).update(getattr(other, name))
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        if other.cost is not None:
            self.cost = (self.cost or 0.0) + other.cost
        self.seconds += other.seconds
        self.attempts_per_second = other.attempts_per_second
        self.tokens_per_second = other.tokens_per_second
        self.concurrency = other.concurrency
        self.last_trouble = other.last_trouble or self.last_trouble
        self.last_failure = other.last_failure or self.last_failure
        self.last_refusal = other.last_refusal or self.last_refusal


def key_of(model: Identified, sampling: Sampling, messages: Messages) -> bytes:
    """The digest of everything that reaches the model, 32 bytes, but for a sample's index."""
    return sha256(_json([model.identity, sampling.settings, messages])).digest()


def runs(idxs: Iterable[int]) -> list[range]:
    """Indices, neighbours together.

    >>> runs({5, 0, 1, 4})
    [range(0, 2), range(4, 6)]
    """
    found: list[range] = []
    for idx in sorted(idxs):
        if found and found[-1].stop == idx:
            found[-1] = range(found[-1].start, idx + 1)
        else:
            found.append(range(idx, idx + 1))
    return found


def seeded(sampling: Sampling, first: int) -> Sampling:
    """The sampling of a request whose first sample has this index."""
    if sampling.seed is None or first == 0:
        return sampling
    return replace(sampling, seed=sampling.seed + first)


class Lacking(NamedTuple):
    """An ask with the key of its samples, and the indices of those to ask for: what the journal
    lacks, but for so many that were `refused` before."""

    ask: Ask
    key: bytes
    absent: set[int]
    reason: str
    """Why what is absent is asked for."""
    refused: int = 0


def lacking(
    asks: list[Ask], model: Identified, sampling: Sampling, journal: Journal, retry: bool = False
) -> list[Lacking]:
    """What the journal lacks of some asks, with `retry` also what was refused before; notes there
    what is asked now."""
    found, news = compared(asks, model, sampling, journal, retry)
    if news:
        journal.note_asked(news)
    if retry and (again := journal.refused([lack.key for lack in found if lack.absent])):
        journal.forget_refused(again)
    return found


def compared(
    asks: list[Ask], model: Identified, sampling: Sampling, journal: Journal, retry: bool = False
) -> tuple[list[Lacking], dict[tuple[str, ...], Asked]]:
    """What the journal lacks of some asks, and by name what was not asked like this before."""
    keys = [ask.key(model, sampling) for ask in asks]
    have = journal.have(keys)
    refused = {} if retry else journal.refused(keys)
    before = journal.last_asked([ask.name for ask in asks])
    digests = _Digests(model, sampling)
    found, news = [], {}
    for ask, key in zip(asks, keys, strict=True):
        now = digests.of(ask)
        then = before.get(ask.name)
        if then != now:
            news[ask.name] = now
        absent = set(range(ask.count)) - have.get(key, set())
        if key in refused:
            found.append(Lacking(ask, key, set(), _reason(then, now), len(absent)))
        else:
            found.append(Lacking(ask, key, absent, _reason(then, now)))
    return found, news


def _reason(then: Asked | None, now: Asked) -> str:
    if then is None:
        return NEW
    names = {"messages": "the prompt", "model": "the model", "sampling": "the sampling"}
    changed = [names[part] for part in names if getattr(then, part) != getattr(now, part)]
    if changed:
        return f"{' and '.join(changed)} changed"
    return "asked before, but fewer or without an answer"


class _Digests:
    """What is asked, in digests; those of the model and its settings are the same for most."""

    def __init__(self, model: Identified, sampling: Sampling) -> None:
        self._sampling = sampling
        self._model = _digest(model.identity)
        self._settings = _digest(sampling.settings)

    def of(self, ask: Ask) -> Asked:
        drawn = ask.drawn(self._sampling)
        settings = self._settings if drawn is self._sampling else _digest(drawn.settings)
        return Asked(_digest(ask.messages), self._model, settings)


def _digest(value: object) -> bytes:
    return sha256(_json(value)).digest()[:16]


def _json(value: object) -> bytes:
    return _ENCODER.encode(value).encode()


async def collect(
    asks: Iterable[Ask],
    model: Model,
    sampling: Sampling,
    journal: Journal,
    *,
    settings: Pace | None = None,
    progress: Callable[[Tally], None] | None = None,
    answered: Callable[[Ask, list[Completion]], None] | None = None,
) -> Tally:
    """Ask for what the journal lacks; answers are written there as they come.

    `asks` are taken as they are needed. `progress` is called now and then, and at the end;
    `answered` with each answer that comes: it must be quick, as all requests wait for it. Raises
    `ModelError` if asking on is of no use or the server stays away for too long, and `OutputError`
    if the journal cannot be written; what was answered until then is in the journal.
    """
    collection = _Collection(asks, model, sampling, journal, settings or Pace())
    collection.answered = answered or collection.answered
    return await collection.run(progress or (lambda tally: None))


class _Job(NamedTuple):
    """A request: samples of one key, and how often it has failed."""

    ask: Ask
    key: bytes
    run: range
    tries: int = 0


class _Collection:
    """One call of `collect`."""

    def __init__(
        self, asks: Iterable[Ask], model: Model, sampling: Sampling, journal: Journal, pace: Pace
    ) -> None:
        self.asks = iter(asks)
        self.model = model
        self.sampling = sampling
        self.journal = journal
        self.pace = pace
        self.tally = Tally()
        self.throttle = _Throttle(pace)
        self.more = True  # asks may be left
        self.ready: deque[_Job] = deque()
        self.delayed: list[tuple[float, int, _Job]] = []  # a heap: when, a number, what
        self.left = 0  # jobs that have not ended: ready, delayed and in flight
        self.taken: dict[bytes, set[int]] = {}  # by key, the indices of these and of `ended`
        self.ended: list[_Job] = []  # since the last look into the journal
        self.refusals = _Refusals()
        self.good = 0  # requests that were answered
        self.tasks: set[asyncio.Task[None]] = set()
        self.fatal: BaseException | None = None
        self.news = asyncio.Event()
        self.numbers = itertools.count()
        self.start = time.monotonic()
        self.marks: deque[tuple[float, int, int]] = deque()  # time, samples, tokens
        self.answered: Callable[[Ask, list[Completion]], None] = lambda ask, answers: None

    async def run(self, progress: Callable[[Tally], None]) -> Tally:
        ticker = asyncio.create_task(self._tick(progress))
        ticker.add_done_callback(self._done)
        try:
            while self.more or self.left:
                self.news.clear()
                wake = self._send()
                while self.more and not self.fatal and len(self.ready) < self.pace.concurrency:
                    await self._look()
                    wake = self._send()
                if self.left and not self.fatal:
                    timer = asyncio.get_running_loop().call_at(wake, self.news.set)
                    await self.news.wait()
                    timer.cancel()
                if self.fatal:
                    raise self.fatal
        finally:
            for task in (ticker, *self.tasks):
                task.cancel()
            await asyncio.gather(ticker, *self.tasks, return_exceptions=True)
            await asyncio.to_thread(self.journal.flush)
            await asyncio.to_thread(self._note_refused, self.refusals.news(self._evidence))
        self._see_settings(2)
        self._measure()
        progress(self.tally)
        return self.tally

    async def _look(self) -> None:
        """Take some asks, and make jobs of what the journal lacks of them."""
        asks = list(itertools.islice(self.asks, _CHUNK))
        self.more = bool(asks)
        for job in self.ended:  # what these brought the journal has
            self.taken[job.key].difference_update(job.run)
            if not self.taken[job.key]:
                del self.taken[job.key]
        self.ended.clear()
        # In a thread: a disk may take its time, and requests are in flight.
        found = await asyncio.to_thread(self._lacking, asks, self.refusals.news(self._evidence))
        for ask, key, absent, reason, refused in found:
            idxs = absent - self.taken.get(key, set())  # a prompt may be asked for twice
            self.tally.had += ask.count - len(idxs) - refused
            self.tally.skipped += refused
            if idxs:
                self.tally.asked += len(idxs)
                self.tally.reasons[reason] += len(idxs)
                self.taken.setdefault(key, set()).update(idxs)
                self._queue(_Job(ask, key, run) for run in runs(idxs))

    def _lacking(self, asks: list[Ask], refused: dict[bytes, Refused]) -> list[Lacking]:
        self._note_refused(refused)
        retry = self.pace.retry_refused
        return lacking(asks, self.model, self.sampling, self.journal, retry)

    def _note_refused(self, refused: dict[bytes, Refused]) -> None:
        if refused:
            self.journal.note_refused(refused)

    @property
    def _evidence(self) -> int:
        """How much there is to say that the settings are good."""
        return self.good + self.tally.had

    def _queue(self, jobs: Iterable[_Job]) -> None:
        for job in jobs:
            self.ready.append(job)
            self.left += 1

    def _send(self) -> float:
        """Send what may be sent; gives when to look again if nothing happens, in loop time.

        Raises `ModelError` when patience is at its end.
        """
        now = time.monotonic()
        if self.throttle.exhausted(now):
            raise ModelError(
                f"{self.model.identity}: no answer for too long; the last trouble: "
                f"{self.throttle.last}{self.throttle.asks_for_too_much(now)}. All answers are kept:"
                " the same command goes on from here"
            )
        while self.delayed and self.delayed[0][0] <= now:
            self.ready.append(heapq.heappop(self.delayed)[2])
        for _ in range(min(self.throttle.room(now) - len(self.tasks), len(self.ready))):
            task = asyncio.create_task(self._ask(self.ready.popleft()))
            self.tasks.add(task)
            task.add_done_callback(self._done)
        due = [self.delayed[0][0]] if self.delayed else []
        return asyncio.get_running_loop().time() + self.throttle.sleep(now, due)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            error = task.exception()  # looked at in any case, else asyncio prints it
            self.fatal = self.fatal or error
        self.news.set()

    async def _ask(self, job: _Job) -> None:
        """Send one request, and see to what comes of it."""
        if job.key in self.refusals.errors:
            self._refuse(job, self.refusals.errors[job.key])
            return
        sampling = seeded(job.ask.drawn(self.sampling), job.run[0])
        started = time.monotonic()
        try:
            answers = await self.model.complete(job.ask.messages, sampling, len(job.run))
        except Trouble as trouble:
            self._retry(job, trouble, started)
            return
        except TooLongError as error:
            if not self.pace.skip_too_long:
                raise ModelError(f"{error} (asked: {' '.join(job.ask.name)})") from None
            self._give_up(job, error)
            return
        except RefusedError as error:
            self._refuse(job, error)
            return
        self.throttle.succeed()
        self.good += 1
        done, rest = job.run[: len(answers)], job.run[len(answers) :]
        self.journal.add(map(Sample, itertools.repeat(job.key), done, answers))
        self._count(answers)
        self.answered(job.ask, answers)
        self._queue(_Job(job.ask, job.key, range(idx, idx + 1)) for idx in rest)
        self._end(job._replace(run=done))
        if self.journal.behind:
            await asyncio.to_thread(self.journal.flush)

    def _end(self, job: _Job) -> None:
        self.left -= 1
        self.ended.append(job)

    def _count(self, answers: list[Completion]) -> None:
        tally, pace = self.tally, self.pace
        tally.answered += len(answers)
        for answer in answers:
            tally.finish_reasons[answer.finish_reason] += 1
            tally.prompt_tokens += answer.prompt_tokens or 0
            tally.completion_tokens += answer.completion_tokens or 0
        if pace.prompt_price is not None or pace.completion_price is not None:
            spent = tally.prompt_tokens * (pace.prompt_price or 0)
            tally.cost = (spent + tally.completion_tokens * (pace.completion_price or 0)) / 1e6

    def _retry(self, job: _Job, trouble: Trouble, started: float) -> None:
        """Put a request that failed back, or give it up."""
        self.tally.troubles[str(trouble.kind)] += 1
        self.tally.last_trouble = str(trouble)
        # A server that is away is not the request's fault, unless others get through.
        others = self.throttle.last_success > started
        blamed = trouble.kind in (Kind.FAULTY, Kind.SLOW) or (trouble.kind is Kind.GONE and others)
        self.throttle.struggle(trouble, started)
        job = job._replace(tries=job.tries + blamed)
        if job.tries >= self.pace.tries:
            self._give_up(job, trouble)
            return
        self.tally.retried += 1
        if trouble.kind is Kind.BUSY:
            self.ready.append(job)  # all of them wait already
            return
        wait = min(self.pace.longest_wait, self.pace.wait * 2 ** max(0, job.tries - 1))
        when = time.monotonic() + wait * random.uniform(0.5, 1)
        heapq.heappush(self.delayed, (when, next(self.numbers), job))

    def _refuse(self, job: _Job, error: RefusedError) -> None:
        """Count what the server will not answer, and leave out what else is asked of the prompt.
        Raises `ModelError` if that is the settings' fault."""
        self.refusals.add(job.key, error)
        self.tally.refused[error.reason] += len(job.run)
        self.tally.last_refusal = f"{' '.join(job.ask.name)}: {error}"
        self._give_up(job, error)
        self._see_settings(_ALL_REFUSED)

    def _see_settings(self, least: int) -> None:
        """Raise `ModelError` if nearly all prompts are refused, or the first ones, `least` or more:
        then it is the settings that are."""
        doubtful, pending = self.refusals.doubtful, len(self.tasks)  # a good answer takes its time
        most, last = max(_MOST_REFUSED, pending), self.tally.last_refusal
        first = self._evidence == 0 and doubtful >= max(least, pending)
        if first or doubtful >= max(most, self.good + pending):
            raise ModelError(f"{doubtful} prompts are refused, so the settings may be; {last}")
        if self._evidence == 0 and (refused := len(self.refusals.errors)) >= most:
            raise ModelError(
                f"{refused} prompts are refused and none is answered, so the account may be; {last}"
            )

    def _give_up(self, job: _Job, why: Exception) -> None:
        self.tally.failed += len(job.run)
        self.tally.last_failure = f"{' '.join(job.ask.name)}: {why}"
        self._end(job)

    async def _tick(self, progress: Callable[[Tally], None]) -> None:
        while True:
            self._measure()
            progress(self.tally)
            await asyncio.sleep(self.pace.every)

    def _measure(self) -> None:
        """Bring times and rates up to date."""
        now, tally, marks = time.monotonic(), self.tally, self.marks
        marks.append((now, tally.answered, tally.completion_tokens))
        while now - marks[0][0] > _WINDOW:
            marks.popleft()
        then, answered, tokens = marks[0]
        tally.seconds = now - self.start
        tally.concurrency = self.throttle.room(now)
        if now > then:
            tally.attempts_per_second = (tally.answered - answered) / (now - then)
            tally.tokens_per_second = (tally.completion_tokens - tokens) / (now - then)


class _Refusals:
    """Prompts that the server refused, by the key of their samples."""

    def __init__(self) -> None:
        self.errors: dict[bytes, RefusedError] = {}
        self.doubtful = 0  # of these, those for which the settings may be to blame
        self._unnoted: dict[bytes, Refused] = {}

    def add(self, key: bytes, error: RefusedError) -> None:
        """Take in a refusal; another one of the same prompt changes nothing."""
        if key not in self.errors:
            self.errors[key] = error
            self._unnoted[key] = Refused(error.reason, str(error))
            self.doubtful += error.reason is Refusal.REFUSED

    def news(self, evidence: int) -> dict[bytes, Refused]:
        """What the journal is to be told of, once: nothing that the settings may be to blame for.
        `evidence`: how much there is to say that they are good."""
        sure = self.doubtful < evidence
        news = {k: why for k, why in self._unnoted.items() if sure or why.reason != Refusal.REFUSED}
        for key in news:
            del self._unnoted[key]
        return news


class _Throttle:
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

    def room(self, now: float) -> int:
        """How many requests may be in flight."""
        return 0 if now < self.until else int(self.limit)

    def exhausted(self, now: float) -> bool:
        """Whether the server has been away, or asks to be left alone, for too long."""
        patience = self.pace.patience
        if patience is None:
            return False
        away = self.streak >= _DEAD and now - self.since > patience
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
        dead = self.streak >= _DEAD
        if not dead and trouble.kind not in (Kind.BUSY, Kind.SLOW):
            return
        if self.limit > 1:
            self.ceiling = max(1.0, self.limit / 2)
        self.limit = 1.0 if dead else self.ceiling
        self.eased = now
        if dead or (trouble.retry_after is None and trouble.kind is Kind.BUSY):
            self.pause = min(self.pace.longest_wait, max(self.pace.wait, 2 * self.pause))
            self.until = max(self.until, now + self.pause * random.uniform(0.5, 1))
