"""What is made does not change with the code: the same traces, in the same order, for the same
input and settings; the same questions for the same seed; the same keys in a journal.

    PYTHONPATH=tests python tests/stages/test_golden.py     # writes tests/data/golden.json

Only when a change of the data is meant.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import BUNDLED, REAL, attempt, write_rows

from skill_factory.cli.main import main

GOLDEN = Path(__file__).parents[1] / "data" / "golden.json"
FORMATS = ["0C", "*C", "*C_full", "*C*IC", "*CC", "random", "no_reflection", "paper"]
OPTIONS: dict[str, list[str]] = {
    "plain": [],
    "unique variants": ["--unique-variants", "--attempts", "4"],
    "sampled lengths": ["--sample-lengths", "--repeats", "3"],
    "subsample": ["--subsample", "40", "--seed", "5"],
    "filter": ["--drop-reflections-containing", "look 1", "--prompt-variants", "original,rephrase"],
    "messages": ["--layout", "messages", "--repeats", "2"],
}
SOURCES: dict[str, list[str]] = {
    "countdown": ["--count", "50", "--numbers", "4", "--seed", "3"],
    "countdown all numbers": ["--count", "20", "--all-numbers"],
    "multiplication": ["--count", "30", "--digits", "2..4"],
    "addition": ["--count", "30", "--low", "5", "--high", "500"],
    "letter_countdown": ["--count", "20", "--letters", "5"],
    "acronym": ["--count", "20"],
}


def generated(path: Path) -> Path:
    """Questions with anything from 0 to 12 attempts: right and wrong ones, some without a valid
    reflection, some twice, of several tasks, scattered over the file."""
    rng = random.Random(7)
    rows = []
    for number in range(60):
        question = f"What is {number} + {number}? «é» {'because ' * rng.randrange(4)}"
        for i in range(rng.randrange(13)):
            right = rng.random() < 0.5
            row = attempt(i, right, question, answer=str(2 * number))
            value = str(2 * number) if right else str(2 * number + 1 + i)
            text = f"Way {rng.randrange(9)} to {number}:\n it is {value}. <answer>{value}</answer>"
            true = ["Incorrect", "Correct"][right]
            verdicts = [true if rng.random() < 0.7 else "unsure" for _ in range(rng.randrange(4))]
            row |= {
                "model_responses__mutated_prompts": [text],
                "model_responses__mutated_prompts__eval_extracted_answers": [value],
                "model_responses__mutated_prompts_reflection": [
                    f"Look {n} at it.\n<verdict>{verdict}</verdict>"
                    for n, verdict in enumerate(verdicts)
                ],
            }
            rows.append(row)
    rng.shuffle(rows)
    return write_rows(path, rows)


def digest(rows: list[dict[str, Any]]) -> str:
    return sha256(json.dumps(rows, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:24]


def command(*args: str) -> None:
    done = CliRunner().invoke(main, list(args))
    assert done.exit_code == 0, done.output


def made(
    source: Callable[[Path], Path], format_name: str, options: list[str], folder: Path
) -> dict[str, Any]:
    """What `create` makes: digests of the traces and of the plan, and what became of everything."""
    out = folder / "sft"
    place = ["-i", str(source(folder)), "-o", str(out), "--overwrite"]
    formats = ["--formats", format_name]
    few = [] if "--attempts" in options else ["--attempts", "3"]
    command("create", *place, *formats, *few, *options)
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    traces = pq.read_table(out / "sft_train").to_pylist()
    return {
        "traces": len(traces),
        "content": digest(traces),
        "plan": digest(pq.read_table(out / "plan.parquet").to_pylist()),
        "digests": [manifest["input"]["digest"], manifest["output"]["digest"]],
        "ledger": digest([manifest["ledger"]]),
    }


def asked(source: str, options: list[str], folder: Path) -> dict[str, Any]:
    """What `questions` makes."""
    out = folder / "questions.parquet"
    command("questions", source, "-o", str(out), "--overwrite", *options)
    rows = pq.read_table(out).to_pylist()
    return {"questions": len(rows), "content": digest(rows)}


def keys(folder: Path) -> dict[str, Any]:
    """The requests of both asking stages, as a batch file has them: their ids are the keys that
    the journal knows samples by."""
    out, run = folder / "questions.parquet", folder / "run"
    requests = folder / "requests.jsonl"
    command("questions", "addition", "-o", str(out), "--count", "3", "--overwrite")
    server = ["--base-url", "http://127.0.0.1:9/v1", "--model", "tiny", "--samples", "2"]
    command("sample", "-i", str(out), "-o", str(run), *server, "--write-requests", str(requests))
    lines = [json.loads(line) for line in requests.read_text(encoding="utf-8").splitlines()]
    return {"requests": len(lines), "content": digest(lines)}


Case = Callable[[Path], dict[str, Any]]
INPUTS: dict[str, Callable[[Path], Path]] = {
    "bundled": lambda folder: BUNDLED,
    "real": lambda folder: REAL,
    "generated": lambda folder: generated(folder / "rows.parquet"),
}


def cases() -> Iterator[tuple[str, Case]]:
    for name, source in INPUTS.items():
        for format_name in FORMATS:
            for title, options in OPTIONS.items():
                yield f"{name}, {format_name}, {title}", partial(made, source, format_name, options)
    for name, options in SOURCES.items():
        yield f"questions {name}", partial(asked, name.split()[0], options)
    yield "requests", keys


CASES = dict(cases())


@pytest.mark.parametrize("name", CASES)
def test_what_is_made_has_not_changed(name: str, tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert CASES[name](tmp_path) == golden[name]


if __name__ == "__main__":
    found = {}
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as work:
            found[name] = case(Path(work))
    GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
