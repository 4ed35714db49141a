"""Whether the attempts of a chat are right, where its data says what is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skill_factory.core.columns import Column
from skill_factory.core.markup import Reading
from skill_factory.core.sources.values import UNREADABLE, gold_text, plain_facts
from skill_factory.core.trace_tags import final_answer
from skill_factory.errors import PluginError, TaskError
from skill_factory.tasks import Gold, Grade, Task, gold_of, graded, kept_facts, task_of


def correctness(
    reading: Reading, question: str, beside: Mapping[str, Any]
) -> tuple[bool | None, ...]:
    """Of each attempt whether its last answer is right; None: undecided. Empty where `beside`, the
    other columns of its row, names no task that is known, or no gold answer."""
    found = _task_and_gold(beside)
    if found is None:
        return ()
    task, gold = found
    answers = [final_answer(attempt.text) for attempt in reading.attempts]
    return tuple(False if answer is None else _is_right(task, answer, gold) for answer in answers)


def _task_and_gold(beside: Mapping[str, Any]) -> tuple[Task, Gold] | None:
    name = beside.get(Column.DATA_SOURCE) or beside.get(Column.TASK)
    value = beside.get(Column.GROUND_TRUTH, beside.get(Column.GOLD))
    known = beside.get(Column.EXTRA_INFO) or beside.get(Column.FACTS)
    if not isinstance(name, str):
        return None
    try:
        task = task_of(name)
        facts = plain_facts(known, kept_facts()) or {}
        gold = gold_of(task, gold_text(value), facts)
    except (TaskError, PluginError, *UNREADABLE):
        return None
    return (task, gold) if isinstance(gold, Gold) and not task.fault(*gold) else None


def _is_right(task: Task, answer: str, gold: Gold) -> bool | None:
    try:
        said = graded(task, answer, gold.text, gold.facts)
    except (TaskError, PluginError):  # a library that is not installed; a grader that raises
        return None
    return None if said is Grade.UNDECIDED else said is Grade.RIGHT
