"""The pages are true of the code: they name every format, task, reason, config, room and option.

That what stands on them runs is seen to by `test_pages`.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import BUNDLED, ROOT, read_traces, run

from skill_factory.cli.make_reference import reference
from skill_factory.core.ledger import Reason
from skill_factory.handoff.verl import Loss
from skill_factory.rewards import compute_score
from skill_factory.runs.config import load_run_file
from skill_factory.stages.create.formats import FORMATS
from skill_factory.stages.grade import Outcome
from skill_factory.stages.settings import STAGES
from skill_factory.tasks import TASKS
from skill_factory.tasks.golds import NoGold

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = ROOT / "docs"
PAGES = README + "".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md")))
GRADING = (DOCS / "grading.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("module", "page"), [("make_reference", "reference.md"), ("make_checks_page", "checks.md")]
)
def test_a_page_that_is_made_is_what_the_code_says(module: str, page: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"skill_factory.cli.{module}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (DOCS / page).read_text(encoding="utf-8"), (
        f"stale: python -m skill_factory.cli.{module} > docs/{page}"
    )


@pytest.mark.parametrize("stage", STAGES)
def test_every_config_key_is_in_the_reference(stage: str) -> None:
    keys = {f"{stage}.{name}" for name in STAGES[stage].model_fields} - {"questions.source"}
    assert {key for key in keys if f"`{key}`" not in reference()} == set()


def test_the_trace_in_the_readme_is_made_of_the_bundled_data(tmp_path: Path) -> None:
    done = run("-i", BUNDLED, "-o", tmp_path / "sft", "--attempts", "3")
    assert done.code == 0, done.err
    shown = re.findall(r"```text\n(.*?)\n```", README, re.DOTALL)[0]
    traces = [row["conversations"][1]["content"] for row in read_traces(tmp_path / "sft")]
    assert shown in traces


@pytest.mark.parametrize(
    "names",
    [FORMATS, Reason, Loss, TASKS, Outcome],
    ids=["formats", "reasons", "losses", "tasks", "outcomes"],
)
def test_every_format_and_reason_is_on_a_page(names: object) -> None:
    for name in list(names):  # type: ignore[call-overload]
        assert f"`{name}`" in PAGES, name


def test_the_rooms_in_the_readme_are_those_there_are() -> None:
    named = re.findall(r"^  (\w+(?:\.py|/)) ", README.split("## The code")[1], re.MULTILINE)
    found = [
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "skill_factory").iterdir()
        if path.suffix == ".py" or any(path.glob("*.py"))
    ]
    assert sorted(named) == sorted(set(found) - {"__init__.py", "__main__.py"})


CONFIGS = sorted(set((ROOT / "configs").iterdir()) - set((ROOT / "configs").glob("*_prompts.yaml")))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_valid_and_on_a_page(path: Path) -> None:
    assert f"configs/{path.name})" in PAGES
    settings, written = load_run_file(path).model_dump(), yaml.safe_load(path.read_text())
    assert (ROOT / "examples" / f"{path.stem}.sh").exists() or "sample" in written
    if prompts := settings["sample"]["prompts"]:
        assert (path.parent / written["sample"].pop("prompts")).samefile(prompts)
    for stage, said in written.items():
        assert {name: settings[stage][name] for name in said or {}} == (said or {})


def test_requirements_agree_with_pyproject() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == project["dependencies"]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "bash tests/run.sh\n" in README
    ci = (ROOT / ".ci" / "run").read_text()
    assert "/tests/run.sh" in ci
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    for suite in ("trainers", "real_model"):
        assert f"/tests/{suite}/run.sh" in ci
        assert f"bash tests/{suite}/run.sh" in contributing


def test_the_project_is_laid_out_as_promised() -> None:
    for name in ("skill_factory", "examples", "tests", "configs", "requirements.txt", "LICENSE"):
        assert (ROOT / name).exists()


def test_the_page_on_grading_names_every_rule_of_a_reward() -> None:
    rules = [
        name
        for name, parameter in inspect.signature(compute_score).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in ("task", "details")
    ]
    for name in (*rules, *NoGold, *TASKS, "accepted_answers", "options"):
        assert re.search(rf"\b{name.replace('_', '[-_]')}\b", GRADING), name
