"""Make or read as many different questions as are wanted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pyarrow as pa
from xxhash import xxh3_64_intdigest

from skill_factory.core.ledger import Account, account_table
from skill_factory.core.sources.find_source import Rows, read_questions
from skill_factory.core.tables import QUESTIONS
from skill_factory.errors import InputError, OptionError
from skill_factory.stages.questions import letter_puzzles as letters
from skill_factory.stages.questions import numbers
from skill_factory.stages.questions import plugin_sources as own
from skill_factory.stages.questions import reasoning_gym as gym
from skill_factory.stages.questions.datasets import (
    Loss,
    Question,
    QuestionColumns,
    QuestionRules,
    fault_of,
    read_rows,
)
from skill_factory.stages.settings import USES, QuestionsConfig
from skill_factory.tasks import task_of
from skill_factory.tasks.golds import Several
from skill_factory.tasks.text import normal

COUNT = 1000
"""Questions that are made where no count is asked for."""

_IN_VAIN = 30_000
"""Draws without a new question after which there are taken to be no more."""

_GYM_IN_VAIN = 200
"""The same for reasoning-gym, whose draws take longer."""

_DRAWN: dict[str, Callable[[QuestionsConfig, Random], Question | None]] = {
    "countdown": numbers.countdown,
    "multiplication": numbers.multiplication,
    "addition": numbers.addition,
    "letter_countdown": letters.letter_countdown,
    "acronym": letters.acronym,
}


@dataclass
class QuestionsResult:
    """Questions as `tables.QUESTIONS` has them, what became of those that are not there, and what a
    person should read."""

    table: pa.Table
    account: Account
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """For a person."""
        return "\n".join(
            [account_table({"questions": self.account}), *(f"Note: {note}" for note in self.notes)]
        )


def _reasons(account: Account) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in account.losses.most_common())


def make_questions(config: QuestionsConfig) -> QuestionsResult:
    """The questions that a config asks for: no two the same, each graded right with its gold answer
    where it was made.

    They depend on the config alone, and those of a larger `count` begin with those of a smaller
    one. Raises `OptionError` if there are not as many or words cannot be had, `InputError` and
    `ColumnError` for a dataset that cannot be read or has none, `TaskError` for a task that is not
    known or not installed, `PluginError` for a source or task from outside that cannot be loaded,
    or raises.
    """
    if config.kind == "own":
        return _from_own(config)
    return _read(config) if config.kind == "dataset" else _made(config)


# -- made -----------------------------------------------------------------------------------------


def _made(config: QuestionsConfig) -> QuestionsResult:
    """Draw until there are enough, or no new ones come any more."""
    of_gym = config.kind == "reasoning-gym"
    stream = gym.questions(config) if of_gym else _draws(config)
    wanted = config.count or COUNT
    account, chosen = _different(stream, wanted, _GYM_IN_VAIN if of_gym else _IN_VAIN)
    notes = []
    if not chosen and account.read:
        raise InputError(f"{config.source}: no question is of use: {_reasons(account)}")
    if len(chosen) < wanted:
        said = f"only {len(chosen):,} different questions were found with these settings"
        if config.count is not None or not chosen:
            widen = ", ".join(USES[config.kind])
            raise OptionError(f"count: {said}; ask for fewer, or change {widen}")
        notes.append(said)
    return QuestionsResult(_table(chosen), account, notes)


def _draws(config: QuestionsConfig) -> Iterator[Question | Loss | None]:
    """Questions drawn one after the other, without end; None: a draw that gave none."""
    # What must be used of the numbers does not change which they are.
    names = [name for name in USES[config.kind] if name != "all_numbers"]
    settings = {name: getattr(config, name) for name in names}
    random = Random(f"{config.kind} {json.dumps(settings)} {config.seed}")
    while True:
        drawn = _DRAWN[config.kind](config, random)
        yield drawn and (fault_of(drawn) or drawn)


def _from_own(config: QuestionsConfig) -> QuestionsResult:
    """What a source of the user's own yields: so many, or all of it."""
    source = own.load_source(config.source)
    most = config.count or own.MOST
    stream = own.questions(source, config.seed, config.task)
    account, chosen = _different(stream, most, _IN_VAIN)
    if not chosen:
        why = _reasons(account) or "it yields none"
        raise InputError(f"source {source.name}: no question is of use: {why}")
    if config.count and len(chosen) < config.count:
        raise OptionError(
            f"count: the source {source.name} has only {len(chosen):,} different questions of use"
        )
    notes = [f"stopped at {own.MOST:,}; name a --count"] if len(chosen) == own.MOST else []
    if len(chosen) < most and next(stream, None) is not None:
        notes.append(f"stopped after {_IN_VAIN:,} in a row that were not new or of no use")
    return QuestionsResult(_table(chosen), account, notes)


