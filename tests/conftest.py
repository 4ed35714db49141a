"""What the tests share: small real tables, and the command as a user runs it."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

# The first call of a test may import; the same examples every time keep the suite's word.
settings.register_profile("ours", deadline=None, derandomize=True)
settings.load_profile("ours")

# `datasets` reads this when it is imported; its caches are no business of a test run.
_CACHES = tempfile.TemporaryDirectory(prefix="skill-factory-tests-")
atexit.register(_CACHES.cleanup)
os.environ["HF_HOME"] = _CACHES.name

ROOT = Path(__file__).parent.parent
REAL = ROOT / "tests" / "data" / "reflections.parquet"
"""Real attempts of SmolLM2-135M at 60 sums and products, three reflections on each."""

BUNDLED = ROOT / "examples" / "data" / "smollm2_arithmetic_reflections.parquet"
RESPONSE = "model_responses__mutated_prompts"
CORRECT = f"{RESPONSE}__eval_is_correct"
ANSWER = f"{RESPONSE}__eval_extracted_answers"
REFLECTION = f"{RESPONSE}_reflection"
VARIANTS = ["original", "plan_and_execute", "alternatively", "rephrase"]

Row = dict[str, Any]

SCHEMA = pa.schema(
    {
        "question": pa.string(),
        "answer": pa.string(),
        "prompt_variant": pa.string(),
        RESPONSE: pa.list_(pa.string()),
        CORRECT: pa.list_(pa.bool_()),
        ANSWER: pa.list_(pa.string()),
        REFLECTION: pa.list_(pa.string()),
    }
)


def attempt(number: int, correct: bool, question: str = "What is 2 + 2?", **other: Any) -> Row:
    """An annotated row whose three reflections judge truly; `other` replaces columns."""
    verdict = "Correct" if correct else "Incorrect"
    value = "4" if correct else str(number + 10)
    return {
        "question": question,
        "answer": "4",
        "prompt_variant": VARIANTS[number % 4],
        RESPONSE: [f"Attempt {number}: it is {value}.\n<answer>{value}</answer>"],
        CORRECT: [correct],
        ANSWER: [value],
        REFLECTION: [
            f"Look {i} at attempt {number}.\n<verdict>{verdict}</verdict>" for i in range(3)
        ],
    } | other


def attempts(correct: int, incorrect: int, question: str = "What is 2 + 2?") -> list[Row]:
    """So many correct rows, then so many incorrect ones."""
    total = range(correct + incorrect)
    return [attempt(number, number < correct, question) for number in total]


def write_rows(path: Path, rows: list[Row], schema: pa.Schema | None = SCHEMA) -> Path:
    """Write rows as parquet or, by the name, as JSON lines."""
    if path.suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        path.write_text("".join(lines), encoding="utf-8", newline="")
    else:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def write_tokenizer(folder: Path) -> Path:
    """A small byte-level tokenizer with a ChatML template, as a model's folder has one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(
        [(ROOT / "README.md").read_text(encoding="utf-8")],
        trainers.BpeTrainer(
            vocab_size=800,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=special,
            show_progress=False,
        ),
    )
    fast: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=special[2]
    )
    fast.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    )
    fast.save_pretrained(folder)
    return folder


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def run(
    *arguments: str | Path,
    module: str = "skill_factory.sft_data_creation",
    cwd: Path | None = None,
    **environment: str,
) -> Outcome:
    """Run a command of ours: in this process, or, where an environment is given, in one of its own.
    A traceback in this process is the test's."""
    if environment:
        return run_apart(*arguments, module=module, cwd=cwd, **environment)
    from click.testing import CliRunner

    from skill_factory.cli.create import create
    from skill_factory.cli.main import main

    command = main if module == "skill_factory" else create
    with contextlib.chdir(cwd or Path.cwd()):
        done = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    return Outcome(done.exit_code, done.stdout, done.stderr)


def run_apart(
    *arguments: str | Path,
    module: str = "skill_factory.sft_data_creation",
    cwd: Path | None = None,
    **environment: str,
) -> Outcome:
    """Run a module of ours in a process of its own, as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def started(*arguments: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Python at work in a process of its own, in a group of its own as a terminal's jobs have."""
    with subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs these tests in the background has Ctrl-C ignored, by its children too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def most_memory(pid: int) -> int:
    """The most memory that a process has had in bytes (proc(5), VmHWM); 0: it has ended. What
    ru_maxrss says of it begins with what the process has that started it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return max([0, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))])


def read_traces(folder: Path) -> list[Row]:
    """The rows of an SFT folder's traces."""
    rows: list[Row] = pq.read_table(folder / "sft_train").to_pylist()
    return rows


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an SFT folder."""
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    manifest: dict[str, Any] = json.loads(text)
    return manifest


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make an SFT folder in this process, with the command's options, and check its ledger."""
    from click.testing import CliRunner

    from skill_factory.cli.create import create

    count = 0

    def made(rows: list[Row] | Path, *options: str | Path) -> Path:
        nonlocal count
        count += 1
        source = rows if isinstance(rows, Path) else tmp_path / f"rows-{count}.parquet"
        if not isinstance(rows, Path):
            write_rows(source, rows)
        folder = tmp_path / f"sft-{count}"
        arguments = ["-i", str(source), "-o", str(folder), *map(str, options)]
        result = CliRunner().invoke(create, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        for account in read_manifest(folder)["ledger"].values():
            assert account["read"] == account["kept"] + sum(account["losses"].values())
        return folder

    return made
