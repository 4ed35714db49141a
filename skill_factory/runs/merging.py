"""Runs on several machines become one: a folder with one journal, which the run goes on with."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from skill_factory.asking.journal_copy import validate_no_log
from skill_factory.asking.journal_merge import Merged, merge_journals
from skill_factory.core.whole_files import new_file, new_folder, resolved
from skill_factory.errors import InputError, OutputError
from skill_factory.runs.folder import JournalFolder
from skill_factory.runs.lock import NAME as LOCK

JOURNALS = (".sqlite", ".db")
"""How the name of a journal ends; anything else is a folder's."""


def journal_at(path: Path) -> Path:
    """The journal that a path names: a run's or an evaluation's, or the file itself. Raises
    `InputError` if it is not there."""
    journal = JournalFolder(path).journal if path.is_dir() else path
    if journal.is_file():
        return journal
    if path.is_dir():
        raise InputError(f"{path}: has no journal.sqlite, so it is no run's folder")
    raise InputError(f"{path}: no such run or journal")


def merge(sources: Sequence[Path], output: Path) -> Merged:
    """Bring the journals of runs together: in a file, if `output` is named like one, else in a new
    folder with the settings of the first, for `run` or `sample` to go on in.

    Raises `OutputError` if there is something already, and as `merge_journals`.
    """
    journals = [journal_at(path) for path in sources]
    in_file = output.suffix in JOURNALS
    if output.exists() and (in_file or not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"{output}: exists already; choose another output")
    if in_file:
        validate_no_log(output)
        with new_file(resolved(output)) as part:
            return merge_journals(journals, part)
    with new_folder(output, overwrite=False) as folder:
        merged = merge_journals(journals, folder / "journal.sqlite")
        settings = journals[0].parent / "config.yaml"
        if settings.is_file():
            shutil.copyfile(settings, folder / settings.name)
        (folder / LOCK).touch()
    return merged
