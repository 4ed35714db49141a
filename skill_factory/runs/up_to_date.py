"""Whether a stage's file is what would be made now."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from skill_factory import __version__
from skill_factory.core.whole_files import sha256 as file_digest
from skill_factory.models import Refusal
from skill_factory.runs.create_stage import is_whole
from skill_factory.runs.fingerprint import fingerprint
from skill_factory.runs.folder import RunFolder, Stage
from skill_factory.runs.stage import StageOfRun


class State(Enum):
    """What is to be said of a stage's file."""

    MADE = auto()
    """It is whole, and what would be made now."""
    ABSENT = auto()
    """It is not there, or nothing is known of it."""
    LACKS = auto()
    """Samples are missing in it."""
    OTHER_SETTINGS = auto()
    """It was made with other settings."""
    OTHER_INPUT = auto()
    """It was made from another input, or by another version."""
    CHANGED = auto()
    """It is not as it was made."""


_NOTES = {
    State.LACKS: "lacks samples; `run --from {stage}` asks for them",
    State.OTHER_SETTINGS: "was made with other settings; `run --from {stage}` makes it anew",
    State.OTHER_INPUT: "was made from another input, or by another version; `run --from {stage}` "
    "makes it anew",
    State.CHANGED: "is not as it was made; `run --from {stage}` makes it anew",
}


class States:
    """The states of the files in a run's folder, given what the stages would make now."""

    def __init__(self, folder: RunFolder, stages: Mapping[Stage, StageOfRun]) -> None:
        self._folder, self._stages = folder, stages

    def of(self, stage: Stage) -> State:
        """What is to be said of a stage's file."""
        record, path = self._folder.records.get(stage), self._folder.path(stage)
        if record is None or not path.is_file():
            return State.ABSENT
        if record.settings != self.settings_of(stage):
            return State.OTHER_SETTINGS
        if record.key != self.key_of(stage):
            return State.OTHER_INPUT
        if record.file != file_digest(path):
            return State.CHANGED
        if stage is Stage.CREATE and not is_whole(self._folder.sft):
            return State.CHANGED
        return State.MADE if record.whole else State.LACKS

    def note(self, stage: Stage) -> str | None:
        """What a user is to know of a stage's file that is read; None: nothing."""
        note = _NOTES.get(self.of(stage))
        return note and f"{self._folder.path(stage)} {note.format(stage=stage)}"

    def key_of(self, stage: Stage) -> str:
        """A fingerprint of all that a stage's file is made from."""
        source = stage.before and self._folder.path(stage.before)
        before = file_digest(source) if source and source.is_file() else None
        return fingerprint([__version__, self._stages[stage].settings(), before])

    def settings_of(self, stage: Stage) -> str:
        """A fingerprint of a stage's settings."""
        return fingerprint(self._stages[stage].settings())

    def has_refused(self, stage: Stage) -> bool:
        """Whether a stage's file lacks samples because the server refused them."""
        record = self._folder.records.get(stage)
        losses = (account.get("losses") for account in record.accounts.values()) if record else ()
        return any(set(Refusal) & lost.keys() for lost in losses if isinstance(lost, dict))
