"""The settings of the commands that read what was made; options only, no keys of a config file."""

from __future__ import annotations

from skill_factory.core.settings.fields import Section, SettingError, Settings
from skill_factory.core.settings.value_types import Count

_WHICH, _INSTEAD, _LOOK = Section("Which traces"), Section("Instead of traces"), Section("Output")
OTHERS = _INSTEAD.title
"""The heading of what is shown instead of traces."""


class ShowSettings(Settings):
    """What of a folder is shown."""

    trace: str | None = _WHICH(None, "The trace with this id; its first digits do.", metavar="ID")
    question: str | None = _WHICH(
        None, "Traces of this question, or of those with this text.", metavar="TEXT|ID"
    )
    label: str | None = _WHICH(None, "Traces with this label, such as 5C.", metavar="LABEL")
    grep: str | None = _WHICH(None, "What holds this text, in any case.", metavar="TEXT")
    number: Count | None = _WHICH(
        None, "How many.", unset="3 traces, 10 losses, all questions", short="-n", flag="--number"
    )
    seed: int = _WHICH(0, "Another seed draws other traces.")
    questions: bool = _INSTEAD(False, "A line for each question.")
    color: bool | None = _LOOK(
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
