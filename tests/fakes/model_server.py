"""A model server on the loopback that speaks completions, of chats and of prompts, as OpenAI has
them, continues an answer as vLLM does, and fails on demand.

    python tests/fakes/model_server.py        # prints its address, and serves until it is killed

The answer depends on the request alone. What was answered is logged.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

_WORDS = ("so", "we", "try", "and", "see", "that", "it", "is", "not", "what", "was", "asked", "for")
TOKEN = re.compile(r"<\|\w+\|>|\w+|\n|[^\w\s]")
"""What counts as a token."""


@dataclass
class Fault:
    """What goes wrong with some chat requests: every `every`-th, `times` times (None: always).

    `what` is a status to answer with, with `message`, `code` and `headers`; or "hang" (no answer),
    "cut" (the connection is closed in the middle of the right answer), "html", or a name in
    `SPOILT` or `FORMS`. `holds`: only requests with this in their body.
    """

    what: int | str
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
    slow: float = 0.0
    """Seconds besides, that a right answer takes and a status does not."""
    held: bool = False
    """While it is, chat requests wait for their answers."""
    passes: str = ""
    """While it is `held`, requests with this in their body do not wait; empty: all do."""
    key: str | None = None
    context: int | None = None
    n: Literal["honoured", "ignored", "rejected"] = "honoured"
    continues: Literal["honoured", "echoed", "ignored", "rejected", "spoilt"] = "honoured"
    """What it does with `continue_final_message`; echoed: its reply has what was begun, too, as
    llama.cpp's server has it; spoilt: its chat template puts a thinking block before the answer, as
    Qwen3's does."""
    counts: bool = False
    """Whether it counts tokens and heeds `max_tokens`; else all prompts and answers are as long."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of what it answered, as they came."""
    calls_itself: str | None = None
    """The model's name in answers; None: as it was asked."""
    lists: bool = True
    health: int | None = None
    """The status at /health; None: there is nothing."""
    speak: Callable[[dict[str, Any], int], str | dict[str, Any]] | None = None
    """The answer to a request's body, given the sample's number: its text, or what there is in the
    message; None: words from its digest."""
    faults: list[Fault] = field(default_factory=list)
    log: list[Answered] = field(default_factory=list)
    paths: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    asked: int = 0
    """Chat requests that came, answered or not."""
    busy: int = 0
    most_busy: int = 0
    waiting: int = 0
    """Chat requests that are `held` back."""
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
        self.connections += 1
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
                    self.paths[path] += 1
                    # A proxy is asked with the whole address.
                    await self._answer(writer, f"{method} {urlsplit(path).path}", headers, body)
                    await writer.drain()
        except asyncio.CancelledError:  # the loop is closing
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self, writer: asyncio.StreamWriter, line: str, headers: dict[str, str], body: bytes
    ) -> None:
        given = headers.get("authorization", "")
        if self.key is not None and given not in (f"Bearer {self.key}", f"Basic {self.key}"):
            # Some servers show the key they were given.
            message = f"Incorrect API key provided: {given[7:]}"
            _send(writer, 401, _error(message, "invalid_api_key"))
        elif line == "GET /v1/models" and self.lists:
            data = [{"id": name, "object": "model", "owned_by": "us"} for name in self.models]
            _send(writer, 200, {"object": "list", "data": data})
        elif line == "GET /health" and self.health:
            _send(writer, self.health, {})
        elif line in ("POST /v1/chat/completions", "POST /v1/completions"):
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
        passes = bool(self.passes) and self.passes.encode() in body
        waited = self.held and not passes
        self.waiting += waited
        while self.held and not passes:
            await asyncio.sleep(0.01)
        self.waiting -= waited
        fault = next((fault for fault in self.faults if fault.strikes(body)), None)
        what = fault.what if fault else None
        if fault and isinstance(what, int):
            _send(writer, what, _error(fault.message, fault.code), fault.headers)
            return
        if what == "hang":
            await asyncio.sleep(3600)
        await asyncio.sleep(self.slow)
        if request["model"] not in self.models:
            message = f"The model `{request['model']}` does not exist."
            _send(writer, 404, _error(message, "model_not_found"))
            return
        sent = dict(request)
        n = request.pop("n", 1)
        if n > 1 and self.n == "rejected":
            _send(writer, 400, _error("n > 1 is not supported", "invalid_request_error"))
            return
        if fault_of := self._fault_of_continuing(request):
            _send(writer, 400, _error(fault_of, "BadRequestError"))
            return
        asked = len(request.get("prompt", "")) + sum(
            len(message["content"]) for message in request.get("messages", [])
        )
        if self.context is not None and asked > self.context:
            message = f"This model's maximum context length is {self.context} tokens."
            _send(writer, 400, _error(message, "context_length_exceeded"))
            return
        self.requests.append(sent)
        self._give(writer, request, n if self.n == "honoured" else 1, what)

    def _fault_of_continuing(self, request: dict[str, Any]) -> str | None:
        """What vLLM says of flags that do not go together, and others of a last message that is the
        assistant's; None: nothing is wrong."""
        if request.get("continue_final_message") and request.get("add_generation_prompt", True):
            return "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
        last = request.get("messages", [{"role": "user"}])[-1]["role"]
        if self.continues == "rejected" and last == "assistant":
            return "Expected last role User or Tool (or Assistant with prefix True) for serving"
        return None

    def _prompt(self, request: dict[str, Any]) -> str:
        """The prompt that a request comes to, as a ChatML template writes it."""
        if "prompt" in request:
            return str(request["prompt"])
        turns = [
            f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
            for message in request["messages"]
        ]
        if request.get("continue_final_message") and self.continues in (
            *("honoured", "echoed", "spoilt"),
        ):
            content = request["messages"][-1]["content"]
            thinking = "<think>\n\n</think>\n\n" * (self.continues == "spoilt")
            turns[-1] = f"<|im_start|>assistant\n{thinking}{content}"
            return "".join(turns)
        return "".join(turns) + "<|im_start|>assistant\n"

    def _count(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        """Cut answers off at `max_tokens`, and count."""
        most, total = request.get("max_tokens"), 0
        for choice in answer["choices"]:
            text = choice["message"]["content"]
            tokens = list(TOKEN.finditer(text))
            if most is not None and len(tokens) > most:
                choice["message"]["content"] = text[: tokens[most].start()]
                choice["finish_reason"] = "length"
            total += min(len(tokens), most or len(tokens))
        asked = len(TOKEN.findall(self._prompt(request)))
        answer["usage"] = {"prompt_tokens": asked, "completion_tokens": total}

    def _give(
        self, writer: asyncio.StreamWriter, request: dict[str, Any], n: int, what: str | int | None
    ) -> None:
        """The right answer, or what a fault makes of it."""
        digest = sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:32]
        answer = answer_to(digest, n)
        answer["model"] = self.calls_itself or request["model"]
        if self.speak is not None:
            for choice in answer["choices"]:
                idx = (request.get("seed") or 0) + choice["index"]
                said = self.speak(request, idx)
                choice["message"].update(said if isinstance(said, dict) else {"content": said})
        if self.counts:
            self._count(request, answer)
        if self.continues == "echoed" and request.get("continue_final_message"):
            answer["timings"] = {"predicted_n": 1}
            for choice in answer["choices"]:
                begun = request["messages"][-1]["content"]
                choice["message"]["content"] = begun + choice["message"]["content"]
        if "prompt" in request:
            answer["object"] = "text_completion"
            for choice in answer["choices"]:
                choice["text"] = choice.pop("message")["content"]
        if what == "html":
            _raw(writer, 200, b"<html>Bad gateway</html>", {"content-type": "text/html"})
        elif what == "cut":
            data = json.dumps(answer).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(data)}\r\n\r\n".encode()
            writer.write(head + data[: len(data) // 2])
            writer.close()
        elif what in SPOILT:
            _raw(writer, 200, SPOILT[what](answer), {})
        else:
            self.log.append(Answered(digest, n, time.time(), request.get("seed")))
            packed = {"content-encoding": "gzip"} if what == "gzip" else {}
            form = FORMS[what] if isinstance(what, str) else _encoded
            _raw(writer, 200, form(answer), packed)


def _encoded(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode()


Spoil = Callable[[dict[str, Any]], bytes]


def _each(change: Callable[[dict[str, Any]], None]) -> Spoil:
    """A change to each choice."""

    def spoil(answer: dict[str, Any]) -> bytes:
        for choice in answer["choices"]:
            change(choice)
        return _encoded(answer)

    return spoil


def _last(change: Callable[[dict[str, Any]], None]) -> Spoil:
    """A change to the last choice."""

    def spoil(answer: dict[str, Any]) -> bytes:
        change(answer["choices"][-1])
        return _encoded(answer)

    return spoil


def _with(**parts: Any) -> Spoil:
    return lambda answer: _encoded(answer | parts)


def _message(**parts: Any) -> Callable[[dict[str, Any]], None]:
    return lambda choice: choice["message"].update(parts)


def _reason(said: Any) -> Spoil:
    return _each(lambda choice: choice.update(finish_reason=said))


def _in_parts(choice: dict[str, Any]) -> None:
    """As Mistral has it."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    text = {"type": "text", "text": choice["message"]["content"]}
    choice["message"]["content"] = [thought, text]


def _nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"message": "x"}
    for _ in range(depth):
        found = {"error": found}
    return found


_CHOICE_ERROR = {"error": {"code": 502, "message": "Provider returned error"}}

SPOILT: dict[Any, Spoil] = {
    "malformed": lambda answer: _encoded(answer)[: len(_encoded(answer)) // 2],
    "empty": _with(choices=[]),
    "null": _last(_message(content=None)),
    "error": lambda answer: _encoded(_error("the engine is gone", None)),
    "choice error": _each(
        lambda choice: choice.update(
            _CHOICE_ERROR, finish_reason="error", message={"role": "assistant", "content": ""}
        )
    ),
    "aborted": _reason("abort"),
    "deep": lambda answer: b'{"choices": ' + b"[" * 200_000,
    "deep error": lambda answer: b'{"error": ' * 100_000,
    "deep error that ends": lambda answer: b'{"error": ' * 700 + b"1" + b"}" * 700,
    "deep error in a choice": _each(lambda choice: choice.update(error=_nested(700))),
    "not an object": lambda answer: b"[1, 2]",
    "choices no list": _with(choices={"0": "text"}),
    "message no object": _each(lambda choice: choice.update(message="text")),
    "empty body": lambda answer: b"",
}
"""What is to be asked again, by name."""

FORMS: dict[str, Spoil] = {
    "length": _reason("length"),
    "model_length": _reason("model_length"),
    "MAXTOKENS": _reason("MAXTOKENS"),
    "length in an object": _reason({"type": "length", "length": 64}),
    "parts": _each(_in_parts),
    "reasoning": _each(_message(reasoning_content="I think.")),
    "reasoning alone": _each(_message(content=None, reasoning="It is <answer>7</answer>")),
    "utf-16": lambda answer: json.dumps(answer).encode("utf-16"),
    "byte order mark": lambda answer: b"\xef\xbb\xbf" + _encoded(answer),
    "infinite index": lambda answer: _encoded(answer).replace(b'"index": 0', b'"index": 1e999'),
    "halves of characters": _reason("stop\ud800"),
    "no finish reason": _reason(None),
    "usage in a list": _with(usage=[1, 2]),
    "usage of words": _with(usage={"prompt_tokens": "many", "completion_tokens": -1}),
    "null error": _with(error={"message": None, "code": None}),
    "other model": _with(model="other\ud800"),
    "gzip": lambda answer: gzip.compress(_encoded(answer)),
}
"""What is a right answer all the same, by name."""


def answer_to(digest: str, n: int) -> dict[str, Any]:
    """The body of the answer to a request."""
    words = [_WORDS[byte % len(_WORDS)] for byte in bytes.fromhex(digest)]
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": f"{' '.join(words)} {i}"},
            "finish_reason": "stop",
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
