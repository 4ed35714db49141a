"""The commands of docs/training.md, as written and in their order, with the real trainers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT
from trainers import TRAINERS, trainer, user_folder

# What a machine without a GPU needs besides.
ON_A_CPU = {
    "llamafactory-cli": ("llamafactory", ["use_cpu=true", "bf16=false", "max_steps=2"]),
    "bash": ("verl-0.9", ["--cfg", "job"]),
}


def commands() -> list[str]:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    shell = "".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    return [line for line in shell.replace("\\\n", " ").splitlines() if line]


def test_the_page_on_training_runs(tmp_path: Path) -> None:
    given = user_folder()
    shutil.copytree(given / "model", tmp_path / "model")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
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
