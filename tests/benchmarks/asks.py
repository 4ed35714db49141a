"""How much memory each step of `sample` and `reflect` takes, as the questions grow to 2, 4 and 8
times as many: flat is what it should be.

    python tests/benchmarks/asks.py [--questions 12500] [--samples 2]

`--questions` are those of the first column. Each step runs in a process of its own, and its peak is
counted from when it begins. Nobody is asked: the journal is filled with answers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.asking.estimates import estimate, longest
from skill_factory.asking.journal import Journal, Sample
from skill_factory.asking.prompts import load_prompts
from skill_factory.asking.requests import Ask
from skill_factory.core.tables import QUESTIONS
from skill_factory.models import Completion, Sampling
from skill_factory.runs.model_identity import Known
from skill_factory.stages import reflect as reflecting
from skill_factory.stages import sample as attempting
from skill_factory.stages.grade import grade_file

MODEL, SAMPLING = Known("a server, a model"), Sampling(temperature=0.7, max_tokens=512, seed=0)
BANK = load_prompts(None)
PROSE = "We add the first number to the second one, and look at what comes of it. " * 3


class Work:
    """A run of so many questions in a folder."""

    def __init__(self, folder: Path, questions: int, samples: int) -> None:
        self.count, self.samples, self.folder = questions, samples, folder
        self.questions, self.attempts = folder / "questions.parquet", folder / "attempts.parquet"
        self.graded, self.annotated = folder / "graded.parquet", folder / "annotated.parquet"
        self.journal = folder / "journal.sqlite"
        self.wanted = attempting.sample_spec(BANK, ["original"], samples, "vllm")
        self.spec = reflecting.ReflectSpec(BANK.reflection, 2)
        self.until_valid = reflecting.ReflectSpec(BANK.reflection, 2, until_valid=True)

    def make_questions(self) -> None:
        def row(number: int) -> dict[str, str]:
            text = f"Here is question {number}. {PROSE}What is {number} + 7?"
            return {"question": text, "answer": str(number + 7), "task_source": "addition",
                    "metadata": "{}"}  # fmt: skip

        with pq.ParquetWriter(self.questions, QUESTIONS) as out:
            for start in range(0, self.count, 4096):
                part = range(start, min(start + 4096, self.count))
                out.write_table(pa.Table.from_pylist([row(number) for number in part], QUESTIONS))

    def asks(self) -> Iterator[Ask]:
        return attempting.asks(self.questions, self.wanted)

    def reflect_asks(self) -> Iterator[Ask]:
        chosen = reflecting.choose_attempts(self.graded, self.spec)
        return reflecting.all_reflections(chosen, self.spec).asks

    def plan(self) -> None:
        estimate(self.asks(), MODEL, SAMPLING, None)
        longest(self.asks())

    def answer(self) -> None:
        """Fill the journal: every other attempt is right."""

        def says(ask: Ask, idx: int) -> str:
            return f"{PROSE}<answer>{int(ask.about['answer']) + idx % 2}</answer>"

        self._fill(self.asks(), says)

    def answer_reflections(self) -> None:
        def says(ask: Ask, idx: int) -> str:
            verdict = "Correct" if ask.about == bool(idx % 2) else "Incorrect"
            return f"{PROSE}<verdict>{verdict}</verdict>"

        self._fill(self.reflect_asks(), says)

    def _fill(self, asks: Iterator[Ask], says: Callable[[Ask, int], str]) -> None:
        with Journal(self.journal) as journal:
            for ask in asks:
                key = ask.key(MODEL, SAMPLING)
                journal.add(
                    Sample(key, idx, Completion(says(ask, idx), "stop", 90, 60, 1.0))
                    for idx in range(ask.count)
                )
                if journal.behind:
                    journal.flush()

    def estimate(self) -> None:
        with Journal(self.journal) as journal:
            found = estimate(self.asks(), MODEL, SAMPLING, journal)
        assert found.had == self.count * self.samples

    def write(self) -> None:
        with Journal(self.journal) as journal:
            attempting.write_attempts(self.attempts, self.asks(), "drop", MODEL, SAMPLING, journal)

    def grade(self) -> None:
        grade_file(self.attempts, self.graded, hints=frozenset(), words=())

    def choose(self) -> None:
        chosen = reflecting.choose_attempts(self.graded, self.spec)
        assert chosen.account().kept == self.count * self.samples

    def plan_reflections(self) -> None:
        estimate(self.reflect_asks(), MODEL, SAMPLING, None)

    def estimate_reflections(self) -> None:
        with Journal(self.journal) as journal:
            estimate(self.reflect_asks(), MODEL, SAMPLING, journal)

    def rounds(self) -> None:
        """What is asked until a reflection is valid."""
        chosen = reflecting.choose_attempts(self.graded, self.until_valid)
        with Journal(self.journal) as journal:
            for one in reflecting.rounds(chosen, self.until_valid, MODEL, SAMPLING, journal):
                assert sum(ask.count > 0 for ask in one.asks) > 0

    def annotate(self) -> None:
        chosen = reflecting.choose_attempts(self.graded, self.spec)
        with Journal(self.journal) as journal:
            reflecting.write_annotated(self.annotated, chosen, self.spec, MODEL, SAMPLING, journal)


STEPS = {
    "make_questions": "questions, by a batch",
    "plan": "sample: planned without a journal",
    "answer": "(the journal is filled)",
    "estimate": "sample: planned with all in the journal",
    "write": "attempts written",
    "grade": "graded, in this process",
    "choose": "reflect: attempts chosen",
    "plan_reflections": "reflect: planned without a journal",
    "answer_reflections": "(the journal is filled)",
    "estimate_reflections": "reflect: planned with all in the journal",
    "rounds": "reflect: rounds until one is valid",
    "annotate": "annotated table written",
}


def peak() -> int:
    """The most memory that this process had since the last `forget`, in bytes (proc(5), VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def step(name: str, work: Work) -> None:
    """One step, with its growth in bytes and its seconds, for `main`."""
    Path("/proc/self/clear_refs").write_text("5")
    before, start = psutil.Process().memory_info().rss, time.perf_counter()
    getattr(work, name)()
    print(peak() - before, time.perf_counter() - start)


def run_steps(questions: int, samples: int, steps: list[str]) -> dict[str, tuple[int, float]]:
    found = {}
    with tempfile.TemporaryDirectory(prefix="skill-factory-") as folder:
        for name in steps:
            done = subprocess.run(
                [sys.executable, __file__, "--step", name, "--folder", folder,
                 "--questions", str(questions), "--samples", str(samples)],
                check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            grown, took = done.stdout.split()
            found[name] = (int(grown), float(took))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--questions", type=int, default=12_500)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        step(given.step, Work(given.folder, given.questions, given.samples))
        return
    sizes = [given.questions * factor for factor in (1, 2, 4, 8)]
    found = [run_steps(size, given.samples, given.steps) for size in sizes]
    heads = "".join(f"{f'{size:,}':>12}" for size in sizes)
    print(f"{'MB of memory, by questions':42}{heads}{'B/question':>12}{'questions/s':>13}")
    for name in given.steps:
        grown = [by_step[name][0] for by_step in found]
        slope = (grown[-1] - grown[-2]) / (sizes[-1] - sizes[-2])
        cells = "".join(f"{bytes_ / 1e6:12.1f}" for bytes_ in grown)
        print(f"{STEPS[name]:42}{cells}{slope:12,.0f}{sizes[-1] / found[-1][name][1]:13,.0f}")


if __name__ == "__main__":
    main()
