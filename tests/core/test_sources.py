"""Where annotated datasets come from: files, folders, the Hub."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest
from conftest import (
    ANSWER,
    CORRECT,
    REAL,
    REFLECTION,
    RESPONSE,
    Make,
    Outcome,
    attempts,
    read_manifest,
    read_traces,
    run,
    write_rows,
)
from hub import Repo, commit, serve

ROWS = [row for i in range(30) for row in attempts(3, 4, f"What is {i} + {i}?\u2028 好 \U0001f600")]


@pytest.fixture
def expected(make: Make) -> list[dict[str, object]]:
    return read_traces(make(ROWS))


def test_json_of_every_kind(make: Make, tmp_path: Path, expected: object) -> None:
    lines = write_rows(tmp_path / "rows.jsonl", ROWS)
    escaped = "\r\n\r\n".join(json.dumps(row) for row in ROWS)
    kinds = {
        "lines.json": lines.read_bytes(),
        "lines.ndjson": lines.read_bytes().rstrip(),
        "escaped.jsonl": b"\xef\xbb\xbf" + escaped.encode(),
        "array.json": json.dumps(ROWS, indent=1).encode(),
        "lines.jsonl.gz": gzip.compress(lines.read_bytes()),
        "lines.jsonl.GZ": gzip.compress(lines.read_bytes()),
        "array.json.gz": gzip.compress(json.dumps(ROWS).encode()),
    }
    for name, content in kinds.items():
        (tmp_path / name).write_bytes(content)
        assert read_traces(make(tmp_path / name)) == expected, name


@pytest.mark.slow
def test_json_lines_longer_than_a_block(
    make: Make, tmp_path: Path, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skill_factory.core.sources import json_files

    monkeypatch.setattr(json_files, "CHUNK_BYTES", 300)
    path = write_rows(tmp_path / "rows.jsonl", ROWS)
    assert read_traces(make(path)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("nothing", [None, []])
@pytest.mark.parametrize("name", [RESPONSE, CORRECT, ANSWER, REFLECTION, "prompt_variant"])
def test_a_json_column_that_is_empty_for_long(
    make: Make, tmp_path: Path, name: str, nothing: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skill_factory.core.sources import json_files

    monkeypatch.setattr(json_files, "CHUNK_BYTES", 5000)
    if name == "prompt_variant":
        nothing = None
    rows = [row | {name: nothing} for row in ROWS[:100]] + ROWS[100:]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    assert read_traces(make(path)) == read_traces(make(rows))


def test_what_is_odd_in_other_columns_of_json_does_not_matter(
    make: Make, tmp_path: Path, expected: object
) -> None:
    path = tmp_path / "rows.jsonl"
    odd = '"\\ud800": 1, "long": ' + "9" * 5000 + ', "mixed": [1, "a", {}], "n": null, '
    lines = write_rows(path, ROWS).read_text().split("\n")[:-1]
    path.write_text("".join("{" + odd + line[1:] + "\n" for line in lines))
    assert read_traces(make(path)) == expected
    path.write_bytes(path.read_bytes().replace(b'"mixed"', b'"mi\xffxed"'))
    assert read_traces(make(path)) == expected


def test_a_folder_is_all_its_data_and_nothing_else(
    make: Make, tmp_path: Path, expected: object
) -> None:
    folder = tmp_path / "folder"
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / ".cache").mkdir()
    write_rows(folder / "data" / "train-00000.parquet", ROWS[:50])
    write_rows(folder / "data" / "deep" / "train-00001.parquet", ROWS[50:])
    write_rows(folder / ".cache" / "old.parquet", ROWS)
    for name in ("dataset_info.json", "README.md", "manifest.json"):
        (folder / name).write_text("{}")
    made = make(folder)
    assert read_traces(made) == expected
    files = {str(folder / "data" / "deep" / "train-00001.parquet"): len(ROWS) - 50}
    files[str(folder / "data" / "train-00000.parquet")] = 50
    assert read_manifest(made)["input"]["files"] == files


def test_rows_in_the_plan_count_over_all_files(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for piece in range(3):
        write_rows(folder / f"{piece}.parquet", ROWS[piece * 70 : (piece + 1) * 70])
    made = make(folder)
    plans = pq.read_table(made / "plan.parquet").to_pylist()
    for row, plan in zip(read_traces(made), plans, strict=True):
        for step in plan["steps"]:
            assert ROWS[step["row"]]["question"] == row["conversations"][0]["content"]


def test_a_split_of_a_folder(make: Make, tmp_path: Path, expected: object) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_rows(folder / "train-0.parquet", ROWS)
    write_rows(folder / "test-0.parquet", attempts(9, 9, "Other?"))
    made = make(folder, "--input-split", "train")
    assert read_traces(made) == expected
    assert read_manifest(made)["input"]["split"] == "train"


def test_a_folder_saved_to_disk(make: Make, tmp_path: Path, expected: object) -> None:
    import datasets

    held = datasets.Dataset.from_list(ROWS[:30])
    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": rows, "held": held}).save_to_disk(str(tmp_path / "two"))
    assert read_traces(make(tmp_path / "one")) == expected
    assert read_traces(make(tmp_path / "two")) == expected
    made = make(tmp_path / "two", "--input-split", "held")
    assert read_manifest(made)["input"]["rows"] == 30


@pytest.mark.parametrize("names", [["validation"], ["validation", "test"]])
def test_a_dataset_without_a_train_split_names_those_it_has(
    tmp_path: Path, names: list[str]
) -> None:
    import datasets

    rows = datasets.Dataset.from_list(ROWS[:30])
    datasets.DatasetDict(dict.fromkeys(names, rows)).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "files").mkdir()
    for name in names:
        write_rows(tmp_path / "files" / f"{name}-0.parquet", ROWS[:30])
    holds = f"holds the splits {', '.join(sorted(names))}; choose one with --input-split"
    for folder, problem in (("saved", holds), ("files", f"has no split 'train'; it {holds}")):
        options = () if folder == "saved" else ("--input-split", "train")
        done = run("-i", tmp_path / folder, "-o", tmp_path / "sft", *options)
        assert (done.code, done.err) == (1, f"Error: {tmp_path / folder}: {problem}\n")
        done = run("-i", tmp_path / folder, "-o", tmp_path / "sft", "--input-split", "dev")
        assert done.err == f"Error: {tmp_path / folder}: has no split 'dev'; it {holds}\n"
        done = run("-i", tmp_path / folder, "--dry-run", "--input-split", "validation")
        assert done.code == 0, done.err


def test_rows_chosen_in_a_dataset_on_disk_are_the_rows_read(make: Make, tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_list(ROWS).shuffle(seed=0).select(range(100, 180))
    rows.save_to_disk(str(tmp_path / "some"))
    assert read_traces(make(tmp_path / "some")) == read_traces(make(rows.to_list()))


def test_one_large_row_group_is_read_in_pieces(
    make: Make, tmp_path: Path, expected: object
) -> None:
    path = tmp_path / "one.parquet"
    pq.write_table(pq.read_table(write_rows(tmp_path / "rows.parquet", ROWS)), path)
    assert pq.ParquetFile(path).num_row_groups == 1
    assert read_traces(make(path)) == expected


# -- the Hub ---------------------------------------------------------------------------------------


class Hub(NamedTuple):
    """Runs `create` on a dataset of the test Hub; `commit` is that of org/public's main branch."""

    load: Callable[..., Outcome]
    commit: str


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    old = write_rows(tmp_path / "old.parquet", attempts(9, 9, "Old?")).read_bytes()
    new = write_rows(tmp_path / "new.parquet", ROWS).read_bytes()
    header = (
        "---\nconfigs:\n- config_name: default\n  data_files: data/*\n"
        "- config_name: other\n  data_files:\n  - split: held\n    path: other/*\n---\n"
    )
    files = {
        "README.md": header.encode(),
        "data/train-00000-of-00001.parquet": new,
        "other/x.parquet": REAL.read_bytes(),
    }
    before = {"README.md": header.encode(), "data/train-00000-of-00001.parquet": old}
    before["other/x.parquet"] = REAL.read_bytes()
    repos = {
        "org/public": Repo(files, tags={"v1": before}),
        "org/private": Repo(files, token="hf_right"),
    }

    def loaded(name: str, *options: str | Path, token: str = "") -> Outcome:
        with serve(repos) as address:
            return run(
                *options,
                *("-i", name, "-o", str(tmp_path / "sft"), "--overwrite"),
                HF_ENDPOINT=address,
                HF_HOME=str(tmp_path / f"home-{len(list(tmp_path.iterdir()))}"),
                HF_HUB_DISABLE_XET="1",
                HF_TOKEN=token,
            )

    return Hub(loaded, commit(files))


