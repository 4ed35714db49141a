"""Time and memory of grading answers to mathematics, at 1, 2, 4 and 8 times a number of attempts.

    PYTHONPATH=tests python tests/benchmarks/grade.py [--attempts 20000] [--workers 2]

Answers are numbers, fractions, roots, intervals and expressions at the end of 1,200 characters of
prose; two of three are right, in other words than the gold answer has. Each size is graded in a
process of its own, and its peak memory is that process's, with the largest worker's for each of the
workers.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import most_memory

from skill_factory.core.tables import ATTEMPTS

PROSE = "We look at what is given, and work it out one step after the other. " * 17
GRADE = """
import sys
from pathlib import Path
from skill_factory.stages.grade import grade_file
grade_file(Path(sys.argv[1]), Path(sys.argv[2]), hints=frozenset(), words=(),
           workers=int(sys.argv[3]))
"""


def gold_and_answer(draw: random.Random) -> tuple[str, str]:
    """A gold answer, and an answer to the same question."""
    a, b = draw.randint(2, 999), draw.randint(2, 99)
    c = a if draw.random() < 2 / 3 else a + 1
    return draw.choice(
        [
            (f"{1000 * a}", f"${c},000$"),
            (rf"\frac{{{a}}}{{{b}}}", f"{c}/{b}"),
            (rf"{a}\sqrt{{{b}}}", rf"$\sqrt{{{c * c * b}}}$"),
            (f"[{-a}, {b})", rf"$\left[{-c}, {b}\right)$"),
            (f"{a}x + {b}", f"{b} + {c} x"),
            (f"{a / 8}", rf"\boxed{{\frac{{{c}}}{{8}}}}"),
            (f"({a}, {b})", f"x = {c}, y = {b}"),
        ]
    )


def tables(attempts: int) -> Iterator[pa.Table]:
    """Attempts, in parts."""
    draw = random.Random(0)
    for start in range(0, attempts, 4096):
        rows = []
        for number in range(start, min(start + 4096, attempts)):
            gold, answer = gold_and_answer(draw)
            rows.append(
                {
                    **{"question": f"Question {number // 4}", "answer": gold},
                    **{"task_source": "math", "metadata": "{}", "prompt_variant": "original"},
                    **{"sample": number % 4, "finish_reason": "stop"},
                    "response": f"{PROSE}\n<answer>{answer}</answer>",
                }
            )
        yield pa.Table.from_pylist(rows, ATTEMPTS)


def largest_worker(process: psutil.Process) -> int:
    """The most memory that a process below another one has had so far."""
    try:
        return max(map(most_memory, (one.pid for one in process.children())), default=0)
    except psutil.Error:
        return 0  # it ended


def graded(source: Path, target: Path, workers: int) -> tuple[float, int]:
    """Seconds, and the most bytes of memory."""
    start, most, more = time.perf_counter(), 0, 0
    process = psutil.Popen([sys.executable, "-c", GRADE, source, target, str(workers)])
    while process.poll() is None:
        most, more = max(most, most_memory(process.pid)), max(more, largest_worker(process))
        time.sleep(0.02)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "grade_file")
    return time.perf_counter() - start, most + workers * more


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--attempts", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="skill-factory-") as name:
        source, target = Path(name) / "attempts.parquet", Path(name) / "graded.parquet"
        print("attempts   seconds  attempts/s  peak MB  right")
        for times in (1, 2, 4, 8):
            count = times * given.attempts
            with pq.ParquetWriter(source, ATTEMPTS, compression="zstd") as out:
                for table in tables(count):
                    out.write_table(table)
            seconds, peak = graded(source, target, given.workers)
            grades = pq.read_table(target, columns=["grade"])["grade"].to_pylist()
            print(
                f"{count:8,} {seconds:9.1f} {count / seconds:11,.0f} {peak / 1e6:8,.0f} "
                f"{grades.count('right') / count:6.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
