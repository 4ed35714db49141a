"""From a path to what a report says of it."""

from __future__ import annotations

from pathlib import Path

from skill_factory.look.folders import RunView, SftFolder, open_folder
from skill_factory.look.report.chat_files import of_chats
from skill_factory.look.report.contents import Report
from skill_factory.look.report.options import Options
from skill_factory.look.report.run_folder import of_run
from skill_factory.look.report.sft_folder import of_sft


def report_on(path: Path, options: Options) -> Report:
    """What is to be said of a path; raises `InputError` for one that holds nothing to look at."""
    found = open_folder(path)
    if isinstance(found, RunView):
        return of_run(found, options)
    return of_sft(found, options) if isinstance(found, SftFolder) else of_chats(found, options)
