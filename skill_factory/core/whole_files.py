"""Files and folders that are complete or absent, and which names of datasets are paths."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from skill_factory.core.places import Place, RemotePath
from skill_factory.core.sft_manifest import sft_manifest
from skill_factory.errors import InputError, OutputError

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def is_repository(name: str) -> bool:
    """Whether a name can be that of a repository on the Hub: org/name.

    >>> is_repository("org/my.traces-2"), is_repository("here/.."), is_repository("traces")
    (True, False, False)
    """
    return bool(_REPOSITORY.fullmatch(name)) and ".." not in name


def looks_local(name: str) -> bool:
    """Whether a dataset option is written as a path: ./x, ../x, /x, ~/x."""
    return name.startswith(("./", "../", "/", "~")) or name in {".", ".."}


_SCRATCH = ".skill-factory-work-"


@contextmanager
def new_folder(place: Place, overwrite: bool, holds: str = "sft_train") -> Iterator[Path]:
    """A folder to fill, which takes the name `place` when the block ends well, and else vanishes.

    It lies beside `place`, so that giving it its name is one rename; what killed runs left there is
    removed. One in a store is made in a temporary folder (`remote_output.new_remote_folder`). An
    empty folder may be at `place`. Raises `OutputError` if anything else is, unless `overwrite` is
    set and it is a folder of the same kind, with a manifest and what each `holds`; and if it cannot
    be written.
    """
    if isinstance(place, RemotePath):
        from skill_factory.core.remote_output import new_remote_folder

        with new_remote_folder(place, overwrite, holds) as folder:
            yield folder
        return
    path = resolved(place)
    prefix = f".{path.name}.partial-"
    _clear_abandoned(path, prefix)
    _check_replaceable(path, overwrite, holds)
    new = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with _locked(work):
            folder = work / path.name
            folder.mkdir()
            yield folder
            _check_replaceable(
                path, overwrite, holds
            )  # once more: it may have come while we worked
            _rename_into_place(folder, path, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for parent in new:  # in use if all went well, and then it stays
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """A folder to work in, below `place`, which vanishes when the block ends; what killed runs left
    there is removed. Raises `OutputError` if it cannot be written."""
    _clear_abandoned(place / _SCRATCH, _SCRATCH)
    try:
        work = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=place))
    except OSError as error:
        raise OutputError(f"{place}: cannot be written: {error.strerror}") from None
    try:
        with _locked(work):
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def new_file(place: Place) -> Iterator[Path]:
    """A path to write to, which takes the name `place` when the block ends well, and else vanishes.

    Raises `OutputError` if it cannot be written, or is a folder or a device: /dev/full and
    /dev/stdout would be replaced by a file.
    """
    if isinstance(place, RemotePath):
        from skill_factory.core.remote_output import new_remote_file

        with new_remote_file(place) as part:
            yield part
        return
    path = place
    part = path.parent / f".{path.name}.partial"
    try:
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: is not a file; choose another path")
        yield part
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            part.unlink()


def resolved_place(place: Place) -> Place:
    """As `resolved`; the URL of a store as it is."""
    return place if isinstance(place, RemotePath) else resolved(place)


def resolved(path: Path | str) -> Path:
    """The absolute path, with ~ and links followed; raises `OutputError` if there is none, or it is
    not UTF-8."""
    try:
        found = Path(path).expanduser().resolve()
        str(found).encode()
        return found
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written: {error}") from None


def lies_inside(target: Place, folder: Place) -> bool:
    """Whether a place is, or would be, a folder or in it."""
    if isinstance(target, RemotePath) or isinstance(folder, RemotePath):
        return f"{target}/".startswith(f"{str(folder).rstrip('/')}/")
    folder = folder.expanduser()
    return folder.is_dir() and resolved(target).is_relative_to(folder.resolve())


def _check_replaceable(path: Path, overwrite: bool, holds: str) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise OutputError(f"{path}: is a file, not a folder; choose another output")
    if not overwrite:
        raise OutputError(
            f"{path}: exists already; choose another output, or replace it with --overwrite"
        )
    if not (path / "manifest.json").is_file() or not (path / holds).exists():
        raise OutputError(
            f"{path}: has no manifest.json and {holds}, so it is not replaced; "
            "choose another output"
        )


def _rename_into_place(folder: Path, path: Path, work: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    old = work / "replaced"
    if path.exists():
        path.rename(old)
    try:
        folder.rename(path)
    except BaseException:
        if old.exists():
            old.rename(path)
        raise


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Hold a lock that the system lets go when this process ends, however it ends."""
    handle = os.open(work / "new-lock", os.O_CREAT | os.O_RDWR)
    try:
        with suppress(OSError):  # a file system without locks: then nobody will clear it away
            fcntl.flock(handle, fcntl.LOCK_EX)
        (work / "new-lock").rename(work / "lock")  # seen by others only once it is held
        yield
    finally:
        os.close(handle)


def _clear_abandoned(path: Path, prefix: str) -> None:
    """Remove what killed runs left beside `path`, and put back what one was about to replace."""
    for work in path.parent.glob(f"{glob.escape(prefix)}*"):
        try:
            handle = os.open(work / "lock", os.O_RDWR)
        except OSError:
            continue  # not ours, or made a moment ago
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (work / "replaced").exists() and not path.exists():
                (work / "replaced").rename(path)
            shutil.rmtree(work, ignore_errors=True)
        except OSError:
            pass  # another run is at work in it, or the file system has no locks
        finally:
            os.close(handle)


def verified_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an SFT folder, once its files are found to be what it says.

    Raises `InputError` for what is no SFT folder, and for one with files missing or changed.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    manifest = sft_manifest(folder)
    for name, expected in manifest["output"]["files"].items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: is missing, though manifest.json names it; make it again")
        if path.stat().st_size != expected["bytes"] or sha256(path) != expected["sha256"]:
            raise InputError(f"{path}: is not the file that manifest.json names; make it again")
    return manifest


def open_unpacked(path: Place) -> Any:
    """A file's bytes as an Arrow stream, unpacked as its name says (.gz, .bz2, .zst, .lz4)."""
    import pyarrow as pa

    packed = {"gz": "gzip", "bz2": "bz2", "zst": "zstd", "lz4": "lz4"}
    source = str(path) if isinstance(path, Path) else path.open()
    return pa.input_stream(source, compression=packed.get(path.suffix[1:].lower()))


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
