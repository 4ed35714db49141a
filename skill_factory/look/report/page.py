"""Reports drawn as one page of HTML, which needs nothing but itself.

What a model wrote is data: templates escape it, the script puts it into the page as text, and the
page's policy lets nothing run or load but the style and the script that are in it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from skill_factory import __version__
from skill_factory.core.terminal import visible
from skill_factory.look.report.comparison import ComparisonPage
from skill_factory.look.report.contents import Report
from skill_factory.look.report.differences import differences
from skill_factory.look.report.options import LONGEST_RESPONSE
from skill_factory.look.report.sample import as_json

_LONGEST = 2_000
"""Characters of an example that are shown."""


def report_page(reports: Sequence[Report]) -> str:
    """The page of a report, or of two side by side."""
    data = {"sides": [{"name": report.title, **report.sample} for report in reports]}
    return _page(
        "report.html.jinja",
        reports=reports,
        title=" and ".join(report.title for report in reports),
        differences=differences(*reports) if len(reports) > 1 else None,
        data=as_json(data),
    )


def comparison_page(page: ComparisonPage) -> str:
    """The page of a comparison of models."""
    return _page("compare.html.jinja", title=" and ".join(page.figures.columns), page=page)


def live_page(progress: Mapping[str, Any], seconds: int) -> str:
    """The page of a run that goes on: it loads itself anew after so many seconds."""
    return _page("live.html.jinja", title=progress["title"], run=progress, seconds=seconds)


def _page(template: str, **values: Any) -> str:
    style, script = _asset("style.css"), _script()
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return (
        _environment()
        .get_template(template)
        .render(
            style=style,
            script=script,
            policy=policy,
            version=__version__,
            **values,
        )
    )


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("skill_factory.look.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"visible": _visible, "count": _count, "percent": _percent, "words": _words}
    made.filters |= {"whole": _whole}
    return made


@cache
def _asset(name: str) -> str:
    return files("skill_factory.look.report").joinpath("templates", name).read_text("utf-8")


@cache
def _script() -> str:
    """The page's script: its files share their names, and no other script sees them."""
    parts = "\n".join(map(_asset, ("elements.js", "traces.js", "questions.js")))
    return f'"use strict";\n(() => {{\n{parts}}})();'


def _digest(text: str) -> str:
    """A text's digest as a content security policy has it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


# -- filters ---------------------------------------------------------------------------------------


def _visible(text: object) -> str:
    """A text with its control characters spelt out, cut where it is very long."""
    return _cut(str(text), _LONGEST)


def _whole(text: str) -> str:
    """The same of a response's part, which may be longer."""
    return _cut(text, LONGEST_RESPONSE)


def _cut(text: str, longest: int) -> str:
    shown = visible(text[:longest]).encode("utf-8", "replace").decode()
    return shown if len(text) <= longest else f"{shown} … ({len(text):,} characters)"


def _count(number: float) -> str:
    return f"{number:,}"


def _percent(share: float) -> str:
    """A share for people: 12%, 0.4%."""
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def _words(name: str) -> str:
    """A reason's name as words; the format before it stays."""
    before, colon, reason = name.rpartition(": ")
    return f"{before}{colon}{reason.replace('_', ' ')}"
