"""What a path names, for whoever looks at it."""

from __future__ import annotations

from pathlib import Path

from skill_factory.core.sft_manifest import read_manifest, run_without_traces
from skill_factory.core.sources.local_files import CSV_KINDS, DATA_SUFFIX, data_files, kind_of
from skill_factory.errors import InputError
from skill_factory.look.folders import ChatFiles, RunView, SftFolder, is_run
from skill_factory.look.measured import MeasuredFolder
from skill_factory.measure.evaluate_folder import is_evaluation
from skill_factory.measure.write import is_measured


def open_folder(path: Path) -> SftFolder | RunView | MeasuredFolder | ChatFiles:
    """What a path names: an SFT folder, a run's folder, a measured one, or parquet or JSON files of
    chats.

    Raises `InputError` for anything else. Of files only the names are looked at: what holds no
    chats is an error once it is read.
    """
    if path.is_file():
        if not DATA_SUFFIX.search(path.name) or kind_of(path) in CSV_KINDS:
            raise InputError(f"{path}: expected a .parquet, .jsonl or .json file of chats")
        return ChatFiles(path, [path])
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder")
    if is_measured(path):
        return MeasuredFolder(path)
    if is_evaluation(path):
        raise InputError(f"{path}: has no responses yet; `evaluate` goes on with it")
    if "output" in read_manifest(path):
        return SftFolder(path)
    if is_run(path):
        return RunView(path)
    files = data_files(path)
    if kind_of(files[0]) in CSV_KINDS:
        raise InputError(f"{path}: expected parquet or JSON files of chats, and holds CSV files")
    return ChatFiles(path, files)


def open_traces(path: Path) -> ChatFiles:
    """The traces that a path names, as `open_folder`; of a run those of its SFT folder. Raises
    `InputError` also for a run that has none yet."""
    found = open_folder(path)
    if not isinstance(found, RunView):
        return found
    if found.sft is None:
        raise run_without_traces(path)
    return found.sft
