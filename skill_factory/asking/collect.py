"""Ask a model for the samples that a journal lacks: all of them, each once."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from skill_factory.asking.interrupts import Interrupted, on_interrupt
from skill_factory.asking.journal import Asked, Journal, Refused, Sample
from skill_factory.asking.lanes import Lane, Lanes
from skill_factory.asking.missing_samples import Lacking, allow_again, compare
from skill_factory.asking.pace import Pace
from skill_factory.asking.refused_prompts import ALL_REFUSED, Refusals
from skill_factory.asking.requests import Ask, runs, seeded
from skill_factory.asking.tally import Rates, Tally
from skill_factory.models import (
    Completion,
    Kind,
    Model,
    ModelError,
    RefusedError,
    Sampling,
    TooLongError,
    Trouble,
)

_CHUNK = 64
"""Asks that are looked up in the journal together."""


async def collect(
    asks: Iterable[Ask],
    model: Model,
    sampling: Sampling,
    journal: Journal,
    *,
    settings: Pace | None = None,
    progress: Callable[[Tally], None] | None = None,
    answered: Callable[[Ask, list[Completion]], None] | None = None,
    stopping: Callable[[int], None] | None = None,
    first_alone: bool = False,
    one_by_one: bool = False,
) -> Tally:
    """Ask for what the journal lacks; answers are written there as they come.

    `asks` are taken as they are needed; with `first_alone` those after the first one are taken when
    that has been answered. With `one_by_one` each sample has a request to itself. `progress` is
    called now and then, and at the end; `answered` with each answer that comes: it must be quick,
    as all requests wait for it.

    The first Ctrl-C lets the requests in flight come home; `stopping` is called with their number.

    Raises `ModelError` if asking on is of no use or the server stays away for too long,
    `OutputError` if the journal cannot be written, and `Interrupted` after Ctrl-C; what was
    answered until then is in the journal.
    """
    collection = _Collection(asks, model, sampling, journal, settings or Pace(), first_alone)
    collection.one_by_one = one_by_one
    collection.answered = answered or collection.answered
    collection.stopping = stopping or collection.stopping
    return await collection.run(progress or (lambda tally: None))


class _Job(NamedTuple):
    """A request: samples of one key, and how often it has failed. `asked` goes to the journal with
    the first answer; None: it knows what is asked."""

    ask: Ask
    key: bytes
    run: range
    asked: Asked | None
    tries: int = 0


class _Collection:
    """One call of `collect`."""

    def __init__(
        self,
        asks: Iterable[Ask],
        model: Model,
        sampling: Sampling,
        journal: Journal,
        pace: Pace,
        first_alone: bool,
    ) -> None:
        self.asks = iter(asks)
        self.model = model
        self.sampling = sampling
        self.journal = journal
        self.pace = pace
        self.tally = Tally()
        self.rates = Rates()
        self.more = True  # asks may be left
        self.first_alone = first_alone  # and it has not been taken yet
        self.one_by_one = False  # and not several samples in a request
        self.waits = False  # for all that was taken, before more is
        self.stopped = False  # by Ctrl-C: nothing is sent any more
        self.ready: deque[_Job] = deque()
        self.delayed: list[tuple[float, int, _Job]] = []  # a heap: when, a number, what
        self.left = 0  # jobs that have not ended: ready, delayed and in flight
        self.taken: dict[bytes, set[int]] = {}  # by key, the indices of these and of `ended`
        self.ended: list[_Job] = []  # since the last look into the journal
        self.refusals = Refusals()
        self.good = 0  # requests that were answered
        self.tasks: set[asyncio.Task[None]] = set()
        self.fatal: BaseException | None = None
        self.news = asyncio.Event()
        self.lanes = Lanes(model, pace, self.news.set)
        self.numbers = itertools.count()
        self.answered: Callable[[Ask, list[Completion]], None] = lambda ask, answers: None
        self.stopping: Callable[[int], None] = lambda in_flight: None

    async def run(self, progress: Callable[[Tally], None]) -> Tally:
        ticker = asyncio.create_task(self._tick(progress))
        ticker.add_done_callback(self._done)
        try:
            with on_interrupt(self._stop):
                await self._go()
        finally:
            for task in (ticker, *self.tasks):
                task.cancel()
            await asyncio.gather(ticker, *self.tasks, return_exceptions=True)
            await asyncio.to_thread(self.journal.flush)
            await asyncio.to_thread(self._note_refused, self.refusals.news(self._evidence))
        self._measure()
        progress(self.tally)
        if self.stopped:
            raise Interrupted(self.tally)
        self._see_settings(2)
        return self.tally

    async def _go(self) -> None:
        """Look and send, until all is answered or, once it is stopped, nothing is in flight."""
        while self.tasks if self.stopped else self.more or self.left:
            self.news.clear()
            wake = self._send()
            while self._may_look():
                await self._look()
                wake = self._send()
            if self.left and not self.fatal and (self.tasks or not self.stopped):
                timer = asyncio.get_running_loop().call_at(wake, self.news.set)
                await self.news.wait()
                timer.cancel()
            if self.fatal:
                raise self.fatal

    def _may_look(self) -> bool:
        """Whether more asks are to be taken."""
        if self.fatal or self.stopped or (self.waits and self.left):
            return False
        return self.more and len(self.ready) < self.lanes.capacity

    def _stop(self) -> None:
        """Send nothing any more."""
        self.stopped = True
        self.stopping(len(self.tasks))
        self.news.set()

    async def _look(self) -> None:
        """Take some asks, and make jobs of what the journal lacks of them."""
        asks = list(itertools.islice(self.asks, 1 if self.first_alone else _CHUNK))
        self.more = bool(asks)
        self.waits, self.first_alone = self.first_alone, False
        for job in self.ended:  # what these brought the journal has
            self.taken[job.key].difference_update(job.run)
            if not self.taken[job.key]:
                del self.taken[job.key]
        self.ended.clear()
        # In a thread: a disk may take its time, and requests are in flight.
        found = await asyncio.to_thread(self._compare, asks, self.refusals.news(self._evidence))
        for lack in found:
            ask, key = lack.ask, lack.key
            idxs = lack.absent - self.taken.get(key, set())  # a prompt may be asked for twice
            self.tally.had += ask.count - len(idxs) - lack.refused
            self.tally.skipped += lack.refused
            if idxs:
                self.tally.asked += len(idxs)
                self.taken.setdefault(key, set()).update(idxs)
                self._queue(_Job(ask, key, run, lack.asked) for run in self._runs(idxs))

    def _runs(self, idxs: set[int]) -> Iterable[range]:
        """The samples that are asked for together."""
        return (range(idx, idx + 1) for idx in sorted(idxs)) if self.one_by_one else runs(idxs)

    def _compare(self, asks: list[Ask], refused: dict[bytes, Refused]) -> list[Lacking]:
        self._note_refused(refused)
        retry = self.pace.retry_refused
        found = compare(asks, self.model, self.sampling, self.journal, retry)
        if retry:
            allow_again(found, self.journal)
        return found

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
        if self.stopped:
            return asyncio.get_running_loop().time() + 60.0
        self.lanes.validate(now)
        while self.delayed and self.delayed[0][0] <= now:
            self.ready.append(heapq.heappop(self.delayed)[2])
        while self.ready and (lane := self.lanes.free(now)):
            lane.in_flight += 1
            task = asyncio.create_task(self._ask(self.ready.popleft(), lane))
            self.tasks.add(task)
            task.add_done_callback(partial(self._came_home, lane))
        due = [self.delayed[0][0]] if self.delayed else []
        return asyncio.get_running_loop().time() + self.lanes.sleep(now, due)

    def _came_home(self, lane: Lane, task: asyncio.Task[None]) -> None:
        lane.in_flight -= 1
        self._done(task)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            error = task.exception()  # looked at in any case, else asyncio prints it
            self.fatal = self.fatal or error
        self.news.set()

    async def _ask(self, job: _Job, lane: Lane) -> None:
        """Send one request, and see to what comes of it."""
        if job.key in self.refusals.errors:
            self._refuse(job, self.refusals.errors[job.key])
            return
        sampling = seeded(job.ask.drawn(self.sampling), job.run[0])
        started = time.monotonic()
        try:
            answers = await lane.model.complete(job.ask.messages, sampling, len(job.run))
        except Trouble as trouble:
            self._retry(job, lane, trouble, started)
            return
        except TooLongError as error:
            if not self.pace.skip_too_long:
                raise ModelError(f"{error} (asked: {' '.join(job.ask.name)})") from None
            self._give_up(job, error)
            return
        except RefusedError as error:
            self._refuse(job, error)
            return
        except ModelError as error:
            if not self.lanes.set_aside(lane, error):
                raise
            self.ready.append(job)
            return
        lane.throttle.succeed()
        self.good += 1
        done, rest = job.run[: len(answers)], job.run[len(answers) :]
        asked = {job.ask.name: job.asked} if job.asked else {}
        self.journal.add(map(Sample, itertools.repeat(job.key), done, answers), asked)
        self._count(answers)
        self.answered(job.ask, answers)
        self._queue(_Job(job.ask, job.key, range(idx, idx + 1), None) for idx in rest)
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

    def _retry(self, job: _Job, lane: Lane, trouble: Trouble, started: float) -> None:
        """Put a request that failed back, or give it up."""
        self.tally.last_trouble = str(trouble)
        # A server that is away is not the request's fault, unless others get through.
        others = lane.throttle.last_success > started
        blamed = trouble.kind in (Kind.FAULTY, Kind.SLOW) or (trouble.kind is Kind.GONE and others)
        away = self.lanes.struggle(lane, trouble, started)
        job = job._replace(tries=job.tries + (blamed and not away))
        if job.tries >= self.pace.tries:
            self._give_up(job, trouble)
            return
        self.tally.retried += 1
        self.tally.troubles[str(trouble.kind)] += 1
        if trouble.kind is Kind.BUSY or away:
            self.ready.append(job)  # all of them wait already, or another server takes it
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
        self._see_settings(ALL_REFUSED)

    def _see_settings(self, least: int) -> None:
        """Raise `ModelError` if it is the settings that are refused: so they may be when the first
        prompts are, `least` or more."""
        why = self.refusals.blamed(least, len(self.tasks), self.good, self._evidence)
        if why:
            raise ModelError(f"{why}; {self.tally.last_refusal}")

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
        self.tally.concurrency = self.lanes.room(time.monotonic())
        self.tally.servers = self.lanes.servers
        self.rates.measure(self.tally)
