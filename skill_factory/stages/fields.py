"""Kinds of values that the settings of several stages have."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from skill_factory.errors import TaskError
from skill_factory.tasks import task_of

Texts = Annotated[tuple[str, ...], Field(strict=False)]
Word = Annotated[str, Field(pattern=r"\S")]
Count = Annotated[int, Field(ge=1)]
Few = Annotated[int, Field(ge=1, le=10_000)]
"""A number of things that are there one by one, in memory, for every question."""
Workers = Annotated[int, Field(ge=1, le=1024)]


def _known(task: str) -> str:
    try:
        task_of(task)
    except TaskError as error:
        raise ValueError(f"task: {error}") from None
    return task


KnownTask = Annotated[str, AfterValidator(_known)]
