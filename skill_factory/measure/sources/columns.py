"""Responses in parquet or JSON with columns of one's own naming."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skill_factory.errors import ColumnError
from skill_factory.measure.sources.responses import (
    ColumnNames,
    FoundResponse,
    Row,
    rows_of,
    text_of,
    user_text,
    whole_number,
)

HABITS = ColumnNames(
    question="question problem prompt input conversations messages",
    response="response responses completion output generation model_responses__mutated_prompts "
    "conversations messages",
    answer="answer ground_truth gold target",
    task="task_source data_source",
    facts="metadata extra_info",
    model="model",
    step="step global_step",
)
"""The columns that are taken where the user names none: the first that is there."""

OPTIONS = {
    "question": "--question-column",
    "response": "--response-column",
    "answer": "--answer-column",
    "task": "--task-column",
    "facts": "--facts-column",
    "model": "--model-column",
    "step": "--step-column",
    "correctness": "--correctness-column",
    "row": "--index-column",
}


def read_columns(path: Path, names: ColumnNames) -> Iterator[FoundResponse]:
    """The responses of a file: a text a row, messages whose last one is it, or a list of texts,
    which are several samples. A row without a response gives none."""
    chosen: ColumnNames | None = None
    for number, row in enumerate(rows_of(path)):
        if chosen is None:
            chosen = choose_columns(path, row, names)
        yield from _responses(path, number, row, chosen)


def choose_columns(path: Path, row: Row, names: ColumnNames) -> ColumnNames:
    """The column of each role; raises `ColumnError` for one that the user names and that is not
    there, and where there is no response."""
    for role, name in names._asdict().items():
        if name is not None and name not in row:
            raise _missing(path, name, row, OPTIONS[role])
    found = {
        role: name or next((one for one in (habit or "").split() if one in row), None)
        for (role, name), habit in zip(names._asdict().items(), HABITS, strict=True)
    }
    if found["response"] is None:
        raise _missing(path, "response", row, OPTIONS["response"])
    return ColumnNames(**found)


def _missing(path: Path, name: str, row: Row, option: str) -> ColumnError:
    return ColumnError(
        f"{path}: column {name!r} is missing. Columns there are: {', '.join(map(str, row))}. "
        f"Name it with {option}."
    )


def _responses(path: Path, number: int, row: Row, names: ColumnNames) -> Iterator[FoundResponse]:
    def value(name: str | None) -> Any:
        return None if name is None else row.get(name)

    asked = value(names.question)
    common = {
        "question": user_text(asked) if isinstance(asked, list) else text_of(asked),
        "gold": value(names.answer),
        "task": text_of(value(names.task)),
        "facts": value(names.facts),
        "question_set": text_of(row.get("question_set")),
        "model": text_of(value(names.model)),
        "step": whole_number(value(names.step)),
        "finish_reason": text_of(row.get("finish_reason")),
        "completion_tokens": whole_number(row.get("completion_tokens")),
        "row": value(names.row),
        "correct": value(names.correctness),
    }
    found = value(names.response)
    texts = found if _are_texts(found) else [text_of(found)]
    for place, text in enumerate(texts):
        if text is None and found is not None:
            raise ColumnError(
                f"{path}: row {number}, column {names.response!r}: expected a text, messages or a "
                f"list of texts, found {type(found).__name__}"
            )
        if text is not None:
            correct = common["correct"]
            own = correct[place] if isinstance(correct, list) and place < len(correct) else correct
            yield FoundResponse(text, **{**common, "correct": own})


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
