"""The README is true: its commands run, and it names every option, format, reason and module."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import BUNDLED, ROOT, read_traces, write_tokenizer
from hub import User
from hub import serve as serve_hub
from model_server import Server, serve
from pydantic import BaseModel
from test_runs import serve_batch
from tutor import speak

from skill_factory.cli.create import create
from skill_factory.cli.handoff import export
from skill_factory.cli.main import main
from skill_factory.core.ledger import Reason
from skill_factory.handoff.verl import Loss
from skill_factory.rewards import compute_score
from skill_factory.runs.config import load_run_file
from skill_factory.stages.create.formats import FORMATS
from skill_factory.stages.create.settings import CreateConfig
from skill_factory.stages.grade import Outcome
from skill_factory.stages.settings import (
    GradeConfig,
    ModelConfig,
    QuestionsConfig,
    ReflectConfig,
    RunConfig,
    SampleConfig,
)
from skill_factory.tasks import TASKS
from skill_factory.tasks.golds import NoGold

README = (ROOT / "README.md").read_text(encoding="utf-8")
GRADING = (ROOT / "docs" / "grading.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
# These set up an environment of their own; the job that runs this test is the last of them.
SET_UP = ("python3 -m venv", ". .venv", "pip install", "bash tests/run.sh")
# tests/trainers and tests/real_model run these.
TRAINERS = ("llamafactory-cli", "bash ./rl/train_grpo.sh", "skill-factory run configs/quickstart")


SAID_IN_WORDS = {"prompt_variants", "workers", "task", "license", "push"}


def commands() -> list[str]:
    shell = "".join(code for kind, code in BLOCKS if kind == "bash").replace("\\\n", " ")
    return [
        line for line in shell.splitlines() if line and not line.startswith((*SET_UP, *TRAINERS))
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the user's annotated.parquet in it, in which each command runs once."""
    place = tmp_path_factory.mktemp("readme")
    for name in ("examples", "configs", "skill_factory", "requirements.txt"):
        (place / name).symlink_to(ROOT / name)
    shutil.copy(BUNDLED, place / "annotated.parquet")
    rows = [
        {"question": f"What is {n} + {n}?", "answer": str(2 * n), "task_source": "addition"}
        for n in range(20)
    ]
    pq.write_table(pa.Table.from_pylist(rows), place / "questions.parquet")
    write_tokenizer(place / "model")
    return place


@pytest.fixture(scope="module")
def hub() -> Iterator[dict[str, str]]:
    """What the environment of a user says who may push to org."""
    with serve_hub({}, users={"hf_mine": User("me", ("org",))}) as address:
        yield {"HF_ENDPOINT": address, "HF_TOKEN": "hf_mine", "HF_HUB_DISABLE_XET": "1"}


@pytest.fixture(scope="module")
def model() -> Iterator[dict[str, str]]:
    """What says where a user's model is."""
    with serve(Server(("my-model",), speak=speak)) as server:
        yield {"OPENAI_BASE_URL": server.url}


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_runs(
    place: Path, hub: dict[str, str], model: dict[str, str], command: str
) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if "--read-responses" in command:
        serve_batch(place / "requests.jsonl", place / "responses.jsonl")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=os.environ | {"PATH": path, "PYTHON": sys.executable} | hub | model,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = "traces|train 18, val 2|Pushed to org/name|verl|questions +|samples|attempts|reflections"
    assert re.search(told, done.stdout)


