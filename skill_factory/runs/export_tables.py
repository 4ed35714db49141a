"""A run or an evaluation without its journal, for a folder or a store: to be read elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePath
from typing import NamedTuple

from skill_factory.core.places import Place, RemotePath
from skill_factory.core.whole_files import lies_inside, new_folder
from skill_factory.errors import InputError, OutputError
from skill_factory.runs import lock
from skill_factory.runs.folder import JournalFolder


class Exported(NamedTuple):
    """Where a run's tables are, how many files, and their bytes."""

    output: Place
    files: int
    size: int

    def summary(self) -> str:
        """In one line."""
        return f"{self.output}: {self.files} files, {self.size / 1e6:,.1f} MB"


def export_tables(folder: Path, output: Place, *, overwrite: bool = False) -> Exported:
    """Copy what was made in the folder of a run or an evaluation: tables, SFT folder, pages,
    settings and manifest; all but the journal, logs, and what is being written.

    Raises `InputError` for what is no such folder, `OutputError` if a run is at work in it, or the
    copy cannot be written.
    """
    run = JournalFolder(folder)
    if not all(path.is_file() for path in (run.root / "manifest.json", run.settings)):
        raise InputError(f"{folder}: is not the folder of a run or an evaluation")
    if lies_inside(output, run.root):
        raise OutputError(f"{output}: lies inside of {folder}; choose another output")
    with lock.locked(run.root), new_folder(output, overwrite, run.settings.name) as copy:
        files = _files_of(run)
        for path in files:
            target = copy / path.relative_to(run.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(output, RemotePath):
                target.symlink_to(path.resolve())  # it is uploaded from where it is
            else:
                shutil.copyfile(path, target)
        return Exported(output, len(files), sum(path.stat().st_size for path in files))


def _files_of(run: JournalFolder) -> list[Path]:
    def is_made(below: PurePath) -> bool:
        hidden = any(part.startswith(".") for part in below.parts)
        return not (hidden or below.name.startswith(run.journal.name) or below.suffix == ".log")

    found = (path for path in sorted(run.root.rglob("*")) if path.is_file())
    return [path for path in found if is_made(path.relative_to(run.root))]
