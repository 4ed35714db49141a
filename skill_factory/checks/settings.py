"""The settings of the check command. They are options only, no keys of a config file."""

from __future__ import annotations

from skill_factory.core.settings.fields import Section, SettingError, Settings
from skill_factory.core.settings.value_types import Count, KnownTask, Names

_CHECKS, _INPUT, _REPORT = map(Section, ("What is looked at", "Which dataset", "What is told"))


class CheckSettings(Settings):
    """What is looked at in a dataset of traces."""

    task: KnownTask | None = _CHECKS(
        None, "Task of all questions.", unset="what the dataset says", metavar="NAME"
    )
    input_config: str | None = _INPUT(
        None, "Config of a dataset of chats.", unset="its only one, or `default`", metavar="NAME"
    )
    input_split: str | None = _INPUT(
        None, "Split of it.", unset="all of a folder, train on the Hub", metavar="NAME"
    )
    revision: str | None = _INPUT(
        None, "Branch, tag or commit of it on the Hub.", unset="main", metavar="REV"
    )
    checks: Names = _CHECKS((), "Checks of your own, file.py:NAME.", metavar="NAME", flag="--check")
    against: Names = _CHECKS(
        (),
        "Find questions that are also here: files, folders, datasets on the Hub.",
        metavar="PATH|REPO",
    )
    rewards: bool = _CHECKS(True, "Replay rewards.")
    tokenizer: str | None = _CHECKS(
        None, "Look at lengths and special tokens.", metavar="PATH|REPO"
    )
    cutoff_len: Count | None = _CHECKS(None, "Find traces of more tokens; with --tokenizer.")
    ignore: Names = _REPORT((), "Codes to leave out; `list checks` shows them.", metavar="CODE")
    strict: bool = _REPORT(False, "Exit with 1 for warnings too.")
    json: bool = _REPORT(False, "Print JSON.")
    verbose: bool = _REPORT(
        False, "Name every trace that has a fault.", unset="three of each", short="-v"
    )

    def __post_init__(self) -> None:
        if self.cutoff_len and not self.tokenizer:
            raise SettingError(("cutoff_len",), "counts tokens; name a tokenizer")
