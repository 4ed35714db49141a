"""Speed and memory of `measure` against the floor: a plain pyarrow read of its input.

    python tests/benchmarks/measure.py [--responses 100000] [--folder DIR]

Makes traces of about 8,000 characters, four a question, measures them with the whole command, and
prints its seconds, their ratio to the read, its CPU time, and the peak of the resident memory of
the command and all its workers. Again for twice as many responses: memory is bounded where the
peaks are alike.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from create import FLOOR, LETTERS, cpu_seconds, measure

SAMPLES, CHARACTERS = 4, 8000
SCHEMA = pa.schema(
    {name: pa.string() for name in ("question", "answer", "task_source", "response")}
)


def make_input(path: Path, responses: int) -> int:
    """Write traces of 1 to 5 attempts at sums; returns the characters of text in them."""
    draw = np.random.default_rng(0)
    words = ["".join(map(chr, draw.choice(LETTERS, draw.integers(1, 10)))) for _ in range(5_000)]
    lines = map(" ".join, draw.choice(np.array(words), (100_000, 12)))
    pool, total = "\n".join(lines), 0
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for first in range(0, responses, 500):
            rows = []
            for number in range(first, min(first + 500, responses)):
                question = number // SAMPLES
                text = trace(draw, pool, question % 1000)
                total += len(text)
                rows.append((f"What is {question} + 0?", str(question % 1000), "integers", text))
            columns = [pa.array(column) for column in zip(*rows, strict=True)]
            writer.write_table(pa.table(columns, schema=SCHEMA))
    return total


def trace(draw: np.random.Generator, pool: str, gold: int) -> str:
    """A trace whose attempts are right half of the time, and so are its verdicts."""
    attempts = int(draw.integers(1, 6))
    blocks, answer = [], gold
    for _ in range(attempts):
        start = int(draw.integers(len(pool) - CHARACTERS))
        answer = gold + int(draw.integers(0, 2))
        verdict = "Correct" if draw.random() < 0.5 else "Incorrect"
        blocks.append(
            f"<sample>\n{pool[start : start + (CHARACTERS - 600) // attempts]}\n"
            f"<answer>{answer}</answer>\n</sample>\n"
            f"<reflect>\nI look again.\n<verdict>{verdict}</verdict>\n</reflect>\n"
        )
    thinking = "Let me look at the question again.\n".join(blocks)
    return f"<think>\n{thinking}</think>\n\nSo the answer is:\n\n<answer>\n{answer}\n</answer>"


def main() -> None:
    """Print what the module's docstring says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--responses", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where to work; inputs in it are used again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for responses in (options.responses, 2 * options.responses):
            source = folder / f"{responses}.parquet"
            if not source.exists():
                print(f"{responses:,} responses: {make_input(source, responses) / 1e6:.0f} MB")
            floor = measure([sys.executable, "-c", FLOOR, str(source)])[0]
            command = [sys.executable, "-m", "skill_factory", "measure", str(source)]
            before = cpu_seconds()
            seconds, peak = measure([*command, "-o", str(folder / "out"), "--overwrite"])
            print(
                f"{responses:,} responses: {seconds:.1f} s, {seconds / floor:.0f} x a plain read "
                f"({floor:.1f} s); {cpu_seconds() - before:.1f} s of CPU; peak {peak:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
