"""Bad input through the command line: one clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import (
    ANSWER,
    CORRECT,
    REAL,
    REFLECTION,
    RESPONSE,
    Outcome,
    Row,
    attempts,
    read_traces,
    run,
    write_rows,
)

from skill_factory.errors import ConfigError
from skill_factory.runs.config import load_run_file

GOOD = attempts(3, 3)


def fails(tmp_path: Path, *options: object, code: int = 1) -> str:
    """Run `create`, which must fail cleanly; returns its error."""
    before = set(tmp_path.rglob("*"))
    done: Outcome = run(*map(str, options), cwd=tmp_path)
    assert done.code == code, done
    assert "Traceback" not in done.err
    assert set(tmp_path.rglob("*")) == before
    return " ".join(done.err.split())


def create_fails(tmp_path: Path, source: Path | str, *options: object, code: int = 1) -> str:
    return fails(tmp_path, "-i", source, "-o", "./sft", *options, code=code)


def test_a_missing_file(tmp_path: Path) -> None:
    for name in ("./none.parquet", "none.parquet", "/no/such/folder", "a/b/c"):
        assert f"{name}: no such file or folder" in create_fails(tmp_path, name)


def test_an_empty_file(tmp_path: Path) -> None:
    for name in ("empty.parquet", "empty.jsonl"):
        (tmp_path / name).touch()
        assert f"{name}: the file is empty" in create_fails(tmp_path, tmp_path / name)


def test_a_file_without_rows(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "none.parquet", [])
    assert "none.parquet: the dataset has no rows" in create_fails(tmp_path, path)


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "text.parquet"
    path.write_text("question,answer\n")
    assert "text.parquet: not a parquet file" in create_fails(tmp_path, path)


def test_a_parquet_file_that_is_cut_off_or_damaged(tmp_path: Path) -> None:
    content = REAL.read_bytes()
    cut, damaged = tmp_path / "cut.parquet", tmp_path / "damaged.parquet"
    cut.write_bytes(content[:-1000])
    assert "cut.parquet: not a parquet file" in create_fails(tmp_path, cut)
    damaged.write_bytes(content[:5000] + b"\xff" * 5000 + content[10000:])
    assert "damaged.parquet: " in create_fails(tmp_path, damaged)


def test_options_that_a_local_path_has_no_use_for(tmp_path: Path) -> None:
    assert "--revision is for datasets on the Hub" in create_fails(
        tmp_path, REAL, "--revision", "main"
    )
    for option in ("--input-config", "--input-split"):
        error = create_fails(tmp_path, REAL, option, "train")
        assert "a file has no configs and splits" in error


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("question\n")
    error = create_fails(tmp_path, "rows.txt")
    assert "rows.txt: expected a .parquet, .jsonl, .json or .csv file" in error


def test_a_folder_with_several_configs(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("easy", "hard"):
        (folder / name).mkdir(parents=True)
        write_rows(folder / name / "rows.parquet", attempts(3, 3, f"{name}?"))
    (folder / "README.md").write_text(
        "---\nconfigs:\n- {config_name: easy, data_files: easy/*}\n"
        "- {config_name: hard, data_files: hard/*}\n---\n# Both\n"
    )
    error = create_fails(tmp_path, folder)
    assert "holds the configs easy, hard; choose one with --input-config" in error
    done = run("-i", folder, "-o", tmp_path / "sft", "--input-config", "hard")
    assert done.code == 0, done.err
    questions = {row["conversations"][0]["content"] for row in read_traces(tmp_path / "sft")}
    assert questions == {"hard?"}


def test_splits_are_found_anywhere_in_the_paths(tmp_path: Path) -> None:
    for names in (("default/train/0", "default/test/0"), ("my_train", "my-validation")):
        folder = tmp_path / names[0].replace("/", "-")
        for name in names:
            path = folder / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_rows(path, GOOD)
        assert "holds the splits" in create_fails(tmp_path, folder)
    folder = tmp_path / "one"
    folder.mkdir()
    for name in ("training-0", "train_1", "trainer", "latest", "evaluated"):
        write_rows(folder / f"{name}.parquet", GOOD)
    assert run("-i", folder, "-o", tmp_path / "sft").code == 0


def test_a_folder_without_data(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "README.md").touch()
    assert "no parquet, jsonl, json or csv file" in create_fails(tmp_path, "./folder")


def test_a_folder_with_two_kinds_or_several_splits(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_rows(folder / "train-0.parquet", GOOD)
    write_rows(folder / "test-0.parquet", GOOD)
    error = create_fails(tmp_path, folder)
    assert "holds the splits test, train" in error
    assert "--input-split" in error
    write_rows(folder / "more.jsonl", GOOD)
    assert "holds jsonl and parquet files" in create_fails(tmp_path, folder)


@pytest.mark.parametrize(
    ("column", "option"),
    [
        ("question", "--question-column"),
        ("prompt_variant", "--variant-column"),
        (RESPONSE, "--response-column"),
        (CORRECT, "--correctness-column"),
        (ANSWER, "--extracted-answer-column"),
        (REFLECTION, "--reflection-column"),
    ],
)
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_missing_column(tmp_path: Path, column: str, option: str, suffix: str) -> None:
    rows = [{key: value for key, value in row.items() if key != column} for row in GOOD]
    path = write_rows(tmp_path / f"rows.{suffix}", rows, schema=None)
    error = create_fails(tmp_path, path)
    assert f"rows.{suffix}: column '{column}' is missing" in error
    assert f"Columns there are: {', '.join(rows[0])}" in error
    assert option in error


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("question", ["What?"], "list<element: string>"),
        ("question", 4, "int64"),
        (RESPONSE, [["4"]], "list<element: list<element: string>>"),
        (RESPONSE, 4, "int64"),
        (CORRECT, [["yes"]], "list<element: list<element: string>>"),
        (CORRECT, {"right": True}, "struct<right: bool>"),
        (ANSWER, [4], "list<element: int64>"),
        (REFLECTION, [True], "list<element: bool>"),
        (REFLECTION, {"text": "x"}, "struct<text: string>"),
    ],
)
def test_a_column_of_the_wrong_type(tmp_path: Path, column: str, value: object, found: str) -> None:
    rows = [row | {column: value} for row in GOOD]
    path = write_rows(tmp_path / "rows.parquet", rows, schema=None)
    error = create_fails(tmp_path, path)
    assert f"rows.parquet: column '{column}' has the type {found}; expected " in error
    path = write_rows(tmp_path / "rows.jsonl", rows, schema=None)
    assert f"rows.jsonl: column '{column}' has the type " in create_fails(tmp_path, path)


def test_correctness_that_is_neither_true_nor_false(tmp_path: Path) -> None:
    rows = [row | {CORRECT: ["yes"]} for row in GOOD]
    path = write_rows(tmp_path / "rows.parquet", rows, schema=None)
    assert f"rows.parquet: row 0, column '{CORRECT}': expected list<" in create_fails(
        tmp_path, path
    )


def test_several_responses_with_a_flat_list_of_reflections(tmp_path: Path) -> None:
    row: Row = GOOD[0] | {RESPONSE: ["a", "b"], CORRECT: [True, False], ANSWER: ["4", "5"]}
    folder = tmp_path / "two"
    folder.mkdir()
    write_rows(folder / "a.parquet", GOOD)
    write_rows(folder / "b.parquet", [*GOOD, row])
    error = create_fails(tmp_path, folder)
    assert "b.parquet: row 6 has 2 responses, but column" in error
    assert "is one flat list" in error


def test_json_lines_with_a_fault_name_the_line(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", GOOD)
    good = path.read_text()
    path.write_text(good + '{"question": "Why\n')
    assert "rows.jsonl: line 7 is not JSON" in create_fails(tmp_path, path)
    path.write_text(good + "[1, 2]\n")
    assert "rows.jsonl: line 7 is not a JSON object" in create_fails(tmp_path, path)
    path.write_text(good + json.dumps(GOOD[0] | {CORRECT: ["yes"]}) + "\n")
    error = create_fails(tmp_path, path)
    assert f"rows.jsonl: line 7, column '{CORRECT}': expected list<item: bool>" in error
    path.write_text(good + "null")
    assert "rows.jsonl: line 7 is not a JSON object" in create_fails(tmp_path, path)
    path.write_text(good + '{"deep": ' + "[" * 200_000 + "}")
    assert "rows.jsonl: line 7 is not JSON" in create_fails(tmp_path, path)
    path.write_text('[{"question": "Why?"}, 3]')
    assert "rows.jsonl: row 1 is not a JSON object" in create_fails(tmp_path, path)
    path.write_text('[{"question": "Why?"')
    assert "rows.jsonl: not JSON" in create_fails(tmp_path, path)


def test_no_usable_row_is_0_traces_with_the_ledger(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", attempts(0, 6))
    done = run("-i", path, "-o", tmp_path / "sft")
    assert done.code == 1
    assert "Error: 0 traces" in done.err
    assert "no_correct_attempt" in done.out
    assert not (tmp_path / "sft").exists()
    rows = [row | {"question": None} for row in GOOD]
    path = write_rows(tmp_path / "rows.parquet", rows)
    done = run("-i", path, "--dry-run")
    assert (done.code, "no_question" in done.out) == (1, True)


def test_a_phrase_file_with_a_fault(tmp_path: Path) -> None:
    (tmp_path / "phrases.yaml").write_text("generic: [a]\n")
    error = create_fails(tmp_path, REAL, "--phrases", "phrases.yaml")
    assert "phrases.yaml: correct: expected a list" in error


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--attempts", "0"], "Invalid value for '--attempts'"),
        (["--attempts", "many"], "Invalid value for '--attempts'"),
        (["--repeats", "0"], "Invalid value for '--repeats'"),
        (["--subsample", "0"], "Invalid value for '--subsample'"),
        (["--workers", "0"], "Invalid value for '--workers'"),
        (["--formats", "0C", "7C"], "unknown format '7C'; the formats are 0C, *C, *C_full, *C*IC"),
        (["--formats", "0C", "0C"], "a format is named twice"),
        (["--attempts", "1", "--formats", "*CC"], "*CC needs attempts to be 2 or more"),
        (["--attempts", "1", "--sample-lengths"], "attempts must be 2 or more"),
        (["--drop-reflections-containing", ""], "a blank text would drop every reflection"),
        (["--formats", ","], "Invalid value for '--formats': expected a name"),
        (["--prompt-variants", ""], "Invalid value for '--prompt-variants"),
        (["--no-such-option"], "No such option"),
        (["stray"], "unexpected extra argument"),
    ],
)
def test_wrong_options_are_usage_errors(tmp_path: Path, options: list[str], problem: str) -> None:
    assert problem in create_fails(tmp_path, REAL, *options, code=2)


def test_missing_input_or_output_is_a_usage_error(tmp_path: Path) -> None:
    assert "no input dataset; name it with -i" in fails(tmp_path, "-o", "./sft", code=2)
    assert "no output dataset; name it with -o" in fails(tmp_path, "-i", REAL, code=2)


def test_one_column_cannot_be_two_things(tmp_path: Path) -> None:
    error = create_fails(tmp_path, REAL, "--variant-column", "question")
    assert "column 'question' cannot be two things at once" in error
    assert "--variant-column" in error


def test_an_output_inside_the_input(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "rows.parquet", GOOD)
    error = fails(tmp_path, "-i", "data", "-o", "./data/sft")
    assert "data/sft: lies inside the input data" in error


def test_names_that_no_path_can_have(tmp_path: Path) -> None:
    for name in ("~nouser/x", "./" + "x" * 5000):
        assert "no such file or folder" in create_fails(tmp_path, name)
        assert "cannot be written" in fails(tmp_path, "-i", REAL, "-o", name)


def test_a_link_to_nowhere_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "a.parquet", GOOD)
    (tmp_path / "data" / "b.parquet").symlink_to("nowhere.parquet")
    assert "b.parquet: a link to a file that is not there" in create_fails(tmp_path, "data")


def test_a_name_that_is_neither_a_path_nor_a_repository_is_refused(tmp_path: Path) -> None:
    for name in ("traces", "a/b/c"):
        error = fails(tmp_path, "-i", REAL, "-o", name, code=2)
        assert f"for a folder write -o ./{name}; for a repository on the Hub, org/name" in error


def test_private_is_for_repositories(tmp_path: Path) -> None:
    assert "--private is for" in fails(tmp_path, "-i", REAL, "-o", "./x", "--private", code=2)


def test_a_token_limit_needs_a_tokenizer(tmp_path: Path) -> None:
    error = fails(tmp_path, "-i", REAL, "-o", "./x", "--max-tokens", "9", code=2)
    assert "max_tokens: goes with tokenizer" in error
    error = fails(
        tmp_path, "-i", REAL, "-o", "./x", "--max-tokens", "9", "--tokenizer", "./nowhere"
    )
    assert "./nowhere: no such folder" in error


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    error = fails(tmp_path, "-i", REAL, "-o", "./x", "--task", "chess", code=2)
    assert "no task is known as 'chess'; the tasks are countdown," in error


def test_an_output_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file: is a file, not a folder" in fails(tmp_path, "-i", REAL, "-o", "./file")
    error = fails(tmp_path, "-i", REAL, "-o", "./file", "--overwrite")
    assert "file: is a file, not a folder" in error
    assert "cannot be written" in fails(tmp_path, "-i", REAL, "-o", "./file/sft")


# -- config files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("create:\n  attempts: 5\n  atempts: 3\n", "line 3: create.atempts: unknown key"),
        ("crate:\n  attempts: 5\n", "line 1: crate: unknown key; the keys are questions, model, "),
        (
            "create:\n  # how many\n  attempts: '5'\n",
            "line 3: create.attempts: expected a whole",
        ),
        ("create:\n  seed: 1.5\n", "line 2: create.seed: expected a whole number, not 1.5"),
        ("create:\n  attempts: 0\n", "line 2: create.attempts: expected 1 to 1000, not 0"),
        ("create:\n  dry_run: 1\n", "line 2: create.dry_run: expected true or false, not 1"),
        ("create:\n  formats: 0C\n", "line 2: create.formats: expected a list, not '0C'"),
        ("create:\n  formats:\n  - 0C\n  - 5\n", "line 4: create.formats.1: expected text, not 5"),
        ("create:\n  formats: [0C, 7C]\n", "line 2: create.formats: unknown format '7C'"),
        ("create:\n  seed: 1\n  seed: 2\n", "line 3: the key create.seed is there twice"),
        ("create: [unclosed\n", "not a YAML file"),
        ("create:\n  seed: 2024-13-45\n", "not a YAML file: month must be in"),
        ("create: &a\n  formats: *a\n", "not a YAML file"),
        ("create:\n  formats: [*C]\n", "not a YAML file; put names with a * in quotes"),
        (
            "create:\n  prompt_variants: []\n",
            "line 2: create.prompt_variants: expected one or more",
        ),
        ("- create\n", "expected settings under a key"),
        ("create: 5\n", "line 1: create: expected settings"),
    ],
)
def test_a_config_with_a_fault_names_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    error = create_fails(tmp_path, REAL, "--config", "run.yaml")
    assert f"run.yaml: {problem}" in error


def test_a_missing_config(tmp_path: Path) -> None:
    error = create_fails(tmp_path, REAL, "--config", "none.yaml")
    assert "none.yaml: cannot read the config: No such file" in error


def test_flags_win_over_the_config(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        f"create:\n  input_dataset: {REAL}\n  attempts: 3\n  formats: ['0C', '*C']\n"
        "  unique_variants: true\n  dry_run: true\n"
    )
    done = run("--config", "run.yaml", "--formats", "*C", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "3C " in done.out
    assert "0C " not in done.out


@pytest.mark.parametrize("nothing", ["questions:\n", "questions: null\nmodel:\n", "", "# none\n"])
def test_a_key_with_nothing_under_it_says_nothing(tmp_path: Path, nothing: str) -> None:
    (tmp_path / "run.yaml").write_text(f"{nothing}create:\n  attempts: 3\n")
    done = run("-i", REAL, "-c", "run.yaml", "--formats", "*C", "--dry-run", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "3C " in done.out


def test_what_another_stage_has_can_be_taken_over_and_changed(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "sample: &drawn\n  temperature: 0.5\n  max_tokens: 9\n"
        "reflect:\n  <<: *drawn\n  temperature: 0.1\n"
        "create:\n  <<: {attempts: 3, repeats: 2}\n  attempts: 2\n"
    )
    found = load_run_file(tmp_path / "run.yaml")
    assert (found.reflect.temperature, found.reflect.max_tokens) == (0.1, 9)
    assert (found.create.attempts, found.create.repeats) == (2, 2)
    (tmp_path / "run.yaml").write_text("create:\n  <<: {attempts: 3}\n  seed: 1\n  seed: 2\n")
    with pytest.raises(ConfigError, match=r"line 4: the key create\.seed is there twice"):
        load_run_file(tmp_path / "run.yaml")


def test_columns_of_other_types_do_not_matter(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([row | {"metadata": {"a": [1.5]}, "answer": 4} for row in GOOD])
    pq.write_table(table, tmp_path / "rows.parquet")
    assert run("-i", tmp_path / "rows.parquet", "-o", tmp_path / "sft").code == 0


def test_a_folder_written_like_a_repository_is_not_pushed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    error = fails(tmp_path, "-i", REAL, "-o", "mine/sft", code=2)
    assert "there is a folder mine here; for a folder write -o ./mine/sft" in error
    assert not list((tmp_path / "mine").iterdir())


@pytest.mark.parametrize(
    "command", [("grade",), ("reflect", "--base-url", "http://127.0.0.1:9/v1")]
)
def test_a_run_that_is_not_there_is_not_begun(tmp_path: Path, command: tuple[str, ...]) -> None:
    name, *more = command
    done = run(name, "nosuch", *more, module="skill_factory", cwd=tmp_path)
    assert done.code == 1
    assert done.err.startswith("Error: nosuch: no such run")
    assert not list(tmp_path.iterdir())


def test_folders_that_are_not_there_are_said_not_to_be(tmp_path: Path) -> None:
    done = run("check", "nosuch", module="skill_factory", cwd=tmp_path)
    assert (done.code, done.err) == (1, "Error: nosuch: no such file or folder\n")
    done = run("check", "nosuch", "--tokenizer", "./modle", module="skill_factory", cwd=tmp_path)
    assert (done.code, done.err) == (1, "Error: ./modle: no such folder\n")


def test_an_sft_folder_is_no_input(tmp_path: Path) -> None:
    done = run("-i", REAL, "-o", "./sft", "--attempts", "2", cwd=tmp_path)
    assert done.code == 0
    assert "is an SFT folder" in fails(tmp_path, "-i", "./sft", "-o", "./again")
