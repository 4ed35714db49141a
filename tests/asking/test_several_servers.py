"""Several servers of one model, on the loopback: each has its share of the work, one dies, one
serves another model, one joins late; each sample is asked for once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from model_server import Server, serve
from test_collect import KEY_NAME, QUICK, SAMPLING, asks

from skill_factory.asking.collect import collect
from skill_factory.asking.journal import Journal
from skill_factory.asking.pace import Pace
from skill_factory.asking.requests import Ask, key_of
from skill_factory.asking.tally import Tally
from skill_factory.models.addresses import Addresses, FixedAddresses
from skill_factory.models.server_pool import ServerPool
from skill_factory.models.servers import OpenAIModel

HELLOS = 1
"""Requests of one token by which each server is checked."""


@contextmanager
def several(*servers: Server) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serve(server)) for server in servers]


def fixed(*servers: Server) -> FixedAddresses:
    return FixedAddresses([server.url for server in servers])


def gather(
    addresses: Addresses,
    path: Path,
    wanted: list[Ask],
    *,
    pace: Pace = QUICK,
    notes: list[str] | None = None,
    seen: Callable[[Tally], None] = lambda tally: None,
    **settings: Any,
) -> Tally:
    """Collect into a journal, which has each sample afterwards."""

    def make(address: str) -> OpenAIModel:
        return OpenAIModel(address, None, api_key_env=KEY_NAME, timeout=10.0)

    async def work() -> Tally:
        pool = ServerPool(
            addresses,
            make,
            **{"model": "tiny", "patience": pace.patience, "every": 0.05} | settings,
            note=(notes if notes is not None else []).append,
        )
        try:
            await pool.preflight()
            with Journal(path) as journal:
                tally = await collect(wanted, pool, SAMPLING, journal, settings=pace, progress=seen)
                assert tally.asked == tally.answered + tally.failed
                for ask in wanted if not tally.failed else ():
                    found = journal.read(key_of(pool, SAMPLING, ask.messages), ask.count)
                    assert [idx for idx, _ in found] == list(range(ask.count))
                return tally
        finally:
            await pool.close()

    return asyncio.run(work())


def answered(*servers: Server) -> Counter[str]:
    """How often samples were answered by all servers, by what was asked; without the checks."""
    found: Counter[str] = Counter()
    for server in servers:
        found.update(server.answered())
    hello = [digest for server in servers for digest in hellos(server)]
    for digest in hello:
        found.pop(digest, None)
    return found


def hellos(server: Server) -> list[str]:
    return [
        entry.digest
        for entry, request in zip(server.log, server.requests, strict=True)
        if request.get("max_tokens") == 1
    ]


def share(server: Server) -> int:
    """Requests that a server answered, without the checks."""
    return len(server.log) - len(hellos(server))


def soon(happens: Callable[[], bool]) -> None:
    """Wait until something happens."""
    end = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.005)


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread, beside the block; what it raises is the test's."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failed, failed


# -- shares ---------------------------------------------------------------------------------------


def test_each_server_has_the_same_in_flight(tmp_path: Path) -> None:
    with several(Server(), Server(), Server(), Server()) as servers:

        def act() -> None:
            soon(lambda: sum(server.waiting for server in servers) == 40)
            assert [server.waiting for server in servers] == [10, 10, 10, 10]
            for server in servers:
                server.held = False

        hold(servers)
        with meanwhile(act):
            tally = gather(fixed(*servers), tmp_path / "j", asks(40, 1))
        assert (tally.answered, tally.servers) == (40, (4, 4))
        assert set(answered(*servers).values()) == {1}


def hold(servers: list[Server]) -> None:
    """Let all requests wait but those by which servers are checked."""
    for server in servers:
        server.held, server.passes = True, '"content": "Hi"'


def test_work_goes_to_the_server_that_has_answered(tmp_path: Path) -> None:
    """The slow ones keep what they have in flight; the quick one does all the rest."""
    with several(Server(), Server(), Server()) as servers:
        quick, *slow = servers

        def act() -> None:
            soon(lambda: [server.waiting for server in slow] == [8, 8])
            soon(lambda: share(quick) == 100 - 16)
            for server in slow:
                server.held = False

        hold(slow)
        pace = replace(QUICK, concurrency=8)
        with meanwhile(act):
            gather(fixed(*servers), tmp_path / "j", asks(100, 1), pace=pace)
        assert [share(server) for server in servers] == [84, 8, 8]
        assert set(answered(*servers).values()) == {1}
