"""The pages are true: what stands on them runs, in its order, in a folder with a checkout's files.
What a user has to bring is there: a model's server, a Hub, the model's tokenizer.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT, write_tokenizer
from hub import User
from hub import serve as serve_hub
from model_server import Server, serve
from test_runs import serve_batch
from tutor import speak

pytestmark = pytest.mark.slow

README = ROOT / "README.md"
PAGES = [
    README,
    *(ROOT / name for name in re.findall(r"\((docs/\S+\.md)\)", README.read_text("utf-8"))),
]
"""In the order in which the README names them."""
# Set up before this test runs; or run by tests/trainers and tests/real_model.
ELSEWHERE = (
    *("python3 -m venv", ". .venv", "pip install", "bash tests/run.sh"),
    *("llamafactory-cli", "bash ./rl/train_grpo.sh", "skill-factory run configs/quickstart.yaml"),
)
FILE = re.compile(r"# (\w+\.py)\n")
"""How a block begins that is a file of the reader's."""
WRITE = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).write_text(sys.argv[2]))"


class Block(NamedTuple):
    """A block of code on a page, and whether it is a shell's or Python."""

    kind: str
    code: str


def blocks(path: Path) -> list[Block]:
    found = re.findall(r"^```(bash|python)\n(.*?)^```", path.read_text("utf-8"), re.M | re.DOTALL)
    return [Block(*one) for one in found]


def steps(path: Path) -> Iterator[list[str]]:
    """What runs on a page: a command of the shell, or a block of Python, each a program's words."""
    for block in blocks(path):
        if (named := FILE.match(block.code)) is not None:
            yield [sys.executable, "-c", WRITE, named[1], block.code]
            continue
        if block.kind == "python":
            yield [sys.executable, "-c", block.code]
            continue
        for line in block.code.replace("\\\n", " ").splitlines():
            if line and not line.startswith(ELSEWHERE):
                yield ["bash", "-c", line]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all pages run, one after the other."""
    place = tmp_path_factory.mktemp("pages")
    for name in ("examples", "configs", "skill_factory", "requirements.txt"):
        (place / name).symlink_to(ROOT / name)
    write_tokenizer(place / "model")
    return place


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a user who may push to org, and has a model."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (
        serve_hub({}, users={"hf_mine": User("me", ("org",))}) as address,
        serve(Server(("my-model",), speak=speak, counts=True)) as server,
    ):
        yield os.environ | {
            **{"HF_ENDPOINT": address, "HF_TOKEN": "hf_mine", "HF_HUB_DISABLE_XET": "1"},
            **{"OPENAI_BASE_URL": server.url, "PATH": path, "PYTHON": sys.executable},
            "HF_HOME": str(tmp_path_factory.mktemp("hub")),
        }


@pytest.mark.parametrize(
    "page", [page for page in PAGES if list(steps(page))], ids=lambda page: page.stem
)
def test_what_stands_on_a_page_runs_in_its_order(
    page: Path, place: Path, world: dict[str, str]
) -> None:
    for words in steps(page):
        if "--read-responses" in words[-1]:
            serve_batch(place / "requests.jsonl", place / "responses.jsonl")
        done = subprocess.run(
            words, cwd=place, env=world, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words[-1]}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert done.stdout.strip() or words[-1].startswith("cp "), words[-1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_what_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.M)
            slugs = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
            assert heading in slugs, target


def test_the_readme_is_short_and_names_every_page() -> None:
    readme = PAGES[0].read_text("utf-8")
    assert len(readme.splitlines()) <= 200
    assert sorted(PAGES[1:]) == sorted((ROOT / "docs").glob("*.md"))
