"""What `skill_factory.tasks.workers.judge_process` makes reasoning-gym's questions with.

In a process of its own, as what some datasets make depends on PYTHONHASHSEED, and only a new
process can have another one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, NamedTuple

_GOLD_IN = ("possible_answer", "example_answer", "example_correct_answer")
"""Where the metadata of datasets that give no gold answer have one."""

_KINDS = ("(dict)", "(tuple)", "(set)")


class Entry(NamedTuple):
    """A question, its gold answer (None: it has none), the name of the dataset whose scorer grades
    it, and what that scorer reads (None: it cannot be written down)."""

    text: str
    gold: str | None
    name: str
    entry: str | None


def prepared() -> Callable[[str, dict[str, Any], int, int, int], Any]:
    """The function that makes entries: name of the dataset, its settings, its seed, the first entry
    wanted, and how many.

    It gives the entries that there are; else, for a name that is not known, {"names": those that
    are}; for settings that are not taken, {"refused": why}, and for those that there are not,
    {"unknown": the first, "settings": those that there are}.
    """
    import reasoning_gym  # noqa: F401  the second it takes is not part of a request

    return _make


def _make(name: str, settings: dict[str, Any], seed: int, first: int, count: int) -> Any:
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        return {"names": sorted(DATASETS)}
    try:
        there = [field.name for field in fields(DATASETS[name][1])]
        if unknown := [key for key in settings if key not in there]:
            return {"unknown": unknown[0], "settings": there}
        dataset, parts = _dataset(name, json.dumps(settings), seed)
    except Exception as error:  # of any kind: each dataset checks its settings its own way
        return {"refused": f"{type(error).__name__}: {error}"}
    made = []
    for place in range(first, min(first + count, len(dataset))):
        random.seed(f"{seed} {place}")  # some draw from the common generator, not from their own
        made.append(_entry(dataset[place], name, parts))
    return made


@lru_cache(maxsize=2)
def _dataset(name: str, settings: str, seed: int) -> tuple[Any, dict[str, Any]]:
    """A dataset, and the settings of those whose scorers grade its entries, by name."""
    from reasoning_gym.composite import DatasetSpec
    from reasoning_gym.factory import create_dataset

    known = json.loads(settings)
    if name != "composite":
        return create_dataset(name, **known | {"seed": seed}), {name: known}
    specs = [DatasetSpec(**{"weight": 1.0, "config": {}} | part) for part in known["datasets"]]
    made = create_dataset(name, **known | {"datasets": specs, "seed": seed})
    return made, {spec.name: spec.config for spec in specs}


def _entry(made: Mapping[str, Any], name: str, settings: Mapping[str, Any]) -> Entry:
    metadata = made["metadata"]
    scorer = name if name in settings else metadata["source_dataset"]
    given = [made["answer"], *(metadata.get(place) for place in _GOLD_IN)]
    gold = next((_text(answer) for answer in given if answer is not None), None)
    known = {"answer": made["answer"], "metadata": metadata, "settings": settings[scorer]}
    try:
        return Entry(str(made["question"]), gold, scorer, encoded(known))
    except (TypeError, ValueError):
        return Entry(str(made["question"]), gold, scorer, None)


def _text(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def encoded(entry: Mapping[str, Any]) -> str:
    """An entry as JSON that keeps what JSON does not know: tuples, sets, and keys that are no text.

    Raises `TypeError` and `ValueError` for other things. `gym_judge.decoded` reads it.
    """
    return json.dumps(_plain(entry), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # a NumPy array or scalar
        value = value.tolist()
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and not any(name in value for name in _KINDS):
            return {key: _plain(item) for key, item in value.items()}
        return {"(dict)": [[_plain(key), _plain(item)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"(tuple)": [_plain(item) for item in value]}
    if isinstance(value, set | frozenset):
        return {"(set)": sorted((_plain(item) for item in value), key=json.dumps)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
