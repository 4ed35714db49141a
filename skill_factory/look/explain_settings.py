"""The settings of `explain`, `verify` and `diff`; options only, no keys of a config file."""

from __future__ import annotations

from skill_factory.core.settings.fields import Section, SettingError, Settings, same_as
from skill_factory.core.settings.value_types import KnownTask, Workers
from skill_factory.stages.create.settings import CreateConfig, FormatNames

_AGAIN, _WHAT, _OUTPUT = Section("What it is made again of"), Section("What"), Section("Output")


class VerifySettings(Settings):
    """What a manifest cannot give: where the input is now, and code of the user's own."""

    input: str | None = _AGAIN(
        None, "The input, where it is now.", unset="where it was", short="-i", metavar="PATH|REPO"
    )
    formats: FormatNames = _AGAIN((), "Formats of your own, file.py:NAME, with all others.")
    task: KnownTask | None = _AGAIN(None, "A task of your own, file.py:NAME.", metavar="NAME")
    tokenizer: str | None = _AGAIN(
        None, "The tokenizer, where it is now.", unset="where it was", metavar="PATH|REPO"
    )
    workers: Workers | None = same_as(CreateConfig, "workers", section="Running")
    json: bool = _OUTPUT(False, "Print JSON.")


class DiffSettings(Settings):
    """How two folders are compared."""

    json: bool = _OUTPUT(False, "Print JSON.")


class ExplainSettings(Settings):
    """What is explained."""

    source: str | None = _WHAT(
        None, "Instead of a trace: which traces use this row of the input.", metavar="ROW|FILE:ROW"
    )
    json: bool = _OUTPUT(False, "Print JSON.")

    def __post_init__(self) -> None:
        if self.source is not None and not self.source.rpartition(":")[2].isdecimal():
            raise SettingError(("source",), "expected a row, from 0: 12, or FILE:12")
