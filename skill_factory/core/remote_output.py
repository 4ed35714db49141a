"""Folders and files in a store that are complete or absent, though a store renames nothing.

A folder is complete when its manifest.json is there: that is uploaded last, and taken away first
where a folder is replaced. While it is written it has the file `PARTIAL`, which names the files
that are the writer's. So what a killed run has left is known, and the next run replaces it, and
nothing else.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from skill_factory.core.places import PARTIAL, RemotePath, explained
from skill_factory.errors import OutputError, SkillFactoryError

_MANIFEST = "manifest.json"

_UPLOADS = 4
"""Files that are uploaded together; s3fs sends several parts of each together besides."""


@contextmanager
def new_remote_folder(place: RemotePath, overwrite: bool, holds: str) -> Iterator[Path]:
    """A local folder to fill, which is uploaded when the block ends well.

    Raises `OutputError` as `whole_files.new_folder` does. If the upload fails, what it brought is
    taken away again, as far as the store is to be reached; of a folder that was to be replaced
    nothing is left then.
    """
    _checked(place, overwrite, holds)
    with _room(place) as work:
        folder = work / place.name
        folder.mkdir()
        yield folder
        old = _checked(place, overwrite, holds)  # once more: it may have come while we worked
        _Upload(place, folder, old).go()


@contextmanager
def new_remote_file(place: RemotePath) -> Iterator[Path]:
    """A local path to write to, which is uploaded when the block ends well: a store shows a file
    when all of it is there. Raises `OutputError`."""
    with _room(place) as work:
        yield work / place.name
        with explained(place, OutputError, "written"):
            _put(place, work / place.name)


@contextmanager
def _room(place: RemotePath) -> Iterator[Path]:
    """A temporary folder, whose disk may be full."""
    try:
        with tempfile.TemporaryDirectory(prefix="skill-factory-") as work:
            yield Path(work)
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()}: {place} cannot be made there: {error.strerror or error}; "
            "name another folder in TMPDIR"
        ) from None


def _checked(place: RemotePath, overwrite: bool, holds: str) -> dict[str, RemotePath]:
    """The files at a place, by their paths in it, that may be replaced; raises `OutputError` if
    there are others."""
    try:
        if place.is_file():
            raise OutputError(f"{place}: is a file, not a folder; choose another output")
        there = {str(file.relative_to(place)): file for file in place.files()}
        if PARTIAL in there and _MANIFEST not in there:
            _check_leavings(place, there)
            return there
    except SkillFactoryError as error:
        raise OutputError(str(error)) from None
    if there and not overwrite:
        raise OutputError(
            f"{place}: exists already; choose another output, or replace it with --overwrite"
        )
    if there and (_MANIFEST not in there or not _holds(there, holds)):
        raise OutputError(
            f"{place}: has no manifest.json and {holds}, so it is not replaced; "
            "choose another output"
        )
    return there


def _holds(there: Mapping[str, RemotePath], name: str) -> bool:
    return any(one == name or one.startswith(f"{name}/") for one in there)


def _check_leavings(place: RemotePath, there: Mapping[str, RemotePath]) -> None:
    try:
        ours = set(json.loads(there[PARTIAL].read_bytes())["files"])
    except (ValueError, KeyError, TypeError):
        ours = set()
    if strangers := sorted(there.keys() - ours - {PARTIAL}):
        raise OutputError(
            f"{place}: holds {strangers[0]}, which is not of the run that was stopped there; "
            "choose another output"
        )


class _Upload:
    """A folder on its way to a place where only `old` files are."""

    def __init__(self, place: RemotePath, folder: Path, old: Mapping[str, RemotePath]) -> None:
        self.place, self.old = place, old
        self.begun = False
        """Whether what was there is touched: it is whole as long as its manifest is there."""
        self.files = {
            str(path.relative_to(folder)): path
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        self.marker = place / PARTIAL
        ours = sorted({*self.files, *old} - {PARTIAL})
        self.content = json.dumps({"run": uuid4().hex, "files": ours}, indent=2).encode() + b"\n"

    def go(self) -> None:
        """Bring it there, or leave nothing."""
        try:
            with explained(self.marker, OutputError, "written"):
                store, path = self.marker.store()
                store.pipe_file(path, self.content)
            self._clear()
            with ThreadPoolExecutor(_UPLOADS) as pool:
                list(pool.map(self._put, [name for name in self.files if name != _MANIFEST]))
            self._check()
            self._put(_MANIFEST)
        except BaseException:
            self._take_back()
            raise
        with suppress(SkillFactoryError):  # beside a manifest it says nothing
            _remove(self.marker)

    def _clear(self) -> None:
        """Take away what was there: the manifest first, so that it never names what is missing."""
        _abort_uploads(self.place)
        gone = [name for name in self.old if name not in (_MANIFEST, PARTIAL)]
        if _MANIFEST in self.old:
            _remove(self.old[_MANIFEST])
        self.begun = True
        with ThreadPoolExecutor(_UPLOADS) as pool:
            list(pool.map(_remove, [self.old[name] for name in gone]))

    def _put(self, name: str) -> None:
        with explained(self.place / name, OutputError, "written"):
            _put(self.place / name, self.files[name])

    def _check(self) -> None:
        """That all is there, and no other run is at work in the same place."""
        there = {str(file.relative_to(self.place)): file for file in self.place.files()}
        sizes = {name: file.length() for name, file in there.items() if name != PARTIAL}
        ours = {n: path.stat().st_size for n, path in self.files.items() if n != _MANIFEST}
        if sizes != ours or PARTIAL not in there or self.marker.read_bytes() != self.content:
            raise OutputError(f"{self.place}: another run has written there; choose another output")

    def _take_back(self) -> None:
        """As far as it goes: the marker tells the next run of what is left."""
        with suppress(Exception):
            if self.marker.read_bytes() != self.content:
                return  # another run's
            for name in [_MANIFEST, *self.files, *self.old] if self.begun else []:
                _remove(self.place / name)
            _remove(self.marker)


def _put(place: RemotePath, file: Path) -> None:
    """Upload a file; to be called `explained`."""
    store, path = place.store()
    store.put_file(os.fspath(file), path)


def _remove(place: RemotePath) -> None:
    with explained(place, OutputError, "removed"):
        store, path = place.store()
        with suppress(FileNotFoundError):
            store.rm_file(path)


def _abort_uploads(place: RemotePath) -> None:
    """End the uploads in parts that a killed run has begun under a folder of S3: they are kept, and
    paid for, and no listing shows them."""
    with suppress(Exception):  # not every server of this protocol lets one list them
        store, path = place.store()
        if not hasattr(store, "abort_mpu"):
            return
        bucket, key, _ = store.split_path(path)
        begun = store.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{key}/")
        for one in begun.get("Uploads", []):
            store.abort_mpu(bucket, one["Key"], one["UploadId"])
