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

import pytest
from model_server import Fault, Server, serve
from test_collect import KEY_NAME, QUICK, SAMPLING, asks

from skill_factory.asking.collect import collect
from skill_factory.asking.journal import Journal
from skill_factory.asking.pace import Pace
from skill_factory.asking.requests import Ask, key_of
from skill_factory.asking.tally import Tally
from skill_factory.errors import InputError
from skill_factory.models import ModelError
from skill_factory.models.addresses import Addresses, FileAddresses, FixedAddresses
from skill_factory.models.continuing import check_continues
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
        return OpenAIModel(address, None, api_key_env=KEY_NAME, timeout=120.0)

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
    end = time.monotonic() + 60
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


def test_one_that_is_too_busy_does_not_slow_the_others_down(tmp_path: Path) -> None:
    busy = Server(faults=[Fault(429, holds="What is", headers={"retry-after": "1"})])
    with several(busy, Server()) as servers:
        tally = gather(fixed(*servers), tmp_path / "j", asks(200, 1))
        assert (tally.answered, tally.failed, tally.servers) == (200, 0, (2, 2))
        assert (share(busy), share(servers[1])) == (0, 200)
        assert busy.faults[0].met < 40  # it is left alone for so long as it asks to be


# -- servers that go ------------------------------------------------------------------------------


def test_a_server_that_dies_gives_its_work_to_the_others(tmp_path: Path) -> None:
    with several(Server(), Server()) as servers:
        dying, other = servers

        def act() -> None:
            soon(lambda: dying.waiting == other.waiting == 16)
            dying.die()  # with 16 requests that it has not answered
            other.held = False

        hold(servers)
        last: list[Tally] = []
        with meanwhile(act):
            tally = gather(fixed(*servers), tmp_path / "j", asks(200, 2), seen=last.append)
        assert (tally.asked, tally.answered, tally.failed) == (400, 400, 0)
        assert (share(dying), set(answered(*servers).values())) == (0, {2})
        assert tally.servers == (1, 2)


def test_one_that_is_back_is_checked_and_asked_again(tmp_path: Path) -> None:
    with several(Server(), Server()) as servers:
        dying, other = servers

        def act() -> None:
            soon(lambda: dying.waiting == other.waiting == 8)
            dying.die()
            dying.held = False
            soon(lambda: counts[-1] == (1, 2))
            dying.revive()
            soon(lambda: share(dying) >= 8 + 192)
            other.held = False

        hold(servers)
        counts: list[tuple[int, int] | None] = []
        with meanwhile(act):
            gather(
                fixed(*servers),
                tmp_path / "j",
                asks(200, 1),
                pace=replace(QUICK, concurrency=8),
                seen=lambda tally: counts.append(tally.servers),
            )
        # What it had in flight when it died was answered to nobody, and was asked again.
        assert share(other) == 8
        assert len(hellos(dying)) > 1


def test_one_that_is_back_with_another_model_is_left_out(tmp_path: Path) -> None:
    notes: list[str] = []
    with several(Server(), Server()) as servers:
        dying, other = servers

        def act() -> None:
            soon(lambda: dying.waiting == other.waiting == 16)
            dying.die()
            soon(lambda: counts[-1] == (1, 2))
            dying.models = ("another",)
            dying.revive()
            soon(lambda: bool(notes))
            other.held = False

        hold(servers)
        counts: list[tuple[int, int] | None] = []
        with meanwhile(act):
            gather(
                fixed(*servers),
                tmp_path / "j",
                asks(100, 1),
                notes=notes,
                seen=lambda tally: counts.append(tally.servers),
            )
        assert notes == [f"{dying.url} serves 'another', not 'tiny'; this server is left out"]
        assert share(other) == 100


def test_without_any_server_patience_ends(tmp_path: Path) -> None:
    with several(Server(), Server()) as servers:

        def act() -> None:
            soon(lambda: servers[0].waiting + servers[1].waiting == 32)
            for server in servers:
                server.die()

        hold(servers)
        pace = replace(QUICK, patience=0.5)
        with meanwhile(act), pytest.raises(ModelError, match="tiny: no answer for too long") as end:
            gather(fixed(*servers), tmp_path / "j", asks(100, 1), pace=pace)
        assert "the connection failed" in str(end.value)


