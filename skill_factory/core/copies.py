"""Local copies of what lies in a store, for what reads whole folders."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from skill_factory.core.places import AT_ONCE, Place, RemotePath, explained, remote_files
from skill_factory.errors import InputError, OutputError, SkillFactoryError

_copies: dict[str, str] = {}
"""The names of the places that local copies are of, by the copies' paths."""


def named(text: str, written: Callable[[str], str] = str) -> str:
    """A text with the name of the place that the user gave for each copy's path, `written` as the
    text has it."""
    for path, name in _copies.items():
        text = text.replace(path, written(name))
    return text


@contextmanager
def fetched(where: Place) -> Iterator[Path]:
    """A local path with what is at a place: itself, or a copy that is there while the block runs.

    Errors name the place and not the copy. Raises `InputError` for what is not there, and for what
    a run that was killed has left of a folder, `OutputError` if the disk cannot take it.
    """
    if isinstance(where, Path):
        yield where
        return
    with tempfile.TemporaryDirectory(prefix="skill-factory-") as work:
        # In a folder of the same name: sets of questions are named after it.
        copy = Path(work).resolve() / where.parent.name / where.name
        _copies[str(copy)] = str(where)
        try:
            _fetch(where, copy)
            yield copy
        except SkillFactoryError as error:
            error.args = tuple(named(one) if isinstance(one, str) else one for one in error.args)
            raise
        finally:
            del _copies[str(copy)]


_kept = ExitStack()
atexit.register(_kept.close)


def kept_copy(where: Place) -> Path:
    """As `fetched`, for as long as this process lasts."""
    return _kept.enter_context(fetched(where))


@contextmanager
def all_fetched(places: Iterable[Place]) -> Iterator[tuple[Path, ...]]:
    """As `fetched`, of several places."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(fetched(one)) for one in places)


def _fetch(where: RemotePath, copy: Path) -> None:
    if where.is_file():
        _fetch_files([(where, copy)])
        return
    if not (inside := list(remote_files(where))):
        raise InputError(f"{where}: no such file or folder")
    _fetch_files([(file, copy / below) for file, below in inside])


def _fetch_files(pairs: list[tuple[RemotePath, Path]]) -> None:
    from tqdm import tqdm

    total = sum(file.length() for file, _ in pairs)
    bar = tqdm(desc="fetch", unit="B", unit_scale=True, total=total, disable=None, leave=False)

    def fetch(pair: tuple[RemotePath, Path]) -> None:
        file, copy = pair
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _no_room(file, error) from None
        with explained(file):
            store, path = file.store()
            try:
                store.get_file(path, str(copy))
            except OSError as error:
                if error.errno is not None and error.filename == str(copy):
                    raise _no_room(file, error) from None
                raise
        bar.update(copy.stat().st_size)

    with bar, ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(fetch, pairs))


def _no_room(where: RemotePath, error: OSError) -> OutputError:
    return OutputError(
        f"{tempfile.gettempdir()}: cannot hold a copy of {where}: {error.strerror or error}; "
        "name another folder in TMPDIR"
    )
