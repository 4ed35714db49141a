"""Speed, memory and page size of `report`, and how fast its page filters in a browser.

    python tests/benchmarks/report.py [--questions 10000] [--folder DIR]

Makes an input of QUESTIONS x 16 attempts x 3 reflections and an SFT folder of five traces a
question, draws it, and prints seconds, seconds of CPU time, peak memory, and the page's size. Where
there are Playwright and a Chromium, also how long the page takes to open and to filter.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from create import cpu_seconds, create, make_input, measure

sys.path.insert(0, str(Path(__file__).parent.parent / "browser"))
WORDS = ("the", "q", "<answer>7", "no trace says this")


def main() -> None:
    """Print what the module's docstring says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to work; kept, and used again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / f"{options.questions}.parquet"
        sft, page = folder / f"sft-{options.questions}", folder / "report.html"
        if not source.exists():
            make_input(source, options.questions)
        if not sft.exists():
            create(source, sft)
        for more in ([], ["--no-check"]):
            before = cpu_seconds()
            command = [sys.executable, "-m", "skill_factory", "report", str(sft), "-o", str(page)]
            seconds, peak = measure([*command, *more])
            busy = cpu_seconds() - before
            print(
                f"report {' '.join(more)}: {seconds:.1f} s, {busy:.1f} s of CPU time; peak "
                f"{peak:.0f} MB; page {page.stat().st_size / 1e6:.2f} MB",
                flush=True,
            )
        _in_browser(page)


def _in_browser(page: Path) -> None:
    """How long the page takes to open, and to filter by a text."""
    from chromium import browser, find_chromium, open_page

    if find_spec("playwright") is None or find_chromium() is None:
        print("no Playwright or no Chromium: the page was not opened")
        return
    with browser() as chromium:
        opened = open_page(chromium, page).page
        timing = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
        print(f"opens in {opened.evaluate(timing):.0f} ms")
        for words in WORDS:
            opened.fill("#f-text", words)
            found = opened.evaluate("document.documentElement.dataset.filtered")
            print(f"filters by {words!r} in {found} ms: {opened.text_content('#shown')}")


if __name__ == "__main__":
    main()
