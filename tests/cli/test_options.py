"""Options are made from the settings: each is accepted by its own and its older names, and says in
the help what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from conftest import REAL, attempts, read_manifest, write_rows
from model_server import Server, serve
from tutor import speak

from skill_factory.checks.settings import CheckSettings
from skill_factory.cli.main import main
from skill_factory.cli.make_reference import commands
from skill_factory.cli.options_from_settings import SettingOption
from skill_factory.core.settings.fields import Settings, declared
from skill_factory.handoff.settings import (
    LlamaFactorySettings,
    PushSettings,
    VerlSettings,
)
from skill_factory.stages.settings import STAGES

MODEL = (
    "--api-key-env --base-url --completion-price --concurrency --context --grammar --identity "
    "--local --model --no-retry-refused --no-skip-too-long --patience --prompt-price "
    "--retry-refused --skip-too-long --timeout --tries --extra-body --max-tokens --prompts "
    "--repetition-penalty --seed --stop --temperature --thinking --top-k --top-p "
    "-c --config --dry-run --read-responses --write-requests "
)
OLDER = {
    "run": "-o --output --from --to --dry-run",
    "questions": "-o --output --all-numbers --answer-column --at-most-once --choices-column "
    "--count --digits --dry-run --exact --extra-letters --extra-words --facts-column --gym --high "
    "--input-config --input-split --letters --low --number-max --numbers --overwrite "
    "--question-column --revision --rounded --seed --several-answers --target-max --task "
    "--task-column",
    "sample": MODEL + "-i --questions -o --output --prompt-variants --samples",
    "grade": "-c --config --hint-words --keep-cut-off --no-keep-cut-off --task --workers",
    "reflect": MODEL + "--all-questions --no-all-questions --no-until-valid --reflections "
    "--until-valid",
    "create": "-c --config -i --input-dataset --input_reflection_dataset_name -o "
    "--output-dataset --output_dataset_name --answer-column --attempts "
    "--num_responses_ignore_correctness --correctness-column --responses_correctness_column "
    "--drop-reflections-containing --dry-run --no-dry-run --extracted-answer-column "
    "--extracted_answer_column --facts-column --force_unique_prompting_types --formats "
    "--input-config --input-split --layout --license --max-tokens --model --no-overwrite "
    "--no-private --no-push --no-sample-lengths --no-unique-variants --num_repeats_per_question "
    "--overwrite --phrases --private --prompt-variants --prompt_variants_to_use --push "
    "--question-column --reflection-column --reflection_column --repeats --response-column "
    "--response_column --revision --sample-lengths --sampling_response_counts --seed --subsample "
    "--subsample_size --task --task-column --tokenizer --unique-variants --variant-column "
    "--workers",
    "check": "--cutoff-len --no-rewards --rewards --task --tokenizer -v --verbose",
    "push": "--commit-message --create-pr --private --revision",
    "export llama-factory": "--cutoff-len --dataset-dir --model --name -o --output --output-dir "
    "--overwrite --repo --template --tokenizer",
    "export verl": "--all-numbers --answer-column --choices-column --exclude-sft --facts-column "
    "--gpus --input-config -i --input-dataset --input-split --max-prompt-length "
    "--max-response-length --model -o --output --overwrite --question-column --revision --rounded "
    "--seed --several-answers --system-prompt --task --task-column --tokenizer --val-size "
    "--verl-version",
}
"""The options that there were before they were made from the settings, the release's too."""


def type_in(*words: str | Path, code: int = 0) -> str:
    """Run a command in this process; what it printed."""
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def error(*words: str | Path, code: int = 2) -> str:
    """The one line that a command ends with."""
    said = type_in(*words, code=code).strip().splitlines()
    assert said[-1].startswith("Error: "), said
    return said[-1]


def options_of(name: str) -> list[click.Option]:
    return [param for param in commands()[name].params if isinstance(param, click.Option)]


@pytest.mark.parametrize("name", OLDER)
def test_the_names_that_there_were_are_taken(name: str) -> None:
    taken = {word for option in options_of(name) for word in option.opts + option.secondary_opts}
    assert set(OLDER[name].split()) - taken == set()


