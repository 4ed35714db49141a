"""Kinds of values that the settings of several stages have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, ValidationInfo

from skill_factory.errors import PluginError, TaskError
from skill_factory.tasks import settled

Texts = Annotated[tuple[str, ...], Field(strict=False)]
Word = Annotated[str, Field(pattern=r"\S")]
Count = Annotated[int, Field(ge=1)]
Few = Annotated[int, Field(ge=1, le=10_000)]
"""A number of things that are there one by one, in memory, for every question."""
Workers = Annotated[int, Field(ge=1, le=1024)]


class Origin(NamedTuple):
    """Where settings come from, the context of their validation: parts that they name may lie in
    `folder` too; not `trusted`: they may not bring in code."""

    folder: Path | None = None
    trusted: bool = True

    @classmethod
    def of(cls, info: ValidationInfo[Any]) -> Origin:
        return info.context if isinstance(info.context, cls) else cls()


def _known(task: str, info: ValidationInfo[Any]) -> str:
    origin = Origin.of(info)
    try:
        return settled(task, origin.folder, trusted=origin.trusted)
    except (TaskError, PluginError) as error:
        raise ValueError(f"task: {str(error).removeprefix('task ')}") from None


KnownTask = Annotated[str, AfterValidator(_known)]
