"""Runs that ask several servers: what is asked once, what the folder remembers of them, and what a
user of one server meets who adds another."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from model_server import Server, serve
from test_runs import KEY_NAME, command, config, go, rows
from trained import speak as trained
from tutor import speak

from skill_factory.asking.journal import BATCH

TABLES = ("attempts", "graded", "annotated")


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serve(Server(speak=speak))) for _ in range(3)]


def asked(*servers: Server) -> Counter[str]:
    """How often samples were answered, by what was asked, but for the checks of one token."""
    found: Counter[str] = Counter()
    for server in servers:
        for entry, request in zip(server.log, server.requests, strict=True):
            if request.get("max_tokens") != 1:
                found[f"{entry.digest} {entry.seed}"] += 1
    return found


def settings(*servers: Server, **model: Any) -> dict[str, Any]:
    """A small run's config, at these servers."""
    there = config(servers[0], model=model)
    there["model"]["base_url"] = [server.url for server in servers]
    return there


def in_file(path: Path, **model: Any) -> dict[str, Any]:
    """A small run's config, at the servers in a file."""
    there = config(Server(), model={"base_urls": str(path)} | model)
    del there["model"]["base_url"]
    return there


def kept(folder: Path) -> dict[str, Any]:
    model: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())["model"]
    return model


# -- the same as of one ---------------------------------------------------------------------------


def test_several_servers_make_the_tables_that_one_makes(
    servers: list[Server], tmp_path: Path
) -> None:
    said = go(tmp_path / "run", settings(*servers))
    assert "sample: 192 samples to ask for in 48 requests, 0 are in the journal" in said
    assert set(asked(*servers).values()) == {1}
    assert all(asked(server) for server in servers)
    with serve(Server(speak=speak)) as alone:
        go(tmp_path / "alone", config(alone))
    for name in TABLES:
        assert rows(tmp_path / "run", name) == rows(tmp_path / "alone", name)
    before = [server.asked for server in servers]
    assert go(tmp_path / "run", settings(*servers)).count("is up to date") == 5
    assert [server.asked for server in servers] == before
    remembered = kept(tmp_path / "run")
    assert remembered["base_url"] == [server.url for server in servers]
    assert (remembered["name"], remembered["identity"]) == ("tiny", "tiny")


def test_the_option_may_be_given_again(servers: list[Server], tmp_path: Path) -> None:
    options = [part for server in servers for part in ("--base-url", server.url)]
    command("questions", "addition", "--count", "4", "-o", tmp_path / "questions.parquet")
    place = ("-i", tmp_path / "questions.parquet", "-o", tmp_path / "run", "--api-key-env")
    said = command("sample", *place, KEY_NAME, *options, "--samples", "2")
    assert "32 answered, 0 failed" in said
    assert all(asked(server) for server in servers)
    # The folder remembers them.
    assert "is up to date" in command("sample", "-o", tmp_path / "run")


# -- one server, and then others ------------------------------------------------------------------


def test_a_second_server_is_added_and_nothing_is_asked_twice(
    servers: list[Server], tmp_path: Path
) -> None:
    one, two, _ = servers
    go(tmp_path / "run", config(one))
    assert go(tmp_path / "run", settings(one, two)).count("is up to date") == 5
    assert kept(tmp_path / "run")["identity"] == f"{one.url} tiny"
    more = settings(one, two)
    more["sample"] = more["sample"] | {"samples": 6}
    said = go(tmp_path / "run", more, "--to", "sample")
    assert "sample: 96 samples to ask for in 48 requests, 192 are in the journal" in said
    assert asked(two)
    # And with the second one alone.
    alone = config(two)
    alone["sample"] = more["sample"]
    for _ in range(2):
        said = go(tmp_path / "run", alone, "--to", "sample")
        assert "samples to ask for" not in said
        assert f"the journal knows tiny as '{one.url} tiny'" in said
    assert set(asked(one, two).values()) == {1}


@pytest.mark.slow
def test_a_run_at_a_server_goes_on_with_a_file_in_which_it_comes_and_goes(
    servers: list[Server], tmp_path: Path
) -> None:
    one, two, _ = servers
    go(tmp_path / "run", config(one), "--to", "questions")
    go(tmp_path / "run", config(one, model={"name": "tiny"}), "--to", "sample")
    path = tmp_path / "servers.txt"
    path.write_text(f"{one.url}\n")
    go(tmp_path / "run", in_file(path), "--to", "sample")
    path.write_text(f"{two.url}\n")
    said = go(tmp_path / "run", in_file(path))
    assert "sample: 192 samples" not in said
    assert set(asked(one, two).values()) == {1}


