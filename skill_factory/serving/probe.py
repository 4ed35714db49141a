"""A look at a server of this machine: whether it is well, and which models it lists."""

from __future__ import annotations

import http.client
import json
import socket
from enum import StrEnum
from typing import NamedTuple

from skill_factory.serving.commands import HOST

_LARGEST = 1 << 20


class State(StrEnum):
    """What a look has shown."""

    WELL = "well"
    UNWELL = "unwell"
    """It says so: a status of 500 or more, as vLLM, SGLang and llama.cpp's server have it."""
    CLOSED = "no connection"
    SILENT = "no answer"
    """It takes connections and is too busy to answer, or hangs."""
    REFUSED = "refused"
    """It refuses the key."""


class Look(NamedTuple):
    """`models` None: they were not asked for, or there is no list. `words` are for people."""

    state: State
    words: str
    models: list[str] | None = None


class _Server(NamedTuple):
    """A server, and the seconds in which it has to answer."""

    port: int
    key: str
    seconds: float

    def get(self, path: str) -> tuple[int, bytes]:
        """The status and the body of an answer; no proxy is asked."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=self.seconds)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.key}"})
            answer = connection.getresponse()
            return answer.status, answer.read(_LARGEST)
        finally:
            connection.close()


def look(port: int, key: str, seconds: float, *, with_models: bool) -> Look:
    """Look at a server's /health, which not all have, and perhaps at its models. It has so many
    `seconds` for an answer."""
    server = _Server(port, key, seconds)
    try:
        status, _ = server.get("/health")
        if status >= 500:
            return Look(State.UNWELL, f"GET /health: status {status}")
        if not with_models and status != 404:
            return Look(State.WELL, "")
        return _look_at_models(server)
    except TimeoutError:
        return Look(State.SILENT, f"no answer within {seconds:g} s")
    except (OSError, http.client.HTTPException) as error:
        return Look(State.CLOSED, f"no connection ({error})")


def _look_at_models(server: _Server) -> Look:
    status, body = server.get("/v1/models")
    if status in (401, 403):
        return Look(State.REFUSED, f"GET /v1/models: status {status}")
    if status >= 500:
        return Look(State.UNWELL, f"GET /v1/models: status {status}")
    try:
        return Look(State.WELL, "", [str(one["id"]) for one in json.loads(body)["data"]])
    except (ValueError, TypeError, KeyError, RecursionError):
        return Look(State.WELL, "")  # not all servers have the list


def free_ports(count: int) -> list[int]:
    """So many different ports that are free at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
