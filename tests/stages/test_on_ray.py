"""Step 2 and grading on real Ray: the same as in threads, whoever is killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import (
    RESPONSE,
    ROOT,
    SCHEMA,
    Outcome,
    attempts,
    read_manifest,
    run,
    run_apart,
    write_rows,
)
from model_server import Server, serve
from ray_nodes import (
    environment,
    free_port,
    interrupted_by_ctrl_c,
    kill,
    marked,
    none_left,
    short_folder,
    two_nodes,
    wait_until,
    working,
)
from test_golden import generated
from tutor import speak

slow = pytest.mark.slow
CREATE = [sys.executable, "-m", "skill_factory", "create"]


def write_shuffled(path: Path, questions: int, words: int = 0) -> Path:
    """So many questions with six attempts each, their rows shuffled, in several row groups; each
    text ends with so many words more."""
    rows = attempts(3, 3)
    count, more = questions * len(rows), " and so on" * words
    names = np.array([f"What is {n} + 4?" for n in range(questions)])
    columns = {
        name: pa.array([row[name] for row in rows], kind).take(
            pa.array(np.arange(count) % len(rows))
        )
        for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)
    }
    columns["question"] = pa.array(np.repeat(names, len(rows)))
    texts = columns["model_responses__mutated_prompts"].flatten()
    longer = pa.compute.binary_join_element_wise(texts, more, f" ({0})", "")
    columns["model_responses__mutated_prompts"] = pa.ListArray.from_arrays(
        np.arange(count + 1, dtype=np.int32), longer
    )
    order = np.random.default_rng(3).permutation(count)
    pq.write_table(pa.table(columns, SCHEMA).take(order), path, row_group_size=count // 9)
    return path


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 questions."""
    return write_shuffled(tmp_path_factory.mktemp("ray") / "rows.parquet", 20_000)


