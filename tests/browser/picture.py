"""Make docs/report.png: the top of the report on the bundled data, as a browser shows it.

python tests/browser/picture.py [FILE]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from chromium import browser, open_page

ROOT = Path(__file__).parent.parent.parent
WIDTH, HEIGHT = 1240, 940


def main(picture: Path) -> None:
    """Make the dataset as examples/reflection.sh does, draw it, and take the picture."""
    with tempfile.TemporaryDirectory() as work:
        make = ["-m", "skill_factory.sft_data_creation"]
        data = ROOT / "examples" / "data" / "smollm2_arithmetic_reflections.parquet"
        python(work, *make, "-i", str(data), "-o", "./reflection")
        python(work, "-m", "skill_factory", "report", "reflection", "-o", "report.html")
        with browser() as chromium:
            opened = open_page(chromium, Path(work, "report.html"), width=WIDTH, height=HEIGHT)
            opened.page.screenshot(path=picture)
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


def python(folder: str, *arguments: str) -> None:
    """Run Python in a folder, with this checkout."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "report.png")
