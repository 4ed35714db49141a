"""A small Hub on the loopback, for the real clients: enough of its protocol to load datasets from.

It serves datasets from memory, each one commit with files, under the paths that `huggingface_hub`
asks for (https://huggingface.co/docs/hub/api).
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Repo:
    """A dataset: its files by path. `token` None: public; else only this token may read it."""

    files: dict[str, bytes]
    token: str | None = None
    tags: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def at(self, revision: str) -> dict[str, bytes] | None:
        """The files of a revision: a tag, a commit, or the main branch."""
        known = {"main": self.files, **self.tags}
        known |= {commit(files): files for files in known.values()}
        return known.get(revision)


def commit(files: dict[str, bytes]) -> str:
    """A commit id for some files."""
    digest = hashlib.sha1()
    for path, content in sorted(files.items()):
        digest.update(f"{path}\0".encode() + hashlib.sha1(content).digest())
    return digest.hexdigest()


@contextmanager
def serve(repos: dict[str, Repo]) -> Iterator[str]:
    """Serve datasets by id while the block runs; gives the address for HF_ENDPOINT."""

    class Handler(_Handler):
        datasets = repos

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    datasets: dict[str, Repo]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._route()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        routes = [
            (r"/api/datasets/([^/]+/[^/]+)(?:/revision/(.+))?", self._info),
            (r"/api/datasets/([^/]+/[^/]+)/tree/([^/]+)/?(.*)", self._tree),
            (r"/api/datasets/([^/]+/[^/]+)/paths-info/([^/]+)", self._paths),
            (r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve),
        ]
        for pattern, answer in reversed(routes):
            if match := re.fullmatch(pattern, path):
                name, revision, *rest = match.groups()
                return self._found(name, revision or "main", answer, *rest)
        return self._error(404, "EntryNotFound")

    def _found(self, name: str, revision: str, answer: Any, *rest: str) -> None:
        repo = self.datasets.get(name)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repo is None or (repo.token and repo.token != token):
            # As the Hub does: who may not read a dataset is not told that it is there.
            return self._error(401 if not token else 404, "RepoNotFound")
        files = repo.at(revision)
        if files is None:
            return self._error(404, "RevisionNotFound")
        answer(name, files, *rest)
        return None

    def _info(self, name: str, files: dict[str, bytes]) -> None:
        self._json(
            {
                "id": name,
                "sha": commit(files),
                "private": False,
                "lastModified": "2026-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": path} for path in files],
                "cardData": {},
            }
        )

    def _tree(self, name: str, files: dict[str, bytes], folder: str) -> None:
        inside = {p: c for p, c in files.items() if not folder or p.startswith(f"{folder}/")}
        if folder and not inside:
            return self._error(404, "EntryNotFound")
        entries = [_entry(path, content) for path, content in inside.items()]
        folders = {str(above) for path in inside for above in PurePosixPath(path).parents}
        for path in sorted(folders - {"."}):
            entries.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        self._json(entries)
        return None

    def _paths(self, name: str, files: dict[str, bytes]) -> None:
        try:
            asked = json.loads(self.body)["paths"]
        except ValueError:
            asked = parse_qs(self.body.decode())["paths"]
        self._json([_entry(path, files[path]) for path in asked if path in files])

    def _resolve(self, name: str, files: dict[str, bytes], path: str) -> None:
        if path not in files:
            return self._error(404, "EntryNotFound")
        content = files[path]
        headers = {
            "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
            "X-Repo-Commit": commit(files),
            "Accept-Ranges": "bytes",
        }
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span:
            start, stop = int(span[1]), int(span[2] or len(content) - 1) + 1
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            content = content[start:stop]
        self._send(206 if span else 200, content, "application/octet-stream", headers)
        return None

    def _json(self, content: object) -> None:
        self._send(200, json.dumps(content).encode(), "application/json", {})

    def _error(self, status: int, code: str) -> None:
        self._send(status, b"{}", "application/json", {"X-Error-Code": code})

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entry(path: str, content: bytes) -> dict[str, object]:
    oid = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    return {"type": "file", "path": path, "size": len(content), "oid": oid}
