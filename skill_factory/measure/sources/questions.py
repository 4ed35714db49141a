"""The questions that responses are to: their gold answers, from the file itself or another."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from skill_factory.core.sources.find_source import Rows, read_questions
from skill_factory.core.sources.values import plain_facts
from skill_factory.errors import TaskError
from skill_factory.measure.sources.chat_prompts import question_in
from skill_factory.measure.sources.responses import ColumnNames, FoundResponse, whole_number
from skill_factory.stages.questions.datasets import (
    Loss,
    Question,
    QuestionColumns,
    QuestionRules,
    read_rows,
)
from skill_factory.tasks import data_source_of, gold_of, task_of
from skill_factory.tasks.golds import Gold
from skill_factory.tasks.text import normal


class Asked(NamedTuple):
    """What `tables.RESPONSES` has of a question; None: not known."""

    question: str | None
    gold: str | None = None
    task: str | None = None
    facts: str | None = None


class QuestionFile:
    """Questions with gold answers, to be joined to responses by their words or their place."""

    def __init__(self, source: str, names: ColumnNames, task: str | None) -> None:
        rows = read_questions(source, None, None, None)
        found = read_rows(source, rows, _columns(rows, names), QuestionRules(task))
        self._rows = [None if isinstance(one, Loss) else one for one in found]
        there = [question for question in self._rows if question is not None]
        self._by_text = {normal(question.text): question for question in there}
        self._longest_first = sorted(there, key=lambda one: -len(one.text))
        self._in_prompts: dict[str, Question | None] = {}

    def find(self, found: FoundResponse, by_index: bool) -> Question | None:
        """The question of a response, `by_index` its row in this file; None: it is not there."""
        if by_index:
            place = whole_number(found.row)
            there = place is not None and 0 <= place < len(self._rows)
            return self._rows[place] if there and place is not None else None
        if found.question and (question := self._by_text.get(normal(found.question))):
            return question
        return self._in_prompt(found.prompt) if found.prompt else None

    def _in_prompt(self, prompt: str) -> Question | None:
        """The question that a prompt asks: by its user turn, or the longest that stands in it."""
        if prompt not in self._in_prompts:
            self._in_prompts[prompt] = self._by_text.get(normal(question_in(prompt))) or next(
                (question for question in self._longest_first if question.text.strip() in prompt),
                None,
            )
        return self._in_prompts[prompt]


def _columns(rows: Rows, names: ColumnNames) -> QuestionColumns:
    """The columns that a user names, where this file has them too; else the usual ones."""
    usual = QuestionColumns()
    named = {
        "question": names.question,
        "answer": names.answer,
        "task": names.task,
        "facts": names.facts,
    }
    return QuestionColumns(
        **{
            role: name if name in rows.names else getattr(usual, role)
            for role, name in named.items()
        }
    )


@dataclass
class Joiner:
    """Finds what each response was asked; counts, by reason, those that cannot be graded."""

    questions: QuestionFile | None
    task: str | None
    by_index: bool
    losses: Counter[str] = field(default_factory=Counter)
    _read: dict[tuple[str, str, str], Asked | str] = field(default_factory=dict)

    def asked(self, found: FoundResponse) -> Asked:
        """What a response was asked."""
        words = found.question
        if words is None and found.prompt is not None:
            words = question_in(found.prompt)
        if self.questions is not None:
            question = self.questions.find(found, self.by_index)
            if question is None:
                self.losses["its question is not in the file of --questions"] += 1
                return Asked(words)
            return _of_question(question)
        return self._own(found, words)

    def _own(self, found: FoundResponse, words: str | None) -> Asked:
        task = self.task or found.task
        if task is None:
            self.losses["no task: name one with --task"] += 1
            return Asked(words)
        key = (task, repr(found.gold), repr(found.facts))
        if key not in self._read:
            self._read[key] = _read_gold(task, found)
        gold = self._read[key]
        if isinstance(gold, str):
            self.losses[gold] += 1
            return Asked(words, task=task)
        return gold._replace(question=words)


def _of_question(question: Question) -> Asked:
    return Asked(question.text, question.gold, question.data_source, json.dumps(question.facts))


def _read_gold(word: str, found: FoundResponse) -> Asked | str:
    """The gold answer of a response's own row, or why there is none."""
    try:
        task = task_of(word)
    except TaskError:
        return f"its task {word[:40]!r} is not known: name one with --task"
    facts = plain_facts(found.facts, task.groups) if found.facts is not None else {}
    gold = gold_of(task, found.gold, facts or {})
    if not isinstance(gold, Gold):
        return f"{gold.replace('_', ' ')}: name a column with --answer-column, or --questions"
    if task.fault(gold.text, gold.facts):
        return "its gold answer cannot be graded against"
    return Asked(None, gold.text, word, json.dumps(dict(gold.facts)))


def known_task(word: str | None) -> str | None:
    """A task that a user names, as tables have it."""
    return None if word is None else data_source_of(word)


def numbered(keys: Iterable[Any]) -> Iterator[int]:
    """How many times each key was there before."""
    seen = Counter[Any]()
    for key in keys:
        yield seen[key]
        seen[key] += 1
