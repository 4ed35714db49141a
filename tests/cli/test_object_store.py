"""Paths in a store: commands against a real S3 server on the loopback, with its faults."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hub
import object_store
import pyarrow.parquet as pq
import pytest
from conftest import BUNDLED, ROOT, attempts, read_manifest, run, write_rows
from object_store import Fault, ObjectStore

from skill_factory.core.places import bytes_of, place
from skill_factory.core.sources.find_source import find_source
from skill_factory.core.sources.local_files import FileSource
from skill_factory.core.whole_files import new_file
from skill_factory.errors import OutputError
from skill_factory.runs.lock import locked

BUCKET, ANNOTATED, SFT = "traces", "s3://traces/annotated/", "s3://traces/sft"
CREATE = ("create", "-i", ANNOTATED, "-o", SFT, "--attempts", "3")
MADE = {
    "README.md",
    "dataset_info.json",
    "manifest.json",
    "plan.parquet",
    "sft_train/train-00000-of-00001.parquet",
}


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with object_store.serve() as store:
        yield store


@pytest.fixture
def store(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """The server with one bucket, which holds an annotated dataset."""
    import s3fs

    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    client = server.client()
    client.create_bucket(Bucket=BUCKET)
    client.upload_file(str(BUNDLED), BUCKET, "annotated/a.parquet")
    s3fs.S3FileSystem.clear_instance_cache()
    server.log.clear()
    yield server
    server.faults.clear()
    names = [{"Key": key} for key in server.keys(BUCKET)]
    for start in range(0, len(names), 1000):
        client.delete_objects(Bucket=BUCKET, Delete={"Objects": names[start : start + 1000]})
    for one in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        client.abort_multipart_upload(Bucket=BUCKET, Key=one["Key"], UploadId=one["UploadId"])
    client.delete_bucket(Bucket=BUCKET)


def ours(*arguments: str | Path) -> Any:
    return run(*arguments, module="skill_factory")


def made(store: ObjectStore, folder: str = "sft") -> set[str]:
    """The names of the files in a folder."""
    return {key.removeprefix(f"{folder}/") for key in store.keys(BUCKET, f"{folder}/")}


def manifest(store: ObjectStore) -> dict[str, Any]:
    found = store.client().get_object(Bucket=BUCKET, Key="sft/manifest.json")
    content: dict[str, Any] = json.loads(found["Body"].read())
    return content


# -- what is made ---------------------------------------------------------------------------------


def test_an_sft_folder_in_a_store_has_the_bytes_of_a_local_one(
    store: ObjectStore, tmp_path: Path
) -> None:
    done = ours(*CREATE)
    assert (done.code, done.err) == (0, "")
    assert "SFT dataset: s3://traces/sft" in done.out
    assert made(store) == MADE
    local = tmp_path / "sft"
    assert ours("create", "-i", BUNDLED, "-o", local, "--attempts", "3").code == 0
    here, there = read_manifest(local), manifest(store)
    assert there["output"] == here["output"]
    assert there["input"]["digest"] == here["input"]["digest"]
    assert there["input"]["name"] == ANNOTATED
    assert there["input"]["files"] == {f"{ANNOTATED}a.parquet": 256}
    for name in MADE - {"manifest.json", "README.md"}:  # these name the input
        key = f"sft/{name}"
        assert (
            store.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
            == (local / name).read_bytes()
        )


@pytest.mark.slow
def test_its_traces_are_read_by_datasets(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    assert ours(*CREATE).code == 0
    found = datasets.load_dataset(
        "parquet",
        data_files="s3://traces/sft/sft_train/*.parquet",
        split="train",
        cache_dir=str(tmp_path),
    )
    assert len(found) == manifest(store)["counts"]["traces"] == 81
    assert found[0]["conversations"][1]["content"].startswith("<think>")


def test_the_manifest_is_the_last_file_to_come(store: ObjectStore) -> None:
    assert ours(*CREATE).code == 0
    written = [one.path.partition("?")[0] for one in store.log if one.method in ("PUT", "POST")]
    assert written[0] == "/traces/sft/.skill-factory-partial"
    assert written[-1] == "/traces/sft/manifest.json"


def test_a_folder_that_is_there_is_replaced_only_when_asked(store: ObjectStore) -> None:
    assert ours(*CREATE).code == 0
    again = ours(*CREATE)
    assert (again.code, again.err) == (
        1,
        "Error: s3://traces/sft: exists already; choose another output, or replace it with "
        "--overwrite\n",
    )
    store.client().put_object(Bucket=BUCKET, Key="sft/sft_train/old.parquet", Body=b"old")
    store.log.clear()
    assert ours(*CREATE, "--overwrite", "--seed", "1").code == 0
    assert made(store) == MADE
    assert manifest(store)["settings"]["seed"] == 1
    changes = [one.path for one in store.log if one.method in ("PUT", "DELETE", "POST")]
    assert changes[:2] == ["/traces/sft/.skill-factory-partial", "/traces/sft/manifest.json"]


def test_what_is_no_sft_folder_is_not_replaced(store: ObjectStore) -> None:
    store.client().put_object(Bucket=BUCKET, Key="sft/thesis.tex", Body=b"text")
    done = ours(*CREATE, "--overwrite")
    assert (done.code, done.err) == (
        1,
        "Error: s3://traces/sft: has no manifest.json and sft_train, so it is not replaced; choose "
        "another output\n",
    )
    assert made(store) == {"thesis.tex"}


def test_an_output_inside_the_input_is_refused(store: ObjectStore) -> None:
    done = ours("create", "-i", ANNOTATED, "-o", f"{ANNOTATED}sft", "--attempts", "3")
    assert done.code == 1
    assert "lies inside the input" in done.err


# -- what is read ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_folder_in_a_store_is_looked_at_as_a_local_one(
    store: ObjectStore, tmp_path: Path
) -> None:
    local = tmp_path / "sft"
    assert ours("create", "-i", BUNDLED, "-o", local, "--attempts", "3").code == 0
    assert ours(*CREATE).code == 0
    trace = pq.read_table(local / "sft_train")["trace_id"][0].as_py()
    for command in (
        ("check", "DIR", "--json"),
        ("show", "DIR", "-n", "2"),
        ("show", "DIR", "--lost"),
        ("show", "DIR", "--questions"),
        ("explain", "DIR", trace),
        ("diff", "DIR", str(local)),
        ("verify", "DIR"),
    ):
        here, there = (
            ours(*(one.replace("DIR", str(place)) for one in command)) for place in (local, SFT)
        )
        assert there.code == here.code == 0, (command, there)
        expected = here.out.replace(str(local), SFT).replace(str(BUNDLED), ANNOTATED)
        assert there.out.replace(f"{ANNOTATED}a.parquet", ANNOTATED) == expected
        assert not re.search("skill-factory-[a-z0-9_]{8}", there.out + there.err)


def test_a_damaged_file_is_named_by_its_url(store: ObjectStore) -> None:
    assert ours(*CREATE).code == 0
    store.client().put_object(Bucket=BUCKET, Key="sft/plan.parquet", Body=b"nothing")
    done = ours("check", SFT)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "Error: s3://traces/sft/plan.parquet: is not the file that manifest.json names; make it "
        "again\n"
    )


def test_a_report_is_read_from_a_store_and_written_there(store: ObjectStore) -> None:
    assert ours(*CREATE).code == 0
    page = "s3://traces/pages/report.html"
    done = ours("report", SFT, "-o", page)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{page}: ")
    text = store.client().get_object(Bucket=BUCKET, Key="pages/report.html")["Body"].read().decode()
    assert "81 traces" in text
    assert not re.search("skill-factory-[a-z0-9_]{8}", text)
    assert ours("report", SFT, "-o", page).code == 0  # a report is replaced
    other = ours("report", SFT, "-o", f"{SFT}/manifest.json")
    assert other.code == 1
    assert "is there already and no report" in other.err


def test_files_of_each_kind_are_read(store: ObjectStore, tmp_path: Path) -> None:
    rows = attempts(3, 3)
    for name in ("rows.jsonl", "rows.parquet"):
        file = write_rows(tmp_path / name, rows)
        store.client().upload_file(str(file), BUCKET, f"kinds/{name}")
        out = f"s3://traces/out/{name}"
        done = ours("create", "-i", f"s3://traces/kinds/{name}", "-o", out, "--attempts", "3")
        assert (done.code, done.err) == (0, ""), done


def test_saved_datasets_and_splits_are_read(store: ObjectStore, tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_list(attempts(3, 3))
    datasets.DatasetDict({"train": rows, "test": rows.select(range(2))}).save_to_disk(
        str(tmp_path / "saved")
    )
    for file in (tmp_path / "saved").rglob("*.*"):
        store.client().upload_file(
            str(file), BUCKET, f"saved/{file.relative_to(tmp_path / 'saved')}"
        )
    done = ours("create", "-i", "s3://traces/saved", "-o", SFT, "--attempts", "3")
    assert (done.code, done.err) == (0, "")
    assert manifest(store)["input"]["rows"] == 6  # those of train


@pytest.mark.slow
def test_parquet_is_read_by_ranges(store: ObjectStore, tmp_path: Path) -> None:
    """Columns that nobody asks for are not fetched."""
    import random

    import pyarrow as pa

    table = pa.Table.from_pylist(attempts(3, 3))
    beside = [random.Random(row).randbytes(6 << 20) for row in range(table.num_rows)]
    table = table.append_column("picture", pa.array(beside))
    file = tmp_path / "wide.parquet"
    pq.write_table(table, file, compression="none")
    store.client().upload_file(str(file), BUCKET, "wide.parquet")
    store.log.clear()
    done = ours("create", "-i", "s3://traces/wide.parquet", "-o", SFT, "--attempts", "3")
    assert (done.code, done.err) == (0, "")
    ranges = [
        re.fullmatch(r"bytes=(\d+)-(\d+)", one.range)
        for one in store.log
        if one.range and one.path == "/traces/wide.parquet"
    ]
    blocks = {(int(one[1]), int(one[2])) for one in ranges if one}
    assert 0 < sum(stop - start + 1 for start, stop in blocks) < file.stat().st_size * 0.75


@pytest.mark.slow
def test_a_listing_of_several_pages_is_read_to_its_end(store: ObjectStore) -> None:
    client = store.client()
    for number in range(1005):  # a page has 1,000
        client.put_object(Bucket=BUCKET, Key=f"rows/{number:04}.jsonl", Body=b"{}\n")
    store.log.clear()
    found = find_source("s3://traces/rows", None, None, None)
    assert isinstance(found, FileSource)
    assert [file.name for file in found.files] == [f"{n:04}.jsonl" for n in range(1005)]
    assert found.size() == 3 * 1005
    assert any("continuation-token" in one.path for one in store.log)
    assert len(store.log) < 30  # a file's size is known from the listing


def test_questions_measures_and_comparisons(store: ObjectStore, tmp_path: Path) -> None:
    asked = "s3://traces/questions.parquet"
    done = ours("questions", "addition", "--count", "5", "-o", asked)
    assert (done.code, done.err) == (0, "")
    assert ours("questions", "addition", "-o", asked).code == 1
    assert ours("questions", asked, "--dry-run").code == 0
    content = store.client().get_object(Bucket=BUCKET, Key="questions.parquet")["Body"].read()
    rows = pq.read_table(io.BytesIO(content)).to_pylist()
    answers = [
        {"question": row["question"], "response": f"<answer>{row['answer']}</answer>"}
        for row in rows
    ]
    text = "".join(json.dumps(row) + "\n" for row in answers)
    store.client().put_object(Bucket=BUCKET, Key="answers/tuned.jsonl", Body=text.encode())
    files = "s3://traces/answers/tuned.jsonl"
    done = ours("measure", files, "--questions", asked, "-o", "s3://traces/measured/tuned")
    assert (done.code, done.err) == (0, "")
    assert {"responses.parquet", "measures.parquet"} <= made(store, "measured/tuned")
    body = store.client().get_object(Bucket=BUCKET, Key="measured/tuned/manifest.json")["Body"]
    assert json.loads(body.read())["input"]["files"] == [files]
    table = ours(
        *("compare", "s3://traces/measured/tuned", files, "--questions", asked),
        *("-o", "s3://traces/compared.json"),
    )
    assert (table.code, table.err) == (0, "")
    assert "tuned" in table.out
    assert "compared.json" in store.keys(BUCKET)
    assert ours("show", "s3://traces/measured/tuned", "-n", "1").code == 0


def test_questions_of_other_sets_are_found_there(store: ObjectStore) -> None:
    assert ours(*CREATE).code == 0
    done = ours("check", SFT, "--against", f"{ANNOTATED}a.parquet", "--json")
    assert done.code == 1, done.err
    assert "L01" in done.out or "shared" in done.out


def test_a_runs_tables_are_looked_at_in_a_store(store: ObjectStore, tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "tests" / "data" / "old_run", tmp_path / "run")
    (folder / "servers").mkdir()
    (folder / "servers" / "0.log").write_text("loaded")
    export = ("export", "tables", folder, "-o", "s3://traces/run")
    with locked(folder):
        done = ours(*export)
    assert done.code == 1
    assert "another run is at work in it" in done.err
    assert made(store, "run") == set()
    done = ours(*export)
    assert (done.code, done.err) == (0, "")
    assert "s3://traces/run: 6 files" in done.out
    tables = {f"{name}.parquet" for name in ("questions", "attempts", "graded", "annotated")}
    assert made(store, "run") == tables | {"config.yaml", "manifest.json"}
    for name in tables:
        body = store.client().get_object(Bucket=BUCKET, Key=f"run/{name}")["Body"]
        assert body.read() == (folder / name).read_bytes()
    assert ours("report", "s3://traces/run", "-o", tmp_path / "page.html").code == 0
    assert "s3://traces/run" in (tmp_path / "page.html").read_text(encoding="utf-8")
    done = ours("create", "-i", "s3://traces/run/annotated.parquet", "-o", SFT, "--attempts", "1")
    assert (done.code, done.err) == (0, "")
    done = ours(*export)
    assert done.code == 1
    assert "exists already" in done.err
    assert ours(*export, "--overwrite").code == 0


def test_a_runs_tables_are_copied_without_its_journal(tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "tests" / "data" / "old_run", tmp_path / "run")
    assert ours("export", "tables", folder, "-o", tmp_path / "copy").code == 0
    kept = {path.name for path in folder.iterdir()} - {"journal.sqlite", ".lock"}
    assert {path.name for path in (tmp_path / "copy").iterdir()} == kept
    for wrong, words in ((tmp_path, "is not the folder of a run"), (folder, "lies inside of")):
        done = ours("export", "tables", wrong, "-o", folder / "copy")
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert words in done.err
    assert not (folder / "copy").exists()


def test_questions_for_verl_are_read_from_a_store(store: ObjectStore, tmp_path: Path) -> None:
    asked = "s3://traces/questions.parquet"
    assert ours("questions", "addition", "--count", "8", "-o", asked).code == 0
    local = tmp_path / "questions.parquet"
    store.client().download_file(BUCKET, "questions.parquet", str(local))
    for source, output in ((asked, "there"), (local, "here")):
        done = ours("export", "verl", "-i", source, "-o", tmp_path / output, "--val-size", "2")
        assert (done.code, done.err) == (0, "")
    for name in ("train.parquet", "val.parquet"):
        there, here = (tmp_path / one / name for one in ("there", "here"))
        assert there.read_bytes() == here.read_bytes()


@pytest.mark.slow
def test_an_sft_folder_is_pushed_from_a_store(store: ObjectStore, tmp_path: Path) -> None:
    assert ours(*CREATE).code == 0
    repos: dict[str, hub.Repo] = {}
    with hub.serve(repos, users={"hf_right": hub.User("me", ("org",))}) as address:
        done = run(
            *("push", SFT, "org/traces"),
            module="skill_factory",
            HF_ENDPOINT=address,
            HF_HOME=str(tmp_path / "hf"),
            HF_TOKEN="hf_right",
            HF_HUB_DISABLE_XET="1",
        )
    assert done.code == 0, done.err
    files = repos["org/traces"].files
    assert set(files) - {".gitattributes"} == MADE
    for name in MADE - {"README.md"}:  # the card names the repository now
        body = store.client().get_object(Bucket=BUCKET, Key=f"sft/{name}")["Body"]
        assert files[name] == body.read()


# -- what goes wrong ------------------------------------------------------------------------------


def test_single_faults_of_the_server_are_waited_out(store: ObjectStore) -> None:
    store.faults += [
        Fault("GET", r"annotated/a\.parquet", 500, 2),
        Fault("GET", "list-type=2", 503),
        Fault("PUT", "train-0", 503, 2),
        Fault("PUT", "plan.parquet", "cut"),
        Fault("PUT", "manifest.json", 500),
    ]
    done = ours(*CREATE)
    assert (done.code, done.err) == (0, "")
    assert made(store) == MADE
    assert all(fault.times == 0 for fault in store.faults)


def test_an_upload_that_fails_leaves_nothing(store: ObjectStore) -> None:
    store.faults.append(Fault("PUT", "train-0", 403, None))
    done = ours(*CREATE)
    assert done.code == 1
    assert done.err.startswith(
        "Error: s3://traces/sft/sft_train/train-00000-of-00001.parquet: cannot be written: "
    )
    assert "see to the credentials" in done.err
    assert made(store) == set()


def test_a_folder_stays_if_the_store_takes_no_new_one(store: ObjectStore) -> None:
    assert ours(*CREATE).code == 0
    store.faults.append(Fault("PUT", "partial", 403, None))
    assert ours(*CREATE, "--overwrite", "--seed", "1").code == 1
    assert made(store) == MADE
    assert manifest(store)["settings"]["seed"] == 0


def test_a_folder_that_could_not_be_replaced_to_the_end_is_gone_and_not_half_there(
    store: ObjectStore,
) -> None:
    assert ours(*CREATE).code == 0
    store.faults.append(Fault("PUT", "plan.parquet", 403, None))
    assert ours(*CREATE, "--overwrite", "--seed", "1").code == 1
    assert made(store) == set()


@pytest.mark.slow
def test_a_large_file_goes_up_in_parts_through_faults_or_not_at_all(store: ObjectStore) -> None:
    """s3fs sends files of 100 MiB and more in parts."""
    large = place("s3://traces/large.parquet")
    store.faults += [Fault("PUT", "partNumber=2", "cut"), Fault("PUT", "partNumber=1", 503)]
    with new_file(large) as part:
        part.touch()
        os.truncate(part, 101 << 20)
    assert all(fault.times == 0 for fault in store.faults)
    assert bytes_of(large) == 101 << 20
    store.client().delete_object(Bucket=BUCKET, Key="large.parquet")
    store.faults[:] = [Fault("PUT", "partNumber=2", 403, None)]
    with ExitStack() as stack:
        part = stack.enter_context(new_file(large))
        part.touch()
        os.truncate(part, 101 << 20)
        with pytest.raises(OutputError, match=r"^s3://traces/large.parquet: cannot be written"):
            stack.pop_all().close()
    assert "large.parquet" not in store.keys(BUCKET)
    assert "Uploads" not in store.client().list_multipart_uploads(Bucket=BUCKET)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            ("-i", "s3://traces/none.parquet", "-o", SFT),
            "Error: s3://traces/none.parquet: no such file or folder\n",
        ),
        (
            ("-i", "s3://no-such-bucket/a", "-o", SFT),
            "Error: s3://no-such-bucket/a: no such file or folder: The specified bucket does not "
            "exist\n",
        ),
        (
            ("-i", ANNOTATED, "-o", "s3://no-such-bucket/a"),
            "Error: s3://no-such-bucket/a: no such file or folder: The specified bucket does not "
            "exist\n",
        ),
        (
            ("-i", "what://traces/a", "-o", SFT),
            "Error: what://traces/a: what:// is not known; there are s3://, gs://, hf:// and "
            "memory://\n",
        ),
    ],
)
def test_what_is_not_there_is_one_line(
    store: ObjectStore, options: tuple[str, ...], error: str
) -> None:
    done = ours("create", *options, "--attempts", "3")
    assert (done.code, done.err) == (1, error)


def test_wrong_credentials_are_one_line_without_them(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODY0000000000")
    done = ours(*CREATE)
    assert done.code == 1
    assert done.err == (
        f"Error: {ANNOTATED}: cannot be read: Forbidden; see to the credentials: AWS_ACCESS_KEY_ID "
        "and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE\n"
    )


def test_what_is_secret_in_a_url_is_not_shown(store: ObjectStore) -> None:
    done = ours("show", "s3://me:hidden-word@traces/sft")
    assert done.code == 1
    assert "hidden-word" not in done.out + done.err
    assert "s3://***@traces/sft" in done.err


def test_the_package_to_install_is_named(tmp_path: Path) -> None:
    """In an environment where the store's package cannot be imported."""
    (tmp_path / "s3fs.py").write_text("raise ImportError('no module named s3fs')\n")
    done = run(
        *("show", SFT),
        module="skill_factory",
        PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]),
    )
    assert (done.code, done.err) == (
        1,
        "Error: s3://traces/sft: s3:// needs a package of its own: pip install "
        "'skill-factory[s3]'\n",
    )


