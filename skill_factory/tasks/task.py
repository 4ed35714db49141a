"""What a task is, and how one from outside is checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from skill_factory.errors import PluginError
from skill_factory.plugins import guarded, takes
from skill_factory.tasks.facts import Groups

Facts = Mapping[str, Any]


def _no_gold_answer(gold: str, facts: Facts) -> str | None:
    return None if gold.strip() else "no gold answer"


def _surely_wrong(answer: str, gold: str, facts: Facts) -> str:
    return "???"


def _no_key(gold: str, facts: Facts) -> None:
    return None


class Task(NamedTuple):
    """A task: its `name` and its grader; all else has a default.

    `grade(answer, gold, facts)` says True, False or None: undecided, which is not wrong, though it
    earns nothing either. It never raises for what a model wrote. `about` is a line for a person.

    `facts` are what a question has besides its gold answer: the names of those that the task reads,
    in groups that are of use only together; None: any JSON object. A name alone is a group of one.

    A `data_source` names the task by one of `known_as` (regular expressions; none: the name),
    perhaps with a number or a split after it: `countdown_3arg`, `aime24`. `fault(gold, facts)` says
    why nothing can be graded against a gold answer, None if it can. `wrong(answer, gold, facts)` is
    an answer that is surely wrong, for tests of a reward. `key(gold, facts)` names a question
    however it is worded, None where only its words do. `sound(gold, facts)` says whether a gold
    answer is right where it need not be an answer itself, as Countdown's may be the target; None:
    it must be graded right. `slow`: grading waits for something, so it is done in several threads.
    """

    name: str
    grade: Callable[[str, str, Facts], bool | None]
    about: str = ""
    facts: tuple[str | tuple[str, ...], ...] | None = None
    known_as: tuple[str, ...] = ()
    fault: Callable[[str, Facts], str | None] = _no_gold_answer
    wrong: Callable[[str, str, Facts], str] = _surely_wrong
    key: Callable[[str, Facts], str | None] = _no_key
    sound: Callable[[str, Facts], bool] | None = None
    slow: bool = False

    @property
    def has_key(self) -> bool:
        """Whether its questions are known by more than their words."""
        return self.key is not _no_key

    @property
    def groups(self) -> Groups | None:
        """`facts`, all in groups; None: any JSON object."""
        if self.facts is None:
            return None
        return tuple((group,) if isinstance(group, str) else group for group in self.facts)


_NAME = re.compile(r"[a-z][a-z0-9_]*")


def admitted(task: Task, where: str) -> Task:
    """A task from outside, whose functions raise `PluginError`s alone; raises `PluginError` for one
    of the wrong shape."""
    if (problem := _problem(task)) is not None:
        raise PluginError(f"{where}: {problem}")

    def guard(name: str, expected: Callable[[Any], str | None]) -> Any:
        return guarded(getattr(task, name), where, name, expected)

    return task._replace(
        known_as=task.known_as or (task.name,),
        grade=guard("grade", _truth),
        fault=guard("fault", _text_or_none),
        wrong=guard("wrong", _text),
        key=guard("key", _text_or_none) if task.has_key else task.key,
        sound=guard("sound", _flag) if task.sound else None,
    )


def _truth(found: object) -> str | None:
    return None if found is None or isinstance(found, bool) else "True, False or None"


def _flag(found: object) -> str | None:
    return None if isinstance(found, bool) else "True or False"


def _text(found: object) -> str | None:
    return None if isinstance(found, str) else "text"


def _text_or_none(found: object) -> str | None:
    return None if found is None or isinstance(found, str) else "text or None"


_ARGUMENTS = {
    "grade": "answer, gold, facts",
    "fault": "gold, facts",
    "wrong": "answer, gold, facts",
    "key": "gold, facts",
    "sound": "gold, facts",
}


def _problem(task: Task) -> str | None:
    """What is wrong with a task's shape; None: nothing."""
    if not (isinstance(task.name, str) and _NAME.fullmatch(task.name)):
        return f"name: expected small letters, digits and _, found {task.name!r:.80}"
    for name, arguments in _ARGUMENTS.items():
        function = getattr(task, name)
        if not (function is None and name == "sound") and not takes(
            function, arguments.count(",") + 1
        ):
            return f"{name}: expected a function of ({arguments}), found {function!r:.80}"
    if not _are_texts(task.known_as) or not all(map(_is_pattern, task.known_as)):
        return f"known_as: expected a tuple of regular expressions, found {task.known_as!r:.80}"
    if task.facts is not None and not (
        isinstance(task.facts, tuple)
        and all(isinstance(group, str) or (group and _are_texts(group)) for group in task.facts)
    ):
        return f"facts: expected a tuple of names, or None, found {task.facts!r:.80}"
    if not isinstance(task.about, str):
        return f"about: expected text, found {task.about!r:.80}"
    return None


def _are_texts(found: object) -> bool:
    return isinstance(found, tuple) and all(isinstance(text, str) for text in found)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True
