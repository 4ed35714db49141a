"""The questions of an evaluation: of several sets, without those that a model was trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory import __version__
from skill_factory.core.columns import Column
from skill_factory.core.ledger import Account, account_table
from skill_factory.core.places import remote_path
from skill_factory.core.settings.value_types import named_source
from skill_factory.core.tables import QUESTIONS
from skill_factory.core.whole_files import new_file
from skill_factory.errors import InputError, OptionError
from skill_factory.handoff.verl import question_keys
from skill_factory.measure.evaluate_settings import EvaluateSettings
from skill_factory.runs.fingerprint import code_of, files_at, fingerprint
from skill_factory.stages.questions.datasets import Loss, Question
from skill_factory.stages.questions.making import make_questions
from skill_factory.stages.settings import QuestionsConfig

EVALUATED = pa.schema([*QUESTIONS, pa.field(Column.QUESTION_SET, pa.string(), nullable=False)])
"""One row a question: as `tables.QUESTIONS`, with the name of its set."""

_MADE_FROM = b"made_from"
"""Key of the file's own metadata: a fingerprint of what it was made from."""


@dataclass(frozen=True)
class QuestionSet:
    """A set of questions: its name in tables, and where it is from."""

    name: str
    config: QuestionsConfig


def question_sets(settings: EvaluateSettings) -> list[QuestionSet]:
    """The sets that are asked. Raises `OptionError` if there are none, or two of one name."""
    if not settings.questions:
        raise OptionError("no questions: name a file, a folder or a dataset with questions")
    found: dict[str, QuestionSet] = {}
    for text in settings.questions:
        name, source = named_source(text)
        name = name or _name_of(source)
        if name in found:
            raise OptionError(
                f"two sets of questions are called {name}: name one of them otherwise, as "
                f"{name}_2={source}"
            )
        found[name] = QuestionSet(name, settings.source(source))
    return list(found.values())


def _name_of(source: str) -> str:
    """The name of a set: that of its file or folder, of its repository, or of what makes it."""
    name = source.rstrip("/").rpartition("/")[2]
    path = Path(source)
    is_file = remote_path(source) is not None or path.is_file()
    return name.partition(".")[0] or name if is_file else name


@dataclass
class Chosen:
    """Questions that are asked (`EVALUATED`), and what became of the others, by their set."""

    table: pa.Table
    accounts: dict[str, Account]
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """For a person."""
        lines = [account_table(self.accounts)]
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def choose_questions(settings: EvaluateSettings) -> Chosen:
    """The questions of all sets, in their order. Raises `InputError` if one is in an SFT folder and
    that is not allowed, and what `make_questions` raises."""
    taken = _taken(settings)
    tables, accounts = list[pa.Table](), dict[str, Account]()
    notes = list(taken.notes)
    for one in question_sets(settings):
        made = make_questions(one.config)
        notes += made.notes
        table, account = made.table, made.account
        found = [at for at, row in enumerate(table.to_pylist()) if taken.has(row)]
        if found and settings.overlap == "refuse":
            raise InputError(_refusal(one.name, table, found, taken.folders))
        if found and settings.overlap == "keep":
            notes.append(f"{one.name}: {len(found):,} questions are in the training data")
        elif found:
            table = table.take(sorted(set(range(table.num_rows)) - set(found)))
            account.lose(Loss.IN_SFT, len(found))
            account.kept -= len(found)
        accounts[one.name] = account
        names = pa.array([one.name] * table.num_rows, pa.string())
        tables.append(pa.Table.from_arrays([*table.columns, names], schema=EVALUATED))
    whole = pa.concat_tables(tables)
    if not whole.num_rows:
        raise InputError("all questions are in the training data; bring others")
    return Chosen(whole, accounts, notes)


def _refusal(name: str, table: pa.Table, found: list[int], folders: str) -> str:
    first = table[Column.QUESTION][found[0]].as_py()
    return (
        f"{name}: {len(found):,} of {table.num_rows:,} questions are in {folders}, the first: "
        f"{first!r:.100}. Leave them out with --overlap drop, or ask them too with --overlap keep"
    )


@dataclass(frozen=True)
class _Taken:
    """The keys of the questions in some SFT folders."""

    keys: frozenset[str]
    folders: str
    notes: tuple[str, ...]

    def has(self, row: dict[str, Any]) -> bool:
        """Whether the question of a row is among them."""
        if not self.keys:
            return False
        facts = json.loads(row[Column.FACTS] or "{}")
        asked = Question(row[Column.QUESTION], row[Column.GOLD], row[Column.TASK], facts)
        return not self.keys.isdisjoint(asked.keys())


def _taken(settings: EvaluateSettings) -> _Taken:
    notes = list[str]()
    keys = frozenset(
        key for folder in settings.sft_folders for key in question_keys(folder, None, notes)
    )
    return _Taken(keys, ", ".join(settings.exclude_sft), tuple(notes))


# -- their file -----------------------------------------------------------------------------------


def made_from(settings: EvaluateSettings) -> str:
    """A fingerprint of all that the questions depend on: settings, files, code."""
    sets = [
        [one.name, one.config.model_dump(), *_content_of(one.config)]
        for one in question_sets(settings)
    ]
    excluded = [[str(folder), files_at(str(folder))] for folder in settings.sft_folders]
    return fingerprint([__version__, sets, excluded, settings.overlap])


def _content_of(config: QuestionsConfig) -> list[Any]:
    """What tells that the files or the code of a source have changed."""
    return [files_at(config.source), *code_of(config.source, config.task)]


def are_made(path: Path, settings: EvaluateSettings) -> bool:
    """Whether a file has the questions of these settings."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return False
    return metadata.get(_MADE_FROM) == made_from(settings).encode()


def write_questions(path: Path, table: pa.Table, settings: EvaluateSettings) -> None:
    """Write questions, and what they were made from."""
    marked = table.replace_schema_metadata({_MADE_FROM: made_from(settings).encode()})
    with new_file(path) as part:
        pq.write_table(marked, part, compression="zstd")


def read_questions(path: Path) -> Iterator[dict[str, Any]]:
    """The questions of a file, in their order, a batch in memory at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=EVALUATED.names):
            yield from batch.to_pylist()
