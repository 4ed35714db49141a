"""Verifying a dataset: it is made again, and each cause of a difference is told apart."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import (
    BUNDLED,
    CORRECT,
    REAL,
    RESPONSE,
    Make,
    Outcome,
    read_manifest,
    run,
    write_rows,
    write_tokenizer,
)
from model_server import Server, serve
from test_runs import config, go
from tutor import speak

import skill_factory as sf
from skill_factory import __version__
from skill_factory.stages.create.phrases import load_phrases

OPTIONS = ["--attempts", "3", "--formats", "*C_full", "*C*IC", "--subsample", "60"]


def verify(folder: Path, *options: str | Path) -> Outcome:
    return run("verify", folder, *options, module="skill_factory")


def causes(folder: Path, *options: str | Path) -> list[str]:
    """The causes of what differs."""
    done = verify(folder, "--json", *options)
    found = json.loads(done.out)
    assert done.code == (0 if found["same"] else 1)
    return [one["cause"] for one in found["findings"] if one["differs"]]


def change_manifest(folder: Path, **parts: Any) -> None:
    manifest = read_manifest(folder)
    for name, value in parts.items():
        manifest[name] |= value
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return Path(shutil.copy(BUNDLED, tmp_path / "data.parquet"))


@pytest.fixture
def folder(make: Make, data: Path) -> Path:
    return make(data, *OPTIONS)


def rewrite(data: Path, at: int, **columns: Any) -> None:
    rows = pq.read_table(data).to_pylist()
    rows[at] |= columns
    write_rows(data, rows, pq.read_schema(data))


def test_a_folder_that_was_left_alone_is_the_same(folder: Path, make: Make, tmp_path: Path) -> None:
    done = verify(folder)
    assert done.code == 0, done.out
    assert done.out == f"{folder}: the same was made again\n"
    phrases = {kind.value: list(texts) for kind, texts in load_phrases().phrases.items()}
    phrases["closing"] = ["All in all:"]
    (tmp_path / "phrases.yaml").write_text(yaml.safe_dump(phrases))
    (tmp_path / "out.txt").write_text("row 3\nquestion What is 7 + 12?\n")
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    with_all = make(
        REAL,
        *("--unique-variants", "--attempts", "3", "--layout", "messages", "--repeats", "2"),
        *("--phrases", tmp_path / "phrases.yaml", "--exclude", tmp_path / "out.txt"),
        *("--tokenizer", tokenizer, "--max-tokens", "400"),
        *("--drop-reflections-containing", "look 1", "--seed", "5"),
    )
    (tmp_path / "out.txt").unlink()
    assert verify(with_all).out.endswith(": the same was made again\n")


def test_the_order_of_rows_and_the_number_of_files_do_not_matter(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    rows = pq.read_table(data).to_pylist()[::-1]
    other = tmp_path / "other"
    other.mkdir()
    for number in range(2):
        write_rows(other / f"{number}.parquet", rows[number::2], pq.read_schema(data))
    data.unlink()
    assert causes(folder, "--input", other) == []


def test_a_file_that_was_edited_is_named(folder: Path) -> None:
    (file,) = (folder / "sft_train").glob("*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    done = verify(folder)
    assert done.code == 1
    assert f"files: {file}: was changed after it was made; last written 20" in done.out
    assert causes(folder) == ["files"]


def test_a_trace_that_was_edited_is_named(folder: Path) -> None:
    (file,) = (folder / "sft_train").glob("*.parquet")
    rows = pq.read_table(file).to_pylist()
    answer = rows[3]["conversations"][1]
    answer["content"] = answer["content"].replace("<answer>", "<answer>1", 1)
    write_rows(file, rows, pq.read_schema(file))
    done = verify(folder)
    assert f"traces with another text: 1: {rows[3]['trace_id']}" in done.out
    assert "what differs in them: attempt 1" in done.out
    assert causes(folder) == ["files"]


def test_a_file_that_was_added_is_named(folder: Path) -> None:
    shutil.copy(BUNDLED, folder / "sft_train" / "train-more.parquet")
    assert causes(folder) == ["files"]
    assert "train-more.parquet: is not a file that was made" in verify(folder).out


def test_a_file_that_is_gone_is_one_clear_error(folder: Path) -> None:
    (folder / "plan.parquet").unlink()
    done = verify(folder)
    assert done.code == 1
    assert "plan.parquet: is missing, though manifest.json names it" in done.err


def test_an_input_of_which_a_row_changed(folder: Path, data: Path) -> None:
    used = pq.read_table(folder / "plan.parquet").to_pylist()[0]["steps"][0]["row"]
    rewrite(data, used, **{RESPONSE: ["Another way.\n<answer>11</answer>"]})
    assert causes(folder) == ["input"]
    said = verify(folder).out
    assert f"input: {data}: its content is not what it was (as many rows); last written 20" in said
    assert "traces with another text: " in said
    assert "it was made again, and is not the same" in said


def test_an_input_that_lost_a_row_or_its_last_right_answer(folder: Path, data: Path) -> None:
    rows, schema = pq.read_table(data).to_pylist(), pq.read_schema(data)
    write_rows(data, rows[:-1], schema)
    assert causes(folder) == ["input"]
    assert f"({len(rows):,} rows then, {len(rows) - 1:,} now)" in verify(folder).out
    write_rows(data, [row | {CORRECT: [False]} for row in rows], schema)
    assert "no trace can be made of it any more" in verify(folder).out
    assert causes(folder) == ["input"]


def test_an_input_that_is_gone_or_moved(folder: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = data.rename(tmp_path / "elsewhere" / "moved.parquet")
    assert causes(folder) == ["input"]
    said = verify(folder).out
    assert f"was made from {data}, which is not here; put it there, or beside the folder" in said
    assert "or name it with --input" in said
    assert "it cannot be made again" in said
    assert causes(folder, "--input", moved) == []


def test_python_says_the_same(folder: Path, data: Path) -> None:
    assert sf.verify(folder).same
    data.unlink()
    (finding,) = sf.verify(folder).findings
    assert (finding.cause, finding.differs) == ("input", True)
    with pytest.raises(sf.SkillFactoryError, match="nothing"):
        sf.verify(folder, formats=["nothing"])


def test_rows_in_memory_are_asked_for(tmp_path: Path, data: Path) -> None:
    made = sf.create(pq.read_table(data), tmp_path / "sft", attempts=3)
    assert isinstance(made.folder, Path)
    assert "was made from rows in memory; save them to a file" in verify(made.folder).out
    assert causes(made.folder, "-i", data) == []


def test_a_phrase_file_that_changed_is_noted_and_not_used(
    make: Make, data: Path, tmp_path: Path
) -> None:
    phrases = {kind.value: list(texts) for kind, texts in load_phrases().phrases.items()}
    path = tmp_path / "phrases.yaml"
    path.write_text(yaml.safe_dump(phrases | {"closing": ["All in all:"]}))
    folder = make(data, "--phrases", path)
    path.write_text(yaml.safe_dump(phrases | {"closing": ["Summing up:"]}))
    done = verify(folder)
    assert done.code == 0
    assert f"phrases: the phrases of {path} are others now; those in manifest.json are" in done.out
    path.unlink()
    done = verify(folder)
    assert done.code == 0
    assert "phrases: " in done.out


def test_phrases_that_were_edited_in_the_manifest(folder: Path) -> None:
    phrases = read_manifest(folder)["phrases"]
    phrases["closing"] = [f"{text} Yes." for text in phrases["closing"]]
    change_manifest(folder, phrases=phrases)
    assert causes(folder) == ["phrases"]
    assert "its phrases are not those that the traces were made with" in verify(folder).out


def test_settings_that_were_edited_in_the_manifest(folder: Path) -> None:
    change_manifest(folder, settings={"seed": 7})
    assert causes(folder) == ["manifest"]


def test_a_folder_of_another_version(folder: Path) -> None:
    """An older version's settings have no `exclude`, and its traces were the same, or not."""
    settings = read_manifest(folder)["settings"]
    del settings["exclude"]
    manifest = read_manifest(folder) | {"settings": settings}
    manifest["versions"]["skill_factory"] = "0.2.0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = verify(folder)
    assert done.code == 0, done.out
    assert f"version: was made by skill-factory 0.2.0; this is {__version__}, and " in done.out
    assert "makes the same traces" in done.out
    change_manifest(folder, output={"digest": "0" * 32})
    assert causes(folder) == ["version"]