def test_the_releases_command_line_makes_what_ours_makes(tmp_path: Path) -> None:
    """As examples of https://arxiv.org/abs/2512.04072's release have it."""
    release = (
        *("--input_reflection_dataset_name", REAL, "--output_dataset_name", tmp_path / "release"),
        *("--num_responses_ignore_correctness", "3", "--num_repeats_per_question", "2"),
        *("--formats", "*C_full", "0C", "--subsample_size", "100", "--sampling_response_counts"),
        *("--prompt_variants_to_use", "original", "rephrase", "--force_unique_prompting_types"),
        *("--response_column", "model_responses__mutated_prompts"),
        *("--responses_correctness_column", "model_responses__mutated_prompts__eval_is_correct"),
        *("--extracted_answer_column",),
        "model_responses__mutated_prompts__eval_extracted_answers",
        *("--reflection_column", "model_responses__mutated_prompts_reflection"),
    )
    ours = (
        *("-i", REAL, "-o", tmp_path / "ours", "--attempts", "3", "--repeats", "2"),
        *("--formats", "*C_full,0C", "--subsample", "100", "--sample-lengths"),
        *("--prompt-variants", "original,rephrase", "--unique-variants"),
    )
    for options in (release, ours):
        assert type_in("create", *options, "--attempts", "2")
    made = [read_manifest(tmp_path / name) for name in ("release", "ours")]
    assert made[0]["settings"] == made[1]["settings"]
    assert made[0]["output"]["digest"] == made[1]["output"]["digest"]


# -- the help -------------------------------------------------------------------------------------

DECLARED: dict[str, type[Settings]] = {
    **STAGES,
    "push": PushSettings,
    "check": CheckSettings,
    "llama_factory": LlamaFactorySettings,
    "verl": VerlSettings,
}


@pytest.mark.parametrize("name", DECLARED)
def test_each_setting_says_in_a_sentence_what_it_is(name: str) -> None:
    for setting in DECLARED[name].model_fields.values():
        said = declared(setting)
        assert said.section
        assert said.help[0].isupper() or setting.name == "source"
        assert said.help.endswith(".")
        assert len(said.help) <= 74


@pytest.mark.parametrize("name", commands())
def test_the_help_has_a_line_for_each_option_and_fits(name: str) -> None:
    said = CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=110).output
    lines = said.splitlines()
    assert max(map(len, lines)) <= 110
    for option in options_of(name):
        if isinstance(option, SettingOption) and not option.hidden:
            record = option.get_help_record(click.Context(commands()[name]))
            assert record is not None
            begins = [line for line in lines if line.strip().startswith(f"{record[0]} ")]
            whole = len(record[0]) <= 32 and len(record[1]) <= 74
            assert not whole or record[1] in begins[0], record


