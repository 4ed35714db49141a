"""Secrets taken out of what other programs say: a server may repeat the key that it was sent."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlsplit

_NAMES = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+(?=@)")

SHORTEST = 8
"""Characters of an environment variable that is taken for a secret by its name: `EMPTY`, which
vLLM's users give as their key, is none."""


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with `***` for each secret, and for user and password in every address.

    To be called before a text is cut: of half a secret nothing is found.

    >>> redact("no key sk-12 at https://me:pass@host/v1", ["sk-12"])
    'no key *** at https://***@host/v1'
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return _IN_ADDRESS.sub("***", text)


def redact_hub(text: str) -> str:
    """What the Hub says, without the token that it was sent."""
    from huggingface_hub import get_token

    return redact(text, [get_token() or ""])


def environment_secrets() -> list[str]:
    """The values of the environment variables that are named as keys, tokens and passwords are."""
    return [
        value.strip()
        for name, value in os.environ.items()
        if _NAMES.search(name) and len(value.strip()) >= SHORTEST
    ]


def redact_environment(text: str) -> str:
    """The text without `environment_secrets`."""
    return redact(text, environment_secrets())


def address_secrets(url: str) -> list[str]:
    """What may be secret in a server's address: user, password (also as a header has them) and the
    values in the query; none of an address that cannot be read."""
    try:
        parts = urlsplit(url)
        login = [parts.username, parts.password]
    except ValueError:
        return []
    plain = [unquote(part) for part in login if part]
    header = b64encode(":".join(plain).encode()).decode() if len(plain) == 2 else ""
    query = [value for _, value in parse_qsl(parts.query)]
    return [*filter(None, [*login, header, parts.query]), *plain, *query]


def public_address(url: str | None) -> str:
    """A server's address without what may be secret in it; empty: there is none, or what is there
    is no address."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl().rstrip("/")
