"""A repository on the Hub is one that the user names, and may write to, before anything is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REAL, Outcome, run
from hub import Fault, Repo, Request, User, serve
from model_server import Server
from model_server import serve as serve_model
from tutor import speak

pytestmark = pytest.mark.slow


class Hub:
    """A Hub on the loopback, and who is asked for there."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        self.address = ""

    def environment(self, token: str) -> dict[str, str]:
        return {"HF_ENDPOINT": self.address, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    users = {"hf_mine": User("me", ("org",))}
    with serve(hub.repos, users=users, faults=hub.faults, log=hub.log) as hub.address:
        yield hub


def create(hub: Hub, place: Path, output: str, *options: str, token: str = "hf_mine") -> Outcome:
    return run(
        *("create", "-i", str(REAL), "-o", output, *options),
        module="skill_factory",
        cwd=place,
        HF_HOME=str(place / "home"),
        **hub.environment(token),
    )


def refused(done: Outcome, place: Path) -> str:
    """The error of a command that has made nothing."""
    assert done.code in (1, 2), done
    assert not (place / "outputs").exists()
    return done.err.strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["org/traces", "hf://org/traces", "hf://datasets/org/traces"])
def test_a_repository_is_named_in_these_ways(hub: Hub, tmp_path: Path, name: str) -> None:
    done = create(hub, tmp_path, name)
    assert done.code == 0, done.err
    assert "org/traces" in hub.repos
    assert (tmp_path / "outputs" / "org" / "traces" / "manifest.json").exists()


def test_what_was_meant_as_a_folder_is_no_repository(hub: Hub, tmp_path: Path) -> None:
    said = refused(create(hub, tmp_path, "runs/sft"), tmp_path)
    assert "runs/sft: the token is me's, who cannot write there" in said
    assert "for a folder write ./runs/sft" in said
    assert not hub.repos


def test_a_folder_that_is_there_wins_unless_the_hub_is_named(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "org").mkdir()
    said = refused(create(hub, tmp_path, "org/traces"), tmp_path)
    assert "for a folder write -o ./org/traces, and for the repository hf://org/traces" in said
    assert create(hub, tmp_path, "hf://org/traces").code == 0
    assert "org/traces" in hub.repos


def test_what_is_no_name_of_a_repository_is_refused(hub: Hub, tmp_path: Path) -> None:
    for name in ("hf://traces", "hf://org/traces/more", "hf://"):
        said = refused(create(hub, tmp_path, name), tmp_path)
        assert "a repository on the Hub is written as hf://org/name" in said


def test_the_token_is_checked_before_anything_is_made(hub: Hub, tmp_path: Path) -> None:
    said = refused(create(hub, tmp_path, "org/traces", token=""), tmp_path)
    assert "org/traces: no token to push with: log in with `hf auth login`" in said
    said = refused(create(hub, tmp_path, "org/traces", token="hf_wrong"), tmp_path)
    assert "the Hub does not accept the token" in said
    hub.address = "http://127.0.0.1:9"
    said = refused(create(hub, tmp_path, "org/traces"), tmp_path)
    assert "no network: the Hub cannot be reached" in said


def test_without_a_push_nobody_is_asked(hub: Hub, tmp_path: Path) -> None:
    assert create(hub, tmp_path, "org/traces", "--no-push", token="").code == 0
    assert create(hub, tmp_path, "org/others", "--dry-run", token="").code == 0
    assert not hub.log


def test_a_hub_out_of_order_is_no_reason_to_stop(hub: Hub, tmp_path: Path) -> None:
    hub.faults.append(Fault("GET", "/api/whoami", 503, 1))
    assert create(hub, tmp_path, "org/traces").code == 0


def test_a_run_checks_the_token_before_it_asks(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "questions: {source: addition, count: 3}\n"
        "create: {attempts: 2, output_dataset: other/traces}\n"
    )
    with serve_model(Server(("tiny",), speak=speak)) as server:
        done = run(
            *("run", "run.yaml", "--base-url", server.url),
            module="skill_factory",
            cwd=tmp_path,
            HF_HOME=str(tmp_path / "home"),
            **hub.environment("hf_mine"),
        )
        assert "other/traces: the token is me's" in refused(done, tmp_path)
        assert server.asked == 0
