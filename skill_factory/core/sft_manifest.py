"""The manifest of an SFT folder, checked once, where it enters."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any

from skill_factory.core.columns import Columns
from skill_factory.core.places import Place, is_remote, place
from skill_factory.errors import InputError

_ACCOUNT = {"read": int, "kept": int, "losses": {"*": int}}

_SHAPE: dict[str, Any] = {
    "versions": {"skill_factory": str},
    "input": {
        "name": str,
        **dict.fromkeys(("config", "split", "revision"), (str, NoneType)),
        "rows": int,
        "files": {"*": int},
        "digest": str,
    },
    "settings": {
        "attempts": int,
        "formats": [str],
        "phrases": (str, NoneType),
        "seed": int,
        "task": (str, NoneType),
        "*_column": str,
    },
    "counts": {"traces": int, "questions": int, "labels": {"*": int}},
    "ledger": dict.fromkeys(("rows", "attempts", "reflections", "questions", "traces"), _ACCOUNT),
    "phrases": {"*": [str]},
    "output": {"digest": str, "files": {"*": {"bytes": int, "sha256": str}}},
}
"""What is read of a manifest: names (with a star: all such names) and what is under them, items of
a list, or types."""

_ADDED: dict[str, Any] = {
    "task": None,
    "answer_column": Columns.gold,
    "task_column": Columns.task,
    "facts_column": Columns.facts,
}
"""Settings that 0.1.0 did not have, and what they come to."""

_EXPECTED = {str: "text", int: "a whole number", list: "a list", dict: "names and values"}
_MISSING = object()


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a folder's manifest.json says; empty: it has none, or another kind of file."""
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def sft_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an SFT folder. Raises `InputError` for what is none, and for a manifest with
    a part missing, or of another type."""
    found = read_manifest(folder)
    if "output" not in found:
        raise no_sft_folder(folder)
    if isinstance(settings := found.get("settings"), dict):
        found["settings"] = _ADDED | settings
    if problem := _problem(found, _SHAPE, ""):
        raise InputError(f"{folder / 'manifest.json'}: {problem}; make the folder again")
    return found


def input_file(name: str, beside: Path) -> Place | None:
    """Where the input is that a manifest names: there, or in the folder `beside`, as of a run that
    was moved; None: it is gone. Whether a URL leads anywhere is seen when it is read."""
    if is_remote(name):
        return place(name)
    places = (Path(name).expanduser(), beside / Path(name).name)
    return next((path for path in places if path.exists()), None)


def account_problem(said: Any, place: str) -> str:
    """What is wrong with the accounts of a run's stage, in words; empty: nothing."""
    if problem := _problem(said, {"*": {}}, place):
        return problem
    accounts = {kind: _ACCOUNT for kind, one in said.items() if one.keys() & _ACCOUNT.keys()}
    return _problem(said, accounts, place)


def no_sft_folder(path: Path) -> InputError:
    """What is said of a path that is no SFT folder, with where one is, or what makes one."""
    if "stages" not in read_manifest(path):
        return InputError(f"{path}: is no SFT folder; make one with `skill-factory create`")
    if "output" in read_manifest(path / "sft"):
        return InputError(f"{path}: is a run's folder; name its SFT folder, {path / 'sft'}")
    return run_without_traces(path)


def run_without_traces(path: Path) -> InputError:
    """What is said of a run's folder that has no SFT folder yet."""
    return InputError(
        f"{path}: this run has no traces yet; `skill-factory run` goes on with it, and "
        "`skill-factory report` shows how far it is"
    )


def _problem(said: Any, shape: Any, place: str) -> str:
    """The first part that is not as it must be, in words; empty: none."""
    types = shape if isinstance(shape, tuple) else (shape if type(shape) is type else type(shape),)
    if type(said) not in types:  # to isinstance, True is an int
        return f"{place}: expected {_EXPECTED[types[0]]}"
    for name, one, part in _parts(said, shape):
        where = f"{place}.{name}" if place else name
        if problem := f"{where}: is missing" if one is _MISSING else _problem(one, part, where):
            return problem
    return ""


def _parts(said: Any, shape: Any) -> Iterator[tuple[str, Any, Any]]:
    """The names, values and shapes of what is under a part."""
    if isinstance(shape, list):
        yield from ((str(number), one, shape[0]) for number, one in enumerate(said))
    for name, part in shape.items() if isinstance(shape, dict) else ():
        names = fnmatch.filter(said, name) if "*" in name else [name]
        yield from ((found, said.get(found, _MISSING), part) for found in names)