def test_settings_that_this_version_has_not(folder: Path) -> None:
    change_manifest(folder, settings={"shuffle": True}, versions={"skill_factory": "9.0"})
    assert causes(folder) == ["settings"]
    said = verify(folder).out
    assert "shuffle: unknown key" in said
    assert f"it was made by skill-factory 9.0, and this is {__version__}: verify it" in said


OWN = """
from skill_factory.stages.create.formats import Format, Recipe

def one_right(pool, draws, n):
    return Recipe("right", [pool.one(draws, pool.correct)], 0)

shortest = Format("one_right", one_right)
"""


def own_format(path: Path) -> Path:
    path.write_text(OWN)
    return path


def test_code_of_the_users_own_is_asked_for_and_never_loaded_unasked(
    make: Make, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    path = own_format(tmp_path / "mine" / "own.py")
    folder = make(data, "--attempts", "2", "--formats", f"{path}:shortest")
    assert read_manifest(folder)["settings"]["formats"] == ["own.py:shortest"]
    Path("own.py").write_text("raise SystemExit('loaded')")
    assert causes(folder) == ["settings"]
    said = verify(folder).out
    assert "was made with code of your own, of which only the name is kept; say where" in said
    assert "--formats own.py:shortest, with the path of each file" in said
    assert causes(folder, "--formats", f"{path}:shortest") == []


def test_a_run_and_an_older_runs_folder(tmp_path: Path) -> None:
    with serve(Server(speak=speak)) as server:
        go(tmp_path / "run", config(server))
    assert causes(tmp_path / "run") == []
    old = Path(shutil.copytree("tests/data/old_run", tmp_path / "old"))
    done = verify(old)
    assert done.code == 1
    assert "this run has no traces yet; `skill-factory run` goes on with it" in done.err
    done = run("create", "-i", old, "-o", tmp_path / "sft", "--attempts", "2",
               module="skill_factory")  # fmt: skip
    assert done.code == 0
    assert causes(tmp_path / "sft") == []


@pytest.mark.parametrize(
    "content", ["{}", "[1]", '{"output": {"files": {}}}', '{"output": {"files": {"a": 1}}}', "x"]
)
def test_a_manifest_that_is_none_is_one_clear_error(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    done = verify(folder)
    assert done.code == 1
    assert str(folder) in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_nothing_is_left_behind(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    done = run("verify", folder, module="skill_factory", TMPDIR=str(place))
    assert done.code == 0, done.err
    assert os.listdir(place) == []
