"""Fingerprints: what tells that something is not what it was."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from skill_factory.plugins import digest_of, file_of


def fingerprint(value: Any) -> str:
    """The sha256 of a value of JSON."""
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def code_of(*names: str | None) -> list[str]:
    """What tells that code of the user's own was changed: the sha256 of each file among the
    references; nothing for any other name."""
    files = [file_of(name) for name in names if name]
    return [digest_of(file) for file in files if file is not None]


def files_at(source: str | None) -> list[Any]:
    """What tells that a local file or folder was changed: names, sizes and times of its files;
    empty for what is neither."""
    if not source:
        return []
    path = Path(source).expanduser()
    files = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    found = [(file, file.stat()) for file in files if file.is_file()]
    return [[str(file), stat.st_size, stat.st_mtime_ns] for file, stat in found]
