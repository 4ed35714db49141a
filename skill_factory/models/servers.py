"""A model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, Ollama, hosted ones)."""

from __future__ import annotations

import base64
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from skill_factory.core.redaction import address_secrets, environment_secrets, redact
from skill_factory.core.yaml_files import NO_TEXT
from skill_factory.models import (
    Completion,
    Kind,
    Messages,
    ModelError,
    Refusal,
    RefusedError,
    Sampling,
    TooLongError,
    Trouble,
    turn_of,
)
from skill_factory.models.connections import error_words, payload, read_body, trusted
from skill_factory.models.replies import (
    count_choices,
    decoded,
    error_message,
    one_line,
    parse,
    read_answer,
    storable,
    told_error,
    without_beginning,
)
from skill_factory.models.server_errors import refusal

_CONNECT = 10.0
"""Seconds in which a server must take a connection."""

_SOON = 60.0
"""Seconds that a first look may take."""

_IDLE = 3.0
"""Seconds that an idle connection is kept: uvicorn, which vLLM and others run on, closes it after
5, and a request sent at that very moment is lost."""

_LARGEST = 1 << 28
"""Bytes of a reply, unpacked: 128 answers of 100,000 tokens are about 64 MB."""

_HEADER = 1 << 16
"""Bytes of a header's line; aiohttp's own limit is an eighth of this."""

_MOVED = (301, 302, 307, 308)

_HOPS = 4
"""Redirects that are followed for one request."""


START_IT = "start it, or say where it is with base_url (--base-url) or $OPENAI_BASE_URL"
"""What to do if no server answers."""


class _Reply(NamedTuple):
    status: int
    headers: Any
    body: bytes


