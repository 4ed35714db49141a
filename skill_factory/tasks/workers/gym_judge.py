"""What `judge_process` scores answers to reasoning-gym's questions with: the library's own scorers.

Some of them give the answer to `eval`; what that is here, see `judge_guard`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_prepared: set[tuple[str, str]] = set()


def prepared() -> Callable[[str, str, str], float | None]:
    """The function that scores an answer, from 0 to 1: name of the dataset, entry as
    `skill_factory.tasks.workers.gym_maker.encoded` writes it, answer. None: no such score."""
    import reasoning_gym  # noqa: F401  the second it takes is not part of a judgement

    return _score


def prepare(gym: str, entry: str, answer: str) -> Callable[[], object] | None:
    """What loads a dataset that was not asked for yet: some read large files, and SymPy much of
    itself at its first use."""
    known = decoded(json.loads(entry))
    named = (gym, json.dumps(known["settings"]))
    if named in _prepared:
        return None
    _prepared.add(named)
    return lambda: _score(gym, entry, str(known["answer"]))


def _score(gym: str, entry: str, answer: str) -> float | None:
    known = decoded(json.loads(entry))
    score = float(_dataset(gym, json.dumps(known["settings"])).score_answer(answer, known))
    return score if 0 <= score <= 1 else None


@lru_cache(maxsize=64)
def _dataset(gym: str, settings: str) -> Any:
    """The dataset whose scorer is asked; some look at its settings."""
    import reasoning_gym

    return reasoning_gym.create_dataset(gym, **json.loads(settings))


def decoded(value: Any) -> Any:
    """What `skill_factory.tasks.workers.gym_maker.encoded` wrote, read from JSON."""
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