def _different(
    stream: Iterable[Question | Loss | None], wanted: int, patience: int
) -> tuple[Account, list[Question]]:
    """The first so many questions of a stream that are not there yet."""
    account, chosen, in_vain = Account(), list[Question](), 0
    seen: set[str] = set()
    for found in stream:
        in_vain += 1
        if found is not None:
            account.read += 1
            loss = found if isinstance(found, Loss) else _duplicate(found, seen)
            if isinstance(found, Question) and loss is None:
                chosen.append(found)
                in_vain = 0
            else:
                account.lose(str(loss))
        if len(chosen) == wanted or in_vain == patience:
            break
    account.kept = len(chosen)
    return account, chosen


def _duplicate(question: Question, seen: set[str]) -> Loss | None:
    """Whether a question was seen; what is `seen` grows by its keys."""
    keys = set(question.keys())
    known = not keys.isdisjoint(seen)
    seen |= keys
    return Loss.DUPLICATE if known else None


# -- read -----------------------------------------------------------------------------------------


def _rows_of(config: QuestionsConfig) -> Rows:
    """The rows of the dataset that a config names. Where a bare word is no dataset, the error says
    what sources there are."""
    try:
        return read_questions(
            config.source, config.input_config, config.input_split, config.revision
        )
    except InputError as error:
        if not config.source.isidentifier() or Path(config.source).exists():
            raise
        names = ", ".join(own.known_sources())
        raise InputError(f"{error}; it is no source either: the sources are {names}") from None


def _read(config: QuestionsConfig) -> QuestionsResult:
    """All questions of a dataset in its order, or so many drawn from them."""
    rows = _rows_of(config)
    found = read_rows(config.source, rows, _columns(config), _rules(config))
    account, chosen = _different(found, wanted=rows.count + 1, patience=rows.count + 1)
    if not chosen:
        raise InputError(f"{config.source}: no question is of use: {_reasons(account)}")
    wanted = config.count or len(chosen)
    if wanted > len(chosen):
        raise OptionError(f"count: {config.source} has only {len(chosen):,} questions of use")
    if config.count:
        account.lose(Loss.NOT_DRAWN, len(chosen) - wanted)
        seed = config.seed
        chosen.sort(key=lambda q: xxh3_64_intdigest(f"{seed}\0{normal(q.text)}".encode()))
        chosen = chosen[:wanted]
        account.kept = wanted
    return QuestionsResult(_table(chosen), account)


def _columns(config: QuestionsConfig) -> QuestionColumns:
    if config.choices_column and config.task and task_of(config.task).name != "choice":
        raise OptionError(f"choices_column: the task {config.task} has no choices")
    return QuestionColumns(
        config.question_column,
        config.answer_column,
        config.task_column,
        config.facts_column,
        config.choices_column,
    )


def _rules(config: QuestionsConfig) -> QuestionRules:
    several = Several(config.several_answers) if config.several_answers else None
    return QuestionRules(config.task, several, config.all_numbers, config.rounded)


def _table(questions: list[Question]) -> pa.Table:
    rows = [
        (q.text, q.gold, q.data_source, json.dumps(q.facts, ensure_ascii=False)) for q in questions
    ]
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    return pa.Table.from_arrays(columns, schema=QUESTIONS)
