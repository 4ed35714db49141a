"""How paths are typed: those of the local disk, and those that may be in a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from skill_factory.core.places import Place, RemotePath, place


class LocalPath(click.Path):
    """A path on the local disk; a URL is refused, for a path would be made of it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(path_type=Path, **attributes)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(place(value), RemotePath):
            self.fail(f"{place(value)}: expected a path on a local disk, not a URL", param, ctx)
        return super().convert(value, param, ctx)


class AnyPath(click.Path):
    """A local path, or the URL of a store."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(path_type=Path, **attributes)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found: Place = place(value)
        return found if isinstance(found, RemotePath) else super().convert(value, param, ctx)


PATH, PLACE = LocalPath(), AnyPath()
