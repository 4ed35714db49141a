"""verl reads our questions, takes our command, and scores traces with our reward by its path."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from trainers import ours, trainer, user_folder

from skill_factory.checks.rewards import mutants
from skill_factory.checks.traces import read_traces
from skill_factory.tasks import task_of

HERE = Path(__file__).parent
place = pytest.fixture(scope="module")(user_folder)
VERSIONS = {"verl-0.9": "0.9.1", "verl-0.6": "0.6.1"}
COUNTDOWN = [
    ([3, 3, 5], 24, "(3 + 5) * 3 = 24"),
    ([2, 6, 9], 108, "Step 1: 2 * 6 = 12\nStep 2: 12 * 9 = 108"),
    ([3, 3, 8, 8], 24, r"\frac{8}{3 - \frac{8}{3}} = 24"),
]


@pytest.fixture(scope="module", params=VERSIONS)
def environment(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def questions(place: Path) -> Path:
    """The questions behind the traces, and a few of Countdown, as JSON lines."""
    seen = {}
    for row in pq.read_table(place / "annotated.parquet").to_pylist():
        seen[row["question"]] = {key: row[key] for key in ("question", "answer", "task_source")}
    rows: list[dict[str, Any]] = list(seen.values())
    for numbers, target, answer in COUNTDOWN:
        question = f"Make {target} of {numbers}."
        facts = json.dumps({"numbers": numbers, "target": target})
        rows.append({"question": question, "answer": answer, "task_source": "countdown_3arg"})
        rows[-1]["metadata"] = facts
    path = place / "questions.jsonl"
    path.write_text(
        "".join(json.dumps(row | {"metadata": row.get("metadata")}) + "\n" for row in rows)
    )
    return path


@pytest.fixture(scope="module")
def exported(place: Path, questions: Path, environment: str) -> Path:
    folder = place / environment
    ours(
        *(
            "export",
            "verl",
            "-i",
            "questions.jsonl",
            "-o",
            f"./{environment}",
            "--model",
            "./model",
        ),
        *("--tokenizer", "./model", "--verl-version", VERSIONS[environment]),
        cwd=place,
    )
    return folder


def settings(folder: Path) -> list[str]:
    """The settings of the command, as bash reads them."""
    script = (folder / "train_grpo.sh").read_text().replace("exec ", "false && exec ")
    words = subprocess.run(
        [
            "bash",
            "-c",
            f'{script}\nprintf "%s\\n" "${{settings[@]}}"'.replace("set -euo pipefail", ""),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return words.stdout.splitlines()


def scored(
    place: Path, exported: Path, environment: str, pairs: list[tuple[str, str]]
) -> list[float]:
    """What verl makes of pairs of a question and a response to it."""
    tables = [pq.read_table(exported / f"{name}.parquet") for name in ("train", "val")]
    table = pa.concat_tables(tables)
    row_of = {row["prompt"][-1]["content"]: i for i, row in enumerate(table.to_pylist())}
    asked, texts, out = place / "asked.parquet", place / "texts.json", place / "scores.json"
    pq.write_table(table.take([row_of[question] for question, _ in pairs]), asked)
    texts.write_text(json.dumps([text for _, text in pairs]))
    script, chosen = HERE / "verl_scores.py", settings(exported)
    trainer(environment, "python", script, asked, texts, out, *chosen, cwd=place)
    found: list[float] = json.loads(out.read_text())
    assert len(found) == len(pairs)
    return found


def traces(place: Path) -> list[tuple[str, str, dict[str, str]]]:
    """Question, trace, and the trace spoilt in three ways."""
    found = []
    for batch in read_traces(place / "sft"):
        for trace in batch:
            assert trace.data_source
            wrong = task_of(trace.data_source).wrong("", trace.ground_truth or "", {})
            found.append((trace.question, trace.text, mutants(trace.text, wrong)))
    for numbers, target, answer in COUNTDOWN:
        said = f"<think>\n<sample>\n<answer>{answer}</answer>\n</sample>\n</think>\n\n"
        text = f"{said}So:\n\n<answer>\n{answer}\n</answer>"
        found.append((f"Make {target} of {numbers}.", text, mutants(text, f"{target} + 1")))
    return found


def test_verl_gives_every_trace_1_and_every_spoilt_one_0(
    place: Path, exported: Path, environment: str
) -> None:
    all_of = traces(place)
    assert len(all_of) > 300
    pairs = [(question, text) for question, text, _ in all_of]
    pairs += [
        (question, spoilt[how])
        for how in ("wrong", "removed", "moved")
        for question, _, spoilt in all_of
    ]
    found = scored(place, exported, environment, pairs)
    assert found[: len(all_of)] == [1.0] * len(all_of)
    assert found[len(all_of) :] == [0.0] * (3 * len(all_of))


def test_the_command_is_one_that_verl_takes(place: Path, exported: Path, environment: str) -> None:
    out = trainer(environment, "bash", exported / "train_grpo.sh", "--cfg", "job", cwd=place)
    assert f"path: {ROOT / 'skill_factory' / 'rewards.py'}" in out
    assert "adv_estimator: grpo" in out