@pytest.mark.parametrize(
    "command",
    [
        ("run", "configs/small.yaml", "-o", "s3://traces/run"),
        ("sample", "-i", "a.parquet", "-o", "s3://traces/run"),
        ("export", "llama-factory", SFT),
    ],
)
def test_what_has_to_be_on_a_local_disk_says_so(command: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*command, module="skill_factory", cwd=tmp_path)
    assert done.code == 2
    assert "expected a path on a local disk, not a URL" in done.err
    assert list(tmp_path.iterdir()) == []


# -- runs that are killed -------------------------------------------------------------------------


def _killed_when(store: ObjectStore, path: str, *command: str) -> None:
    """Run a command apart, and kill it when a request for this path has come."""
    store.log.clear()
    process = subprocess.Popen(
        [sys.executable, "-m", "skill_factory", *command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while not any(re.search(path, one.path) and one.method == "PUT" for one in store.log):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_what_a_killed_run_left_is_absent_and_replaced(store: ObjectStore) -> None:
    store.faults.append(Fault("PUT", "train-0", 503, None))  # it waits, and tries again
    _killed_when(store, "train-0", *CREATE)
    store.faults.clear()
    left = made(store)
    assert ".skill-factory-partial" in left
    assert "manifest.json" not in left
    done = ours("check", SFT)
    assert done.code == 1
    assert "is what a run that was stopped has left; make it again" in done.err
    assert ours(*CREATE).code == 0
    assert made(store) == MADE


@pytest.mark.slow
def test_files_of_others_beside_what_a_killed_run_left_are_kept(store: ObjectStore) -> None:
    store.faults.append(Fault("PUT", "train-0", 503, None))
    _killed_when(store, "train-0", *CREATE)
    store.faults.clear()
    store.client().put_object(Bucket=BUCKET, Key="sft/thesis.tex", Body=b"text")
    left = made(store)
    done = ours(*CREATE, "--overwrite")
    assert done.code == 1
    assert "holds thesis.tex, which is not of the run that was stopped there" in done.err
    assert made(store) == left


@pytest.mark.slow
def test_an_upload_in_parts_that_was_killed_is_ended(store: ObjectStore) -> None:
    """Parts of S3 are paid for until somebody ends the upload."""
    client = store.client()
    content = json.dumps({"run": "1", "files": ["plan.parquet"]}).encode()
    client.put_object(Bucket=BUCKET, Key="sft/.skill-factory-partial", Body=content)
    client.create_multipart_upload(Bucket=BUCKET, Key="sft/plan.parquet")
    client.create_multipart_upload(Bucket=BUCKET, Key="sft-2/plan.parquet")
    assert ours(*CREATE).code == 0
    begun = client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    assert [one["Key"] for one in begun] == ["sft-2/plan.parquet"]
