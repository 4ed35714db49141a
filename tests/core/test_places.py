"""Paths and URLs: what a name names, and stores in this process through the Python API."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import hub
import pyarrow.parquet as pq
import pytest
from conftest import BUNDLED, attempts, read_manifest, run, write_rows

import skill_factory as sf
from skill_factory.core.places import RemotePath, place, to_parquet
from skill_factory.errors import InputError, NothingMadeError


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """The store that is this process's memory, empty."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield store
    store.store.clear()


def test_all_of_it_works_on_a_store_in_memory(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    memory.pipe_file("/in/annotated.parquet", BUNDLED.read_bytes())
    made = sf.create("memory://in/", "memory://out/sft", attempts=3)
    local = sf.create(BUNDLED, tmp_path / "sft", attempts=3)
    assert made.manifest["output"] == local.manifest["output"]
    assert made.table().equals(local.table())
    assert made.plan().equals(local.plan())
    assert len(made.dataset()) == 81
    assert not sf.check("memory://out/sft").errors
    assert sf.verify("memory://out/sft").same
    assert not sf.diff("memory://out/sft", tmp_path / "sft").differ
    assert sum(1 for _ in sf.traces("memory://out/sft")) == 81
    sf.report("memory://out/sft", output="memory://out/report.html")
    assert b"81 traces" in memory.cat_file("/out/report.html")
    assert not memory.exists("/out/sft/.skill-factory-partial")


def test_nothing_is_left_where_nothing_can_be_made(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path / "rows.parquet", attempts(0, 2))
    with pytest.raises(NothingMadeError):
        sf.create(rows, "memory://out/sft", attempts=3)
    assert memory.find("/") == []


def test_an_error_names_the_url_and_no_copy(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/out/sft/manifest.json", b"{}")
    with pytest.raises(InputError, match=r"^memory://out/sft: no parquet, jsonl"):
        sf.verify("memory://out/sft")


def test_a_place_can_be_sent_to_another_process(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/in/annotated.parquet", BUNDLED.read_bytes())
    there = pickle.loads(pickle.dumps(place("memory://in/annotated.parquet")))
    assert isinstance(there, RemotePath)
    assert pq.read_metadata(to_parquet(there)).num_rows == 256


def test_parts_of_a_url_are_those_of_a_path() -> None:
    found = place("s3://bucket/folder/rows.jsonl.gz")
    assert isinstance(found, RemotePath)
    assert (found.name, found.suffix, found.suffixes) == ("rows.jsonl.gz", ".gz", [".jsonl", ".gz"])
    assert str(found.parent) == "s3://bucket/folder"
    assert str(found.parent.parent.parent) == "s3://bucket"
    assert str(found.parent / "a") == "s3://bucket/folder/a"
    assert str(found.relative_to(RemotePath("s3://bucket/"))) == "folder/rows.jsonl.gz"


def test_a_file_of_a_dataset_on_the_hub_is_read_through_its_file_system(tmp_path: Path) -> None:
    files = {"data/train.parquet": BUNDLED.read_bytes(), "README.md": b"---\nlicense: mit\n---\n"}
    asked = list[hub.Request]()
    with hub.serve({"org/name": hub.Repo(files)}, log=asked) as address:
        environment: Any = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}
        for number, name in enumerate(("name/data/train.parquet", "name/data", "name")):
            source = f"hf://datasets/org/{name}"
            made = run(
                *("-i", source, "-o", tmp_path / str(number), "--attempts", "3"), **environment
            )
            assert made.code == 0, made.err
            assert read_manifest(tmp_path / str(number))["counts"]["traces"] == 81
        missing = run("-i", "hf://datasets/org/name/a.json", "-o", tmp_path / "a", **environment)
    assert missing.err == "Error: hf://datasets/org/name/a.json: no such file or folder\n"
    assert any(one.status == 206 for one in asked)  # a range of bytes


@pytest.mark.parametrize(
    "url", ["https://me:hidden@host/a.json", "https://host/a.json?X-Amz-Signature=hidden&a=hidden"]
)
def test_secrets_of_a_url_are_not_shown(url: str) -> None:
    assert "hidden" not in f"{place(url)} {place(url)!r}"
