"""The settings of the `report` command; options only, no keys of a config file."""

from __future__ import annotations

from pathlib import Path

from skill_factory.core.places import Place
from skill_factory.core.settings.fields import Section, Settings

_PAGE = Section("Page")


class ReportSettings(Settings):
    """What a report shows, and where it is written."""

    output: Place = _PAGE(Path("report.html"), "The page.", short="-o", metavar="FILE")
    seed: int = _PAGE(0, "Another seed draws other questions for the sample.")
    check: bool = _PAGE(True, "Look for faults, as `check` does.")
    overwrite: bool = _PAGE(False, "Replace FILE even if it is no report.")
