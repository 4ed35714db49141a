"""The tasks, a module each: how an answer is graded against the gold answer.

A `Task` has `grade(answer, gold, facts)`, which says True, False or None (undecided) and never
raises for what a model wrote; `task.py` says what else it may have. `facts` are what a question has
besides its gold answer: the mapping verl calls `extra_info`. `golds` reads the gold answers that
datasets have.

A task of a user's own is named `module:name` or `file.py:name`, or installed under the entry point
group `skill_factory.tasks` (docs/extending.md). `load_task` takes any name, on the user's word;
`task_of` takes what data says, which never makes code run that the user did not name or install.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from skill_factory.errors import PluginError, TaskError
from skill_factory.plugins import Door, check_unchanged, is_reference
from skill_factory.tasks import choice, countdown, integers, mathematics, text
from skill_factory.tasks import letter_puzzles as letters
from skill_factory.tasks import reasoning_gym as gym
from skill_factory.tasks.facts import FACT_GROUPS, Groups, facts_of
from skill_factory.tasks.golds import Gold as Gold
from skill_factory.tasks.golds import NoGold, Several, answers, read
from skill_factory.tasks.judging import cores
from skill_factory.tasks.task import Facts as Facts
from skill_factory.tasks.task import Task as Task
from skill_factory.tasks.task import admitted

JUDGED_AT_ONCE = 2 * cores()
"""Answers that are on their way at a time for tasks whose graders are other processes: one for each
judge, and one that waits for it."""


class Grade(StrEnum):
    """What a grader says of an answer. Undecided is not wrong, though it earns nothing either."""

    RIGHT = "right"
    WRONG = "wrong"
    UNDECIDED = "undecided"


TASKS = {
    task.name: task
    for task in (
        Task(
            "countdown",
            countdown.grade,
            "reach a target from some numbers with + - * /",
            FACT_GROUPS,
            ("countdown", "countdown_tasks"),
            countdown.fault,
            countdown.wrong,
            countdown.key,
            countdown.sound,
        ),
        Task(
            "integers",
            integers.grade,
            "answers that are one number: sums, long multiplication, GSM8K",
            FACT_GROUPS,
            (
                *("integers", "integer", "arithmetic", "addition", "subtraction"),
                *("multiplication", "long_multiplication", "gsm8k"),
            ),
            integers.fault,
            integers.wrong,
        ),
        Task(
            "choice",
            choice.grade,
            "multiple choice: a letter, or the text of an option",
            FACT_GROUPS,
            (
                *("choice", "multiple_choice", "commonsenseqa", "commonsense_qa", "csqa"),
                *("arc_challenge", "arc_easy", "mmlu", "mmlu_pro", "gpqa", "gpqa_diamond"),
            ),
            choice.fault,
            choice.wrong,
        ),
        Task(
            "text",
            text.grade,
            "free text: the answer's words are the gold answer's",
            FACT_GROUPS,
            ("text",),
            text.fault,
            text.wrong,
        ),
        Task(
            "mathematics",
            mathematics.grade,
            "answers that are equal, however they are written (extra `math`)",
            FACT_GROUPS,
            (
                *("mathematics", "math", "math_lighteval", "hendrycks_math", "competition_math"),
                *("aime", "amc", "openthoughts", "olympiadbench", "minerva_math", "math_dapo"),
            ),
            mathematics.fault,
            mathematics.wrong,
            slow=True,
        ),
        Task(
            "letter_countdown",
            letters.grade_word,
            "a word made of some letters",
            FACT_GROUPS,
            ("letter_countdown",),
            letters.fault_word,
            letters.wrong,
            letters.key_word,
        ),
        Task(
            "acronym",
            letters.grade_acronym,
            "words whose first letters spell another",
            FACT_GROUPS,
            ("acronym",),
            letters.fault_acronym,
            letters.wrong,
            letters.key_acronym,
        ),
        Task(
            "reasoning_gym",
            gym.grade,
            "what reasoning-gym's own scorers take (extra `gym`)",
            FACT_GROUPS,
            (r"reasoning_gym(?::\w+)?",),
            gym.fault,
            gym.wrong,
            slow=True,
        ),
    )
}
"""The built-in tasks by name."""


_MORE = r"(?:_?\d\w*)?(?:_(?:train|test|val|validation|main))?"
"""What may follow a task's name in a `data_source`: a number, as in countdown_3arg, and a split."""