@pytest.fixture(scope="module")
def locally(shuffled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is made of them without Ray."""
    folder = tmp_path_factory.mktemp("locally")
    done = run_apart("create", "-i", shuffled, "-o", "./sft", module="skill_factory", cwd=folder)
    assert done.code == 0, done.err
    return folder / "sft"


@pytest.fixture
def mark(tmp_path: Path) -> str:
    return f"{tmp_path.parent.parent.name}-{tmp_path.name}"


def on_ray(mark: str, folder: Path, *options: str | Path, verb: str = "create") -> Outcome:
    """A command with Ray of its own, of which nothing is left."""
    with none_left(mark), short_folder() as work:
        done = run_apart(
            *(verb, *options, "--engine", "ray", "--workers", "2"),
            module="skill_factory",
            cwd=folder,
            **environment(mark, work),
        )
        assert not list(work.iterdir())
    return done


def start(mark: str, source: Path, work: Path, cwd: Path, *options: str) -> subprocess.Popen[str]:
    words = ["-i", str(source), "-o", "./sft", "--engine", "ray", *options]
    return subprocess.Popen(
        [*CREATE, *words],
        env=environment(mark, work),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interrupted_by_ctrl_c,
    )


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder, byte by byte."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@slow
def test_20_000_shuffled_questions_become_the_same_files(
    shuffled: Path, locally: Path, tmp_path: Path, mark: str
) -> None:
    done = on_ray(mark, tmp_path, "-i", shuffled, "-o", "./sft")
    assert done.code == 0, done.err
    assert not done.err
    assert content(tmp_path / "sft") == content(locally)
    assert read_manifest(locally)["counts"]["questions"] == 20_000


@slow
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_options_and_other_sources_have_the_same_result(
    suffix: str, tmp_path: Path, mark: str
) -> None:
    rows = pq.read_table(generated(tmp_path / "all.parquet")).to_pylist()
    rows[70]["answer"] = rows[7]["answer"] = b"\xff" if suffix == ".parquet" else float("inf")
    source = tmp_path / "source"
    source.mkdir()
    for number, start in enumerate(range(0, len(rows), 100)):
        some = rows[start : start + 100]
        schema = SCHEMA.set(1, pa.field("answer", pa.binary())) if suffix == ".parquet" else None
        if schema:
            some = [row | {"answer": row["answer"] if isinstance(row["answer"], bytes)
                           else row["answer"].encode()} for row in some]  # fmt: skip
        write_rows(source / f"{number}{suffix}", some, schema)
    (tmp_path / "out.txt").write_text(f"row 130\nrow 99999\nquestion {rows[0]['question']}\n")
    options: list[str | Path] = [
        *("--subsample", "60", "--formats", "*C_full", "0C", "--exclude", tmp_path / "out.txt"),
        *("--drop-reflections-containing", "look 1", "--repeats", "2"),
    ]
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    local = run("create", "-i", source, "-o", "./sft", *options, cwd=here, module="skill_factory")
    done = on_ray(mark, there, "-i", source, "-o", "./sft", *options)
    assert done.code == local.code == 0, done.err + local.err
    assert done.out == local.out
    assert "column 'answer': 2 rows, the first of them row 7 of" in done.out
    assert content(there / "sft") == content(here / "sft")
    dry = on_ray(mark, there, "-i", source, "--dry-run", *options)
    assert dry.out.startswith(local.out.partition("\n\nSFT dataset")[0])


@slow
@pytest.mark.parametrize("task", ["MapBatches", "weave"])
def test_a_killed_worker_costs_its_part_only(
    task: str, shuffled: Path, locally: Path, tmp_path: Path, mark: str
) -> None:
    with none_left(mark), short_folder() as work:
        with start(mark, shuffled, work, tmp_path, "--workers", "2") as process:
            wait_until(lambda: working(mark, task) or process.poll() is not None)
            assert process.poll() is None, process.communicate()
            working(mark, task)[0].kill()
            out, err = process.communicate()
        assert process.returncode == 0, out + err
    assert content(tmp_path / "sft") == content(locally)


@slow
def test_a_lost_node_costs_its_parts_only_and_little_is_held_in_memory(
    tmp_path: Path, mark: str
) -> None:
    source = write_shuffled(tmp_path / "large.parquet", 8_000, words=800)
    text = sum(len(row[0]) for row in pq.read_table(source)[RESPONSE].to_pylist())
    assert text > 4 * 80e6, "four times the memory of a node's object store"
    local = run("create", "-i", source, "-o", "./here", cwd=tmp_path, module="skill_factory")
    with two_nodes(mark) as (address, work):
        options = ("--ray-address", address)
        with start(f"{mark}-driver", source, work, tmp_path, *options) as process:
            wait_until(lambda: working(f"{mark}2", "MapBatches") or process.poll() is not None)
            assert process.poll() is None, process.communicate()
            kill(f"{mark}2")
            out, err = process.communicate()
        assert process.returncode == 0, out + err
        assert out.replace("sft", "here") == local.out.replace(
            "sft", "here"
        )  # what Ray says of the node is not in it
        assert not working(mark, "weave"), "the cluster is not the command's to end"
        assert marked(mark)
    assert content(tmp_path / "sft/sft_train") == content(tmp_path / "here/sft_train")


@slow
@pytest.mark.parametrize("task", ["MapBatches", "weave"])
def test_ctrl_c_leaves_nothing(task: str, shuffled: Path, tmp_path: Path, mark: str) -> None:
    with none_left(mark), short_folder() as work:
        with start(mark, shuffled, work, tmp_path, "--workers", "2") as process:
            wait_until(lambda: working(mark, task) or process.poll() is not None)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        assert process.returncode == 130, out + err
        assert (out, err) == ("", "Stopped; nothing was left half-made.\n")
        assert not list(work.iterdir())
    assert not list(tmp_path.iterdir())


@slow
def test_what_a_killed_command_leaves_is_gone_after_the_next(
    shuffled: Path, locally: Path, tmp_path: Path, mark: str
) -> None:
    workers = ("--workers", "2")
    with (
        none_left(mark),
        short_folder() as work,
        start(mark, shuffled, work, tmp_path, *workers) as process,
    ):
        wait_until(lambda: working(mark, "MapBatches") or process.poll() is not None)
        process.kill()
    assert list(tmp_path.iterdir())
    assert on_ray(mark, tmp_path, "-i", shuffled, "-o", "./sft").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["sft"]
    assert content(tmp_path / "sft") == content(locally)


OWN = """
from skill_factory.tasks import Task

task = Task("parity", lambda answer, gold, facts: len(answer) == len(gold), "as long")
"""


@slow
def test_a_task_of_ones_own_is_there_on_the_workers(tmp_path: Path, mark: str) -> None:
    """And code that the driver has and the workers have not is refused."""
    source = generated(tmp_path / "rows.parquet")
    (tmp_path / "parity.py").write_text(OWN)
    (tmp_path / "only_here").mkdir()
    (tmp_path / "only_here" / "hidden.py").write_text(OWN)
    task = ("-i", source, "--task", "parity.py:task")
    local = run("create", *task, "-o", "./here", cwd=tmp_path, module="skill_factory")
    with two_nodes(mark) as (address, work):
        ray = ("--engine", "ray", "--ray-address", address)
        done = run_apart(
            *("create", *task, "-o", "./there", *ray),
            module="skill_factory",
            cwd=tmp_path,
            **environment(f"{mark}-driver", work),
        )
        assert done.code == local.code == 0, done.err + local.err
        hidden = environment(f"{mark}-driver", work)
        hidden["PYTHONPATH"] += f":{tmp_path / 'only_here'}"
        refused = run_apart(
            *("create", "-i", source, "--task", "hidden:task", "-o", "./none", *ray),
            module="skill_factory",
            cwd=tmp_path,
            **hidden,
        )
    assert content(tmp_path / "here/sft_train") == content(tmp_path / "there/sft_train")
    plan = pq.read_table(tmp_path / "there/plan.parquet")
    assert set(plan["data_source"].to_pylist()) == {"parity"}
    assert refused.code == 1
    assert refused.err.count("\n") == 1
    assert "task hidden:task: there is no module hidden" in refused.err
    assert "must be there on all nodes" in refused.err
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with 1,280 attempts."""
    folder = tmp_path_factory.mktemp("sampled") / "run"
    with serve(Server(speak=speak)) as server:
        config = {
            "questions": {"source": "addition", "count": 80},
            "model": {"base_url": server.url, "name": "tiny", "api_key_env": "NOT_THERE"},
            "sample": {"samples": 4, "seed": 0},
        }
        folder.with_suffix(".yaml").write_text(yaml.safe_dump(config))
        words = ("run", folder.with_suffix(".yaml"), "-o", folder, "--to", "sample")
        done = run(*words, module="skill_factory")
    assert done.code == 0, done.err
    return folder


@slow
@pytest.mark.parametrize("dies", [False, True])
def test_grades_by_judges_are_the_same(
    dies: bool, sampled: Path, tmp_path: Path, mark: str
) -> None:
    options = ("--task", "mathematics", "--keep-cut-off")
    for name in ("here", "there"):
        shutil.copytree(sampled, tmp_path / name)
    local = run("grade", tmp_path / "here", *options, module="skill_factory")
    with none_left(mark), short_folder() as work:
        words = ("grade", str(tmp_path / "there"), *options, "--engine", "ray", "--workers", "2")
        with subprocess.Popen(
            [sys.executable, "-m", "skill_factory", *words],
            env=environment(mark, work),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            if dies:
                wait_until(lambda: working(mark, "grade") or process.poll() is not None)
                assert process.poll() is None, process.communicate()
                working(mark, "grade")[0].kill()
            out, err = process.communicate()
    assert (process.returncode, local.code) == (0, 0), err + local.err
    assert out.replace("/there/", "/here/") == local.out
    here, there = (tmp_path / name / "graded.parquet" for name in ("here", "there"))
    assert here.read_bytes() == there.read_bytes()
    assert {"right", "wrong"} <= set(pq.read_table(there)["grade"].to_pylist())


@slow
def test_the_example_is_a_job_of_a_cluster(
    shuffled: Path, locally: Path, tmp_path: Path, mark: str
) -> None:
    port = free_port()
    dashboard = ("--include-dashboard=true", f"--dashboard-port={port}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with two_nodes(mark, *dashboard, PATH=path) as (_, work):
        done = subprocess.run(
            ["bash", ROOT / "examples/ray/submit.sh", "-i", shuffled, "-o", tmp_path / "sft"],
            env=environment("submit", work, PATH=path, RAY_ADDRESS=f"http://127.0.0.1:{port}"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SFT dataset: {tmp_path / 'sft'}" in done.stdout
    assert content(tmp_path / "sft") == content(locally)


@contextmanager
def answering(with_what: bytes | None) -> Iterator[str]:
    """A server that is no Ray: it says this to whoever comes, or (None) nothing at all."""

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            kept.append(connection)
            if with_what is not None:
                connection.sendall(with_what)

    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
    for connection in kept:
        connection.close()


@slow
@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None, "nobody"])
def test_an_address_without_ray_is_one_line(
    answer: bytes | str | None, tmp_path: Path, mark: str
) -> None:
    source = generated(tmp_path / "rows.parquet")
    with answering(None if isinstance(answer, str) else answer) as address:
        if answer == "nobody":
            address = "nobody.invalid:6379"
        options = ("-i", source, "-o", "./sft", "--ray-address", address)
        done = on_ray(mark, tmp_path, *options)
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert f"--ray-address {address}: no Ray cluster is there" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_without_ray_it_says_what_to_install(tmp_path: Path) -> None:
    source = generated(tmp_path / "rows.parquet")
    missing = tmp_path / "missing" / "ray.py"
    missing.parent.mkdir()
    missing.write_text("raise ModuleNotFoundError(\"No module named 'ray'\", name='ray')\n")
    done = run_apart(
        *("create", "-i", source, "-o", tmp_path / "sft", "--engine", "ray"),
        module="skill_factory",
        PYTHONPATH=f"{missing.parent}:{ROOT}",
    )
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "Error: --engine ray needs Ray (No module named 'ray'): pip install 'skill-factory[ray]'\n"
    )
    assert not (tmp_path / "sft").exists()


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "ray://127.0.0.1:10001", "head"])
def test_what_is_no_address_of_a_head_is_refused_at_once(address: str) -> None:
    done = run("create", "-i", "x", "--engine", "ray", "--ray-address", address)
    assert done.code == 2
    assert "expected HOST:PORT of a Ray head, or auto" in done.err
