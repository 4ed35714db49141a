"""A model server on the loopback that speaks chat completions as OpenAI has them, and fails on
demand.

    python tests/model_server.py        # prints its address, and serves until it is killed

The answer depends on the request alone. What was answered is logged.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, NamedTuple

_WORDS = ("so", "we", "try", "and", "see", "that", "it", "is", "not", "what", "was", "asked", "for")


@dataclass
class Fault:
    """What goes wrong with some chat requests: every `every`-th, `times` times (None: always).

    `what` is a status to answer with, with `message`, `code` and `headers`; or "hang" (no answer),
    "cut" (the connection is closed in the middle of the right answer), "malformed" (half of its
    JSON), "html", "empty" (no choices), "null" (no content), "length" (cut off by max_tokens), or
    "error" (an error with status 200). `holds`: only requests with this in their body.
    """

    what: int | Literal["hang", "cut", "malformed", "html", "empty", "null", "length", "error"]
    times: int | None = None
    every: int = 1
    message: str = "as asked for"
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    holds: str = ""
    met: int = field(init=False, default=0)

    def strikes(self, body: bytes) -> bool:
        """Whether it comes over this request."""
        if self.times == 0 or self.holds.encode() not in body:
            return False
        self.met += 1
        if self.met % self.every:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Answered(NamedTuple):
    """`count` samples were answered for a request: `digest` is that of its body without n."""

    digest: str
    count: int  # type: ignore[assignment]  # hides tuple.count
    at: float
    seed: int | None


@dataclass
class Server:
    """A server; its fields may be changed while it serves.

    `latency` is in seconds. `key` None: none is needed. `context` is the longest prompt, in
    characters. `n`: what it does with more than one sample.
    """

    models: tuple[str, ...] = ("tiny",)
    latency: float = 0.0
    key: str | None = None
    context: int | None = None
    n: Literal["honoured", "ignored", "rejected"] = "honoured"
    lists: bool = True
    speak: Callable[[dict[str, Any], int], str | dict[str, Any]] | None = None
    """The answer to a request's body, given the sample's number: its text, or what there is in the
    message; None: words from its digest."""
    faults: list[Fault] = field(default_factory=list)
    log: list[Answered] = field(default_factory=list)
    asked: int = 0
    """Chat requests that came, answered or not."""
    busy: int = 0
    most_busy: int = 0
    port: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _listener: asyncio.Server | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def answered(self) -> Counter[str]:
        """How many samples were answered, by digest."""
        found: Counter[str] = Counter()
        for entry in self.log:
            found[entry.digest] += entry.count
        return found

    def die(self) -> None:
        """Close the port, and all connections in the middle of what they are doing."""
        self._call(self._die())

    def revive(self) -> None:
        """Serve again, on the same port."""
        self._call(self.listen())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def listen(self) -> None:
        """Open the port; the first time any that is free."""
        self._loop = asyncio.get_running_loop()
        self._listener = await asyncio.start_server(
            self._connection, "127.0.0.1", self.port, backlog=2048
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _die(self) -> None:
        assert self._listener is not None
        self._listener.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    first, *lines = head.split("\r\n")
                    headers = {
                        name.lower(): value.strip()
                        for name, _, value in (line.partition(":") for line in lines)
                    }
                    body = await reader.readexactly(int(headers.get("content-length", 0)))
                    method, path, _ = first.split(" ")
                    await self._answer(writer, f"{method} {path}", headers, body)
                    await writer.drain()
        except asyncio.CancelledError:  # the loop is closing
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self, writer: asyncio.StreamWriter, line: str, headers: dict[str, str], body: bytes
    ) -> None:
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            # Some servers show the key they were given.
            message = f"Incorrect API key provided: {headers.get('authorization', '')[7:]}"
            _send(writer, 401, _error(message, "invalid_api_key"))
        elif line == "GET /v1/models" and self.lists:
            data = [{"id": name, "object": "model", "owned_by": "us"} for name in self.models]
            _send(writer, 200, {"object": "list", "data": data})
        elif line == "POST /v1/chat/completions":
            self.asked += 1
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            try:
                await self._complete(writer, body)
            finally:
                self.busy -= 1
        else:
            _send(writer, 404, _error("Not Found", None))

    async def _complete(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        request = json.loads(body)
        if self.latency:
            await asyncio.sleep(self.latency)
        fault = next((fault for fault in self.faults if fault.strikes(body)), None)
        what = fault.what if fault else None
        if fault and isinstance(what, int):
            _send(writer, what, _error(fault.message, fault.code), fault.headers)
            return
        if what == "hang":
            await asyncio.sleep(3600)
        if request["model"] not in self.models:
            message = f"The model `{request['model']}` does not exist."
            _send(writer, 404, _error(message, "model_not_found"))
            return
        n = request.pop("n", 1)
        if n > 1 and self.n == "rejected":
            _send(writer, 400, _error("n > 1 is not supported", "invalid_request_error"))
            return
        asked = sum(len(message["content"]) for message in request["messages"])
        if self.context is not None and asked > self.context:
            message = f"This model's maximum context length is {self.context} tokens."
            _send(writer, 400, _error(message, "context_length_exceeded"))
            return
        self._give(writer, request, n if self.n == "honoured" else 1, what)

    def _give(
        self, writer: asyncio.StreamWriter, request: dict[str, Any], n: int, what: str | int | None
    ) -> None:
        """The right answer, or what a fault makes of it."""
        digest = sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:32]
        answer = answer_to(digest, n, "length" if what == "length" else "stop")
        answer["model"] = request["model"]
        if self.speak is not None:
            for choice in answer["choices"]:
                idx = (request.get("seed") or 0) + choice["index"]
                said = self.speak(request, idx)
                choice["message"].update(said if isinstance(said, dict) else {"content": said})
        if what == "empty":
            answer["choices"] = []
        elif what == "null":
            answer["choices"][-1]["message"]["content"] = None
        elif what == "error":
            answer = _error("the engine is gone", None)
        data = json.dumps(answer).encode()
        if what == "html":
            _raw(writer, 200, b"<html>Bad gateway</html>", {"content-type": "text/html"})
        elif what == "malformed":
            _raw(writer, 200, data[: len(data) // 2], {})
        elif what == "cut":
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(data)}\r\n\r\n".encode()
            writer.write(head + data[: len(data) // 2])
            writer.close()
        else:
            if what in (None, "length"):
                self.log.append(Answered(digest, n, time.time(), request.get("seed")))
            _raw(writer, 200, data, {})


def answer_to(digest: str, n: int, reason: str = "stop") -> dict[str, Any]:
    """The body of the answer to a request."""
    words = [_WORDS[byte % len(_WORDS)] for byte in bytes.fromhex(digest)]
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": f"{' '.join(words)} {i}"},
            "finish_reason": reason,
        }
        for i in range(n)
    ]
    return {
        "id": f"chatcmpl-{digest[:8]}",
        "object": "chat.completion",
        "created": 0,
        "choices": choices,
        "usage": {"prompt_tokens": 7, "completion_tokens": 33 * n, "total_tokens": 7 + 33 * n},
    }


def _error(message: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: dict[str, Any],
    headers: dict[str, str] | None = None,
) -> None:
    _raw(writer, status, json.dumps(body).encode(), headers or {})


def _raw(writer: asyncio.StreamWriter, status: int, data: bytes, extra: dict[str, str]) -> None:
    headers = {"content-type": "application/json", "content-length": str(len(data))} | extra
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {status} so\r\n{lines}\r\n".encode() + data)


@contextmanager
def serve(server: Server) -> Iterator[Server]:
    """Serve in a thread while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.listen(), loop).result()

    async def end() -> None:
        await server._die()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _forever(server: Server) -> None:
    await server.listen()
    print(server.url, flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until whoever started it is gone


def _solve(request: dict[str, Any], sample: int) -> str:
    """An answer as long as a short one is, with something to grade in it."""
    return f"{' '.join(_WORDS) * 8}\n<answer>(3 + 7) * 2 + {sample} - {sample} = 20</answer>"


if __name__ == "__main__":
    asyncio.run(_forever(Server(speak=_solve)))
