"""Who is asked: a chat model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, Ollama,
hosted ones), and what can go wrong with one request.

The servers' errors are sorted here, once: `ModelError` when no request would fare better, `Trouble`
when the same request may be sent again.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from skill_factory.errors import SkillFactoryError
from skill_factory.redaction import address_secrets, redact
from skill_factory.yaml_files import NO_TEXT

Messages = list[dict[str, str]]
"""A conversation: {"role", "content"} each."""

_CONNECT = 10.0
"""Seconds in which a server must take a connection."""

_SOON = 60.0
"""Seconds that a first look may take."""

_IDLE = 3.0
"""Seconds that an idle connection is kept: uvicorn, which vLLM and others run on, closes it after
5, and a request sent at that very moment is lost."""

_CLIENTS = 16
"""Clients that take turns. httpcore looks at all connections of a client for each request: with
one client for 256 of them, that took as long as all the rest."""

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|(maximum|available) context"
    r"|context (length|size|window)|(prompt|input) is too long",
    re.IGNORECASE,
)
"""How OpenAI, llama-cpp-python, llama.cpp, vLLM and others say that a prompt does not fit."""


_EXTRA = re.compile(r"\b(top_k|repetition_penalty|max_tokens|temperature|top_p|seed|grammar)\b")
"""Settings that some servers refuse."""


class ModelError(SkillFactoryError):
    """A model that cannot be asked like this: no server, a wrong name or key, refused settings.
    `status` is the server's answer; None: none came."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TooLongError(ModelError):
    """A prompt that does not fit the model's context, together with the answer's `max_tokens`."""


class Kind(StrEnum):
    """What a trouble says about the server."""

    BUSY = "too many requests"
    SLOW = "time-outs"
    GONE = "no connection"
    FAULTY = "faulty answers"
    """It took the request, and something went wrong with it: the request may be why."""


class Trouble(Exception):
    """A request without an answer, which may be sent again. `retry_after`: seconds that the server
    asks to be left alone, None: it does not say; `status`: its answer, None: nothing whole."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        self.status = status


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn; None: left to the server.

    `seed` is that of a prompt's first sample, the i-th one has `seed + i`. `extra_body` holds
    anything else that the server takes.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """What is set, by the names in a request's body."""
        named = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed")
        given = {name: getattr(self, name) for name in named} | {"stop": list(self.stop) or None}
        return {k: v for k, v in given.items() if v is not None} | dict(self.extra_body)


class Completion(NamedTuple):
    """One answer. `finish_reason` is the server's word ("stop", "length", ...; "unknown": none).

    Tokens are None if the server does not count. Of a request with several answers, the first has
    the prompt's tokens (the others 0), and each a share of the completion's by its length: sums are
    the server's (llama.cpp's counts one answer only). `seconds` is the time of the request, 0 if
    not known.
    """

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float


class Identified(Protocol):
    """What the journal's keys need of a model: its `identity` tells models apart."""

    @property
    def identity(self) -> str: ...


class Model(Identified, Protocol):
    """What can be asked."""

    async def preflight(self) -> None:
        """See that it can be asked; raises `ModelError`."""
        ...

    async def complete(self, messages: Messages, sampling: Sampling, n: int) -> list[Completion]:
        """1 to `n` samples: the first ones, where seeds count. Raises `Trouble`, or a
        `SkillFactoryError` if asking again is of no use."""
        ...

    async def close(self) -> None: ...