# -- servers of another model ---------------------------------------------------------------------


def test_one_that_serves_another_model_is_left_out(tmp_path: Path) -> None:
    notes: list[str] = []
    with several(Server(), Server(models=("huge", "big")), Server()) as servers:
        tally = gather(fixed(*servers), tmp_path / "j", asks(50, 1), notes=notes)
        wrong = servers[1]
        assert notes == [f"{wrong.url} serves 'huge', 'big', not 'tiny'; this server is left out"]
        assert (wrong.asked, tally.servers) == (0, (2, 3))


def test_one_that_lies_about_its_model_is_left_out(tmp_path: Path) -> None:
    notes: list[str] = []
    with several(Server(calls_itself="huge"), Server(), Server()) as servers:
        gather(fixed(*servers), tmp_path / "j", asks(50, 1), notes=notes)
        liar = servers[0]
        assert notes == [f"{liar.url} answers as 'huge', not 'tiny'; this server is left out"]
        assert (share(liar), liar.asked) == (0, 1)


def test_one_whose_model_changes_is_left_out_at_its_first_answer(tmp_path: Path) -> None:
    notes: list[str] = []
    with several(Server(), Server()) as servers:
        changing, other = servers

        def act() -> None:
            soon(lambda: changing.waiting == other.waiting == 16)
            changing.calls_itself = "huge"
            changing.held = False
            soon(lambda: bool(notes))
            other.held = False

        hold(servers)
        with meanwhile(act):
            gather(fixed(*servers), tmp_path / "j", asks(100, 1), notes=notes)
        assert notes == [f"{changing.url} answers as 'huge', not 'tiny'; this server is left out"]
        assert share(other) == 100
        assert share(changing) == 16  # what was in flight; none of it was kept


def test_if_none_is_left_the_error_names_them(tmp_path: Path) -> None:
    with several(Server(models=("huge",)), Server(calls_itself="big")) as servers:
        servers[1].models = ("huge",)
        with pytest.raises(ModelError) as error:
            gather(fixed(*servers), tmp_path / "j", asks(5, 1))
        assert str(error.value) == (
            f"no server is left that can be asked: {servers[0].url} serves 'huge', not 'tiny'; "
            f"{servers[1].url} serves 'huge', not 'tiny'"
        )


def test_a_model_that_is_not_named_is_the_one_that_all_have(tmp_path: Path) -> None:
    with several(Server(), Server(), Server(models=("huge",))) as (one, two, other):
        gather(fixed(one, two), tmp_path / "j", asks(5, 1), model=None)
        with pytest.raises(ModelError) as error:
            gather(fixed(one, two, other), tmp_path / "k", asks(5, 1), model=None)
        said = str(error.value)
        assert said.startswith("which model? Give its name (--model): ")
        assert f"{other.url} has 'huge'" in said
        assert " has 'tiny'" in said


def test_one_that_does_not_continue_answers_is_left_out(tmp_path: Path) -> None:
    notes: list[str] = []
    good, spoilt = Server(counts=True), Server(counts=True, continues="spoilt")
    with several(good, spoilt) as servers:
        gather(fixed(*servers), tmp_path / "j", asks(20, 1), notes=notes, validate=check_continues)
        assert len(notes) == 1
        assert "the model does not continue an answer as it was begun" in notes[0]
        assert spoilt.url in notes[0]
        assert (share(good), share(spoilt)) == (20, 0)


def test_one_that_refuses_the_key_is_left_out(tmp_path: Path) -> None:
    notes: list[str] = []
    with several(Server(), Server(key="of another")) as servers:
        gather(fixed(*servers), tmp_path / "j", asks(20, 1), notes=notes)
        assert len(notes) == 1
        assert f"{servers[1].url} wants a key" in notes[0]


# -- servers in a file ----------------------------------------------------------------------------


