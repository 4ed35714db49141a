"""A response as a file has it, whatever the format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow.parquet as pq

from skill_factory.core.sources.batches import DAMAGED
from skill_factory.core.sources.json_files import read_objects
from skill_factory.core.sources.local_files import kind_of
from skill_factory.errors import InputError, first_line

Row = Mapping[str, Any]


class FoundResponse(NamedTuple):
    """A response and what its file says of it; None: nothing.

    `question` is the question's own words, `prompt` what was sent, perhaps with a chat template
    around it. `gold` and `facts` are as the file has them. `row` is that of the question in a
    file of questions, `correct` whether the file calls the response right.
    """

    response: str
    question: str | None = None
    prompt: str | None = None
    gold: Any = None
    task: str | None = None
    facts: Any = None
    question_set: str | None = None
    model: str | None = None
    step: int | None = None
    finish_reason: str | None = None
    completion_tokens: int | None = None
    row: Any = None
    correct: Any = None


class ColumnNames(NamedTuple):
    """The columns that the user names; None: those that a format, or a habit, has."""

    question: str | None = None
    response: str | None = None
    answer: str | None = None
    task: str | None = None
    facts: str | None = None
    model: str | None = None
    step: str | None = None
    correctness: str | None = None
    row: str | None = None


class Reader(Protocol):
    """Reads a file of one format; raises `InputError`, naming file and row, for what is not."""

    def __call__(self, path: Path, names: ColumnNames) -> Iterator[FoundResponse]: ...


_AT_ONCE = 256


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a parquet or JSON file as they are; raises `InputError` for what is neither."""
    try:
        if not path.stat().st_size:
            raise InputError(f"{path}: the file is empty")
        if kind_of(path) == "parquet":
            yield from _parquet_rows(path)
        else:
            yield from read_objects(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            for batch in file.iter_batches(_AT_ONCE):
                yield from batch.to_pylist()
    except (*DAMAGED, ValueError) as error:
        raise InputError(f"{path}: not a parquet file ({first_line(error)})") from None


def text_of(value: Any) -> str | None:
    """The text of a value: a text, messages (the last one's content), or content in parts; None if
    it has none.

    >>> text_of([{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}])
    '4'
    """
    if isinstance(value, list):
        if value and all(isinstance(part, Mapping) and "text" in part for part in value):
            return "".join(str(part["text"]) for part in value)
        return text_of(value[-1]) if value else None
    if isinstance(value, Mapping):
        return text_of(value.get("content", value.get("value")))
    return value if isinstance(value, str) else None


def user_text(value: Any) -> str | None:
    """The text of the last user turn among messages; None for what is no list of messages.

    >>> user_text([{"role": "system", "content": "Add."}, {"role": "user", "content": "2 + 2?"}])
    '2 + 2?'
    """
    turns = value if isinstance(value, list) else []
    asked = [t for t in turns if isinstance(t, Mapping) and t.get("role", t.get("from")) in _USERS]
    return text_of(asked[-1]) if asked else None


_USERS = ("user", "human")


def whole_number(value: Any) -> int | None:
    """A whole number, perhaps written as a text or a float; None for anything else."""
    try:
        number = float(value)
        return int(number) if number.is_integer() else None
    except (TypeError, ValueError, OverflowError):
        return None


def with_thinking(reasoning: str, text: str) -> str:
    """What a model wrote, where a server's parser has taken its thinking apart.

    >>> with_thinking("\\n2 + 2\\n", "4"), with_thinking("", "4")
    ('<think>\\n2 + 2\\n</think>\\n\\n4', '4')
    """
    if not reasoning.strip():
        return text
    inner, after = reasoning.strip("\n"), text.lstrip("\n")
    return f"<think>\n{inner}\n</think>\n\n{after}"
