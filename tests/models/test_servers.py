"""The connection to a server: redirects, proxies, packed and endless replies, secrets in addresses,
and what is odd about answers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from model_server import Fault, Server, serve
from test_collect import KEY_NAME, QUICK, SAMPLING, asks

from skill_factory.asking.collect import collect
from skill_factory.asking.journal import Journal
from skill_factory.models import Completion, Kind, ModelError, Trouble
from skill_factory.models.servers import OpenAIModel

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server()) as server:
        yield server


def complete(url: str, times: int = 1, **settings: Any) -> list[list[Completion]]:
    """Ask so often, one after the other."""

    async def work() -> list[list[Completion]]:
        model = OpenAIModel(url, "tiny", api_key_env=KEY_NAME, **settings)
        try:
            return [await model.complete(HELLO, SAMPLING, 1) for _ in range(times)]
        finally:
            await model.close()

    return asyncio.run(work())


def test_connections_are_kept(server: Server) -> None:
    complete(server.url, 20)
    assert (server.asked, server.connections) == (20, 1)


# -- redirects ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("there", ["/v1/chat/completions", "{}/chat/completions?moved=1"])
def test_a_redirect_to_the_same_server_is_followed(server: Server, status: int, there: str) -> None:
    server.faults = [Fault(status, times=2, headers={"location": there.format(server.url)})]
    assert len(complete(server.url)) == 1
    assert server.asked == 3


@pytest.mark.parametrize(
    "there",
    [
        "http://evil.invalid/v1/chat/completions",
        "//evil.invalid/v1",
        "http://127.0.0.1:1/v1",
        "ftp://127.0.0.1/v1",
        "http://me:secret@evil.invalid/",
    ],
)
def test_a_redirect_to_another_server_is_refused(server: Server, there: str) -> None:
    server.faults = [Fault(307, headers={"location": there})]
    with pytest.raises(ModelError, match=r"sends requests on to .*: give that address") as caught:
        complete(server.url)
    assert server.asked == 1
    assert "secret" not in str(caught.value)


def test_a_redirect_in_circles_ends(server: Server) -> None:
    server.faults = [Fault(308, headers={"location": "/v1/chat/completions"})]
    with pytest.raises(ModelError, match="round in circles"):
        complete(server.url)


# -- the environment ------------------------------------------------------------------------------


def test_a_proxy_of_the_environment_is_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    complete("http://models.invalid/v1")
    assert server.paths == {"http://models.invalid/v1/chat/completions": 1}
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    complete(server.url)
    assert server.paths["/v1/chat/completions"] == 1


def test_an_address_with_a_user_asks_as_that_user(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = base64.b64encode(b"me:s e").decode()
    monkeypatch.setenv(KEY_NAME, "of-another-place")
    assert complete(server.url.replace("//", "//me:s%20e@"))


def test_the_query_of_an_address_is_kept(server: Server) -> None:
    complete(f"{server.url}/?api-version=7")
    assert server.paths == {"/v1/chat/completions?api-version=7": 1}


@pytest.mark.parametrize("key", ["a\nb", "a\tb", "schlüssel"])
def test_a_key_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(KEY_NAME, key)
    with pytest.raises(ModelError, match="characters that no key has"):
        OpenAIModel("http://127.0.0.1:1/v1", "tiny", api_key_env=KEY_NAME)


# -- replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["gzip", "utf-16"])
def test_a_reply_has_an_end(server: Server, form: str) -> None:
    server.faults = [Fault(form)]
    assert complete(server.url)
    with pytest.raises(Trouble, match="a reply of more than 100 bytes") as caught:
        complete(server.url, largest=100)
    assert caught.value.kind is Kind.FAULTY


def test_a_long_prompt_is_sent_whole(server: Server) -> None:
    async def work() -> list[Completion]:
        model = OpenAIModel(server.url, "tiny")
        try:
            return await model.complete([{"role": "user", "content": "ü" * 2_000_000}], SAMPLING, 1)
        finally:
            await model.close()

    assert asyncio.run(work())


# -- what is noted --------------------------------------------------------------------------------


def noted(server: Server, folder: Any, total: int = 40) -> list[str]:
    """What is noted while some questions are asked."""
    notes: list[str] = []

    async def work() -> None:
        model = OpenAIModel(server.url, "tiny", note=notes.append)
        with Journal(folder / "j") as journal:
            await collect(asks(total, 1), model, SAMPLING, journal, settings=QUICK)
        await model.close()

    asyncio.run(work())
    return notes


def test_another_model_halfway_is_noted_once(server: Server, tmp_path: Any) -> None:
    assert noted(server, tmp_path) == []
    server.faults = [Fault("other model", every=3)]
    (note,) = noted(server, tmp_path, 80)
    assert "'other'" in note
    assert "'tiny'" in note


def test_reasoning_without_a_text_is_noted_once(server: Server, tmp_path: Any) -> None:
    server.faults = [Fault("reasoning")]
    assert noted(server, tmp_path) == []
    server.faults = [Fault("reasoning alone", every=2)]
    (note,) = noted(server, tmp_path, 80)
    assert "the server's reasoning parser took it" in note


def test_a_reasoning_is_in_the_journal(server: Server, tmp_path: Any) -> None:
    server.faults = [replace(Fault("reasoning alone"))]
    noted(server, tmp_path)

    class Known:
        identity = f"{server.url} tiny"

    with Journal(tmp_path / "j") as journal:
        ((_, answer),) = journal.read(asks(40, 1)[0].key(Known(), SAMPLING), 1)
    assert (answer.text, answer.reasoning) == ("", "It is <answer>7</answer>")
