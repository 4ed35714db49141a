"""The tasks, a module each: how an answer is graded against the gold answer.

A task's module has `grade(answer, gold, facts)`, which says True, False or None (undecided) and
never raises for what a model wrote; `fault(gold, facts)`, why nothing can be graded against a gold
answer; and `wrong(answer, gold, facts)`, an answer that is surely wrong, for tests of a reward.
`facts` are what a question has besides its gold answer: the mapping verl calls `extra_info`. To add
a task, write its module and name it in `TASKS`. `golds` reads the gold answers that datasets have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from skill_factory.errors import TaskError
from skill_factory.tasks import choice, countdown, gym, integers, letters, mathematics, text
from skill_factory.tasks.golds import Gold as Gold
from skill_factory.tasks.golds import NoGold, Several, answers, read
from skill_factory.tasks.judging import cores

Facts = Mapping[str, Any]

JUDGED_AT_ONCE = 2 * cores()
"""Answers that are on their way at a time for tasks whose graders are other processes: one for each
judge, and one that waits for it."""


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
    its words do. `sound` says whether a gold answer is right where it need not be an answer itself,
    as Countdown's may be the target. `slow`: grading waits for another process.
    """

    name: str
    known_as: tuple[str, ...]
    grade: Callable[[str, str, Facts], bool | None]
    fault: Callable[[str, Facts], str | None]
    wrong: Callable[[str, str, Facts], str]
    key: Callable[[str, Facts], str | None] = _no_key
    sound: Callable[[str, Facts], bool] | None = None
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
            countdown.sound,
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


def gold_of(task: Task, value: Any, facts: Facts, several: Several | None = None) -> Gold | NoGold:
    """The gold answer of a question as a dataset has it (`golds.read`), with all facts; empty where
    the facts alone say what is right."""
    found = read(value, task.name, several)
    if isinstance(found, Gold):
        return Gold(found.text, {**facts, **found.facts})
    return found if task.fault("", facts) else Gold("", facts)


def graded(task: Task, answer: str, gold: str, facts: Facts) -> Grade:
    """A task's judgement of an answer: right if it is any of the gold answers (`golds.answers`),
    wrong only if it is surely none of them."""
    undecided = False
    for wanted in answers(gold, facts):
        said = task.grade(answer, wanted, facts)
        if said:
            return Grade.RIGHT
        undecided |= said is None
    return Grade.UNDECIDED if undecided else Grade.WRONG


def is_sound(task: Task, gold: str, facts: Facts) -> bool:
    """Whether a gold answer is right against itself; nothing can be trusted that is graded by one
    that is not."""
    return task.sound(gold, facts) if task.sound else task.grade(gold, gold, facts) is True