def _among(tasks: Iterable[Task], data_source: str) -> Task | None:
    """The task that is known as this; None: none of them."""
    plain = data_source.rpartition("/")[2].lower().replace("-", "_").replace(" ", "_")
    for task in tasks:
        if any(re.fullmatch(f"(?:{name}){_MORE}", plain) for name in task.known_as):
            return task
    return None


def _is_built_in(name: str) -> bool:
    return _among(TASKS.values(), name) is not None


_DOOR: Door[Task] = Door("task", Task, admitted, _is_built_in)


@lru_cache(maxsize=1024)
def task_of(data_source: str) -> Task:
    """The task that a `data_source` names; raises `TaskError` if there is none, and `PluginError`
    if an installed one cannot be loaded.

    Upper case, an owner before a slash, and - for _ make no difference. A reference, which names
    code, is only known here after `load_task`.

    >>> [task_of(name).name for name in ("countdown_3arg", "openai/gsm8k", "AIME-2024")]
    ['countdown', 'integers', 'mathematics']
    """
    task = (
        _among(TASKS.values(), data_source)
        or _DOOR.loaded_by(data_source)
        or _among(_DOOR.loaded.values(), data_source)
        or _DOOR.installed(data_source)
        or _among(_installed(), data_source)
    )
    if task is not None:
        return task
    if is_reference(data_source):
        raise TaskError(
            f"no task is known as {data_source!r}; if that is code of yours, name it with --task, "
            "or as the task in a config"
        )
    raise TaskError(
        f"no task is known as {data_source!r}; the tasks are {', '.join([*TASKS, *_DOOR.loaded])}, "
        "and a data source names one, as countdown_3arg, gsm8k or aime24 do; one of your own is "
        "named file.py:NAME"
    )


def load_task(word: str, folder: Path | None = None, *, trusted: bool = True) -> Task:
    """The task that a user names: one that `task_of` knows, or code, `module:name` or
    `file.py:name`. From then on data may name it by its own name.

    A relative file is looked for in the current folder, then in `folder`. Not `trusted`: code must
    have been loaded before. Raises `TaskError` or `PluginError`.
    """
    if is_reference(word) and not _is_built_in(word):
        return _DOOR.load(word, folder, trusted)
    return task_of(word)


def load_tasks(words: str | Iterable[str]) -> None:
    """Load tasks that a user names, one or several, as `load_task`."""
    for word in [words] if isinstance(words, str) else words:
        load_task(str(word))


def settled(word: str, folder: Path | None = None, *, trusted: bool = True) -> str:
    """A task's name as it stands in settings: a reference gets the whole path of its file. Raises
    as `load_task`, which it calls; and `PluginError` for a file that was changed after it was
    loaded."""
    task = load_task(word, folder, trusted=trusted)
    found = references([task])
    if not (found and is_reference(word)):
        return word
    check_unchanged(found[0], "task")
    return found[0]


def data_source_of(word: str) -> str:
    """What a table says of a task that a user has named and that is loaded: the same, and for a
    reference the task's own name."""
    return load_task(word).name if is_reference(word) and not _is_built_in(word) else word


def references(tasks: Iterable[Task] | None = None) -> list[str]:
    """What another process must be given, for `load_tasks`, to know these tasks (None: all that
    are loaded); nothing for those that are built in or installed."""
    names = _DOOR.loaded if tasks is None else dict.fromkeys(task.name for task in tasks)
    return [_DOOR.references[name] for name in names if name in _DOOR.references]


def known_tasks() -> dict[str, str]:
    """A line of text for each task by name: the built-in ones, those installed, those loaded."""
    return {name: task.about for name, task in TASKS.items()} | _DOOR.meanings()


def _installed() -> list[Task]:
    """The tasks of installed packages that can be loaded."""
    found = _DOOR.everything_installed().values()
    return [task for task in found if not isinstance(task, PluginError)]


def load_installed() -> None:
    """Load the tasks of installed packages, as data may name any of them. One that cannot be loaded
    is an error only where it is named."""
    _installed()


def own_tasks() -> list[Task]:
    """The tasks from outside that are loaded."""
    return list(_DOOR.loaded.values())


def kept_facts() -> Groups | None:
    """The facts that some task reads, of the built-in ones and those loaded, so that no other need
    be kept of a dataset whose tasks are not known yet; None: any."""
    groups = FACT_GROUPS
    for task in own_tasks():
        if task.groups is None:
            return None
        groups += task.groups
    return groups


def own_facts(task: Task | None, known: object) -> dict[str, Any] | None:
    """The facts that a task reads (`facts_of`); those of the built-in ones where none is known."""
    return facts_of(known, FACT_GROUPS if task is None else task.groups)


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
