"""Speed and memory of `check` on many traces, rewards replayed and verdicts audited.

    python tests/benchmarks/check.py [--questions 10000] [--folder DIR]

Makes an input as `create.py` does, but with answers that a task can grade and a gold answer for
each question, makes five traces of each question, and checks them. Prints seconds, seconds of CPU
time, and peak memory. The limits for 50,000 traces on two cores: 20 s and 600 MB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import create
import pyarrow as pa
import pyarrow.parquet as pq

RESPONSES = "model_responses__mutated_prompts"
CORRECT, ANSWERS = f"{RESPONSES}__eval_is_correct", f"{RESPONSES}__eval_extracted_answers"


def make_gradable(plain: Path, path: Path) -> None:
    """Give each question a gold answer of its own; its right attempts say that, the others not."""
    with pq.ParquetFile(plain) as file, pq.ParquetWriter(path, _schema(file)) as writer:
        number = 0
        for batch in file.iter_batches(create.ATTEMPTS * 64):
            rows = batch.to_pylist()
            for row in rows:
                gold = 1000 + number // create.ATTEMPTS
                number += 1
                said = str(gold if row[CORRECT][0] else gold + 1)
                head = row[RESPONSES][0].rpartition("<answer>")[0]
                row[RESPONSES], row[ANSWERS] = [f"{head}<answer>{said}</answer>"], [said]
                row["answer"], row["task_source"] = str(gold), "integers"
            writer.write_table(pa.Table.from_pylist(rows, schema=_schema(file)))


def _schema(file: pq.ParquetFile) -> pa.Schema:
    return file.schema_arrow.append(pa.field("task_source", pa.string()))


def main() -> None:
    """Print what the module's docstring says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to work; kept, and used again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        source, sft = folder / f"check-{options.questions}.parquet", folder / "check-sft"
        if not source.exists():
            create.make_input(folder / "plain.parquet", options.questions)
            make_gradable(folder / "plain.parquet", source)
            (folder / "plain.parquet").unlink()
        create.create(source, sft)
        for words in ([], ["--no-rewards"]):
            command = [sys.executable, "-m", "skill_factory", "check", str(sft), *words]
            before = create.cpu_seconds()
            wall, peak = create.measure(command)
            cpu = create.cpu_seconds() - before
            print(f"check {' '.join(words)}: {wall:.1f} s, {cpu:.1f} s CPU, {peak:.0f} MB")


if __name__ == "__main__":
    main()