@pytest.mark.slow
def test_a_dataset_on_the_hub(hub: Hub, tmp_path: Path, expected: object) -> None:
    done = hub.load("org/public")
    assert done.code == 0, done.err
    assert done.err == ""
    assert read_traces(tmp_path / "sft") == expected
    source = read_manifest(tmp_path / "sft")["input"]
    assert source["name"] == "org/public"
    assert source["split"] == "train"
    assert source["revision"] == hub.commit


@pytest.mark.slow
def test_a_revision_and_a_config_of_a_dataset_on_the_hub(hub: Hub, tmp_path: Path) -> None:
    done = hub.load("org/public", "--revision", "v1")
    assert done.code == 0, done.err
    assert {row["conversations"][0]["content"] for row in read_traces(tmp_path / "sft")} == {"Old?"}
    done = hub.load("org/public", "--input-config", "other", "--input-split", "held")
    assert done.code == 0, done.err
    assert len(read_traces(tmp_path / "sft")) == 260


@pytest.mark.slow
def test_a_private_dataset_on_the_hub(hub: Hub, tmp_path: Path, expected: object) -> None:
    done = hub.load("org/private", token="hf_right")
    assert done.code == 0, done.err
    assert read_traces(tmp_path / "sft") == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("org/none", [], "no local file or folder of this name, and no dataset on"),
        ("org/private", [], "log in with `hf auth login` or set HF_TOKEN"),
        ("org/public", ["--input-config", "third"], "third"),
        (
            "org/public",
            ["--input-split", "third"],
            "has no split 'third'; it holds the splits train",
        ),
        ("org/public", ["--revision", "v9"], "has no revision 'v9'"),
        ("org/public", ["--question-column", "q"], "column 'q' is missing"),
    ],
)
def test_what_the_hub_does_not_have_is_one_line(
    hub: Hub, tmp_path: Path, name: str, options: list[str], problem: str
) -> None:
    done = hub.load(name, *options)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith(f"Error: {name}: ")
    assert problem in done.err
    assert not (tmp_path / "sft").exists()


@pytest.mark.slow
def test_no_hub_at_all_is_one_line(tmp_path: Path) -> None:
    done = run(
        *("-i", "org/none", "-o", str(tmp_path / "sft")),
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HOME=str(tmp_path / "home"),
    )
    assert done.code == 1
    nowhere = "Error: org/none: no local file or folder of this name, and no network: the Hub"
    assert done.err.startswith(nowhere)
    done = run(
        *("questions", "foobar", "-o", str(tmp_path / "q.parquet")),
        module="skill_factory",
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HOME=str(tmp_path / "home"),
    )
    assert done.code == 1
    assert "no network" in done.err
    assert "the sources are countdown, multiplication, " in done.err
    assert "Traceback" not in done.err
