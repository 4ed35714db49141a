"""Questions of reasoning-gym (extra `gym`), each tried with the dataset's own scorer."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from skill_factory.errors import InputError, OptionError
from skill_factory.questions.datasets import Loss, Question
from skill_factory.questions.settings import GYM, QuestionsConfig
from skill_factory.tasks import gym
from skill_factory.tasks.judging import Judges

SECONDS = 300.0
"""How long `_AT_ONCE` entries may take to be made."""

_AT_ONCE = 4
"""Entries made at a request: a few, as some take seconds each."""

_MAKERS = Judges(
    str(Path(__file__).with_name("gym_maker.py")),
    *("reasoning_gym", "reasoning-gym", "gym", "reasoning-gym:NAME"),
)


class _Entry(NamedTuple):
    """As `gym_maker.Entry`."""

    text: str
    gold: str | None
    name: str
    entry: str | None


def questions(settings: QuestionsConfig) -> Iterator[Question | Loss]:
    """Questions of the dataset that `settings.source` names, without end.

    Each entry is given its own gold answer and one that is surely wrong: it is a loss if its scorer
    does not tell them apart. Raises `OptionError` for a name or settings that the library does not
    know, `InputError` if it makes nothing, `TaskError` if it is not installed.
    """
    if ours := {"seed", "size"} & settings.gym.keys():
        raise OptionError(f"gym: {min(ours)} is not set there; set seed and count")
    for entry in _entries(settings.source.removeprefix(GYM), settings.gym, settings.seed):
        yield _question(entry)


def _entries(name: str, settings: dict[str, Any], seed: int) -> Iterator[_Entry]:
    """Entry after entry: datasets are short, and the next one has another seed.

    Those seeds are far from each other, as a dataset's entries have the seeds that follow its own.
    """
    for part in count():
        own = Random(f"{seed} {part}").getrandbits(30)
        for first in count(0, _AT_ONCE):
            made = _MAKERS.ask(name, settings, own, first, _AT_ONCE, seconds=SECONDS)
            _check(name, made)
            yield from (_Entry(*entry) for entry in made)
            if len(made) < _AT_ONCE:
                break


def _check(name: str, made: Any) -> None:
    if made is None:
        raise InputError(f"{GYM}{name}: reasoning-gym failed, or took over {SECONDS:.0f} seconds")
    if "names" in made:
        near = difflib.get_close_matches(name, made["names"], 3) or made["names"]
        raise OptionError(f"source: reasoning-gym has no {name!r}; it has {', '.join(near)}")
    if "refused" in made:
        raise OptionError(f"gym: {name} does not take these settings: {made['refused']}")


def _question(made: _Entry) -> Question | Loss:
    """An entry as a question, or why it is none."""
    if not made.text.strip():
        return Loss.NO_QUESTION
    if made.gold is None or not made.gold.strip():
        return Loss.NO_GOLD_ANSWER
    if made.entry is None:
        return Loss.CANNOT_BE_GRADED
    facts = {"gym": made.name, "entry": made.entry}
    if not gym.grade(made.gold, made.gold, facts):
        return Loss.GOLD_NOT_RIGHT
    if gym.grade(gym.WRONG, made.gold, facts):
        return Loss.TAKES_ANY_ANSWER
    return Question(made.text, made.gold, f"{GYM}{made.name}", facts)
