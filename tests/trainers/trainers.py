"""The trainers' programs, ours, and a user's folder with a tiny model in it."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from conftest import REAL, ROOT

TRAINERS = Path(os.environ.get("TRAINERS", "~/.cache/skill-factory")).expanduser()


def trainer(
    environment: str, program: str, *words: str | Path, cwd: Path | None = None, **variables: str
) -> str:
    """Run a program of a trainer's environment; its output. Nothing is asked of the real Hub."""
    place = TRAINERS / environment / "bin"
    assert place.is_dir(), f"{place}: not there; `bash tests/trainers/run.sh` makes it"
    done = subprocess.run(
        [shutil.which(program, path=f"{place}:/usr/bin:/bin") or program, *map(str, words)],
        cwd=cwd,
        env=os.environ
        | {"PATH": f"{place}:{os.environ['PATH']}", "HF_HUB_DISABLE_XET": "1"}
        | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": "", "TOKENIZERS_PARALLELISM": "false"}
        | ({} if "HF_ENDPOINT" in variables else {"HF_HUB_OFFLINE": "1"})
        | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def ours(*words: str | Path, cwd: Path | None = None, **variables: str) -> str:
    """Run a command of ours."""
    done = subprocess.run(
        [sys.executable, "-m", "skill_factory", *map(str, words)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def user_folder() -> Path:
    """A folder with annotated.parquet, the SFT folder ./sft made of it, the tiny model ./model."""
    place = Path(tempfile.mkdtemp(prefix="skill-factory-trainers-"))
    atexit.register(shutil.rmtree, place)
    (place / "annotated.parquet").symlink_to(REAL)
    ours(
        *("create", "-i", "annotated.parquet", "-o", "./sft"),
        *("--formats", "*C_full", "*C*IC", "*CC", "paper", "--attempts", "4"),
        cwd=place,
    )
    texts = [ROOT / "README.md", ROOT / "skill_factory" / "stages" / "create" / "phrases.yaml"]
    trainer(
        "llamafactory",
        "python",
        Path(__file__).parent / "tiny_model.py",
        "model",
        *texts,
        cwd=place,
    )
    return place
