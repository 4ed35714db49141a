"""Questions that a dataset has: its columns read, its gold answers brought into our form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import pyarrow as pa

from skill_factory.errors import ColumnError, InputError
from skill_factory.tables import facts_of
from skill_factory.tasks import Task, task_of
from skill_factory.tasks.text import normal

_DEFAULTS = ("task_source", "metadata")


class Loss(StrEnum):
    """Why a question is set aside; the first that holds counts."""

    NO_QUESTION = "no_question"
    NO_GOLD_ANSWER = "no_gold_answer"
    BAD_CHOICES = "bad_choices"
    CANNOT_BE_GRADED = "cannot_be_graded"
    # made by reasoning-gym: what its own scorer says
    GOLD_NOT_RIGHT = "gold_not_right"
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
class Columns:
    """Names of a question dataset's columns; those of tasks and facts need not be there. `choices`
    None: there are none to read."""

    question: str = "question"
    answer: str = "answer"
    task: str = "task_source"
    facts: str = "metadata"
    choices: str | None = None


def read_rows(
    source: str, table: pa.Table, columns: Columns, task: str | None
) -> Iterator[Question | Loss]:
    """The question of each row, or why it has none; `task` None: what the row says.

    With `columns.choices`, those of the task `choice` are written below the question, a letter
    each, and the gold answer is that letter. Raises `ColumnError` for a column that is missing,
    `TaskError` for a task that is not known.
    """
    _check_columns(source, table, columns, task)
    nothing = [None] * table.num_rows
    named = (columns.question, columns.answer, columns.task, columns.facts, columns.choices)
    try:
        rows = zip(
            *(table[name].to_pylist() if name in table.column_names else nothing for name in named),
            strict=True,
        )
    except UnicodeDecodeError:
        raise InputError(f"{source}: a text in it is not UTF-8: mend the file") from None
    for text, gold, of, known, choices in rows:
        if text is None or not str(text).strip():
            yield Loss.NO_QUESTION
        elif gold is None or not str(gold).strip():
            yield Loss.NO_GOLD_ANSWER
        else:
            if task is None and of is None:
                yield Loss.CANNOT_BE_GRADED
                continue
            data_source = task or str(of)
            task_of(data_source)
            asked = Question(str(text), str(gold), data_source, facts_of(known) or {})
            listed = columns.choices is not None and asked.task.name == "choice"
            yield _with_choices(asked, choices, isinstance(gold, int)) if listed else asked


def _check_columns(source: str, table: pa.Table, columns: Columns, task: str | None) -> None:
    optional = {columns.task: "--task-column", columns.facts: "--facts-column"}
    asked_for = {name: option for name, option in optional.items() if name not in _DEFAULTS}
    needed = {columns.question: "--question-column", columns.answer: "--answer-column"}
    if columns.choices is not None:
        needed[columns.choices] = "--choices-column"
    for name, option in (needed | asked_for).items():
        if name not in table.column_names:
            raise ColumnError(
                f"{source}: column {name!r} is missing. Columns there are: "
                f"{', '.join(table.column_names)}. Name it with {option}."
            )
    kind = table.schema.field(columns.question).type
    if pa.types.is_nested(kind):
        raise ColumnError(
            f"{source}: column {columns.question!r} has the type {kind}; expected text. "
            "Name another question column with --question-column."
        )
    if task is None and columns.task not in table.column_names:
        raise ColumnError(
            f"{source}: no column {columns.task!r} that names the questions' tasks; "
            "name the column with --task-column, or the task with --task"
        )


# -- gold answers in our form ---------------------------------------------------------------------


def tidied(question: Question) -> Question:
    """The question with only what is graded as its gold answer: of GSM8K's worked solutions what
    follows `####`, of MATH's what the last `\\boxed` holds."""
    gold = question.gold
    if question.task.name == "integers" and "####" in gold:
        gold = gold.rpartition("####")[2].strip()
    elif question.task.name == "mathematics":
        gold = last_boxed(gold) or gold
    return Question(question.text, gold, question.data_source, question.facts)


def last_boxed(text: str) -> str | None:
    r"""What the last \boxed{...} or \fbox{...} of a text holds; None if there is none that is
    closed.

    >>> last_boxed(r"so $x = \boxed{\frac{1}{2}}$.")
    '\\frac{1}{2}'
    """
    start = max(text.rfind(f"{name}{{") + len(name) for name in (r"\boxed", r"\fbox"))
    depth = 0
    for place in range(start, len(text)):
        if text[place] == "{" and text[place - 1] != "\\":
            depth += 1
        elif text[place] == "}" and text[place - 1] != "\\":
            depth -= 1
            if depth == 0:
                return text[start + 1 : place].strip() or None
        if depth == 0:  # no brace where it should stand: there is no box
            return None
    return None


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
    letters = [chr(ord("A") + place) for place in range(len(choices.texts))]
    lines = (f"{letter}. {text}" for letter, text in zip(letters, choices.texts, strict=True))
    text = "\n".join([question.text.rstrip(), "", *lines])
    return Question(text, letters[right], question.data_source, question.facts)


def _listed(found: Any) -> _Choices | None:
    """Choices as datasets have them; None unless there are 2 to 26 different ones."""
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return None
    if isinstance(found, dict):
        labels, texts = found.get("label"), found.get("text")
    elif isinstance(found, list) and found and all(isinstance(item, dict) for item in found):
        labels, texts = ([item.get(name) for item in found] for name in ("label", "text"))
    else:
        labels, texts = None, found
    if not isinstance(texts, list) or not 2 <= len(texts) <= 26 or not all(map(_is_text, texts)):
        return None
    names = labels if isinstance(labels, list) and len(labels) == len(texts) else []
    plain = [" ".join(str(text).split()) for text in texts]
    different = len({normal(text) for text in plain}) == len(plain)
    return _Choices([str(name).strip() for name in names], plain) if different else None


def _is_text(value: Any) -> bool:
    return value is not None and bool(str(value).strip())


def _right_place(gold: str, choices: _Choices, counted: bool) -> int | None:
    """Which choice a gold answer names, from 0; None if it names none."""
    letters = [chr(ord("A") + place) for place in range(len(choices.texts))]
    places = (gold, [str(place) for place in range(len(choices.texts))])
    texts = (normal(gold), [normal(text) for text in choices.texts])
    names = [(gold, choices.labels), texts, (gold.upper(), letters), places]
    if counted:
        names.insert(1, places)
    for wanted, listed in names:
        if wanted in listed:
            return listed.index(wanted)
    return None
