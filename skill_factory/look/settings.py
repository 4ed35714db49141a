"""The settings of the commands that read what was made; options only, no keys of a config file."""

from __future__ import annotations

from skill_factory.core.settings.fields import Section, SettingError, Settings, same_as
from skill_factory.core.settings.value_types import Count, KnownTask, Workers
from skill_factory.stages.create.settings import CreateConfig, FormatNames

_WHICH, _INSTEAD, _OUTPUT = Section("Which traces"), Section("Instead of traces"), Section("Output")
_AGAIN, _WHAT = Section("What it is made again of"), Section("What")
OTHERS = _INSTEAD.title
"""The heading of what is shown instead of traces."""


class ShowSettings(Settings):
    """What of a folder is shown."""

    trace: str | None = _WHICH(None, "The trace with this id; its first digits do.", metavar="ID")
    question: str | None = _WHICH(
        None, "Traces of this question, or of those with this text.", metavar="TEXT|ID"
    )
    label: str | None = _WHICH(
        None,
        "Traces with this label, such as 5C; responses with this grade, or of this set.",
        metavar="LABEL",
    )
    grep: str | None = _WHICH(None, "What holds this text, in any case.", metavar="TEXT")
    number: Count | None = _WHICH(
        None, "How many.", unset="3 traces, 10 losses, all questions", short="-n", flag="--number"
    )
    seed: int = _WHICH(0, "Another seed draws other traces.")
    questions: bool = _INSTEAD(False, "A line for each question.")
    color: bool | None = _OUTPUT(
        None, "Colours.", unset="on a terminal without NO_COLOR", off="--no-color"
    )

    def __post_init__(self) -> None:
        for name in ("trace", "question", "label", "grep"):
            said = getattr(self, name)
            if said is not None and not said.strip():
                raise SettingError((name,), "is blank")
        if self.questions and (name := self._choosing()):
            raise SettingError((name,), "chooses traces, and --questions shows none")

    def not_with_lost(self) -> str:
        """What does not go with --lost; empty: nothing."""
        if self.questions:
            return "choose one of --questions and --lost"
        return (
            f"--{name}: chooses traces, and --lost shows none" if (name := self._choosing()) else ""
        )

    def _choosing(self) -> str:
        """The first setting that chooses traces and nothing else; empty: none does."""
        found = [name for name in ("trace", "question", "label") if getattr(self, name) is not None]
        return [*found, *(["seed"] if self.seed else []), ""][0]


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
