"""Time, peak memory and disk of `create --memory` on inputs that are larger than it.

    PYTHONPATH=tests:tests/stages python tests/benchmarks/create_memory.py \\
        [--memory 500] [--times 1 2 4 8] [--folder DIR]

Makes inputs of 1, 2, 4 and 8 times the memory, whose questions are scattered over the whole file,
runs the whole command on each, and prints seconds, peak memory and the most disk that its working
folder took; at the end, the line through the seconds. What it makes is removed as it goes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from conftest import most_memory
from scattered import scatter


class Measured:
    """What a command took: seconds, its peak memory in bytes, the most bytes below a folder."""

    def __init__(self, command: list[str], folder: Path) -> None:
        start, self.disk, done = time.perf_counter(), 0, threading.Event()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        watching = threading.Thread(target=self._watch, args=(folder, done))
        watching.start()
        self.peak = 0
        while process.poll() is None:
            self.peak = max(self.peak, most_memory(process.pid))
            time.sleep(0.01)
        self.seconds, status = time.perf_counter() - start, process.returncode
        done.set()
        watching.join()
        if status:
            sys.exit(f"failed: {' '.join(command)}")

    def _watch(self, folder: Path, done: threading.Event) -> None:
        while not done.wait(0.2):
            self.disk = max(self.disk, sum(_sizes(folder)))


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        try:
            yield path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # it is gone by now


def measured(times: int, memory: int, folder: Path) -> Measured:
    """Make an input of so many times the memory, run the command on it, and remove all."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        source, work = Path(place) / "input.parquet", Path(place) / "work"
        work.mkdir()
        rows = scatter(source, times * memory)
        words = ["create", "-i", source, "-o", Path(place) / "sft", "--memory", memory]
        command = [sys.executable, "-m", "skill_factory", *words, "--work-dir", work]
        found = Measured(list(map(str, command)), work)
    print(
        f"{times} x the memory, {rows:,} rows: {found.seconds:.1f} s, peak {found.peak / 1e6:.0f} "
        f"MB, {found.peak / memory:.2f} of the memory, {found.disk / 1e6:.0f} MB of disk",
        flush=True,
    )
    return found


def main() -> None:
    """Print what the module's docstring says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--memory", type=int, default=500, help="in MB")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--folder", type=Path, help="where to work")
    options = parser.parse_args()
    memory = options.memory * 1_000_000
    found = [measured(times, memory, options.folder) for times in options.times]
    if len(found) > 1:
        sizes = np.array(options.times) * memory / 1e9
        each, begin = np.polyfit(sizes, [one.seconds for one in found], 1)
        print(f"{begin:.1f} s and {each:.1f} s for each GB of text")


if __name__ == "__main__":
    main()
