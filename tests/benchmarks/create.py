"""Speed and memory of `create` against the floor: a plain pyarrow read of its input and write of
its output.

    python tests/benchmarks/create.py [--questions 10000] [--folder DIR]

Makes an input of QUESTIONS x 16 attempts x 3 reflections (about 45 KB of text a question), runs the
whole command on it and on one twice the size, and prints ratios. Peak memory is the sum of the
resident memory of the command and all its workers, sampled every 10 ms: pages that they share count
once for each.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

ATTEMPTS, REFLECTIONS = 16, 3
VARIANTS = ["original", "plan_and_execute", "alternatively", "rephrase"]
LETTERS = np.frombuffer(b"etaoinshrdlucmfwypvbgkjqxz0123456789+-*/=().,\n", np.uint8)


def make_input(path: Path, questions: int) -> int:
    """Write the input; returns the bytes of text in it. Texts are cut from 64 MB of random
    words."""
    draw = np.random.default_rng(0)
    vocabulary = [
        "".join(map(chr, draw.choice(LETTERS, draw.integers(1, 10)))) for _ in range(20_000)
    ]
    chances = 1 / np.arange(1, len(vocabulary) + 1)
    pool = " ".join(draw.choice(vocabulary, 10_000_000, p=chances / chances.sum()))
    total = 0

    def cut(length: int, ending: str) -> str:
        nonlocal total
        start = int(draw.integers(len(pool) - length))
        total += length + len(ending)
        return pool[start : start + length] + ending

    schema = pa.schema(
        {
            "question": pa.string(),
            "answer": pa.string(),
            "prompt_variant": pa.string(),
            "model_responses__mutated_prompts": pa.list_(pa.string()),
            "model_responses__mutated_prompts__eval_is_correct": pa.list_(pa.bool_()),
            "model_responses__mutated_prompts__eval_extracted_answers": pa.list_(pa.string()),
            "model_responses__mutated_prompts_reflection": pa.list_(pa.string()),
        }
    )
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, questions, 500):
            rows = []
            for number in range(first, min(first + 500, questions)):
                question = f"Question {number}: " + cut(150, "")
                for attempt in range(ATTEMPTS):
                    right, answer = bool(draw.random() < 0.5), str(draw.integers(1000))
                    verdicts = [
                        "Correct" if right == (draw.random() < 0.7) else "Incorrect"
                        for _ in range(REFLECTIONS)
                    ]
                    rows.append(
                        (
                            question,
                            "42",
                            VARIANTS[attempt % 4],
                            [cut(1050, f"\n<answer>{answer}</answer>")],
                            [right],
                            [answer],
                            [cut(540, f"\n<verdict>{verdict}</verdict>") for verdict in verdicts],
                        )
                    )
            columns = [
                pa.array(column, kind)
                for column, kind in zip(zip(*rows, strict=True), schema.types, strict=True)
            ]
            writer.write_table(pa.table(columns, schema=schema))
    return total


def measure(command: list[str]) -> tuple[float, float]:
    """Wall time in seconds and peak resident memory in MB of a command with all its children."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        resident = 0
        try:
            for one in [watched, *watched.children(recursive=True)]:
                resident += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        peak = max(peak, resident)
        time.sleep(0.01)
    if process.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    return time.perf_counter() - start, peak / 1e6


def cpu_seconds() -> float:
    """CPU time of all commands so far, which does not depend on what else the machine does."""
    times = os.times()
    return times.children_user + times.children_system


FLOOR = """
import sys, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1]); del table
"""


def floor(source: Path, output: Path) -> float:
    """Seconds for a process that reads the input, and one that writes the output again; the read of
    the output apart."""
    out = pq.read_table(output / "sft_train")
    start = time.perf_counter()
    pq.write_table(out, output.parent / "floor.parquet")
    written = time.perf_counter() - start
    del out
    (output.parent / "floor.parquet").unlink()
    return written + measure([sys.executable, "-c", FLOOR, str(source)])[0]


def create(source: Path, output: Path) -> tuple[float, float]:
    """Time and peak memory of the command as a user runs it."""
    command = [
        sys.executable,
        "-m",
        "skill_factory",
        "create",
        "-i",
        str(source),
        "-o",
        str(output),
        "--overwrite",
    ]
    return measure(command)


def main() -> None:
    """Print what the module's docstring says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument(
        "--folder", type=Path, help="where to work; kept, and inputs in it are used again"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        peaks = []
        for questions in (options.questions, 2 * options.questions):
            source, output = folder / f"{questions}.parquet", folder / f"sft-{questions}"
            if not source.exists():
                print(
                    f"{questions:,} questions: {make_input(source, questions) / 1e6:.0f} MB",
                    flush=True,
                )
            create(source, output)  # warm the page cache
            times, memory = zip(*(create(source, output) for _ in range(3)), strict=True)
            floors = [floor(source, output) for _ in range(3)]
            peaks.append(max(memory))
            print(
                f"{questions:,} questions: {min(times):.2f} s, floor {min(floors):.2f} s: "
                f"{min(times) / min(floors):.2f} x the floor; peak {max(memory):.0f} MB",
                flush=True,
            )
        print(f"peak of the larger over the smaller: {peaks[1] / peaks[0]:.3f}")
        small, out = folder / "100.parquet", folder / "sft-100"
        make_input(small, 100)
        print(f"100 questions: {min(create(small, out)[0] for _ in range(5)):.2f} s in all")
        help_command = [str(Path(sys.executable).with_name("skill-factory")), "--help"]
        print(f"skill-factory --help: {min(measure(help_command)[0] for _ in range(5)):.2f} s")


if __name__ == "__main__":
    main()
