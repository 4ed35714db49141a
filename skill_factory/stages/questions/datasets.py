"""Questions that a dataset has: its columns read, its gold answers brought into our form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

from skill_factory.core.sources.find_source import Rows
from skill_factory.core.sources.values import plain_facts, question_text
from skill_factory.errors import ColumnError, InputError, PluginError
from skill_factory.tasks import (
    JUDGED_AT_ONCE,
    Task,
    data_source_of,
    gold_of,
    is_sound,
    load_installed,
    own_tasks,
    task_of,
)
from skill_factory.tasks.choice import letter_of
from skill_factory.tasks.facts import FACT_GROUPS, facts_of
from skill_factory.tasks.golds import NoGold, Several
from skill_factory.tasks.text import normal

_DEFAULTS = ("task_source", "metadata")
_CHOICES = ("choices", "options")
_AT_ONCE = 4096
"""Questions that are seen to be sound at a time."""


class Loss(StrEnum):
    """Why a question is set aside; the first that holds counts."""

    NO_QUESTION = "no_question"
    NO_GOLD_ANSWER = NoGold.NO_GOLD_ANSWER
    NO_ANSWER_IN_SOLUTION = NoGold.NO_ANSWER_IN_SOLUTION
    SEVERAL_GOLD_ANSWERS = NoGold.SEVERAL_GOLD_ANSWERS
    BAD_CHOICES = "bad_choices"
    CANNOT_BE_GRADED = "cannot_be_graded"
    GOLD_NOT_RIGHT = "gold_not_right"
    # made by reasoning-gym: what its own scorer says
    TAKES_ANY_ANSWER = "takes_any_answer"
    # handed to verl
    IN_SFT = "in_sft"
    DUPLICATE = "duplicate"
    PROMPT_TOO_LONG = "prompt_too_long"
    NOT_DRAWN = "not_drawn"


@dataclass(frozen=True)
class Question:
    """A question: `facts` are what a grader needs besides the gold answer."""

    text: str
    gold: str
    data_source: str
    facts: dict[str, Any]

    @property
    def task(self) -> Task:
        return task_of(self.data_source)

    def keys(self) -> Iterator[str]:
        """Its names; two questions that share one are the same."""
        yield f"text: {normal(self.text)}"
        if (known := self.task.key(self.gold, self.facts)) is not None:
            yield f"{self.task.name}: {known}"


@dataclass(frozen=True)
class QuestionColumns:
    """Names of a question dataset's columns; those of tasks and facts need not be there. `choices`
    None: `choices` or `options` where they are there."""

    question: str = "question"
    answer: str = "answer"
    task: str = "task_source"
    facts: str = "metadata"
    choices: str | None = None


@dataclass(frozen=True)
class QuestionRules:
    """What is said of all questions of a dataset.

    `task` None: what each row says. `several`: what a list of gold answers asks for, None: as
    `golds.read` has it. The others are facts that graders read: Countdown must use `all_numbers`,
    and in mathematics a `rounded` decimal is right where the gold answer is exact.
    """

    task: str | None = None
    several: Several | None = None
    all_numbers: bool = False
    rounded: bool = False

    def facts(self, task: Task) -> dict[str, Any]:
        """The facts they make, for a task that reads them."""
        asked = {"countdown": "all_numbers", "mathematics": "rounded"}.get(task.name)
        return {asked: True} if asked and getattr(self, asked) else {}


def read_rows(
    source: str, rows: Rows, columns: QuestionColumns, rules: QuestionRules
) -> Iterator[Question | Loss]:
    """The question of each row, or why it has none.

    A question is text, or messages with one user turn. Choices of the task `choice` are written
    below the question, a letter each, and the gold answer is that letter. Facts may stand in
    columns of their own names. A gold answer is right against itself. Raises `ColumnError` for a
    column that is missing, `TaskError` for a task that is not known, `PluginError` for one from
    outside that cannot be loaded, or raises.
    """
    if rules.task is None:  # the rows may name any task that is installed
        load_installed()
    else:
        rules = replace(rules, task=data_source_of(rules.task))
    if columns.choices is None:
        columns = replace(columns, choices=next((c for c in _CHOICES if c in rows.names), None))
    _check_columns(source, rows, columns, rules.task)
    try:
        found = [
            _read_row(row, rules, columns.choices is not None) for row in _raw_rows(rows, columns)
        ]
    except UnicodeError:
        raise InputError(f"{source}: a text in it is not UTF-8: mend the file") from None
    yield from _sound(found)


class _Row(NamedTuple):
    """A row as it stands in the dataset."""

    question: Any
    gold: Any
    task: Any
    metadata: Any
    choices: Any
    columns: dict[str, Any]


def _raw_rows(rows: Rows, columns: QuestionColumns) -> Iterator[_Row]:
    named = (columns.question, columns.answer, columns.task, columns.facts, columns.choices)
    own = [name for name in rows.names if name in _fact_columns(named)]
    facts = zip(*map(rows.values, own), strict=True) if own else iter([()] * rows.count)
    for values, beside in zip(zip(*map(rows.values, named), strict=True), facts, strict=True):
        question, gold, task, metadata, choices = values
        own_facts = dict(zip(own, beside, strict=True))
        yield _Row(question, gold, task, metadata, choices, own_facts)


def _fact_columns(named: Sequence[str | None]) -> set[str]:
    """Columns whose names say that facts stand in them; those that are `named` for something else
    are not. A fact of a built-in task that says all by itself, as `options`, stands in no column of
    its own."""
    built_in = {name for group in FACT_GROUPS if len(group) > 1 for name in group}
    own = {name for task in own_tasks() for group in task.groups or () for name in group}
    return {"nums"} | built_in | own - {*named}


def _facts_of(row: _Row, task: Task) -> dict[str, Any]:
    """A row's facts that its task reads."""
    facts = facts_of if task.groups == FACT_GROUPS else plain_facts
    beside = facts(row.columns, task.groups or FACT_GROUPS)
    return (beside or {}) | (facts(row.metadata, task.groups) or {})


