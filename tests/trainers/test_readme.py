"""The commands of the README's Training section, as written, with the real trainers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import ROOT
from trainers import TRAINERS, trainer, user_folder

# What a machine without a GPU needs besides.
ON_A_CPU = {
    "llamafactory-cli": ("llamafactory", ["use_cpu=true", "bf16=false", "max_steps=2"]),
    "bash": ("verl-0.9", ["--cfg", "job"]),
}


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## Training\n")[1].split("\n## ")[0]
    shell = "".join(re.findall(r"```bash\n(.*?)```", section, re.DOTALL))
    return [line for line in shell.replace("\\\n", " ").splitlines() if line]


def test_the_training_section_runs(tmp_path: Path) -> None:
    given = user_folder()
    shutil.copytree(given / "model", tmp_path / "model")
    shutil.copy(given / "annotated.parquet", tmp_path)
    rows = [
        {"question": f"What is {n} + {n}?", "answer": str(2 * n), "task_source": "addition"}
        for n in range(20)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "questions.parquet")
    ran = []
    for command in commands():
        program, *words = command.split()
        ran.append(program)
        if program in ON_A_CPU:
            environment, more = ON_A_CPU[program]
            trainer(environment, program, *words, *more, cwd=tmp_path)
            continue
        path = f"{Path(sys.executable).parent}:{TRAINERS / 'verl-0.9' / 'bin'}:{os.environ['PATH']}"
        subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=os.environ | {"PATH": path}, check=True
        )
    assert {"skill-factory", "llamafactory-cli", "bash"} <= set(ran)
    learned = json.loads((tmp_path / "saves" / "sft" / "all_results.json").read_text())
    assert 0 < learned["train_loss"] < 20
