"""Where a name leads: a local path, or a file or folder in an object store, named by its URL.

A URL is read through fsspec, with the package of its store: s3fs, gcsfs, huggingface_hub.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from skill_factory.core.redaction import address_secrets, environment_secrets, redact
from skill_factory.errors import InputError, SkillFactoryError, first_line

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_REPOSITORY = re.compile(r"hf://(?:datasets/)?((?!datasets/)[\w.-]+/[\w.-]+)(?:@([^/]+))?/*")

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""The extra of ours that has a store's package."""

_LOGINS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "HF_TOKEN, or `hf auth login`",
}
"""Where a store's package looks for who you are."""

_NO_LOGIN = {"PermissionError", "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}
"""Errors of the stores' packages that such a login may mend."""

_BLOCK, _BLOCKS = 8 << 20, 16
"""Bytes that are read at a time, and how many such blocks of a file are held: as many as columns
are read side by side, which lie far apart in a large row group."""

AT_ONCE = 8
"""Files of a store that are under way together."""

PARTIAL = ".skill-factory-partial"
"""The file that a folder of a store has while it is written."""


@dataclass(frozen=True, repr=False)
class RemotePath:
    """A file or folder of an object store: what reading needs of pathlib's interface.

    Shown without what may be secret in its URL. `size` is in bytes; None: not asked for yet. What
    goes wrong is an `InputError` that names the URL. Any process can read what another one names:
    it holds no connection, so that workers elsewhere may be given one.
    """

    url: str
    size: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return redact(self.url, address_secrets(self.url))

    __repr__ = __str__

    @property
    def scheme(self) -> str:
        """s3, gs, hf, memory or another one that fsspec knows."""
        return self.url.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """The last part of its path; of a whole bucket the bucket's."""
        return PurePosixPath(self._plain).name

    @property
    def suffix(self) -> str:
        """As pathlib's."""
        return PurePosixPath(self.name).suffix

    @property
    def suffixes(self) -> list[str]:
        """As pathlib's."""
        return PurePosixPath(self.name).suffixes

    @property
    def parent(self) -> RemotePath:
        """The folder that it is in; of a bucket itself."""
        above, _, last = self._plain.rstrip("/").rpartition("/")
        return RemotePath(above) if last and not above.endswith("/") else self

    @property
    def _plain(self) -> str:
        """The URL without its query."""
        return self.url.split("?")[0]

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url.rstrip('/')}/{name}")

    def relative_to(self, folder: RemotePath) -> PurePosixPath:
        """Its path in a folder."""
        return PurePosixPath(self.url).relative_to(PurePosixPath(folder.url))

    def exists(self) -> bool:
        """Whether it is there."""
        return self._type() is not None

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._type() == "file"

    def is_dir(self) -> bool:
        """Whether it is a folder: whether there are files whose names begin so."""
        return self._type() == "directory"

    def length(self) -> int:
        """A file's size in bytes."""
        if self.size is not None:
            return self.size
        with explained(self):
            store, path = self.store()
            return int(store.info(path)["size"] or 0)

    def files(self) -> list[RemotePath]:
        """The files in a folder and in those in it, in order of their paths; none: there is no such
        folder."""
        with explained(self):
            store, path = self.store()
            store.invalidate_cache()  # what was listed before may be another state
            found = store.find(path, detail=True)
        inside = len(path.rstrip("/")) + 1
        return [
            RemotePath(f"{self.url.rstrip('/')}/{name[inside:]}", int(info["size"] or 0))
            for name, info in sorted(found.items())
            if name[inside:]
        ]

    def read_bytes(self) -> bytes:
        """All of a file."""
        with explained(self):
            store, path = self.store()
            content: bytes = store.cat_file(path)
            return content

    def open(self) -> RemoteFile:
        """A file to read from anywhere in it, by ranges of its bytes."""
        with explained(self):
            store, path = self.store()
            known = {} if self.size is None else {"size": self.size}
            cache = {"cache_type": "blockcache", "cache_options": {"maxblocks": _BLOCKS}}
            return RemoteFile(self, store.open(path, "rb", block_size=_BLOCK, **cache, **known))

    def store(self) -> tuple[Any, str]:
        """The file system that fsspec has for it, and its path there; to be called `explained`."""
        import fsspec

        if self.scheme not in fsspec.available_protocols():
            raise InputError(
                f"{self}: {self.scheme}:// is not known; there are s3://, gs://, hf:// and memory://"
            )
        for package in ("gcsfs", "s3fs"):  # what they log of an error, is in the error
            logging.getLogger(package).addHandler(logging.NullHandler())
        store, path = fsspec.core.url_to_fs(self.url.rstrip("/"))
        return store, str(path)

    def _type(self) -> str | None:
        with explained(self):
            store, path = self.store()
            store.invalidate_cache()
            try:
                return str(store.info(path)["type"])
            except FileNotFoundError as error:
                if "bucket" in str(error).lower():
                    raise
                return None