class OpenAIModel:
    """A model behind an OpenAI-compatible server, through the `openai` SDK.

    `model` None: the only one that the server has, once `preflight` has looked. `api_key_env` names
    the environment variable with the key; none need be there for servers without one. `timeout` is
    in seconds, for a whole request. `identity` stands in the journal's keys for the server's
    address and the model's name: give the old one when the same model has moved.

    Use it in one event loop only.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        timeout: float = 600.0,
        identity: str | None = None,
    ) -> None:
        import httpx2

        self.model = model
        self.timeout = timeout
        self._env = api_key_env
        self._key = os.environ.get(api_key_env, "").strip()
        try:
            parts = urlsplit(base_url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            httpx2.URL(base_url)
        except (ValueError, httpx2.InvalidURL):
            parts, good = urlsplit(""), False
        if not good:
            shown = parts.path.rpartition("@")[2]  # without a password
            raise ModelError(f"{shown!r} is no address of a server: http://HOST:PORT/v1")
        if not self._key.isascii():
            raise ModelError(f"the key in ${api_key_env} has characters that no key has")
        # Without what may be secret in an address: user, password and query.
        self._url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        self._secrets = [self._key, *address_secrets(base_url)]
        self._identity = identity
        self._takes_n = True
        self._base_url = base_url
        self._clients: list[Any] = []
        self._turns = self._in_turn()

    def _in_turn(self) -> Iterator[Any]:
        """The clients, one after the other for ever; each is made when its turn first comes."""
        import httpx2
        import openai

        limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=None, keepalive_expiry=_IDLE
        )
        waits = httpx2.Timeout(self.timeout, connect=min(self.timeout, _CONNECT), pool=None)
        trust = httpx2.create_ssl_context()
        for _ in range(_CLIENTS):
            http = openai.DefaultAsyncHttpxClient(limits=limits, timeout=waits, verify=trust)
            client = openai.AsyncOpenAI(
                base_url=self._base_url,
                api_key=self._key or "none",
                max_retries=0,
                http_client=http,
                timeout=waits,
            )
            self._clients.append(client)
            yield client
        yield from itertools.cycle(self._clients)

    @property
    def identity(self) -> str:
        """The server's address and the model's name. Raises `ModelError` while that is open."""
        if self._identity is not None:
            return self._identity
        if self.model is None:
            raise ModelError(f"{self._url}: which model? Give its name")
        return f"{self._url} {self.model}"

    def request(self, messages: Messages, sampling: Sampling, n: int) -> dict[str, Any]:
        """The body of a request."""
        many = {"n": n} if n > 1 else {}
        return {"model": self.model, "messages": messages} | many | sampling.settings()

    async def complete(self, messages: Messages, sampling: Sampling, n: int) -> list[Completion]:
        """As `Model` has it. From the first time on that the server gives fewer than `n` at once,
        it is asked for one at a time."""
        if n > 1 and self._takes_n:
            try:
                answer, seconds = await self._post(self.request(messages, sampling, n))
            except TooLongError:
                raise
            except ModelError:
                # Perhaps `n` is refused, perhaps the rest: asked for one sample it will tell.
                single = await self.complete(messages, sampling, 1)
                self._takes_n = False
                return single
            self._takes_n = _count(answer) >= n
        else:
            answer, seconds = await self._post(self.request(messages, sampling, 1))
        return read_answer(answer, seconds)[:n]

    async def preflight(self) -> None:
        """See that the server, the model and the key are there; asks for one token where the list
        of models does not tell. A server that is there but busy passes.

        Raises `ModelError`.
        """
        names, unlisted = list[str](), "it lists none"
        try:
            sent = next(self._turns).get("/models", cast_to=bytes)
            listed = json.loads(await self._asked(sent, min(self.timeout, _SOON)))
            found = [str(entry["id"]) for entry in listed["data"]]
            names = [name for name in found if not NO_TEXT.search(name)]  # else no file holds it
        except Trouble as trouble:
            unlisted = str(trouble)
            if trouble.status is None:
                raise ModelError(
                    f"no server answers at {self._url} ({trouble}): start it, or give its address"
                ) from None
        except ModelError as error:
            unlisted = str(error)
        except (ValueError, TypeError, KeyError):
            pass  # not all servers have the list
        if self.model is None:
            if len(names) != 1:
                there = f"it has {self._line(_listed(names))}" if names else unlisted
                raise ModelError(f"{self._url}: which model? Give its name; {there}")
            self.model = names[0]
        if self.model in names and not self._key:
            return
        try:
            hello: Messages = [{"role": "user", "content": "Hi"}]
            await self._post(self.request(hello, Sampling(max_tokens=1), 1), _SOON)
        except Trouble:
            pass
        except ModelError as error:
            if names and error.status == 404:
                raise ModelError(
                    f"{error}; the server has {self._line(_listed(names))}", 404
                ) from None
            raise

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.close()

    async def _post(self, body: dict[str, Any], limit: float = math.inf) -> tuple[Any, float]:
        """The server's answer, parsed, and the seconds it took."""
        start = time.monotonic()
        sent = next(self._turns).post("/chat/completions", cast_to=bytes, body=body)
        data = await self._asked(sent, min(self.timeout, limit))
        try:
            answer = json.loads(data)
        except ValueError:
            raise Trouble(Kind.FAULTY, "an answer that is no JSON") from None
        if isinstance(answer, dict) and answer.get("error") and not answer.get("choices"):
            error = answer["error"]  # some servers send errors with status 200
            code = error.get("code") if isinstance(error, dict) else None
            raise self._refused(code if isinstance(code, int) else 500, data.decode(), None)
        return answer, time.monotonic() - start

    async def _asked(self, sent: Any, seconds: float) -> bytes:
        """What a request of the SDK's gives; its errors become ours."""
        import openai

        try:
            async with asyncio.timeout(seconds):
                data: bytes = await sent
                return data
        except TimeoutError:
            raise Trouble(Kind.SLOW, f"no answer within {seconds:g} s") from None
        except openai.APITimeoutError as error:
            kind = Kind.GONE if "Connect" in type(error.__cause__).__name__ else Kind.SLOW
            raise Trouble(kind, f"no answer within {seconds:g} s") from None
        except openai.APIConnectionError as error:
            name = type(error.__cause__).__name__
            said = self._line(str(error.__cause__) or name)
            kind = Kind.GONE if name == "ConnectError" else Kind.FAULTY
            raise Trouble(kind, f"the connection failed: {said}") from None
        except openai.APIStatusError as error:
            header = error.response.headers.get("retry-after")
            refused = self._refused(error.status_code, error.response.text, header)
            raise refused from None

    def _refused(self, status: int, text: str, retry_after: str | None) -> Exception:
        """What an answer with an error status means."""
        said = self._line(_said(text))
        if status in (400, 413, 422, 500) and _TOO_LONG.search(text):
            return TooLongError(
                f"{self._url}: a prompt is too long for the model ({said}): serve it with a "
                "longer context, lower max_tokens, or leave out what is longest",
                status,
            )
        if (kind := _kind(status, text)) is not None:
            return Trouble(kind, f"status {status}: {said}", _seconds(retry_after), status)
        told = f"status {status}: {said}"
        if status in (401, 403):
            key = "refuses the key in" if self._key else "wants a key, and there is none in"
            return ModelError(f"{self._url} {key} ${self._env} ({told})", status)
        if status == 404:
            name = f"no model {self.model!r}" if self.model else "nothing"
            return ModelError(
                f"{self._url}: {name} there, or the address should end in /v1 ({told})", status
            )
        odd = _EXTRA.search(text)
        cure = f"; if it does not know {odd[0]}, set that to none" if odd else ""
        return ModelError(f"{self._url} refuses the request ({told}){cure}", status)

    def _line(self, text: str) -> str:
        """One short line, without the key and what is secret in the address."""
        return _short(redact(text, self._secrets))


