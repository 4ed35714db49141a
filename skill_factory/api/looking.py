"""From Python: `traces`, `check`, `report`, `explain`, `verify`, `diff`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from skill_factory.api.common import PathLike, disk
from skill_factory.core.copies import all_fetched, fetched
from skill_factory.core.places import place
from skill_factory.errors import OptionError

if TYPE_CHECKING:
    from skill_factory.checks.findings import Report
    from skill_factory.look.diff import SftDiff
    from skill_factory.look.diff_runs import RunDiff
    from skill_factory.look.explain import Explanation
    from skill_factory.look.folders import Trace
    from skill_factory.look.report.build import Written
    from skill_factory.look.verify import Verification


def traces(
    path: PathLike, number: int | None = None, seed: int = 0, **wanted: str
) -> Iterator[Trace]:
    """The traces that a path names, or the responses of a measured folder, each with its `spans()`;
    `number` None: all. `wanted` has the options trace, question, label and grep of `show`. Raises
    `InputError` if there are none."""
    from skill_factory.look.choosing import Wanted, traces_in

    with disk(), fetched(place(path)) as here:
        yield from traces_in(here, Wanted(**wanted), number, seed)


def check(data: PathLike, **settings: Any) -> Report:
    """Look for faults in an SFT folder, or in a dataset of chats: `skill-factory check`. The
    report's `errors` are empty for a sound one. Settings are the command's options: `task`,
    `rewards`, `tokenizer`, `cutoff_len`, `checks` (your own, one or several), `against`, `ignore`.
    Raises `InputError` for what holds no traces."""
    from skill_factory.checks.check import check, checks_of
    from skill_factory.checks.settings import CheckSettings
    from skill_factory.core.settings.checking import checked
    from skill_factory.runs.keywords import as_texts

    for name in ("strict", "json", "verbose"):
        if name in settings:
            raise OptionError(f"{name}: is for the command; see the report's errors and warnings")
    with disk():
        return check(data, checks_of(checked(CheckSettings, as_texts(settings))))


def report(
    folder: PathLike,
    other: PathLike | None = None,
    output: PathLike = "report.html",
    **settings: Any,
) -> Written:
    """Draw a folder as one page, or two side by side: `skill-factory report`. Settings are the
    command's options: `seed`, `check`, `overwrite`. Raises `InputError` for what holds nothing to
    look at, `OutputError` if `output` cannot be written, or is there and no report."""
    from skill_factory.core.settings.checking import checked
    from skill_factory.look.report.build import write_report
    from skill_factory.look.report.settings import ReportSettings
    from skill_factory.runs.keywords import as_texts

    asked = checked(ReportSettings, as_texts(settings | {"output": output}))
    places = [place(one) for one in (folder, other) if one is not None]
    with disk(), all_fetched(places) as folders:
        return write_report(folders, asked)


def explain(folder: PathLike, trace: str) -> Explanation:
    """Where every word of a trace is from: `skill-factory explain`. `trace` is a trace_id, or how
    one begins. Raises `InputError` for what is no SFT folder or run, and a trace that is not
    there."""
    from skill_factory.look import explain as explaining
    from skill_factory.look.diff import sft_of

    with disk(), fetched(place(folder)) as here:
        return explaining.explain(sft_of(here), trace)


def verify(folder: PathLike, **settings: Any) -> Verification:
    """Make an SFT folder again and compare: `skill-factory verify`. What came of it is `same`, or
    its `findings` say why not. Settings are the command's options: `input`, `formats`, `task`,
    `tokenizer`, `workers`. Raises `InputError` for what is no SFT folder or run."""
    from skill_factory.core.settings.checking import checked
    from skill_factory.look import verify as verifying
    from skill_factory.look.settings import VerifySettings
    from skill_factory.runs.keywords import as_texts

    if "json" in settings:
        raise OptionError("json: is for the command; see what is returned")
    with disk(), fetched(place(folder)) as here:
        return verifying.verify(here, checked(VerifySettings, as_texts(settings)))


def diff(before: PathLike, after: PathLike) -> SftDiff | RunDiff:
    """What differs between two SFT folders, or two runs: `skill-factory diff`. `differ` is False
    if nothing does. Raises `InputError` for what is neither."""
    from skill_factory.look.diff_runs import diff as compare

    with disk(), all_fetched([place(before), place(after)]) as (old, new):
        return compare(old, new)