def test_a_server_that_joins_later_has_its_share(tmp_path: Path) -> None:
    notes: list[str] = []
    path = tmp_path / "servers.txt"
    with several(Server(), Server()) as servers:
        first, late = servers

        def act() -> None:
            soon(lambda: bool(notes))
            path.write_text(f"# an array of jobs\n\n{first.url}/  # node 1\n")
            soon(lambda: first.waiting == 16)
            with path.open("a") as file:
                file.write(f"{late.url}\n")
            soon(lambda: share(late) == 100 - 16)
            first.held = False

        hold([first])
        with meanwhile(act):
            tally = gather(FileAddresses(path), tmp_path / "j", asks(100, 1), notes=notes)
        assert notes == [f"{path} has no server yet; waiting for the first one, for 20 s at most"]
        assert (share(first), share(late), tally.servers) == (16, 84, (2, 2))
        assert set(answered(*servers).values()) == {1}


def test_a_server_that_leaves_the_file_is_asked_no_more(tmp_path: Path) -> None:
    path = tmp_path / "servers.txt"
    with several(Server(), Server()) as servers:
        leaving, other = servers
        path.write_text(f"{leaving.url}\n{other.url}\n")
        counts: list[tuple[int, int] | None] = []

        def act() -> None:
            soon(lambda: leaving.waiting == other.waiting == 16)
            path.write_text(f"{other.url}\n")
            soon(lambda: counts[-1] == (1, 1))
            leaving.held = False
            soon(lambda: share(leaving) == 16)
            other.held = False

        hold(servers)
        with meanwhile(act):
            gather(
                FileAddresses(path),
                tmp_path / "j",
                asks(100, 1),
                seen=lambda tally: counts.append(tally.servers),
            )
        assert (share(leaving), share(other)) == (16, 84)  # what was in flight came home


def test_a_file_without_a_server_is_waited_for_as_long_as_patience_lasts(tmp_path: Path) -> None:
    notes: list[str] = []
    path = tmp_path / "servers.txt"
    pace = replace(QUICK, patience=0.2)
    with pytest.raises(ModelError, match="has no server yet: start it"):
        gather(FileAddresses(path), tmp_path / "j", asks(5, 1), pace=pace, notes=notes)
    with several(Server()) as (server,):
        server.die()
        path.write_text(server.url)
        with pytest.raises(ModelError, match=f"no server answers at {server.url}"):
            gather(FileAddresses(path), tmp_path / "j", asks(5, 1), pace=pace, notes=notes)
    assert len(notes) == 2


class Ending(FixedAddresses):
    """Servers of a kind that ends the run when they are all gone."""

    over = False

    def current(self) -> list[str]:
        if self.over:
            raise InputError("the servers ended: see their log")
        return super().current()


def test_what_knows_the_addresses_can_end_the_run(tmp_path: Path) -> None:
    with several(Server()) as servers:
        addresses = Ending([server.url for server in servers])

        def act() -> None:
            soon(lambda: servers[0].waiting == 16)
            addresses.over = True

        hold(servers)
        with meanwhile(act), pytest.raises(InputError, match="the servers ended: see their log"):
            gather(addresses, tmp_path / "j", asks(50, 1))


def test_a_line_that_is_no_address_is_left_out(tmp_path: Path) -> None:
    notes: list[str] = []
    path = tmp_path / "servers.txt"
    with several(Server()) as (server,):
        path.write_text(f"node1:8000\n{server.url}\n")
        gather(FileAddresses(path), tmp_path / "j", asks(5, 1), notes=notes)
    assert len(notes) == 1
    assert "is no address of a server: http://HOST:PORT/v1; this server is left out" in notes[0]


def test_two_servers_make_the_journal_that_one_makes(tmp_path: Path) -> None:
    """The journal knows the model, and not who answered."""
    with several(Server(), Server()) as servers:
        gather(fixed(*servers), tmp_path / "j", asks(30, 2))
        tally = gather(fixed(servers[1]), tmp_path / "j", asks(30, 2))
        assert (tally.had, tally.asked) == (60, 0)
