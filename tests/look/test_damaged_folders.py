"""SFT folders that are not as they were made: one line says what is wrong, whatever the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REAL, Make, read_manifest, read_traces, run
from model_server import Server, serve
from test_runs import config, go
from test_terminal import EVIL, ORDERS
from tutor import speak

LOOKS = [
    *(("show",), ("show", "--questions"), ("show", "--lost"), ("show", "--lost", "not_drawn")),
    *(("report",), ("explain",), ("explain", "--source", "1"), ("verify",), ("check",)),
]
"""All that looks at one SFT folder."""

EDITS: list[tuple[str, Any]] = [
    *(("versions", None), ("input", {}), ("input.rows", "x"), ("input.rows", True)),
    *(("input.name", 3), ("input.revision", 3), ("input.files", []), ("settings", {})),
    *(("settings.formats", [3]), ("settings.task", 3), ("settings.response_column", None)),
    *(("settings.phrases", 7), ("counts.labels", {"1C": "x"}), ("ledger", None)),
    *(("ledger.attempts", None), ("ledger.rows.losses", 3), ("phrases", {"correct": [1]})),
    *(("output.files", [1]), ("output.files", {"plan.parquet": EVIL}), ("output", 1)),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    done = run("-i", REAL, "-o", folder / "sft", "--attempts", "2")
    assert done.code == 0, done
    return folder / "sft"


def look(command: tuple[str, ...], folder: Path) -> tuple[int, str]:
    """The exit code of a command, and all that it printed."""
    verb, *words = command
    if command == ("explain",):
        words = [read_traces(folder)[0]["trace_id"]]
    if verb == "report":
        words = ["-o", str(folder.parent / "page.html"), "--overwrite"]
    done = run(verb, folder, *words, module="skill_factory")
    return done.code, done.out + done.err


@pytest.mark.parametrize(("key", "value"), EDITS)
def test_an_edited_manifest_is_one_line(
    tmp_path: Path, whole: Path, key: str, value: object
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "sft"))
    manifest = part = read_manifest(folder)
    *above, last = key.split(".")
    for name in above:
        part = part[name]
    part[last] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for command in LOOKS:
        code, text = look(command, folder)
        assert code == 1, (command, text)
        assert f"manifest.json: {key}" in text
        assert text.endswith("; make the folder again\n")
        assert text.count("\n") == 1, text
        assert not ORDERS.search(text)
    assert not (tmp_path / "page.html").exists()


def test_folders_of_the_first_version_are_read(tmp_path: Path, whole: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "sft"))
    manifest = read_manifest(folder)
    for name in ("task", "answer_column", "task_column", "facts_column", "max_tokens", "layout"):
        del manifest["settings"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for command in LOOKS:
        code, text = look(command, folder)
        assert code == 0, (command, text)


def test_another_folder_s_plan_is_found_out(tmp_path: Path, whole: Path, make: Make) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "sft"))
    shutil.copy(make(REAL, "--attempts", "3") / "plan.parquet", folder)
    for command in LOOKS:
        code, text = look(command, folder)
        if command[:2] == ("show", "--lost"):  # no plan is needed
            continue
        assert code == 1, (command, text)
        assert "plan.parquet: " in text, command
    compared = run("diff", folder, whole, module="skill_factory")
    assert "plan.parquet: does not tell of these traces" in compared.err


def test_a_plan_of_other_traces_as_many_is_no_reason_to_call_two_folders_the_same(
    whole: Path, make: Make, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "sft"))
    other = make(REAL, "--attempts", "2", "--seed", "1")
    assert len(read_traces(other)) == len(read_traces(folder))
    shutil.copy(other / "plan.parquet", folder)
    compared = run("diff", folder, whole, module="skill_factory")
    assert (compared.code, compared.out) == (1, "")
    assert "plan.parquet: does not tell of these traces" in compared.err


def test_a_run_s_folder_is_told_from_an_sft_folder(tmp_path: Path) -> None:
    with serve(Server(speak=speak)) as server:
        go(tmp_path / "run", config(server))
    done = run("push", tmp_path / "run", "org/name", module="skill_factory")
    assert done.code == 1
    assert "is a run's folder; name its SFT folder, " + str(tmp_path / "run" / "sft") in done.err
    shutil.rmtree(tmp_path / "run" / "sft")
    (tmp_path / "run" / "graded.parquet").unlink()
    (tmp_path / "run" / "annotated.parquet").unlink()
    for command in [("show",), ("explain", "aa"), ("verify",), ("check",), ("show", "--questions")]:
        code, text = look(command, tmp_path / "run")
        assert code == 1, command
        assert "`skill-factory run` goes on with it" in text, (command, text)
        assert "`skill-factory report` shows how far it is" in text


def test_a_run_s_edited_accounts_are_one_line(tmp_path: Path) -> None:
    with serve(Server(speak=speak)) as server:
        go(tmp_path / "run", config(server))
    path = tmp_path / "run" / "manifest.json"
    whole = json.loads(path.read_text())
    for name, value in [("read", None), ("kept", "x"), ("losses", 3), ("losses", {"a": None})]:
        manifest = json.loads(json.dumps(whole))
        manifest["stages"]["sample"]["accounts"]["samples"][name] = value
        path.write_text(json.dumps(manifest))
        for command in [("show", "--lost"), ("show", "--lost", "no_verdict"), ("report",)]:
            code, text = look(command, tmp_path / "run")
            assert code == 1, (command, text)
            assert f"manifest.json: stages.sample.accounts.samples.{name}" in text
            assert "make it anew with `skill-factory run --from sample`" in text


def test_an_input_of_as_many_rows_but_other_content_is_found_out(tmp_path: Path) -> None:
    shutil.copy(REAL, tmp_path / "annotated.parquet")
    folder = tmp_path / "sft"
    done = run("-i", tmp_path / "annotated.parquet", "-o", folder, "--attempts", "2")
    assert done.code == 0, done
    table = pq.read_table(REAL)
    asked = [text.replace("What", "Wat") for text in table["question"].to_pylist()]
    pq.write_table(
        table.set_column(table.schema.get_field_index("question"), "question", pa.array(asked)),
        tmp_path / "annotated.parquet",
    )
    for command in [("show", "--questions"), ("show", "--lost", "not_drawn")]:
        code, text = look(command, folder)
        assert (code, text.count("\n")) == (1, 1), text
        assert f"is not what {folder} was made from; `skill-factory verify` says" in text
    code, text = look(("report",), folder)
    assert code == 0, text
    page = (tmp_path / "page.html").read_text()
    assert "What depends on the input is left out" in page
    assert f"is not what {folder} was made from" in page