def test_other_servers_than_the_one_before_are_refused_by_name(
    servers: list[Server], tmp_path: Path
) -> None:
    one, *others = servers
    go(tmp_path / "run", config(one), "--to", "sample")
    said = go(tmp_path / "run", settings(*others), code=1)
    assert "192 samples would be asked for anew" in said
    assert f"If the same model has moved, add --identity '{one.url} tiny'." in said
    assert not asked(*others)
    identity = {"identity": f"{one.url} tiny"}
    assert "sample: nothing to ask" in go(
        tmp_path / "run", settings(*others, **identity), "--to", "sample"
    )


@pytest.mark.slow
def test_one_of_several_goes_on_alone(servers: list[Server], tmp_path: Path) -> None:
    one, two, three = servers
    go(tmp_path / "run", settings(one, two), "--to", "sample")
    for _ in range(2):
        said = go(tmp_path / "run", config(two))
        assert said.count("Note: the journal knows tiny as 'tiny' (--identity)") == 1
    assert said.count("is up to date") == 5
    assert set(asked(one, two).values()) == {1}
    said = go(tmp_path / "run", config(three), code=1)
    assert "add --identity 'tiny'" in said


def test_an_identity_is_not_taken_over_by_another_model(
    servers: list[Server], tmp_path: Path
) -> None:
    one, two, other = servers
    other.models = ("huge",)
    go(tmp_path / "run", settings(one, two), "--to", "sample")
    said = command(
        *("sample", "-o", tmp_path / "run", "--base-url", other.url, "--model", "huge"),
        *("--api-key-env", KEY_NAME),
        code=1,
    )
    assert "192 samples would be asked for anew" in said


def test_an_old_run_goes_on_at_more_servers(servers: list[Server], tmp_path: Path) -> None:
    """With a config.yaml as it was before there were several servers."""
    one, two, _ = servers
    go(tmp_path / "run", config(one))
    path = tmp_path / "run" / "config.yaml"
    old = yaml.safe_load(path.read_text())
    assert old["model"]["base_url"] == one.url
    del old["model"]["base_urls"]
    path.write_text(yaml.safe_dump(old))
    before = one.asked
    assert go(tmp_path / "run", config(one)).count("is up to date") == 5
    assert go(tmp_path / "run", settings(one, two)).count("is up to date") == 5
    assert (one.asked, two.asked) == (before, 0)


# -- what is said ---------------------------------------------------------------------------------


def test_a_dry_run_says_which_servers_answer(servers: list[Server], tmp_path: Path) -> None:
    one, two, three = servers
    two.die()
    three.models = ("huge",)
    said = go(tmp_path / "run", settings(one, two, three, name="tiny"), "--dry-run")
    assert f"sample: would ask tiny at {one.url}, {two.url}, {three.url}; 2 of 3 servers" in said
    assert f"Note: no server answers at {two.url} (" in said
    assert f"Note: {three.url} lists huge, not tiny" in said
    path = tmp_path / "servers.txt"
    said = go(tmp_path / "run", in_file(path), "--dry-run")
    assert f"would ask the only model at {path}; 0 of 0 servers answer" in said
    assert not asked(*servers)


def test_a_server_with_another_model_is_told_once_in_a_run(
    servers: list[Server], tmp_path: Path
) -> None:
    servers[1].models = ("huge",)
    said = go(tmp_path / "run", settings(*servers, name="tiny"))
    note = f"Note: {servers[1].url} serves 'huge', not 'tiny'; this server is left out"
    assert said.count(note) == 1
    assert servers[1].asked == 0
    servers[2].models = ("big",)
    said = go(tmp_path / "new", settings(*servers[1:], name="tiny"), code=1)
    assert "Error: no server is left that can be asked" in said
    assert f"{servers[2].url} serves 'big', not 'tiny'" in said


def test_servers_with_different_models_are_no_choice(servers: list[Server], tmp_path: Path) -> None:
    servers[1].models = ("huge",)
    said = go(tmp_path / "run", settings(*servers), code=1)
    assert "which model? Give its name (--model)" in said
    assert f"{servers[1].url} has 'huge'" in said


def test_what_cannot_be_is_one_line(servers: list[Server], tmp_path: Path) -> None:
    both = settings(*servers)
    both["model"]["base_urls"] = "servers.txt"
    said = go(tmp_path / "run", both, code=1)
    assert "model.base_urls: base_url says where the servers are; leave out one" in said
    for wrong in ([], ["http://a/v1", "a"], 3, [3]):
        bad = config(servers[0], model={"base_url": wrong})
        assert "model.base_url: " in go(tmp_path / "run", bad, code=1)
    path = tmp_path / "servers.txt"
    said = go(tmp_path / "run", in_file(path, patience=0.2, name="tiny"), code=1)
    assert f"Note: {path} has no server yet; waiting for the first one, for 0 s at most" in said
    assert f"Error: {path} has no server yet" in said


