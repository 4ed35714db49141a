"""A small Hub on the loopback, for the real clients: enough of its protocol to load and to push.

It holds datasets in memory, under the paths that `huggingface_hub` asks for
(https://huggingface.co/docs/hub/api). Files go up as git-LFS has it: clients that push need
HF_HUB_DISABLE_XET=1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

Files = dict[str, bytes]


@dataclass
class Repo:
    """A dataset: the files of its main branch by path, and of its tags.

    `token` None: public; else only this token may read it. `private`: only users of its namespace.
    """

    files: Files
    token: str | None = None
    tags: dict[str, Files] = field(default_factory=dict)
    private: bool = False
    refs: dict[str, str] = field(init=False, default_factory=dict)
    """The commits of branches, tags and pull requests (`refs/pr/1`)."""
    commits: dict[str, Files] = field(init=False, default_factory=dict)
    """The files of each commit, by its id."""
    blobs: Files = field(init=False, default_factory=dict)
    """The contents of LFS files, by sha256: also of those which no commit names yet."""

    def __post_init__(self) -> None:
        for ref, files in {"main": self.files, **self.tags}.items():
            self._set(ref, commit(files), files)

    def at(self, revision: str) -> Files | None:
        """The files of a revision: a branch, a tag, a pull request or a commit."""
        return self.commits.get(self.refs.get(revision, revision))

    def push(self, files: Files, ref: str = "main") -> str:
        """Make these the files of a branch, in one commit; gives its id."""
        parent = self.refs.get(ref, "")
        made = hashlib.sha1(f"{parent} {commit(files)}".encode()).hexdigest()
        self._set(ref, made, files)
        return made

    def _set(self, ref: str, made: str, files: Files) -> None:
        self.refs[ref] = made
        self.commits[made] = files
        self.blobs |= {_oid(p, c): c for p, c in files.items() if _is_lfs(p, len(c))}
        if ref == "main":
            self.files = files


def commit(files: Files) -> str:
    """The commit id of a dataset that was served with these files."""
    digest = hashlib.sha1()
    for path, content in sorted(files.items()):
        digest.update(f"{path}\0".encode() + hashlib.sha1(content).digest())
    return digest.hexdigest()


class User(NamedTuple):
    """Who holds a token: may write to the datasets under the own name and under those of `orgs`."""

    name: str
    orgs: tuple[str, ...] = ()


@dataclass
class Fault:
    """What goes wrong with the next `times` requests (None: with all) of a method and a path.

    `path` is a pattern to be found in the path as it was sent, with its query. `status` is answered
    with `message` and `headers`; or the connection is closed: with no answer ("cut"), or in the
    middle of the right one ("short"). `late`: the request is carried out, only its answer is lost.
    """

    method: str
    path: str
    status: int | Literal["cut", "short"]
    times: int | None = 1
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    late: bool = False


class Request(NamedTuple):
    """A request that was served: its path as it was sent, and the status (0 where it was cut)."""

    method: str
    path: str
    status: int


@contextmanager
def serve(
    repos: dict[str, Repo],
    *,
    users: dict[str, User] | None = None,
    faults: list[Fault] | None = None,
    log: list[Request] | None = None,
) -> Iterator[str]:
    """Serve datasets by id while the block runs; gives the address for HF_ENDPOINT.

    `users` by token may push, which changes `repos`; without them it is read-only. `faults` may
    change while it serves, the first that fits counts. `log` is filled with the requests.
    """

    class Handler(_Handler):
        datasets = repos
        holders = users
        troubles = [] if faults is None else faults
        requests = [] if log is None else log
        lock = threading.Lock()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Refusal(Exception):
    """An answer that is not the one asked for; `code` picks the exception of the client."""

    def __init__(self, status: int, code: str = "", message: str = "", **more: object) -> None:
        self.status = status
        self.headers = {"X-Error-Code": code} if code else {}
        self.headers |= {"X-Error-Message": message} if message else {}
        self.content = {"error": message, **more} if message else more


class _Handler(BaseHTTPRequestHandler):
    datasets: dict[str, Repo]
    holders: dict[str, User] | None
    troubles: list[Fault]
    requests: list[Request]
    lock: threading.Lock
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.fault = self._next_fault()
        try:
            if self.fault and self.fault.status != "short" and not self.fault.late:
                return self._send(200, b"", "", {})
            self._route()
        except _Refusal as refusal:
            content = json.dumps(refusal.content).encode()
            self._send(refusal.status, content, "application/json", refusal.headers)
        return None

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _next_fault(self) -> Fault | None:
        with self.lock:
            for fault in self.troubles:
                fits = fault.method == self.command and re.search(fault.path, self.path)
                if fits and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def _route(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.address = f"http://{self.headers['Host']}"
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.holders is not None and self.token and self.token not in self.holders:
            raise _Refusal(401, message="Invalid credentials in Authorization header")
        method = "GET" if self.command == "HEAD" else self.command
        repo, revision = "([^/]+/[^/]+)", "(refs/[^/]+/[^/]+|[^/]+)"
        routes: list[tuple[str, str, Callable[..., None]]] = [
            ("GET", f"/datasets/{repo}/resolve/{revision}/(.+)", self._resolve),
            ("GET", f"/api/datasets/{repo}(?:/revision/{revision})?", self._info),
            ("GET", f"/api/datasets/{repo}/tree/{revision}/?(.*)", self._tree),
            ("POST", f"/api/datasets/{repo}/paths-info/{revision}", self._paths),
            ("GET", f"/api/datasets/{repo}/refs", self._refs),
        ]
        if self.holders is not None:
            routes += [
                ("GET", "/api/whoami-v2", self._whoami),
                ("POST", "/api/repos/create", self._create),
                ("POST", "/api/validate-yaml", self._validate),
                ("POST", f"/api/datasets/{repo}/branch/{revision}", self._branch),
                ("POST", f"/api/datasets/{repo}/preupload/{revision}", self._preupload),
                ("POST", f"/api/datasets/{repo}/commit/{revision}", self._commit),
                ("POST", rf"/datasets/{repo}\.git/info/lfs/objects/batch", self._batch),
                ("PUT", rf"/datasets/{repo}\.git/info/lfs/objects/(\w+)", self._store),
                ("POST", rf"/datasets/{repo}\.git/info/lfs/objects/(\w+)/verify", self._verify),
            ]
        for wanted, pattern, answer in routes:
            if wanted == method and (match := re.fullmatch(pattern, url.path)):
                return answer(*map(unquote, match.groups("main")))
        raise _Refusal(404, "EntryNotFound")

    # -- reading -----------------------------------------------------------------------------------

    def _found(self, name: str) -> Repo:
        repo = self.datasets.get(name)
        hidden = repo is not None and repo.token and repo.token != self.token
        if repo is None or hidden or (repo.private and not self._owns(name.split("/")[0])):
            # As the Hub does: who may not read a dataset is not told that it is there.
            raise _Refusal(404 if self.token else 401, "RepoNotFound")
        return repo

    def _files(self, name: str, revision: str) -> Files:
        files = self._found(name).at(revision)
        if files is None:
            raise _Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return files

    def _info(self, name: str, revision: str) -> None:
        files = self._files(name, revision)
        repo = self.datasets[name]
        self._json(
            {
                "id": name,
                "sha": repo.refs.get(revision, revision),
                "private": repo.private or repo.token is not None,
                "lastModified": "2026-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": path} for path in files],
                "cardData": {},
            }
        )

    def _tree(self, name: str, revision: str, folder: str) -> None:
        entries = _entries(self._files(name, revision))
        inside = [e for p, e in entries.items() if not folder or p.startswith(f"{folder}/")]
        if folder and not inside:
            raise _Refusal(404, "EntryNotFound")
        if self.query.get("recursive", ["true"])[0].lower() not in ("true", "1"):
            above = folder or "."
            inside = [e for e in inside if str(PurePosixPath(str(e["path"])).parent) == above]
        self._json(inside)

    def _paths(self, name: str, revision: str) -> None:
        entries = _entries(self._files(name, revision))
        try:
            asked = json.loads(self.body)["paths"]
        except ValueError:
            asked = parse_qs(self.body.decode()).get("paths", [])
        self._json([entries[path] for path in asked if path in entries])

    def _refs(self, name: str) -> None:
        repo = self._found(name)
        kinds: dict[str, list[dict[str, str]]]
        kinds = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
        for ref, head in repo.refs.items():
            kind, full = "branches", f"refs/heads/{ref}"
            if ref.startswith("refs/pr/"):
                kind, full = "pullRequests", ref
            elif ref in repo.tags:
                kind, full = "tags", f"refs/tags/{ref}"
            kinds[kind].append({"name": ref, "ref": full, "targetCommit": head})
        self._json(kinds)

    def _resolve(self, name: str, revision: str, path: str) -> None:
        files = self._files(name, revision)
        if path not in files:
            raise _Refusal(404, "EntryNotFound")
        content = files[path]
        headers = {
            "ETag": f'"{_oid(path, content)}"',
            "X-Repo-Commit": self.datasets[name].refs.get(revision, revision),
            "Accept-Ranges": "bytes",
        }
        if _is_lfs(path, len(content)):
            headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(content))}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span:
            start, stop = int(span[1]), int(span[2] or len(content) - 1) + 1
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            content = content[start:stop]
        self._send(206 if span else 200, content, "application/octet-stream", headers)

    # -- writing -----------------------------------------------------------------------------------

    def _user(self, code: str = "") -> User:
        user = (self.holders or {}).get(self.token)
        if user is None:
            raise _Refusal(401, code, "Invalid username or password.")
        return user

    def _owns(self, namespace: str) -> bool:
        user = (self.holders or {}).get(self.token)
        return user is not None and namespace in (user.name, *user.orgs)

    def _writable(self, name: str, proposal: bool = False) -> Repo:
        """A dataset that the user may push to; for a proposal it is enough to read it."""
        repo = self._found(name)
        self._user("RepoNotFound")
        if not proposal and not self._owns(name.split("/")[0]):
            ask = "pass `create_pr=1` as a query parameter to create a Pull Request"
            raise _Refusal(403, message=f"Forbidden: {ask}")
        return repo

    def _whoami(self) -> None:
        user = self._user()
        orgs = [{"type": "org", "name": org, "roleInOrg": "write"} for org in user.orgs]
        key = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
        self._json({"type": "user", "name": user.name, "orgs": orgs, "auth": key})

    def _create(self) -> None:
        asked = json.loads(self.body)
        user = self._user()
        namespace = asked.get("organization") or user.name
        if not self._owns(namespace):
            kind = f'a dataset under the namespace "{namespace}"'
            raise _Refusal(403, message=f"You don't have the rights to create {kind}")
        name = f"{namespace}/{asked['name']}"
        url = f"{self.address}/datasets/{name}"
        with self.lock:
            if name in self.datasets:
                made = f"You already created this dataset repo: {name}"
                raise _Refusal(409, message=made, url=url)
            private = asked.get("visibility") == "private" or asked.get("private") is True
            first = {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}
            self.datasets[name] = Repo(first, private=private)
        self._json({"url": url, "name": name, "id": name})

    def _validate(self) -> None:
        header = re.match(r"---\r?\n(.*?)\r?\n---", json.loads(self.body)["content"], re.DOTALL)
        try:
            yaml.safe_load(header[1] if header else "")
        except yaml.YAMLError as error:
            raise _Refusal(400, errors=[{"message": str(error)}], warnings=[]) from None
        self._json({"errors": [], "warnings": []})

    def _branch(self, name: str, branch: str) -> None:
        repo = self._writable(name)
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        files = self._files(name, start)
        with self.lock:
            if branch.startswith("refs/"):
                raise _Refusal(400, message=f"Invalid reference for a branch: {branch}")
            if branch in repo.refs:
                raise _Refusal(409, message="Reference already exists")
            repo.refs[branch] = repo.refs.get(start, start)
            repo.commits[repo.refs[branch]] = files
        self._json({}, status=201)

    def _preupload(self, name: str, revision: str) -> None:
        self._writable(name, "create_pr" in self.query)
        files = self._files(name, revision)
        answers = []
        for asked in json.loads(self.body)["files"]:
            path = asked["path"]
            answer = {"path": path, "shouldIgnore": False}
            answer["uploadMode"] = "lfs" if _is_lfs(path, asked["size"]) else "regular"
            if path in files:
                answer["oid"] = _oid(path, files[path])
            answers.append(answer)
        self._json({"files": answers})

    def _batch(self, name: str) -> None:
        asked = json.loads(self.body)
        repo = self._writable(name, "ref" not in asked)
        answers = []
        for item in asked["objects"]:
            answer = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in repo.blobs:
                href = f"{self.address}/datasets/{name}.git/info/lfs/objects/{item['oid']}"
                actions = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
                answer["actions"] = actions
            answers.append(answer)
        self._json({"transfer": "basic", "objects": answers})

    def _store(self, name: str, oid: str) -> None:
        # No token: as on the Hub, it is the address that gives the right to write there.
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Refusal(400, message="The content does not match its sha256")
        self.datasets[name].blobs[oid] = self.body
        self._send(200, b"", "text/plain", {})

    def _verify(self, name: str, oid: str) -> None:
        repo = self._writable(name, proposal=True)
        if len(repo.blobs.get(oid, b"")) != json.loads(self.body)["size"]:
            raise _Refusal(404, message="The object is not there, or not whole")
        self._json({})

    def _commit(self, name: str, revision: str) -> None:
        proposal = "create_pr" in self.query
        repo = self._writable(name, proposal)
        header, *operations = map(json.loads, self.body.splitlines())
        with self.lock:
            self._files(name, revision)
            if revision not in repo.refs or revision in repo.tags:
                raise _Refusal(404, "RevisionNotFound", f"Not a branch: {revision}")
            parent = base = repo.refs[revision]
            if wanted := header["value"].get("parentCommit"):
                base = next((made for made in repo.commits if made.startswith(wanted)), "")
            if base != parent and not (proposal and base):
                stale = "A commit has happened since. Please refresh and try again."
                raise _Refusal(412, message=stale)
            files = dict(repo.commits[base])
            for operation in operations:
                _apply(operation["key"], operation["value"], files, repo.blobs)
            answer = {"success": True, "hookOutput": ""}
            url = f"{self.address}/datasets/{name}"
            if proposal:
                number = 1 + sum(ref.startswith("refs/pr/") for ref in repo.refs)
                revision = f"refs/pr/{number}"
                repo.refs[revision] = base
                answer["pullRequestUrl"] = f"{url}/discussions/{number}"
            made = repo.push(files, revision)
        self._json(answer | {"commitOid": made, "commitUrl": f"{url}/commit/{made}"})

    # -- answers -----------------------------------------------------------------------------------

    def _json(self, content: object, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), "application/json", {})

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str]) -> None:
        fault, self.fault = self.fault, None
        if fault and isinstance(fault.status, int):
            refusal = _Refusal(fault.status, message=fault.message)
            status, kind = fault.status, "application/json"
            content = json.dumps(refusal.content).encode()
            headers = refusal.headers | fault.headers
        cut = fault is not None and fault.status == "cut"
        self.requests.append(Request(self.command, self.path, 0 if cut else status))
        if fault and fault.status in ("cut", "short"):
            self.close_connection = True
        if cut:
            return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            short = fault is not None and fault.status == "short"
            self.wfile.write(content[: len(content) // 2] if short else content)


def _apply(key: str, value: dict[str, Any], files: Files, blobs: Files) -> None:
    """Carry out one operation of a commit."""
    path = value["path"].rstrip("/")
    if key == "file":
        files[path] = base64.b64decode(value["content"])
    elif key == "lfsFile":
        if value["oid"] not in blobs:
            raise _Refusal(400, message=f"LFS pointer to a file that does not exist: {path}")
        files[path] = blobs[value["oid"]]
    elif key in ("deletedFile", "deletedFolder"):
        start = path if key == "deletedFile" else f"{path}/"
        gone = [p for p in files if p == path or (start != path and p.startswith(start))]
        if not gone:
            raise _Refusal(404, "EntryNotFound", "A file with this name doesn't exist")
        for each in gone:
            del files[each]
    else:
        raise _Refusal(400, message=f"Unknown operation: {key}")


def _is_lfs(path: str, size: int) -> bool:
    """Whether a file is kept in LFS; never an empty one, as the clients have it."""
    return path.endswith(".parquet") and size > 0


def _oid(path: str, content: bytes) -> str:
    """What a file's content is known by: sha256 in LFS, git's own hash otherwise."""
    if _is_lfs(path, len(content)):
        return hashlib.sha256(content).hexdigest()
    return _git_oid(content)


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def _entries(files: Files) -> dict[str, dict[str, object]]:
    """The files and folders of a revision as the Hub lists them, by path."""
    entries: dict[str, dict[str, object]] = {}
    for path, content in files.items():
        size, oid = len(content), _git_oid(content)
        entries[path] = {"type": "file", "path": path, "size": size, "oid": oid}
        if _is_lfs(path, size):
            sha = _oid(path, content)
            spec = "https://git-lfs.github.com/spec/v1"
            pointer = f"version {spec}\noid sha256:{sha}\nsize {size}\n".encode()
            entries[path]["oid"] = _git_oid(pointer)
            entries[path]["lfs"] = {"oid": sha, "size": size, "pointerSize": len(pointer)}
    folders = {str(above) for path in files for above in PurePosixPath(path).parents}
    for path in sorted(folders - {"."}):
        entries[path] = {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
    return entries