def read_answer(answer: Any, seconds: float) -> list[Completion]:
    """The answers in the body of a chat completion, in their order, up to the first without a text.

    An answer that was cut off or filtered before its text began counts, as the empty text. Raises
    `Trouble` if there is none.
    """
    try:
        choices = sorted(answer["choices"], key=lambda choice: int(choice.get("index") or 0))
        texts = []
        for choice in choices:
            reason, text = choice.get("finish_reason"), choice["message"].get("content")
            if text is None and reason in ("length", "content_filter"):
                text = ""
            if not isinstance(text, str):
                break
            text = text.encode(errors="replace").decode()  # halves of characters cannot be stored
            texts.append((text, reason if isinstance(reason, str) and reason else "unknown"))
        usage = answer.get("usage") or {}
        asked, told = (usage.get(name) for name in ("prompt_tokens", "completion_tokens"))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Trouble(Kind.FAULTY, "an answer without the form of a chat completion") from None
    if not texts:
        raise Trouble(Kind.FAULTY, "an answer without a text")
    shares = _shares(_tokens(told), [len(text) for text, _ in texts])
    prompt = [_tokens(asked), *([0] * (len(texts) - 1))]
    return [
        Completion(text, reason, prompt[i], shares[i], seconds)
        for i, (text, reason) in enumerate(texts)
    ]


def _tokens(said: Any) -> int | None:
    """A number of tokens, if it can be one."""
    return said if isinstance(said, int) and 0 <= said < 1 << 31 else None


def _shares(total: int | None, lengths: Sequence[int]) -> list[int | None]:
    """Split a number of tokens by the lengths of texts."""
    if total is None:
        return [None] * len(lengths)
    whole, given, done = sum(lengths) or len(lengths), 0, 0
    shares: list[int | None] = []
    for length in lengths:
        done += length if sum(lengths) else 1
        shares.append(total * done // whole - given)
        given = total * done // whole
    return shares


def _count(answer: Any) -> int:
    """How many choices there are in an answer of whatever form; a huge number for a broken one."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    return len(choices) if isinstance(choices, list) and choices else 1 << 30


def _kind(status: int, text: str) -> Kind | None:
    """What trouble an error status is; None: asking again is of no use."""
    if status == 429 and "insufficient_quota" not in text:
        return Kind.BUSY
    if status in (502, 503, 504):
        return Kind.GONE
    return Kind.FAULTY if status >= 500 or status in (408, 409, 425) else None


def error_message(body: Any) -> str:
    """What an error says, in one short line; `body` is text, or JSON that was parsed."""
    return _short(_said(body))


def _short(text: str) -> str:
    return " ".join(text.split())[:300] or "no reason given"


def _said(body: Any) -> str:
    """What an error says, whole."""
    if isinstance(body, str):
        with suppress(ValueError):
            body = json.loads(body)
    while isinstance(body, dict) and (inner := body.get("error") or body.get("message")):
        body = inner
    return str(body)


def _seconds(header: str | None) -> float | None:
    """What a Retry-After header asks for: seconds, or a date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > 8 else ""
    return ", ".join(map(repr, names[:8])) + more
