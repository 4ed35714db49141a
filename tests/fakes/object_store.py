"""A real S3 server on the loopback, moto's, with a layer before it that lets requests fail.

moto (https://docs.getmoto.org) speaks the protocol of S3: listings in pages of 1,000, ranges,
uploads in parts. It knows no users: the layer refuses keys other than `KEY`.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY, SECRET = "AKIATESTER0000000000", "a-secret-of-40-letters-as-amazon-has-them"

_SLOW_DOWN = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>'
    "<Message>{message}</Message></Error>"
)
_CODES = {
    403: ("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist."),
    500: ("InternalError", "We encountered an internal error. Please try again."),
    503: ("SlowDown", "Please reduce your request rate."),
}


@dataclass
class Fault:
    """What goes wrong with the next `times` requests (None: with all) of a method and a path, after
    the first `after` of them.

    `path` is a pattern to be found in the path, with its query. `status` is answered; or the
    connection is closed when a part of the request's body is read ("cut").
    """

    method: str
    path: str
    status: int | Literal["cut"]
    times: int | None = 1
    after: int = 0


class Request(NamedTuple):
    """A request that came: its path with its query, the range of bytes that it asks for, and
    whether it was let through."""

    method: str
    path: str
    range: str | None
    served: bool


@dataclass
class ObjectStore:
    """The server: its address, the faults to come and the requests that came."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    log: list[Request] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What s3fs, as all of AWS's clients, reads."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def client(self) -> Any:
        """boto3's client: not what we use ourselves."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The names of all objects in a bucket that begin so."""
        pages = (
            self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        )
        return [one["Key"] for page in pages for one in page.get("Contents", [])]


Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class _Layer:
    """What stands before moto."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        path = environ["PATH_INFO"] + ("?" + environ["QUERY_STRING"]).rstrip("?")
        fault = self._fault(method, path)
        if fault is None and KEY not in environ.get("HTTP_AUTHORIZATION", ""):
            fault = Fault(method, path, 403)
        asked = Request(method, path, environ.get("HTTP_RANGE"), fault is None)
        self._store.log.append(asked)
        if fault is None:
            answer: Iterable[bytes] = self._moto(environ, start)
            return answer
        if fault.status == "cut":
            _read(environ, whole=False)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        code, message = _CODES[fault.status]
        body = _SLOW_DOWN.format(code=code, message=message).encode()
        _read(environ)  # all of it: else the client hears of a connection that was cut
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
        start(f"{fault.status} {code}", headers)
        return [] if method == "HEAD" else [body]

    def _fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self._store.faults:
                if fault.method == method and re.search(fault.path, path):
                    if fault.after:
                        fault.after -= 1
                    elif fault.times is None or fault.times > 0:
                        fault.times = None if fault.times is None else fault.times - 1
                        return fault
        return None


def _read(environ: Environ, whole: bool = True) -> None:
    """Read a request's body, or half of it; more than there is would be waited for."""
    body, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH")
    if length:
        body.read(int(length) // (1 if whole else 2))
    elif environ.get("wsgi.input_terminated"):
        body.read(*([] if whole else [1024]))


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *args: Any) -> None:
        """Say nothing."""

    def connection_dropped(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serve() -> Iterator[ObjectStore]:
    """Serve buckets while the block runs."""
    store = ObjectStore("")
    server = make_server("127.0.0.1", 0, _Layer(store), threaded=True, request_handler=_Quiet)
    store.url = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
