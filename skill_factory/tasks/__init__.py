"""The tasks, a module each: how an answer is graded against the gold answer.

A task's module has `grade(answer, gold, facts)`, which says True, False or None (undecided) and
never raises for what a model wrote; `fault(gold, facts)`, why nothing can be graded against a gold
answer; and `wrong(answer, gold, facts)`, an answer that is surely wrong, for tests of a reward.
`facts` are what a question has besides its gold answer: the mapping verl calls `extra_info`. To add
a task, write its module and name it in `TASKS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from skill_factory.errors import TaskError
from skill_factory.tasks import choice, countdown, gym, integers, letters, mathematics, text

Facts = Mapping[str, Any]


class Grade(StrEnum):
    """What a grader says of an answer. Undecided is not wrong, though it earns nothing either."""

    RIGHT = "right"
    WRONG = "wrong"
    UNDECIDED = "undecided"


def _no_key(gold: str, facts: Facts) -> None:
    return None


class Task(NamedTuple):
    """A task: its `name`, the `data_source` names it is known by, and its grader.

    A `data_source` is known by one of `known_as`, perhaps with a number or a split after it:
    `countdown_3arg`, `aime24`. `key` names a question however it is worded, None where only
    its words do. `slow`: grading waits for another process.
    """

    name: str
    known_as: tuple[str, ...]
    grade: Callable[[str, str, Facts], bool | None]
    fault: Callable[[str, Facts], str | None]
    wrong: Callable[[str, str, Facts], str]
    key: Callable[[str, Facts], str | None] = _no_key
    slow: bool = False

    @property
    def has_key(self) -> bool:
        """Whether its questions are known by more than their words."""
        return self.key is not _no_key


TASKS = {
    task.name: task
    for task in (
        Task(
            "countdown",
            ("countdown", "countdown_tasks"),
            countdown.grade,
            countdown.fault,
            countdown.wrong,
            countdown.key,
        ),
        Task(
            "integers",
            (
                *("integers", "integer", "arithmetic", "addition", "subtraction"),
                *("multiplication", "long_multiplication", "gsm8k"),
            ),
            integers.grade,
            integers.fault,
            integers.wrong,
        ),
        Task(
            "choice",
            (
                *("choice", "multiple_choice", "commonsenseqa", "commonsense_qa", "csqa"),
                *("arc_challenge", "arc_easy", "mmlu", "mmlu_pro", "gpqa", "gpqa_diamond"),
            ),
            choice.grade,
            choice.fault,
            choice.wrong,
        ),
        Task("text", ("text",), text.grade, text.fault, text.wrong),
        Task(
            "mathematics",
            (
                *("mathematics", "math", "math_lighteval", "hendrycks_math", "competition_math"),
                *("aime", "amc", "openthoughts", "olympiadbench", "minerva_math", "math_dapo"),
            ),
            mathematics.grade,
            mathematics.fault,
            mathematics.wrong,
            slow=True,
        ),
        Task(
            "letter_countdown",
            ("letter_countdown",),
            letters.grade_word,
            letters.fault_word,
            letters.wrong,
            letters.key_word,
        ),
        Task(
            "acronym",
            ("acronym",),
            letters.grade_acronym,
            letters.fault_acronym,
            letters.wrong,
            letters.key_acronym,
        ),
        Task(
            "reasoning_gym",
            (r"reasoning_gym(?::\w+)?",),
            gym.grade,
            gym.fault,
            gym.wrong,
            slow=True,
        ),
    )
}
"""The tasks by name."""


_MORE = r"(?:_?\d\w*)?(?:_(?:train|test|val|validation|main))?"
"""What may follow a task's name in a `data_source`: a number, as in countdown_3arg, and a split."""


@lru_cache(maxsize=1024)
def task_of(data_source: str) -> Task:
    """The task that a `data_source` names; raises `TaskError` if there is none.

    Upper case, an owner before a slash, and - for _ make no difference.

    >>> [task_of(name).name for name in ("countdown_3arg", "openai/gsm8k", "AIME-2024")]
    ['countdown', 'integers', 'mathematics']
    """
    plain = data_source.rpartition("/")[2].lower().replace("-", "_").replace(" ", "_")
    for task in TASKS.values():
        if any(re.fullmatch(f"{name}{_MORE}", plain) for name in task.known_as):
            return task
    raise TaskError(
        f"no task is known as {data_source!r}; the tasks are {', '.join(TASKS)}, "
        "and a data source names one, as countdown_3arg, gsm8k or aime24 do"
    )


def graded(task: Task, answer: str, gold: str, facts: Facts) -> Grade:
    """A task's judgement of an answer."""
    said = task.grade(answer, gold, facts)
    return Grade.UNDECIDED if said is None else Grade.RIGHT if said else Grade.WRONG
