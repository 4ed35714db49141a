"""Several servers of one model: which of them may be asked just now.

Each address that is listed is checked before it is asked: it has to list the model, answer under
the name that the others answer under, and pass what else is asked of it. One that serves another
model is set aside; one that does not answer, or does not answer any more, is checked again now and
then. Who asks the servers how much is `asking.lanes`' matter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from skill_factory.core.redaction import public_address as _shown
from skill_factory.models import (
    Completion,
    Kind,
    Messages,
    Model,
    ModelError,
    RefusedError,
    Sampling,
    Trouble,
)
from skill_factory.models.addresses import Addresses
from skill_factory.models.servers import START_IT, OpenAIModel

_FIRST_LOOK = 15.0
"""Seconds that the first servers have to answer, so that all of them begin together."""

_SHOWN = 3
"""Servers that a message names."""


class _Passed(NamedTuple):
    """A server that passed its check, and the name under which it answered; None: it was busy."""

    model: OpenAIModel
    served: str | None


class ServerPool:
    """Several servers of one model, as one `Model`.

    `make` gives the server at an address; raises `ModelError` if it is none. `model` None: the only
    one that the servers have, once `preflight` or `find_model` has looked. `identity` stands in the
    journal's keys; None: the model's name. A first server, or another one, is waited for up to
    `patience` seconds (None: for ever) where servers may come. `note` is called with what there is
    to tell, `validate` with each server before it is asked: it raises `ModelError` for one that is
    not to be, or `Trouble`. The addresses are read `every` so many seconds.

    Use it in one event loop only.
    """

    def __init__(
        self,
        addresses: Addresses,
        make: Callable[[str], OpenAIModel],
        *,
        model: str | None = None,
        identity: str | None = None,
        patience: float | None = None,
        note: Callable[[str], None] = lambda text: None,
        validate: Callable[[OpenAIModel], Awaitable[None]] | None = None,
        every: float = 2.0,
    ) -> None:
        self.addresses = addresses
        self.model = model
        self.note = note
        self.changed: Callable[[], None] = lambda: None
        """Called when other servers than before may be asked."""
        self.members: dict[str, OpenAIModel] = {}
        """The servers that may be asked, by address."""
        self.listed: list[str] = []
        """All addresses that there are."""
        self._make, self._identity, self._patience = make, identity, patience
        self._validate, self._every = validate, every
        self._served: str | None = None  # the name under which all of them answer
        self._set_aside: dict[str, ModelError] = {}
        self._away: dict[str, str] = {}  # what was wrong with those that do not answer
        self._checks: dict[str, asyncio.Task[_Passed]] = {}
        self._retired: list[OpenAIModel] = []  # requests to these may be in flight
        self._empty_since = time.monotonic()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str:
        """What the journal knows the model by. Raises `ModelError` while that is open."""
        if self._identity is None and self.model is None:
            raise ModelError(f"{self.addresses}: which model? Give its name")
        return self._identity or self.model or ""

    async def preflight(self) -> None:
        """See that one server at least may be asked, and find more of them from then on."""
        if self.model is None:
            await self.find_model()
        await self._until(lambda: bool(self.members), self._look_at_all)
        for at, trouble in self._away.items():
            self.note(f"no server answers at {_shown(at)} ({trouble}); it is asked once it does")
        self._watcher = asyncio.create_task(self._watch())
        self._watcher.add_done_callback(lambda task: self.changed())

    async def find_model(self, waits: bool = True) -> None:
        """Find the name of the only model that the servers have. Raises `ModelError` if they have
        several, or if no server answers; unless it `waits`, just now."""
        await self._until(lambda: self.model is not None, self._look_for_name, waits)

    async def complete(self, messages: Messages, sampling: Sampling, n: int) -> list[Completion]:
        """As `Model` has it, of the first server that may be asked."""
        for member in self.members.values():
            return await member.complete(messages, sampling, n)
        raise Trouble(Kind.GONE, "no server answers")

    def leave(self, member: Model, trouble: Trouble) -> None:
        """Ask a server no more that does not answer any more, until it passes a check again."""
        for address in self._forget(member):
            self._away[address] = str(trouble)

    def set_aside(self, member: Model, error: ModelError) -> None:
        """Ask a server no more that cannot be asked."""
        for address in self._forget(member):
            self._refuse(address, error)

    def validate_left(self) -> None:
        """Raise `ModelError` if there is no server that can be asked, now or later; what reading
        the addresses has raised."""
        if self._watcher and self._watcher.done():
            self._watcher.result()
        if self.listed and all(address in self._set_aside for address in self.listed):
            reasons = "; ".join(map(str, self._set_aside.values()))
            raise ModelError(f"no server is left that can be asked: {reasons}")

    def exhausted(self, now: float) -> bool:
        """Whether there has been no server for too long."""
        patience = self._patience
        return not self.members and patience is not None and now - self._empty_since > patience

    @property
    def last_trouble(self) -> str:
        """What is wrong with a server that does not answer."""
        return next(iter(self._away.values()), f"{self.addresses} has no server")

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [*self._checks.values(), *([self._watcher] if self._watcher else [])]
        for task in tasks:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        passed = [one.model for one in found if isinstance(one, _Passed)]
        for model in (*self.members.values(), *self._retired, *passed):
            await model.close()

    # -- who is there -----------------------------------------------------------------------------

    async def _until(
        self, done: Callable[[], bool], look: Callable[[], Awaitable[None]], waits: bool = True
    ) -> None:
        """Look again and again, as long as patience lasts and servers may come."""
        self._empty_since = time.monotonic()
        told = False
        while True:
            await look()
            if done():
                return
            self.validate_left()
            if not (waits and self.addresses.may_come) or self.exhausted(time.monotonic()):
                raise ModelError(f"{self._nobody()}: {START_IT}")
            if not told:
                told = True
                limit = f", for {self._patience:,.0f} s at most" if self._patience else ""
                self.note(f"{self._nobody()}; waiting for the first one{limit}")
            await asyncio.sleep(self._every)

    def _nobody(self) -> str:
        if not self.listed:
            return f"{self.addresses} has no server yet"
        away = _few(f"{_shown(at)} ({trouble})" for at, trouble in self._away.items())
        return f"no server answers at {away}"

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self._step()

    async def _look_at_all(self) -> None:
        """Check all servers, and admit those that pass."""
        await self._step()
        if self._checks:
            await asyncio.wait(self._checks.values(), timeout=_FIRST_LOOK)
        self._admit()

    async def _look_for_name(self) -> None:
        await self._read_addresses()
        found = await asyncio.gather(*map(self._only, self.listed))
        names = {name: at for at, name in zip(self.listed, found, strict=True) if name}
        if len(names) > 1:
            different = _few(f"{_shown(at)} has {name!r}" for name, at in names.items())
            raise ModelError(f"which model? Give its name (--model): {different}")
        self.model = next(iter(names), None)

    async def _only(self, address: str) -> str | None:
        """The name of the only model of a server; None: it does not answer. Raises `ModelError` if
        it has several."""
        model = self._make(address)
        try:
            names = await _listed(model)
        except Trouble as trouble:
            self._away[address] = str(trouble)
            return None
        finally:
            await model.close()
        if len(names) != 1:
            there = f"it has {model.line(_few(map(repr, names)))}" if names else "it lists none"
            raise ModelError(f"{_shown(address)}: which model? Give its name (--model); {there}")
        return names[0]

    async def _read_addresses(self) -> None:
        read = await asyncio.to_thread(self.addresses.current)
        self.listed = list(dict.fromkeys(address.rstrip("/") for address in read))

    async def _step(self) -> None:
        """Admit who has passed, let go who is not listed any more, check who is new."""
        self._admit()
        await self._read_addresses()
        for address in self._every_address() - set(self.listed):
            await self._let_go(address)
        for address in self.listed:
            if address not in self.members | self._set_aside | self._checks:
                self._checks[address] = asyncio.create_task(self._check(address))

    def _every_address(self) -> set[str]:
        return {*self.members, *self._set_aside, *self._away, *self._checks}

    async def _let_go(self, address: str) -> None:
        self._set_aside.pop(address, None)
        self._away.pop(address, None)
        if check := self._checks.pop(address, None):
            check.cancel()
        if member := self.members.get(address):
            self._forget(member)

    def _forget(self, member: Model) -> list[str]:
        """Ask a server no more; its address, if it was asked."""
        found = [address for address, one in self.members.items() if one is member]
        for address in found:
            self._retired.append(self.members.pop(address))
            if not self.members:
                self._empty_since = time.monotonic()
            self.changed()
        return found

    def _refuse(self, address: str, error: ModelError) -> None:
        if _shown(address) not in str(error):
            error = ModelError(f"{_shown(address)}: {error}", error.status)
        self._set_aside[address] = error
        self._away.pop(address, None)
        self.note(f"{error}; this server is left out")
        self.changed()

    # -- checking ---------------------------------------------------------------------------------

    async def _check(self, address: str) -> _Passed:
        """Raises `ModelError` for a server that cannot be asked, `Trouble` for one that does not
        answer."""
        model = self._make(address)
        try:
            model.model = self.model
            names = await _listed(model)
            if names and self.model not in names:
                there = model.line(_few(map(repr, names)))
                raise ModelError(f"{_shown(address)} serves {there}, not {self.model!r}")
            served = None
            try:
                served = await model.hello()
            except RefusedError:
                pass  # a run will tell whether others are refused too
            except Trouble as trouble:
                if trouble.kind is not Kind.BUSY:
                    raise
            if self._validate:
                await self._validate(model)
            return _Passed(model, served)
        except BaseException:
            await model.close()
            raise

    def _admit(self) -> None:
        """Take in who has passed the check."""
        passed: dict[str, _Passed] = {}
        for address in [address for address, check in self._checks.items() if check.done()]:
            check = self._checks.pop(address)
            try:
                passed[address] = check.result()
            except Trouble as trouble:
                self._away[address] = str(trouble)
            except ModelError as error:
                self._refuse(address, error)
        if self._served is None:
            names = [one.served for one in passed.values() if one.served is not None]
            self._served = self.model if self.model in names else next(iter(names), None)
            if self._served not in (None, self.model):
                self.note(f"asked for {self.model!r}, servers answer as {self._served!r}")
        for address, (model, served) in passed.items():
            self._admit_one(address, model, served)

    def _admit_one(self, address: str, model: OpenAIModel, served: str | None) -> None:
        model.answers_as = self._served
        try:
            model.validate_served(served)
        except ModelError as error:
            self._retired.append(model)
            self._refuse(address, error)
            return
        self.members[address] = model
        self._away.pop(address, None)
        self.changed()


async def _listed(model: OpenAIModel) -> list[str]:
    """The models that a server lists; none, as not all servers have the list."""
    with suppress(ModelError):
        return await model.listed()
    return []


def _few(texts: Iterable[str]) -> str:
    found = list(texts)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
