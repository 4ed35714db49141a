"""Annotated datasets of any size, whose questions are scattered over the whole file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from conftest import RESPONSE

ATTEMPTS, REFLECTIONS = 16, 3
ROW_BYTES = 2_900
"""About how much text a row has: question, response, answer, three reflections."""

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