def test_no_key_goes_to_servers_that_only_the_folder_names(
    servers: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", servers[0].url)
    path = tmp_path / "servers.txt"
    path.write_text(servers[0].url)
    for there in (settings(*servers[:2]), in_file(path)):
        folder = tmp_path / f"run-{len(there['model'].get('base_url', []))}"
        there["model"]["api_key_env"] = "OPENAI_API_KEY"
        go(folder, there, "--to", "sample")
        said = command("sample", "-o", folder, "--samples", "5", code=2)
        assert "only the run's own config.yaml says to send the key in $OPENAI_API_KEY" in said
        assert "a-secret" not in (folder / "config.yaml").read_text()


# -- an evaluation --------------------------------------------------------------------------------


def evaluate(folder: Path, *options: str, code: int = 0) -> str:
    questions = folder.parent / "sums.parquet"
    if not questions.is_file():
        command("questions", "addition", "--count", "12", "-o", questions)
    sampled = ("--samples", "2", "--seed", "0", "--force-budget", "40,140")
    return command("evaluate", questions, "-o", folder, *sampled, *options, code=code)


def test_an_evaluation_asks_only_servers_that_continue_an_answer(tmp_path: Path) -> None:
    with ExitStack() as stack:
        good, other, spoilt = (Server(speak=trained, counts=True) for _ in range(3))
        spoilt.continues = "spoilt"
        for server in (good, other, spoilt):
            stack.enter_context(serve(server))
        options = [part for server in (good, other, spoilt) for part in ("--base-url", server.url)]
        said = evaluate(tmp_path / "several", *options)
        assert said.count(f"Note: {spoilt.url}: the model does not continue an answer") == 1
        assert not asked(spoilt)
        assert asked(good)
        assert asked(other)
        assert set(asked(good, other).values()) == {1}
        evaluate(tmp_path / "alone", "--base-url", good.url)
        one, two = (rows(tmp_path / name, "responses") for name in ("several", "alone"))
        assert one == two
        assert any(row["completion_tokens"] > 40 for row in one)
        # With one of them left, and a second whose checks fail, nothing is asked again.
        said = evaluate(tmp_path / "several", "--base-url", good.url, "--base-url", spoilt.url)
        assert "evaluate: nothing to ask" in said
        said = evaluate(tmp_path / "none", *options[-2:], *options[-2:], code=1)
        assert "the model does not continue an answer" in said


# -- all at once ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_that_is_killed_while_servers_die_lie_and_join_asks_nothing_twice(
    tmp_path: Path,
) -> None:
    """Four servers of different speeds: one dies, one lies about its model, one joins late; then
    the run itself is killed. Its tables are those of a run that nothing has happened to."""
    with ExitStack() as stack:
        quick, dying, late, liar = (
            stack.enter_context(serve(Server(speak=speak, **how)))
            for how in (
                {"latency": 0.002},
                {"latency": 0.02},
                {"latency": 0.005},
                {"calls_itself": "huge"},
            )
        )
        path, folder = tmp_path / "servers.txt", tmp_path / "run"
        there = in_file(path, concurrency=4, name="tiny")
        there["questions"] = {"source": "addition", "count": 60}
        folder.with_suffix(".yaml").write_text(yaml.safe_dump(there))
        arguments = ["-m", "skill_factory", "run", f"{folder}.yaml", "-o", str(folder)]
        with subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:

            def until(count: int, *servers: Server) -> None:
                while sum(len(server.log) for server in servers) < count:
                    assert process.poll() is None, process.communicate()
                    time.sleep(0.002)

            assert process.stdout is not None
            while "has no server yet" not in process.stdout.readline():
                pass
            path.write_text(f"{quick.url}\n{dying.url}\n{liar.url}\n")
            until(30, quick)
            until(10, dying)
            dying.die()
            path.write_text(f"{quick.url}\n{dying.url}\n{liar.url}\n{late.url}\n")
            until(30, late)
            process.kill()
            said = process.stdout.read()
        assert f"Note: {liar.url} answers as 'huge', not 'tiny'; this server is left out" in said
        first = asked(quick, dying, late)
        said = go(folder, there)
        assert "are in the journal" in said
        twice = {one for one, times in asked(quick, dying, late).items() if times > 1}
        # Answers that the dying server or the killed run had in flight were lost, and those that
        # were not written yet: four at each of three servers, and a batch for the journal.
        assert len(twice) <= 12 + BATCH
        assert twice <= set(first)
        assert not asked(liar)
        assert len(rows(folder, "attempts")) == 60 * 16
        alone = config(quick)
        alone["questions"] = there["questions"]
        go(tmp_path / "alone", alone)
        for name in TABLES:
            assert rows(folder, name) == rows(tmp_path / "alone", name)
