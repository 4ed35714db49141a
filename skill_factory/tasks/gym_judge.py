"""What `judge_process` scores answers to reasoning-gym's questions with: the library's own scorers.

Some of them call `eval` on the answer. So nothing may be written, started, sent or removed once
they are loaded: that keeps accidents out, not an attacker.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_HARMFUL = (
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.kill"),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.putenv", "os.unsetenv", "os.chdir", "pty.", "subprocess."),
    *("socket.", "shutil.", "ctypes.", "signal.", "tempfile."),
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def prepared() -> Callable[[str, str, str], float]:
    """The function that scores an answer, from 0 to 1: name of the dataset, entry as
    `skill_factory.questions.gym_maker.encoded` writes it, answer."""
    import reasoning_gym  # noqa: F401  the second it takes is not part of a judgement

    sys.dont_write_bytecode = True
    sys.addaudithook(_refuse)
    return _score


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_HARMFUL):
        raise PermissionError(f"{event} in a scorer")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
        raise PermissionError(f"writing to {arguments[0]!r} in a scorer")


def _score(gym: str, entry: str, answer: str) -> float:
    known = decoded(json.loads(entry))
    return float(_dataset(gym, json.dumps(known["settings"])).score_answer(answer, known))


@lru_cache(maxsize=64)
def _dataset(gym: str, settings: str) -> Any:
    """The dataset whose scorer is asked; some look at its settings."""
    import reasoning_gym

    return reasoning_gym.create_dataset(gym, **json.loads(settings))


def decoded(value: Any) -> Any:
    """What `skill_factory.questions.gym_maker.encoded` wrote, read from JSON."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, items),) = value.items()
        if kind == "(tuple)":
            return tuple(decoded(item) for item in items)
        if kind == "(set)":
            return {decoded(item) for item in items}
        if kind == "(dict)":
            return {decoded(key): decoded(item) for key, item in items}
    return {key: decoded(item) for key, item in value.items()}
