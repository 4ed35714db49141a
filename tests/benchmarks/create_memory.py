"""Time, peak memory and disk of `create --memory` on inputs that are larger than it.

    python tests/benchmarks/create_memory.py [--memory 300MB] [--times 1 2 4 8] [--folder DIR]

Makes inputs of 1, 2, 4 and 8 times the memory, whose questions are scattered over the whole file,
runs the whole command on each, and prints seconds, peak memory (VmHWM) and the most disk that the
spill took; at the end, the line through the seconds.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ATTEMPTS, REFLECTIONS = 16, 3
ROW_BYTES = 2_900
"""About how much text a row has: question, response, answer, three reflections."""

RESPONSE = "model_responses__mutated_prompts"
_ROWS_AT_ONCE = 4_000


def scatter(path: Path, text_bytes: int, seed: int = 0, question_rows: int = ATTEMPTS) -> int:
    """Write an annotated dataset of about so much text, in row groups of about 12 MB; returns its
    rows. A question's attempts, `question_rows` of them, lie anywhere in the file."""
    draw = np.random.default_rng(seed)
    pieces = _pieces(draw)
    rows = draw.permutation(text_bytes // ROW_BYTES // question_rows * question_rows)
    with pq.ParquetWriter(path, _table(rows[:1], pieces, question_rows).schema) as writer:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            writer.write_table(_table(some, pieces, question_rows))
    return len(rows)


def _pieces(draw: np.random.Generator) -> pa.Array:
    """Different texts of 500 characters."""
    words = ["".join(map(chr, draw.integers(97, 123, draw.integers(2, 9)))) for _ in range(5_000)]
    text = " ".join(draw.choice(words, 900_000))
    return pa.array([text[at : at + 500] for at in draw.integers(0, len(text) - 500, 4_000)])


def _table(rows: npt.NDArray[np.int64], pieces: pa.Array, question_rows: int) -> pa.Table:
    question, attempt = rows // question_rows, rows % question_rows
    right = (rows * 2_654_435_761) % 2 == attempt % 2
    numbers, answer = pa.array(question).cast(pa.string()), pa.array(attempt).cast(pa.string())
    text = _joined("Attempt ", answer, " at ", numbers, ": ", *_two(pieces, rows, 3), "\n<answer>",
                   answer, "</answer>")  # fmt: skip
    verdict = pa.array(np.where(right, "Correct", "Incorrect"))
    looks = [
        _joined(f"Look {n}: ", _two(pieces, rows, n)[0], "\n<verdict>", verdict, "</verdict>")
        for n in range(REFLECTIONS)
    ]
    listed = pa.concat_arrays(looks).take(
        pa.array((np.arange(REFLECTIONS)[None] * len(rows) + np.arange(len(rows))[:, None]).ravel())
    )
    return pa.table(
        {
            "question": _joined("Question ", numbers, ": ", _two(pieces, question, 5)[0]),
            "answer": pa.array(["42"] * len(rows)),
            "prompt_variant": pa.array(np.array(["original", "rephrase"])[attempt % 2]),
            RESPONSE: _lists(text, 1),
            f"{RESPONSE}__eval_is_correct": _lists(pa.array(right), 1),
            f"{RESPONSE}__eval_extracted_answers": _lists(answer, 1),
            f"{RESPONSE}_reflection": _lists(listed, REFLECTIONS),
        }
    )


def _two(pieces: pa.Array, rows: npt.NDArray[np.int64], salt: int) -> list[pa.Array]:
    return [pieces.take(pa.array((rows * factor + salt) % len(pieces))) for factor in (7, 1_009)]


def _joined(*parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")


def _lists(values: pa.Array, each: int) -> pa.Array:
    ends = np.arange(0, len(values) + 1, each, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), values)


class Measured:
    """What a command took: seconds, its peak memory in bytes, the most bytes below a folder."""

    def __init__(self, command: list[str], folder: Path) -> None:
        start = time.perf_counter()
        self.disk = 0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        done = threading.Event()
        watching = threading.Thread(target=self._watch, args=(folder, done))
        watching.start()
        self.peak = _peak(process)
        done.set()
        watching.join()
        if process.returncode:
            sys.exit(f"failed: {' '.join(command)}")
        self.seconds = time.perf_counter() - start

    def _watch(self, folder: Path, done: threading.Event) -> None:
        while not done.wait(0.2):
            self.disk = max(self.disk, sum(_sizes(folder)))


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        try:
            yield path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # it is gone by now


def _peak(process: subprocess.Popen[bytes]) -> int:
    """The most memory that a process ever had, once it has ended."""
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        try:
            lines = status.read_text().splitlines()
            peak = max([peak, *(int(s.split()[1]) for s in lines if s.startswith("VmHWM"))])
        except OSError:
            break
        time.sleep(0.02)
    process.wait()
    return peak * 1024
