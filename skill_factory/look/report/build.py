"""From folders to a file with their report."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from html import escape
from pathlib import Path
from typing import NamedTuple

from skill_factory.checks.audit import Audit
from skill_factory.core.copies import named
from skill_factory.core.places import Place
from skill_factory.core.whole_files import new_file, resolved_place
from skill_factory.errors import OutputError
from skill_factory.look.folders import ChatFiles, RunView, SftFolder
from skill_factory.look.measured import MeasuredFolder
from skill_factory.look.opening import open_folder
from skill_factory.look.report.chat_files import of_chats
from skill_factory.look.report.comparison import comparison_contents
from skill_factory.look.report.contents import Report
from skill_factory.look.report.measured_folder import of_measured
from skill_factory.look.report.options import ROOM, Options
from skill_factory.look.report.page import comparison_page, report_page
from skill_factory.look.report.run_folder import of_run
from skill_factory.look.report.settings import ReportSettings
from skill_factory.look.report.sft_folder import Audited, of_sft
from skill_factory.look.report.soundness import soundness_of
from skill_factory.measure.compare_layout import written
from skill_factory.measure.comparison import Comparison
from skill_factory.measure.settings import PAGE
from skill_factory.stages.create.card import REPORT_SIGNATURE


class Written(NamedTuple):
    """A page: its file and bytes, and how many traces of how many are in it; or of how many
    responses, where it is of nothing else."""

    path: Place
    size: int
    traces: int
    of: int
    thing: str = "trace"

    def summary(self) -> str:
        """For a person."""
        size = f"{self.size / 1e6:,.1f} MB" if self.size >= 1e5 else f"{self.size / 1e3:,.0f} kB"
        if not self.of:
            return f"{self.path}: {size}; there are no {self.thing}s yet"
        how_many = f"{self.traces:,} of {self.of:,}" if self.traces < self.of else "all"
        return f"{self.path}: {size}, with {how_many} {self.thing}s to read"


def write_report(folders: Sequence[Path], settings: ReportSettings) -> Written:
    """Write the report on a folder, or on two.

    Raises `InputError` for what holds nothing to look at, and `OutputError` if the file cannot be
    written, or is there and no report.
    """
    validate_output(settings.output, settings.overwrite)
    options = Options(settings.seed, ROOM // len(folders), settings.check)
    reports = [report_on(folder, options) for folder in folders]
    page = named(report_page(reports), escape).encode("utf-8", "replace")
    write_page(settings.output, page)
    samples = [report.sample for report in reports]
    shown = sum(len(sample["traces"]) for sample in samples)
    total = sum(one["of"]["traces"] for one in samples)
    thing = "response" if all(report.measured for report in reports) else "trace"
    return Written(settings.output, len(page), shown, total, thing)


def report_on(path: Path, options: Options) -> Report:
    """What is to be said of a path; raises `InputError` for one that holds nothing to look at."""
    found = open_folder(path)
    if isinstance(found, MeasuredFolder):
        return of_measured(found, options)
    dataset = found.sft if isinstance(found, RunView) else found
    if not options.check or dataset is None:
        return _report_on(found, options, None)
    audit: Future[Audit | str] = Future()
    audited = audit.result if isinstance(dataset, SftFolder) else None
    with ThreadPoolExecutor(1) as beside:  # Python's work; the rest is nearly all Arrow's
        sound = beside.submit(soundness_of, dataset.path, audited)
        try:
            report = _report_on(found, options, audit.set_result)
        finally:
            if not audit.done():  # the other thread waits for it
                audit.set_result("it was not read")
        report.soundness = sound.result()
    return report


def _report_on(
    found: SftFolder | RunView | ChatFiles, options: Options, audited: Audited | None
) -> Report:
    if isinstance(found, RunView):
        return of_run(found, options, audited)
    if isinstance(found, SftFolder):
        return of_sft(found, options, audited)
    return of_chats(found, options)


def write_comparison(found: Comparison, path: Place) -> None:
    """Write a comparison as the name of its file says: as a page, or as `compare_layout.written`
    has it. Raises `OutputError` if it cannot be written."""
    if path.suffix == PAGE:
        text = comparison_page(comparison_contents(found))
    else:
        text = written(found, path.suffix) + "\n"
    write_page(path, text.encode("utf-8", "replace"))


def validate_output(path: Place, overwrite: bool | None = False) -> None:
    """Raise `OutputError` if a page cannot have this name: something else has it, or its folder is
    not there. `overwrite` None: there is no such option."""
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file, such as {path / 'report.html'}")
    if isinstance(path, Path) and not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
    if not overwrite and path.is_file():
        with path.open("rb") if isinstance(path, Path) else path.open() as file:
            if REPORT_SIGNATURE.encode() not in file.read(4096):
                advice = ", or replace it with --overwrite" if overwrite is not None else ""
                raise OutputError(
                    f"{path}: is there already and no report; choose another name{advice}"
                )


def write_page(path: Place, page: bytes) -> None:
    """Put a page in its place, whole; raises `OutputError` if it cannot be written."""
    with new_file(resolved_place(path)) as part:
        part.write_bytes(page)
