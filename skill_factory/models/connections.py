"""What goes through a connection to a server: bodies, replies, certificates, errors."""

from __future__ import annotations

import io
import os
import ssl

import aiohttp
import truststore


def payload(body: bytes | None) -> bytes | io.BytesIO | None:
    """A body as aiohttp wants it: a large one in parts, so that other requests go on."""
    return io.BytesIO(body) if body and len(body) > 1 << 20 else body


async def read_body(response: aiohttp.ClientResponse, largest: int) -> bytes:
    """The body of a response; raises `ClientPayloadError` for one that is cut or has no end."""
    chunks, size = list[bytes](), 0
    while chunk := await response.content.readany():
        chunks.append(chunk)
        size += len(chunk)
        if size > largest:
            raise aiohttp.ClientPayloadError(f"a reply of more than {largest:,} bytes")
    return b"".join(chunks)


def trusted() -> ssl.SSLContext:
    """The certificates that $SSL_CERT_FILE or $SSL_CERT_DIR name, else the system's, which Python
    by itself does not find everywhere."""
    if os.environ.keys() & {"SSL_CERT_FILE", "SSL_CERT_DIR"}:
        return ssl.create_default_context()
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def error_words(error: Exception) -> str:
    """What went wrong with a connection; aiohttp's own words show an address with its query."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"
    return str(error) or type(error).__name__
