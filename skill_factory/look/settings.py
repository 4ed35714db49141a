"""The settings of the commands that read what was made; options only, no keys of a config file."""

from __future__ import annotations

from skill_factory.core.settings.fields import Section, SettingError, Settings
from skill_factory.core.settings.value_types import Count

_WHICH, _OTHERS, _LOOK = Section("Which traces"), Section("Instead of traces"), Section("Output")


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
    questions: bool = _OTHERS(False, "A line for each question.")
    color: bool | None = _LOOK(
        None, "Colours.", unset="on a terminal without NO_COLOR", off="--no-color"
    )

    def __post_init__(self) -> None:
        given = [
            name
            for name in ("trace", "question", "label", "grep", "seed")
            if getattr(self, name) not in (None, 0)
        ]
        for name in given:
            if self.questions and name != "grep":
                raise SettingError((name,), "chooses traces, and --questions shows none")
        if blank := [name for name in given if not str(getattr(self, name)).strip()]:
            raise SettingError((blank[0],), "is blank")
