"""The Chromium of this machine, headless, with pages that tell what they load and what goes wrong.

As a program it prints where the browser is; exit code 1 if there is none.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
)


def find_chromium() -> str | None:
    """Where the browser is; None: there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[Any]:
    """A browser with a profile of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        try:
            yield made
        finally:
            made.close()


@dataclass
class Opened:
    """A page that was opened from disk, the addresses that it asked for besides its own file, and
    all that it complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def open_page(
    chromium: Any, path: Path, *, width: int = 1280, height: int = 900, scheme: str = "light",
    anchor: str = ""
) -> Opened:  # fmt: skip
    """Open a file from disk, in a browser or in a context of one, and listen."""
    page = chromium.new_page()
    page.set_default_timeout(10_000)
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    opened, address = Opened(page), path.resolve().as_uri()
    page.on("request", lambda one: opened.requests.append(one.url))
    page.on("console", lambda one: opened.complaints.append(f"{one.type}: {one.text}"))
    page.on("pageerror", lambda error: opened.complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: _refuse(dialog, opened))
    page.goto(address + anchor)
    opened.requests[:] = [
        url for url in opened.requests if url.split("#")[0] != address and url != "data:,"
    ]
    return opened


def _refuse(dialog: Any, opened: Opened) -> None:
    opened.complaints.append(f"a dialog: {dialog.message}")
    dialog.dismiss()


if __name__ == "__main__":
    found = find_chromium()
    print(found or "no Chromium")
    sys.exit(found is None)