@pytest.mark.parametrize("name", ["", *commands()])
def test_the_help_is_light(name: str) -> None:
    code = (
        "import sys\n"
        "from skill_factory.cli.main import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "print(sorted({'numpy', 'pyarrow', 'yaml', 'datasets', 'huggingface_hub', 'aiohttp',"
        " 'skill_factory.tasks', 'skill_factory.stages.create.formats'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *name.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


# -- several values -------------------------------------------------------------------------------


def test_several_values_follow_one_flag_once_the_arguments_are_there(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.parquet", attempts(3, 3))
    said = type_in("create", "-i", rows, "--dry-run", "--formats", "0C", "*CC", "--attempts", "2")
    assert "0C " in said
    assert "*CC " in said
    config = tmp_path / "run.yaml"
    config.write_text("questions: {source: addition, count: 3}\nmodel: {name: tiny}\n")
    run = ("run", config, "-o", tmp_path / "run", "--dry-run")
    said = type_in(*run, "--sample.prompt-variants", "original", "rephrase", "--samples", "4")
    assert "24 samples" in said
    before = type_in("run", "--sample.prompt-variants", "original", *run[1:], "--samples", "5")
    assert "15 samples" in before


# -- run takes any setting ------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    stages = {
        "questions": {"source": "addition", "count": 12},
        "sample": {"samples": 4, "seed": 1, "temperature": 0.5},
        "reflect": {"reflections": 2},
        "create": {"attempts": 3},
    }
    path.write_text(yaml.safe_dump(stages))
    return path


def kept(folder: Path) -> dict[str, Any]:
    """The settings that a run's folder keeps."""
    settings: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
    return settings


def test_run_takes_any_setting_of_a_stage(tmp_path: Path, config: Path) -> None:
    with serve(Server(("tiny",), speak=speak)) as server:
        type_in(
            *("run", config, "-o", tmp_path / "run", "--base-url", server.url, "--model", "tiny"),
            *("--count", "8", "--samples", "3", "--sample.temperature", "none"),
            *("--reflect.max_tokens", "77", "--reflect.top-p", "0.5", "--identity", "mine"),
            *("--extra-words", "6", "--until-valid", "--no-skip-too-long", "--formats", "0C"),
            *("--sample.extra-body", "min_p=0.1", "--sample.extra-body", '{"x": [1]}'),
            *("--create.prompt-variants", "original,rephrase", "--create.no-sample-lengths"),
        )
    settings = kept(tmp_path / "run")
    assert settings["questions"]["count"] == 8
    assert settings["model"]["name"] == "tiny"
    assert settings["model"]["identity"] == "mine"
    sample = settings["sample"]
    assert (sample["samples"], sample["temperature"], sample["seed"]) == (3, None, 1)
    assert sample["extra_body"] == {"min_p": 0.1, "x": [1]}
    assert (settings["reflect"]["max_tokens"], settings["reflect"]["top_p"]) == (77, 0.5)
    assert settings["reflect"]["until_valid"] is True
    assert settings["create"]["prompt_variants"] == ["original", "rephrase"]
    assert settings["create"]["formats"] == ["0C"]
    made = read_manifest(tmp_path / "run" / "sft")
    assert made["settings"]["formats"] == ["0C"]


@pytest.mark.parametrize(
    ("option", "which"),
    [
        ("--seed", "--questions.seed, --sample.seed, --reflect.seed, --create.seed"),
        ("--thinking", "--sample.thinking, --reflect.thinking"),
        ("--task", "--questions.task, --grade.task, --create.task"),
        ("--workers", "--grade.workers, --create.workers"),
        ("--prompt-variants", "--sample.prompt-variants, --create.prompt-variants"),
    ],
)
def test_a_name_of_several_stages_says_which_ones(config: Path, option: str, which: str) -> None:
    assert error("run", config, option, "3") == f"Error: {option}: say which: {which}"


def test_run_has_no_use_for_the_input_of_create(config: Path) -> None:
    for option in ("--create.input-dataset", "--create.response-column", "--create.dry-run"):
        assert "No such option" in error("run", config, option, "x")


# -- wrong values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "--attempts", "0"), "'--attempts': expected 1 to 1000, not 0"),
        (("create", "--attempts", "two"), "'--attempts': expected a whole number, not 'two'"),
        (("create", "--layout", "message"), "did you mean messages?"),
        (("sample", "--top-p", "2"), "'--top-p': expected more than 0 to 1, not 2.0"),
        (("sample", "--timeout", "inf"), "'--timeout': expected a number, not 'inf'"),
        (("sample", "--timeout", "none"), "'--timeout': expected a number, not 'none'"),
        (("sample", "--extra-body", "[1]"), "expected KEY=VALUE, as min_terms=2, or JSON"),
        (("sample", "--extra-body", "{"), "expected KEY=VALUE, as min_terms=2, or JSON"),
        (("sample", "--extra-body", "n=3"), "extra_body: n is not for this place"),
        (("sample", "--api-key-env", "1 2"), "expected the name of a variable"),
        (("sample", "-i", " "), "expected a name, not an empty one"),
        (("questions", "reasoning_gym", "--dry-run"), "as reasoning-gym:basic_arithmetic"),
        (("questions", "", "--dry-run"), "source: expected a name, not an empty one"),
        (("questions", "reasoning-gym:gcd", "--dry-run", "--gym", "a=2020-01-01"), "gym: is not"),
        (("questions", "reasoning-gym:gcd", "--dry-run", "--gym", "a=.nan"), "gym: is not JSON"),
        (("create", "-i", "x", "--max-tokens", "9", "--tokenizer", ""), "goes with tokenizer"),
        (("grade", "./x", "--workers", "0"), "'--workers': expected 1 to 1024, not 0"),
        (("check", "./x", "--cutoff-len", "0"), "'--cutoff-len': expected 1 or more, not 0"),
        (("export", "verl", "-i", "x"), "Missing option '-o' / '--output'"),
        (("export", "verl", "-i", "x", "-o", "y", "--gpus", "0"), "expected 1 or more, not 0"),
    ],
)
def test_a_wrong_value_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    needed = ("-o", "./run") if words[0] == "sample" else ()
    assert said in error(*words, *needed)
    assert not list(tmp_path.iterdir())


# -- did you mean ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("creat",), "No such command 'creat'; did you mean create?"),
        (("export", "vrl"), "No such command 'vrl'; did you mean verl?"),
        (("create", "--atempts", "3"), "--attempts"),
        (("run", "x.yaml", "--sample.sampels", "3"), "--sample.samples"),
        (("questions", "countdwon", "--dry-run"), "did you mean countdown?"),
        (("questions", "letter-countdwon", "--dry-run"), "did you mean letter_countdown?"),
        (("questions", "reasoning_gym:gcd", "--dry-run"), "did you mean reasoning-gym:gcd?"),
        (("create", "-i", "x", "--formats", "*C_ful"), "did you mean *C_full?"),
        (("create", "-i", "x", "--task", "mathematic"), "did you mean mathematics?"),
        (("list", "format"), "did you mean formats?"),
        (("sample", "-o", "run", "--prompt-variants", "orignal"), "did you mean original?"),
        (
            ("questions", "reasoning-gym:chain_sum", "--gym", "max_term=3", "--dry-run"),
            "did you mean max_terms?",
        ),
    ],
)
def test_a_mistyped_name_is_told_what_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in error(*words)
    assert not list(tmp_path.iterdir())