def _read_row(row: _Row, rules: QuestionRules, choices: bool) -> Question | Loss:
    text = _question_text(row.question)
    if not text or not text.strip():
        return Loss.NO_QUESTION
    text.encode()
    if rules.task is None and row.task is None:
        return Loss.CANNOT_BE_GRADED
    data_source = rules.task or str(row.task)
    task = task_of(data_source)
    facts = _facts_of(row, task) | rules.facts(task)
    gold = gold_of(task, row.gold, facts, rules.several)
    if isinstance(gold, NoGold):
        return Loss(gold)
    gold.text.encode()
    asked = Question(text, gold.text, data_source, dict(gold.facts))
    if choices and task.name == "choice":
        return _with_choices(asked, row.choices, isinstance(row.gold, int | float))
    return asked


def _question_text(found: Any) -> str | None:
    """A question's words, of messages those of the one user turn; None if there are none."""
    if not isinstance(found, list | dict):
        return None if found is None else str(found)
    try:
        return question_text(found)
    except ValueError:
        return None


def _check_columns(source: str, rows: Rows, columns: QuestionColumns, task: str | None) -> None:
    optional = {columns.task: "--task-column", columns.facts: "--facts-column"}
    asked_for = {name: option for name, option in optional.items() if name not in _DEFAULTS}
    needed = {columns.question: "--question-column", columns.answer: "--answer-column"}
    if columns.choices is not None:
        needed[columns.choices] = "--choices-column"
    for name, option in (needed | asked_for).items():
        if name not in rows.names:
            raise ColumnError(
                f"{source}: column {name!r} is missing. Columns there are: "
                f"{', '.join(rows.names)}. Name it with {option}."
            )
    nested = (list, dict)
    values = [value for value in rows.values(columns.question) if value is not None]
    if all(isinstance(v, nested) and _question_text(v) is None for v in values[:100]) and values:
        raise ColumnError(
            f"{source}: column {columns.question!r} holds lists or structs; expected text, or "
            "messages with one user turn. Name another question column with --question-column."
        )
    if task is None and columns.task not in rows.names:
        raise ColumnError(
            f"{source}: no column {columns.task!r} that names the questions' tasks; "
            "name the column with --task-column, or the task with --task"
        )


# -- gold answers ---------------------------------------------------------------------------------