def test_the_python_of_the_readme_runs(place: Path, tmp_path: Path) -> None:
    (code,) = (code for kind, code in BLOCKS if kind == "python")
    subprocess.run(
        ["bash", "examples/reflection.sh", "-i", "annotated.parquet", "-o", "./sft", "--overwrite"],
        cwd=place,
        env=os.environ | {"PYTHON": sys.executable},
        check=True,
        capture_output=True,
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env=os.environ | {"HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<think>\n<sample>")


def test_the_trace_in_the_readme_is_made_of_the_bundled_data(place: Path) -> None:
    traces = read_traces(place / "outputs" / "reflection")
    shown = BLOCKS[0][1].rstrip("\n")
    assert shown in [row["conversations"][1]["content"] for row in traces]


def all_commands() -> dict[str, click.Command]:
    """Every command by its name."""
    context = click.Context(main)
    verbs = {name: main.get_command(context, name) for name in main.list_commands(context)}
    exports = {f"export {name}": command for name, command in export.commands.items()}
    found = {name: command for name, command in verbs.items() if command and name != "export"}
    return found | exports


def options_of(name: str) -> str:
    """What the README says of a command's options."""
    table = README.split("## Options")[1]
    rest = re.split(rf"\n`skill-factory {name}\b", table)[1]
    return re.split(r"\n`skill-factory|\nExit codes", rest)[0]


@pytest.mark.parametrize("name", all_commands())
def test_every_option_is_in_the_readme(name: str) -> None:
    said = options_of(name) + (options_of("sample") if name == "reflect" else "")
    for option in all_commands()[name].params:
        if isinstance(option, click.Option):
            for word in (*option.opts, *option.secondary_opts):
                assert f"`{word}`" in said, (name, word)


NO_KEYS = {"config_file", "folder", "output", "overwrite", "questions", "dry_run"}
FILES = {"write_requests", "read_responses"}
MODEL = set(ModelConfig.model_fields)
KEYS = {
    "create": set(CreateConfig.model_fields),
    "questions": set(QuestionsConfig.model_fields),
    "sample": set(SampleConfig.model_fields) | MODEL,
    "grade": set(GradeConfig.model_fields),
    "reflect": set(ReflectConfig.model_fields) | MODEL | {"prompts"},
}


@pytest.mark.parametrize("name", KEYS)
def test_every_option_but_places_is_a_config_key_and_back(name: str) -> None:
    options = {option.name for option in all_commands()[name].params}
    assert options - NO_KEYS - FILES == KEYS[name] - NO_KEYS


@pytest.mark.parametrize(
    "section", [QuestionsConfig, ModelConfig, SampleConfig, GradeConfig, ReflectConfig]
)
def test_every_config_key_is_in_the_readme(section: type[BaseModel]) -> None:
    table = README.split("## Options")[1]
    for key in section.model_fields:
        assert f"`{key}`" in table or f"`--{key.replace('_', '-')}`" in table, key


def test_defaults_in_the_help_are_the_defaults() -> None:
    for option in create.params:
        assert isinstance(option, click.Option)
        said = re.search(r"\[default: ([^\]]+)\]", option.help or "")
        default = (
            CreateConfig.model_fields[option.name].default
            if option.name in (CreateConfig.model_fields)
            else None
        )
        if isinstance(default, tuple):
            default = " ".join(default)
        if said and option.name in SAID_IN_WORDS:
            assert default in (None, False, True)
        elif said:
            assert said[1] == str(default), option.name


@pytest.mark.parametrize(
    "names",
    [FORMATS, Reason, Loss, TASKS, Outcome],
    ids=["formats", "reasons", "losses", "tasks", "outcomes"],
)
def test_every_format_and_reason_is_in_the_readme(names: object) -> None:
    for name in list(names):  # type: ignore[call-overload]
        assert f"`{name}`" in README, name


def test_the_rooms_in_the_readme_are_those_there_are() -> None:
    named = re.findall(r"^  (\w+(?:\.py|/)) ", README.split("## The code")[1], re.MULTILINE)
    found = [
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "skill_factory").iterdir()
        if path.suffix == ".py" or any(path.glob("*.py"))
    ]
    assert sorted(named) == sorted(found)


CONFIGS = sorted(set((ROOT / "configs").iterdir()) - set((ROOT / "configs").glob("*_prompts.yaml")))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_valid_and_in_the_readme(path: Path) -> None:
    settings = load_run_file(path).model_dump(mode="json", exclude_unset=True)
    assert f"(configs/{path.name})" in README
    written = yaml.safe_load(path.read_text())
    assert (ROOT / "examples" / f"{path.stem}.sh").exists() or "sample" in written
    if prompts := settings.get("sample", {}).get("prompts"):
        assert (ROOT / "configs" / written["sample"]["prompts"]).samefile(prompts)
        settings["sample"]["prompts"] = written["sample"]["prompts"]
    assert settings == {stage: said for stage, said in written.items() if said}
    assert settings.keys() <= RunConfig.model_fields.keys()


def test_requirements_agree_with_pyproject() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == project["dependencies"]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "bash tests/run.sh\n" in README
    ci = (ROOT / ".ci" / "run").read_text()
    assert "/tests/run.sh" in ci
    for suite in ("trainers", "real_model"):
        assert f"/tests/{suite}/run.sh" in ci
        assert f"`bash tests/{suite}/run.sh`" in README


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
