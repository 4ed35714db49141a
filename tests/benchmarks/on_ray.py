"""Time of `create --engine ray` against the local engine's, at 1, 2, 4 and 8 times an input.

    python tests/benchmarks/on_ray.py [--questions 2500] [--workers 2] [--folder DIR]

Starts Ray on this machine for each run, with so many workers. What that takes is measured on 100
questions, and named apart: the ratio is without it. The memory is the most that one worker holds
for itself (USS, sampled every 50 ms; starting it took `at rest`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
from create import make_input

SIZES = (1, 2, 4, 8)


class Taken(NamedTuple):
    """Seconds by the clock, and the most bytes that one worker of Ray held."""

    seconds: float
    worker: int


def largest_worker(process: psutil.Process) -> int:
    """The most that a worker below a process holds now."""
    held = [0]
    try:
        for one in process.children(recursive=True):
            if one.name().startswith("ray::"):
                held.append(one.memory_full_info().uss)
    except psutil.Error:
        pass  # it ended
    return max(held)


def create(source: Path, output: Path, *options: str) -> Taken:
    """The command as a user runs it."""
    words = ["create", "-i", str(source), "-o", str(output), "--overwrite", *options]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "skill_factory", *words], stdout=subprocess.DEVNULL
    )
    watched, most = psutil.Process(process.pid), 0
    while process.poll() is None:
        most = max(most, largest_worker(watched))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"failed: {' '.join(words)}")
    return Taken(time.perf_counter() - start, most)


def main() -> None:
    """Print what the module's docstring says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=2500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to work; kept, and used again")
    options = parser.parse_args()
    workers = ("--workers", str(options.workers))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)

        def both(questions: int) -> tuple[Taken, Taken]:
            source = folder / f"{questions}.parquet"
            if not source.exists():
                make_input(source, questions)
            create(source, folder / "here", *workers)  # warm the page cache
            here = min(create(source, folder / "here", *workers) for _ in range(2))
            return here, min(
                create(source, folder / "there", "--engine", "ray", *workers) for _ in range(2)
            )

        here, there = both(100)
        start_up = there.seconds - here.seconds
        print(f"100 questions: {here.seconds:.1f} s locally, {there.seconds:.1f} s on Ray")
        print(
            f"start-up: {start_up:.1f} s; a worker at rest: {there.worker / 1e6:.0f} MB", flush=True
        )
        for times in SIZES:
            here, there = both(times * options.questions)
            ratio = (there.seconds - start_up) / here.seconds
            print(
                f"{times} x: {here.seconds:.1f} s locally, {start_up:.1f} s start-up + "
                f"{there.seconds - start_up:.1f} s on Ray: {ratio:.2f} x; "
                f"largest worker {there.worker / 1e6:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