def _sound(found: Iterable[Question | Loss]) -> Iterator[Question | Loss]:
    """What was found, but for questions whose gold answer cannot be graded by, or is not right
    against itself."""
    rest = iter(found)
    with ThreadPoolExecutor(JUDGED_AT_ONCE) as pool:
        while some := list(islice(rest, _AT_ONCE)):
            slow = any(isinstance(one, Question) and one.task.slow for one in some)
            yield from pool.map(_seen, some) if slow else map(_seen, some)


def _seen(found: Question | Loss) -> Question | Loss:
    if isinstance(found, Loss):
        return found
    try:
        return fault_of(found) or found
    except PluginError as error:
        raise PluginError(f"{error}; question: {found.text!r:.200}") from None


def fault_of(question: Question) -> Loss | None:
    """What is wrong with a question's gold answer."""
    if question.task.fault(question.gold, question.facts):
        return Loss.CANNOT_BE_GRADED
    sound = is_sound(question.task, question.gold, question.facts)
    return None if sound else Loss.GOLD_NOT_RIGHT


# -- choices --------------------------------------------------------------------------------------


class _Choices(NamedTuple):
    labels: list[str]
    texts: list[str]


def _with_choices(question: Question, found: Any, counted: bool) -> Question | Loss:
    """The question with lettered lines and a letter as its gold answer, which may have been the
    label, the place from 0 (surely if it is `counted`, a number), or the text of a choice."""
    choices = _listed(found)
    if choices is None:
        return Loss.BAD_CHOICES
    right = _right_place(question.gold.strip(), choices, counted)
    if right is None:
        return Loss.CANNOT_BE_GRADED
    letters = _letters(len(choices.texts))
    lines = (f"{letter}. {text}" for letter, text in zip(letters, choices.texts, strict=True))
    text = "\n".join([question.text.rstrip(), "", *lines])
    facts = question.facts | {"options": choices.texts}
    return Question(text, letters[right], question.data_source, facts)


def _letters(count: int) -> list[str]:
    return [chr(ord("A") + place) for place in range(count)]


def _listed(found: Any) -> _Choices | None:
    """Choices as datasets have them: texts, texts with their own letters ("A) 5"), labels and
    texts, or a mapping from one to the other; None unless there are 2 to 26 different ones."""
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return None
    labels, texts = _labels_and_texts(found)
    if not isinstance(texts, list) or not 2 <= len(texts) <= 26 or not all(map(_is_text, texts)):
        return None
    plain = [" ".join(str(text).split()) for text in texts]
    own = [_LETTERED.fullmatch(text) for text in plain]
    if [match and match["letter"].upper() for match in own] == _letters(len(plain)):
        plain = [match["text"] for match in own if match]
    names = labels if isinstance(labels, list) and len(labels) == len(texts) else []
    different = len({normal(text) for text in plain}) == len(plain)
    return _Choices([str(name).strip() for name in names], plain) if different else None


_LETTERED = re.compile(r"[(\[]?(?P<letter>[A-Za-z])[)\].:]\s*(?P<text>\S.*)")


def _labels_and_texts(found: Any) -> tuple[Any, Any]:
    """The labels (None: there are none) and the texts of choices, not yet checked."""
    if isinstance(found, Mapping):
        for label, text in (("label", "text"), ("labels", "texts"), ("key", "value")):
            if isinstance(found.get(label), list):
                return found[label], found.get(text)
        there = {name: text for name, text in found.items() if text is not None}
        return list(there), list(there.values())
    if isinstance(found, list) and found and all(isinstance(item, Mapping) for item in found):
        label = "label" if "label" in found[0] else "key"
        text = "text" if "text" in found[0] else "value"
        return [item.get(label) for item in found], [item.get(text) for item in found]
    return None, found


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and bool(str(value).strip())


def _right_place(gold: str, choices: _Choices, counted: bool) -> int | None:
    """Which choice a gold answer names, from 0; None if it names none."""
    letters = _letters(len(choices.texts))
    places = (gold, [str(place) for place in range(len(choices.texts))])
    texts = (normal(gold), [normal(text) for text in choices.texts])
    names = [(gold, choices.labels), texts, (gold.upper(), letters), places]
    if counted:
        names.insert(1, places)
    for wanted, listed in (*names, (letter_of(gold, {}), letters)):
        if wanted in listed:
            return listed.index(wanted)
    return None
