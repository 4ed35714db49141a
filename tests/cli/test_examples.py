"""The shell wrappers, as a user who has not read them runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BUNDLED, ROOT, attempts, read_manifest, write_rows

pytestmark = pytest.mark.slow

WRAPPERS = sorted((ROOT / "examples").glob("*.sh"))


def bash(script: str | Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(script), *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", WRAPPERS, ids=lambda path: path.stem)
def test_a_wrapper_without_arguments_uses_the_bundled_data(script: Path, tmp_path: Path) -> None:
    done = bash(script, cwd=tmp_path)
    if script.stem == "no_prompt_diversity":  # three attempts a variant are too few for five
        assert done.returncode == 1
        assert "0 traces" in done.stderr
        assert not list(tmp_path.iterdir())
        return
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # in particular, nothing is installed where all is there
    manifest = read_manifest(tmp_path / "outputs" / script.stem)
    assert manifest["input"]["rows"] == 256
    assert manifest["counts"]["traces"] >= 30


def test_a_relative_path_is_the_callers(tmp_path: Path) -> None:
    write_rows(tmp_path / "mine.parquet", attempts(3, 3))
    for script in WRAPPERS:
        folder = f"../{tmp_path.name}/{script.stem}"
        done = bash(script, "-i", "mine.parquet", "-o", folder, "--attempts", "2", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        source = read_manifest(tmp_path / script.stem)["input"]
        assert source["name"] == "mine.parquet"


def test_what_a_config_names_is_not_replaced_by_the_bundled_data(tmp_path: Path) -> None:
    write_rows(tmp_path / "mine.parquet", attempts(3, 3))
    text = "create:\n  input_dataset: mine.parquet\n  output_dataset: ./mine\n"
    (tmp_path / "mine.yaml").write_text(text)
    done = bash(ROOT / "examples" / "reflection.sh", "-c", "mine.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "mine")["input"]["rows"] == 6


def test_spaces_and_stars_come_through(tmp_path: Path) -> None:
    write_rows(tmp_path / "my data.parquet", attempts(3, 3))
    done = bash(
        ROOT / "examples" / "reflection.sh",
        *("-i", "my data.parquet", "-o", "./my sft", "--formats", "*C", "*C*IC"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "my sft")["counts"]["labels"] == {"*C*IC": 1, "5C": 1}


def test_the_bundled_data_is_what_its_readme_says() -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(BUNDLED)
    words = (BUNDLED.parent / "README.md").read_text()
    right = sum(
        row[0] for row in table["model_responses__mutated_prompts__eval_is_correct"].to_pylist()
    )
    assert f"{table.num_rows} attempts of SmolLM2" in words
    assert f"right in {right} of {table.num_rows} attempts" in words
    assert f"at {len(set(table['question'].to_pylist()))} sums" in words
    assert BUNDLED.stat().st_size < 3_000_000
