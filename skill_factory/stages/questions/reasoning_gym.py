"""Questions of reasoning-gym (extra `gym`), each tried with the dataset's own scorer."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import count
from random import Random
from typing import Any, NamedTuple

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.errors import InputError, OptionError
from skill_factory.stages.questions.datasets import Loss, Question
from skill_factory.stages.settings import GYM, QuestionsConfig
from skill_factory.tasks import reasoning_gym as gym
from skill_factory.tasks.judging import Judges
from skill_factory.tasks.text import normal
from skill_factory.tasks.workers.gym_judge import decoded

SECONDS = 300.0
"""How long `_AT_ONCE` entries may take to be made."""

_AT_ONCE = 4
"""Entries made at a request: a few, as some take seconds each."""

_TRICKS = (
    *(gym.WRONG, "", " ", "0", "1", "-1", "24", "4*6*1*1", "0x0", "0/1", "x", "A", "a"),
    *("nan", "nanj", "nan + nanj", "inf", "-inf", "1e999", "()", "[]", "[[]]", "{}", '""'),
    *("null", "None", "True", "False", "yes", "no"),
)
"""Answers that solve nothing, whatever is asked; a question whose scorer takes one that is not its
gold answer is not made."""

_LINES = 40
"""Lines of a question that are tried as its answer."""

_LISTED = re.compile(r"^\s*(?:[-*]|\d+[.)])\s+")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")

_MAKERS = Judges(
    "gym_maker.py",
    *("reasoning_gym", "reasoning-gym", "gym", "reasoning-gym:NAME"),
    valid=lambda made: made is None or isinstance(made, list | dict),
    trusted=True,  # it makes entries; no answer comes near it
)


class _Entry(NamedTuple):
    """As `gym_maker.Entry`."""

    text: str
    gold: str | None
    name: str
    entry: str | None


def questions(settings: QuestionsConfig) -> Iterator[Question | Loss]:
    """Questions of the dataset that `settings.source` names, without end.

    Each entry is given its own gold answer, and answers that solve nothing: it is a loss if its
    scorer does not tell them apart. Raises `OptionError` for a name or settings that the library
    does not know, `InputError` if it makes nothing, `TaskError` if it is not installed.
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
    if "unknown" in made:
        names = [key for key in made["settings"] if key not in ("seed", "size")]
        raise OptionError(
            f"gym: {name} has no setting {made['unknown']!r}; it has {', '.join(names)}"
            f"{did_you_mean(made['unknown'], names)}"
        )
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
    for answer in _tricks(made.text, made.gold, made.entry):
        if not _same(answer, made.gold) and gym.grade(answer, made.gold, facts):
            return Loss.TAKES_ANY_ANSWER
    return Question(made.text, made.gold, f"{GYM}{made.name}", facts)


def _tricks(text: str, gold: str, entry: str) -> list[str]:
    """Answers by who has solved nothing, each once."""
    lines = [_LISTED.sub("", line).strip() for line in text.splitlines()]
    tricks = [
        *_TRICKS,
        *(_DIGITS.sub(number, gold) for number in ("0", "1", "nan")),
        *_of_target(decoded(json.loads(entry))["metadata"]),
        text,
        *(line for line in lines[:_LINES] if line),
    ]
    if _is_number(gold):
        tricks.append(gold.removeprefix("-") if gold.startswith("-") else f"-{gold}")
    return list(dict.fromkeys(tricks))


def _of_target(metadata: Mapping[str, Any]) -> list[str]:
    """A number that is to be reached: itself, and with the numbers there are times nothing."""
    target, numbers = metadata.get("target"), metadata.get("numbers")
    if not isinstance(target, int):
        return []
    if not isinstance(numbers, list):
        return [str(target)]
    return [
        "".join((str(target), *(f" + 0*{number}" for number in numbers))),
        "".join((hex(target), *(f" + 0x0*{number}" for number in numbers))),
        str(target),
    ]


def _same(answer: str, gold: str) -> bool:
    """Whether an answer is the gold answer, however it is written."""
    if _is_number(answer) and _is_number(gold):
        return Fraction(answer) == Fraction(gold)
    return normal(answer) == normal(gold)


def _is_number(text: str) -> bool:
    """Whether a text is a number, which is not so long that it takes time."""
    try:
        return len(text) < 100 and "e" not in text.lower() and Fraction(text) is not None
    except (ValueError, ZeroDivisionError):
        return False