class OpenAIModel:
    """A model behind an OpenAI-compatible server.

    `model` None: the only one that the server has, once `preflight` has looked. `api_key_env` names
    the environment variable with the key; none need be there for servers without one. `own_key` is
    sent in its place, past all proxies, to a server that this run has started; None: it has not.
    `timeout` is in seconds, for a whole request. `identity` stands in the journal's keys for the
    server's address and the model's name: give the old one when the same model has moved. A reply
    has at most `largest` bytes, unpacked. `note` is called, once for each, with what is odd about
    answers. With a `template`, which makes a prompt of messages, it is asked for completions of
    prompts.

    Proxies and certificates are those of the environment. Use it in one event loop only.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        own_key: str | None = None,
        timeout: float = 600.0,
        identity: str | None = None,
        largest: int = _LARGEST,
        note: Callable[[str], None] = lambda text: None,
        template: Callable[[Messages], str] | None = None,
    ) -> None:
        self.model = model
        self.template = template
        self.timeout = timeout
        self.note = note
        self.answers_as: str | None = None
        """The name that answers have to come under; None: any."""
        self._largest = largest
        self._env = api_key_env
        self._key = own_key or os.environ.get(api_key_env, "").strip()
        self._is_own = own_key is not None
        try:
            parts = urlsplit(base_url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            parts, good = urlsplit(""), False
        if not good:
            shown = parts.path.rpartition("@")[2]  # without a password
            raise ModelError(f"{shown!r} is no address of a server: http://HOST:PORT/v1")
        if not self._key.isascii() or not self._key.isprintable():
            raise ModelError(f"the key in ${api_key_env} has characters that no key has")
        # Without what may be secret in an address: user, password and query.
        self._url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        self._query = f"?{parts.query}" if parts.query else ""
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            said = base64.b64encode(user.encode()).decode()
            self._headers["Authorization"] = f"Basic {said}"
        elif self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"
        # A server may know more of the environment than it was sent, if it runs beside us.
        self._secrets = [self._key, *address_secrets(base_url), *environment_secrets()]
        self._identity = identity
        self._takes_n = True
        self._session: aiohttp.ClientSession | None = None
        self._served: str | None = None
        self._noted: set[str] = set()

    @property
    def identity(self) -> str:
        """The server's address and the model's name. Raises `ModelError` while that is open."""
        if self._identity is not None:
            return self._identity
        if self.model is None:
            raise ModelError(f"{self._url}: which model? Give its name")
        return f"{self._url} {self.model}"

    def request(self, messages: Messages, sampling: Sampling, n: int) -> dict[str, Any]:
        """The body of a request. Raises `ModelError` while the model's name is not known.

        How an answer is continued: vLLM (entrypoints/openai/chat_completion/protocol.py), SGLang
        and llama.cpp's server take these two keys.
        """
        if self.model is None:
            raise ModelError(f"{self._url}: which model? Give its name")
        many = {"n": n} if n > 1 else {}
        if self.template:
            asked: dict[str, Any] = {"prompt": self.template(messages)}
        else:
            asked = {"messages": messages}
            if turn_of(messages).begun:
                asked |= {"continue_final_message": True, "add_generation_prompt": False}
        return {"model": self.model, **asked, **many, **sampling.settings}

    async def complete(self, messages: Messages, sampling: Sampling, n: int) -> list[Completion]:
        """As `Model` has it. From the first time on that the server gives fewer than `n` at once,
        it is asked for one at a time."""
        if n > 1 and self._takes_n:
            try:
                answer, seconds = await self._post(self.request(messages, sampling, n))
            except ModelError as error:
                if isinstance(error, TooLongError) or _filters(error):
                    raise
                # Perhaps `n` is refused, perhaps the rest: asked for one sample it will tell.
                single = await self.complete(messages, sampling, 1)
                self._takes_n = False
                return single
            self._takes_n = count_choices(answer) >= n
        else:
            answer, seconds = await self._post(self.request(messages, sampling, 1))
        answers = read_answer(answer, seconds, self._clean)[:n]
        if not self.template:
            answers = without_beginning(answer, answers, turn_of(messages).begun)
        self._look_at(answer, answers)
        return answers

    async def preflight(self) -> None:
        """See that the server, the model and the key are there; asks for one token where the list
        of models does not tell. A server that is there but busy passes.

        Raises `ModelError`.
        """
        names, unlisted = list[str](), "it lists none"
        try:
            names = await self.listed()
        except Trouble as trouble:
            unlisted = str(trouble)
            if trouble.status is None:
                raise ModelError(
                    f"no server answers at {self._url} ({trouble}): {START_IT}"
                ) from None
        except ModelError as error:
            unlisted = str(error)
        if self.model is None:
            if len(names) != 1:
                there = f"it has {self.line(_listed(names))}" if names else unlisted
                raise ModelError(f"{self._url}: which model? Give its name; {there}")
            self.model = names[0]
        if self.model in names and not self._key:
            return
        try:
            await self.hello()
        except (Trouble, RefusedError):
            pass  # a run will tell whether others are refused too
        except ModelError as error:
            if names and error.status == 404:
                raise ModelError(
                    f"{error}; the server has {self.line(_listed(names))}", 404
                ) from None
            raise

    async def hello(self) -> str | None:
        """Ask for one token; the name under which the server answers, None: it says none."""
        hello: Messages = [{"role": "user", "content": "Hi"}]
        answer, _ = await self._post(self.request(hello, Sampling(max_tokens=1), 1), _SOON)
        return _served(answer)

    async def listed(self) -> list[str]:
        """The names of the models that the server lists. Raises `Trouble` or `ModelError`, both
        without a status if no server answers."""
        return _names(await self._asked("GET", "/models", None, min(self.timeout, _SOON)))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, body: dict[str, Any], limit: float = math.inf) -> tuple[Any, float]:
        """The server's answer, parsed, and the seconds it took."""
        start = time.monotonic()
        sent = json.dumps(body).encode()
        path = "/completions" if self.template else "/chat/completions"
        data = await self._asked("POST", path, sent, min(self.timeout, limit))
        answer = parse(data)
        error = told_error(answer)
        if error is not None and not answer.get("choices"):  # some send errors with status 200
            code = error.get("code") if isinstance(error, dict) else None
            status = code if isinstance(code, int) and 400 <= code < 600 else 500
            raise self._refused(status, decoded(data), None)
        return answer, time.monotonic() - start

    async def _asked(self, method: str, path: str, body: bytes | None, seconds: float) -> bytes:
        """What a request gives; what goes wrong with it becomes ours."""
        try:
            reply = await self._sent(method, f"{self._url}{path}{self._query}", body, seconds)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            raise Trouble(
                Kind.GONE, f"the connection failed: {self.line(error_words(error))}"
            ) from None
        except TimeoutError:
            raise Trouble(Kind.SLOW, f"no answer within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            said = f"the connection failed: {self.line(error_words(error))}"
            raise Trouble(Kind.FAULTY, said) from None
        if reply.status >= 300:
            header = reply.headers.get("retry-after")
            raise self._refused(reply.status, decoded(reply.body), header)
        return reply.body

    async def _sent(self, method: str, url: str, body: bytes | None, seconds: float) -> _Reply:
        """The reply to a request; a redirect is followed while it stays with the server."""
        if self._session is None:
            self._session = self._open()
        limits = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, _CONNECT))
        for _ in range(_HOPS):
            async with self._session.request(
                method,
                url,
                data=payload(body),
                headers=self._headers,
                timeout=limits,
                allow_redirects=False,
            ) as response:
                there = response.headers.get("location")
                if response.status not in _MOVED or not there:
                    read = await read_body(response, self._largest)
                    return _Reply(response.status, response.headers, read)
            url = self._followed(url, there)
        raise ModelError(f"{self._url} sends requests round in circles: give its real address")

    def _followed(self, url: str, there: str) -> str:
        """Where a redirect leads; raises `ModelError` if that is another server, which is to have
        neither the key nor the prompts."""
        old, new = urlsplit(url), urlsplit(urljoin(url, there))
        ports = {"http": 80, "https": 443}
        same = new.scheme == old.scheme and (new.port or ports.get(new.scheme)) == (
            old.port or ports[old.scheme]
        )
        safer = (old.scheme, new.scheme) == ("http", "https")
        if new.hostname != old.hostname or not (same or safer):
            place = self.line(f"{new.scheme}://{new.netloc.rpartition('@')[2]}")
            raise ModelError(f"{self._url} sends requests on to {place}: give that address")
        return new.geturl()

    def _open(self) -> aiohttp.ClientSession:
        """The connections; to be made in the event loop."""
        parts = urlsplit(self._url)
        # Looked up once: aiohttp's `trust_env` does it for each request, and reads ~/.netrc too.
        direct = self._is_own or proxy_bypass(parts.netloc)
        proxies = {} if direct else getproxies()
        secure = any(there.startswith("https") for there in (self._url, *proxies.values()))
        trust = trusted() if secure else True
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE, ssl=trust),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=proxies.get(parts.scheme) or proxies.get("all"),
            max_line_size=_HEADER,
            max_field_size=_HEADER,
        )

    def _refused(self, status: int, text: str, retry_after: str | None) -> Exception:
        """What an answer with an error status means."""
        said = error_message(text, self._clean)
        error = refusal(self._url, status, text, said, retry_after)
        told = f"status {status}: {said}"
        if isinstance(error, RefusedError):
            return error
        if status in (401, 403):
            key = "refuses the key in" if self._key else "wants a key, and there is none in"
            return ModelError(f"{self._url} {key} ${self._env} ({told})", status)
        if status == 404:
            name = f"no model {self.model!r}" if self.model else "nothing"
            return ModelError(
                f"{self._url}: {name} there, or the address should end in /v1 ({told})", status
            )
        return error

    def line(self, text: str) -> str:
        """One short line, without the key and what is secret in the address."""
        return one_line(self._clean(text))

    def _clean(self, text: str) -> str:
        return redact(text, self._secrets)

    def _look_at(self, answer: dict[str, Any], answers: Sequence[Completion]) -> None:
        """Note what is odd about some answers; raises `ModelError` if they are another model's."""
        served = _served(answer)
        self.validate_served(served)
        if served is not None and served != self._served:
            if self._served is not None:
                self._note(
                    "another model",
                    f"{self._url} answers as {self.line(served)!r} now, and as "
                    f"{self.line(self._served)!r} before: the answers are of both",
                )
            self._served = served
        if any(one.reasoning and not one.text and one.finish_reason != "length" for one in answers):
            self._note(
                "only reasoning",
                f"{self._url}: answers come with a reasoning and no text: the server's reasoning "
                "parser took it; serve the model without one (vLLM, SGLang: no "
                "--reasoning-parser; llama.cpp: --reasoning-format none)",
            )

    def validate_served(self, served: str | None) -> None:
        """Raise `ModelError` for an answer that comes under another name than it has to."""
        if self.answers_as is not None and served not in (None, self.answers_as):
            there, due = self.line(served or ""), self.line(self.answers_as)
            raise ModelError(f"{self._url} answers as {there!r}, not {due!r}")

    def _note(self, kind: str, text: str) -> None:
        if kind not in self._noted:
            self._noted.add(kind)
            self.note(text)


def _names(listed: bytes) -> list[str]:
    """The models in a server's list; none, as not all servers have the list, if it is no such."""
    try:
        names = [storable(str(entry["id"])) for entry in parse(listed)["data"]]
        return [name for name in names if not NO_TEXT.search(name)]  # else no file holds it
    except (Trouble, TypeError, KeyError, RecursionError):
        return []


def _served(answer: dict[str, Any]) -> str | None:
    """The model that an answer says it is of; None: it says none."""
    served = answer.get("model")
    return served if isinstance(served, str) else None


def _filters(error: ModelError) -> bool:
    return isinstance(error, RefusedError) and error.reason is Refusal.CONTENT_FILTER


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > 8 else ""
    return ", ".join(map(repr, names[:8])) + more
