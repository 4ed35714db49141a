"""A question source of a user's own: named `module:name` or `file.py:name`, or installed under the
entry point group `skill_factory.sources` (docs/extending.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from skill_factory.core.yaml_files import NO_TEXT
from skill_factory.errors import OptionError, PluginError, TaskError
from skill_factory.plugins import Door, guarded, is_reference, takes
from skill_factory.stages.questions.datasets import Loss, Question, fault_of
from skill_factory.tasks import data_source_of, gold_of, task_of
from skill_factory.tasks.facts import facts_of
from skill_factory.tasks.golds import NoGold

MOST = 100_000
"""Questions that are taken of a source that does not end, where no count is named."""

NAMES = {
    "countdown": "reach a target from some numbers with + - * /",
    "multiplication": "products of two numbers",
    "addition": "sums of two numbers",
    "letter_countdown": "a word of some scrambled letters",
    "acronym": "words whose first letters spell a word",
    "reasoning-gym:NAME": "any dataset of reasoning-gym, graded by its own scorer",
    "PATH or ORG/NAME": "a dataset of questions: a file, a folder, or one on the Hub",
}
"""A line of text for each built-in source, and what any other name is."""


class Asked(NamedTuple):
    """A question as a source yields it. `answer` is the gold answer; `facts` are what the task
    needs besides, a JSON object; `task` is the name of the task that grades it, None: the one that
    the user names."""

    question: str
    answer: str
    facts: Mapping[str, Any] = {}
    task: str | None = None


class Source(NamedTuple):
    """A question source: its `name`, and `make(seed)`, which yields its questions, without end
    perhaps. The same seed must give the same questions in the same order. `about` is a line for a
    person."""

    name: str
    make: Callable[[int], Iterable[Asked]]
    about: str = ""


def questions(source: Source, seed: int, task: str | None) -> Iterator[Question | Loss]:
    """The questions that a source yields, or what is wrong with one. `task` None: what the source
    says of each.

    Raises `PluginError` for what is no question or names no task, and where a task raises.
    """
    for number, asked in enumerate(source.make(seed)):
        try:
            yield _question(asked, task or asked.task)
        except (TaskError, PluginError) as error:
            raise PluginError(
                f"source {source.name}: question {number}, {asked.question!r:.200}: {error}"
            ) from None


def _question(asked: Asked, named: str | None) -> Question | Loss:
    if not asked.question.strip():
        return Loss.NO_QUESTION
    if named is None:
        raise TaskError("the source names no task; name one with --task")
    task, name = task_of(named), data_source_of(named)
    gold = gold_of(task, asked.answer, facts_of(asked.facts, task.groups) or {})
    if isinstance(gold, NoGold):
        return Loss(gold)
    question = Question(asked.question, gold.text, name, dict(gold.facts))
    return fault_of(question) or question


def _admitted(found: Source, where: str) -> Source:
    """A source from outside that raises nothing but `PluginError`s; raises one for a wrong
    shape."""
    if not (isinstance(found.name, str) and re.fullmatch(r"[a-z][a-z0-9_]*", found.name)):
        raise PluginError(
            f"{where}: name: expected small letters, digits and _, found {found.name!r:.80}"
        )
    if not takes(found.make, 1):
        raise PluginError(f"{where}: make: expected a function of (seed), found {found.make!r:.80}")
    if not isinstance(found.about, str):
        raise PluginError(f"{where}: about: expected text, found {found.about!r:.80}")
    return found._replace(make=lambda seed: _each(found, where, seed))


def _each(found: Source, where: str, seed: int) -> Iterator[Asked]:
    stream = guarded(lambda: iter(found.make(seed)), where, "make", lambda _: None)()
    end = object()
    following: Callable[[], Any] = guarded(
        lambda: next(stream, end),
        where,
        "make",
        lambda found: None if found is end else _misfit(found),
    )
    while (asked := following()) is not end:
        yield asked


def _misfit(asked: object) -> str | None:
    """What should have been yielded instead; None: it is a question."""
    if not isinstance(asked, Asked):
        return "skill_factory.stages.questions.Asked"
    if not all(map(_is_text, (asked.question, asked.answer, asked.task or ""))):
        return "question, answer and task to be text in UTF-8"
    if not isinstance(asked.facts, Mapping) or not _is_json(asked.facts):
        return "facts to be a JSON object"
    return None


def _is_text(found: object) -> bool:
    return isinstance(found, str) and not NO_TEXT.search(found)


def _is_json(facts: Mapping[str, Any]) -> bool:
    try:
        words = json.dumps(facts, allow_nan=False, ensure_ascii=False)
        return not NO_TEXT.search(words) and bool(json.loads(words) == facts)
    except (TypeError, ValueError, RecursionError):
        return False


_DOOR: Door[Source] = Door("source", Source, _admitted, lambda name: name in NAMES)


def load_source(word: str) -> Source:
    """The source from outside that a user names: installed, or code, `module:name` or
    `file.py:name`. Raises `OptionError` if there is none, `PluginError` for one that cannot be
    loaded."""
    if is_reference(word):
        return _DOOR.load(word)
    if (found := _DOOR.installed(word)) is not None:
        return found
    raise OptionError(f"source: there is no {word!r}")


def known_sources() -> dict[str, str]:
    """A line of text for each question source by name: the built-in ones, those installed, those
    loaded."""
    return NAMES | _DOOR.meanings()