class RemoteFile(io.RawIOBase):
    """A file of a store, open to read; its errors are those of `explained`."""

    def __init__(self, place: RemotePath, file: Any) -> None:
        self.place, self._file = place, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def size(self) -> int:
        """Its bytes, as pyarrow asks for them."""
        return int(self._file.size)

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.size() - self.tell())  # fsspec's blocks end where the file does
        with explained(self.place):
            content: bytes = self._file.read(left if size is None or size < 0 else min(size, left))
            return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


Place = Path | RemotePath
"""A local path, or one of a store."""


def place(name: str | Path | RemotePath) -> Place:
    """What a name names: a URL a file or folder of a store, all else a local path.

    >>> place("s3://me:key@bucket/a/b.parquet"), place("file:///tmp/a"), place("a/b")
    (s3://***@bucket/a/b.parquet, PosixPath('/tmp/a'), PosixPath('a/b'))
    """
    if not isinstance(name, str):
        return name
    match = _URL.match(name)
    if match is None:
        return Path(name)
    return Path(unquote(urlsplit(name).path)) if match[1].lower() == "file" else RemotePath(name)


def remote_path(name: str) -> RemotePath | None:
    """The file or folder of a store that a name names; None: something else, also a whole dataset
    on the Hub."""
    found = place(name)
    return found if isinstance(found, RemotePath) and repository_in(name) is None else None


def is_remote(name: str) -> bool:
    """Whether a name is the URL of a store."""
    return isinstance(place(name), RemotePath)


def public(name: str) -> str:
    """A name without what may be secret in its URL."""
    return str(place(name)) if is_remote(name) else name


def repository_in(name: str) -> tuple[str, str | None] | None:
    """The dataset on the Hub that a URL names as a whole, and its revision (None: not named); None:
    a file or folder in one, or something else.

    >>> repository_in("hf://datasets/org/name@v2"), repository_in("hf://datasets/org/name/a.json")
    (('org/name', 'v2'), None)
    """
    match = _REPOSITORY.fullmatch(name)
    return (match[1], match[2]) if match else None


@contextmanager
def explained(
    where: RemotePath, kind: type[SkillFactoryError] = InputError, doing: str = "read"
) -> Iterator[None]:
    """What goes wrong with a store, as one of our errors: the URL, what the store says, and what to
    install or set."""
    try:
        yield
    except SkillFactoryError:
        raise
    except ImportError as error:
        extra = _EXTRAS.get(where.scheme)
        advice = f"pip install 'skill-factory[{extra}]'" if extra else str(error)
        raise kind(f"{where}: {where.scheme}:// needs a package of its own: {advice}") from None
    except FileNotFoundError as error:
        raise kind(f"{where}: no such file or folder: {_reason(where, error)}") from None
    except Exception as error:  # of several libraries' own trees, which have no common root
        login = _LOGINS.get({"s3a": "s3", "gcs": "gs"}.get(where.scheme, where.scheme))
        advice = f"; see to the credentials: {login}" if login and _asks_for_login(error) else ""
        raise kind(f"{where}: cannot be {doing}: {_reason(where, error)}{advice}") from None


def _asks_for_login(error: BaseException) -> bool:
    return bool(_NO_LOGIN & {one.__name__ for one in type(error).__mro__})


def _reason(where: RemotePath, error: BaseException) -> str:
    """The first line of what a store says, without secrets."""
    return redact(first_line(error), [*address_secrets(where.url), *environment_secrets()])


# -- reading either kind --------------------------------------------------------------------------


def to_parquet(where: Place) -> Any:
    """What pyarrow.parquet takes to read a place."""
    return where if isinstance(where, Path) else where.open()


def bytes_of(where: Place) -> int:
    """A file's size."""
    return where.stat().st_size if isinstance(where, Path) else where.length()


def remote_files(folder: RemotePath) -> Iterator[tuple[RemotePath, PurePosixPath]]:
    """As `files_below`."""
    found = {file.relative_to(folder): file for file in folder.files()}
    if PurePosixPath(PARTIAL) in found and PurePosixPath("manifest.json") not in found:
        raise InputError(f"{folder}: is what a run that was stopped has left; make it again")
    yield from ((file, below) for below, file in found.items() if below.name != PARTIAL)


def files_below(folder: Place) -> list[tuple[Place, PurePath]]:
    """The files in a folder and in those in it, in order of their paths, each with its path in the
    folder; links to nothing are among them. Raises `InputError` for what a run that was killed has
    left of one in a store."""
    if isinstance(folder, RemotePath):
        return list(remote_files(folder))
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return [(file, file.relative_to(folder)) for file in sorted(files)]


def read_text(where: Place) -> str:
    """A file as text; bytes that are no UTF-8 are replaced."""
    content = where.read_bytes()
    return content.decode("utf-8", "replace")


def in_parallel(work: Callable[[Any], Any], places: Iterable[Place]) -> list[Any]:
    """What some work gives for each place, in order; several at a time where it waits for a
    store."""
    several = list(places)
    if not any(isinstance(one, RemotePath) for one in several):
        return list(map(work, several))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, several))