def test_a_mistyped_key_of_a_config_is_told_what_it_may_be(tmp_path: Path) -> None:
    for text, said in {
        "create: {atempts: 3}": "did you mean attempts?",
        "crate: {attempts: 3}": "did you mean create?",
        "model: {grammar: vlm}": "did you mean vllm?",
    }.items():
        (tmp_path / "run.yaml").write_text(text)
        told = error("create", "-i", "x", "-c", tmp_path / "run.yaml", code=1)
        assert told.endswith(said), told


def test_what_is_there_is_no_mistyped_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "addtion"
    folder.mkdir()
    row = {"question": "1 + 1?", "answer": "2", "task_source": "addition"}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    assert "1 + 1?" in type_in("questions", "addtion", "--dry-run")


# -- list -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("tasks", "mathematics"),
        ("formats", "*C*IC"),
        ("sources", "reasoning-gym:NAME"),
        ("variants", "plan_and_execute"),
    ],
)
def test_list_has_a_line_for_each(kind: str, name: str) -> None:
    lines = type_in("list", kind).splitlines()
    assert any(line.startswith(f"{name} ") for line in lines)
    assert all(len(line.split(maxsplit=1)) == 2 and len(line) <= 110 for line in lines)


def test_list_shows_the_variants_of_a_file_too(tmp_path: Path) -> None:
    prompts = tmp_path / "mine.yaml"
    prompts.write_text("variants: {terse: {user: '{question} In <answer></answer>, no more.'}}")
    said = type_in("list", "variants", "--prompts", prompts)
    assert "terse" in said
    assert "In <answer></answer>, no more." in said
    assert "is for `list variants`" in error("list", "tasks", "--prompts", prompts)


# -- places ---------------------------------------------------------------------------------------


@pytest.fixture
def run_folder(tmp_path: Path, config: Path) -> Path:
    with serve(Server(("tiny",), speak=speak)) as server:
        type_in("run", config, "-o", tmp_path / "run", "--base-url", server.url, "--to", "reflect")
    return tmp_path / "run"


def test_create_takes_a_runs_folder(run_folder: Path) -> None:
    said = type_in("create", "-i", run_folder, "-o", run_folder / "sft", "--attempts", "2")
    assert "SFT dataset" in said
    assert read_manifest(run_folder / "sft")["input"]["rows"] == 192
    (run_folder / "annotated.parquet").unlink()
    told = error("create", "-i", run_folder, "-o", run_folder / "more", code=1)
    assert f"{run_folder}/annotated.parquet: is missing; `skill-factory reflect" in told
