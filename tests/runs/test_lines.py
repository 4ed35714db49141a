"""What a run prints: each thing once, in its place, and true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from model_server import Fault, Server, serve
from test_runs import command, config, go
from tutor import speak

from skill_factory.cli.main import main


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server(speak=speak)) as server:
        yield server


def headings(said: str) -> list[str]:
    """The lines that begin with a stage, without their numbers."""
    lines = re.findall(r"^(?:questions|sample|grade|reflect|create): .*", said, re.MULTILINE)
    return [re.sub(r"/\S*/|[\d,]*\d", "", line).split(";")[0] for line in lines]


def test_a_whole_run_has_each_heading_once(server: Server, tmp_path: Path) -> None:
    said = go(tmp_path / "run", config(server))
    assert headings(said) == [
        "questions: questions.parquet",
        "sample:  samples to ask for in  requests,  are in the journal",
        "sample:  answered,  failed",
        "sample: attempts.parquet",
        "grade: graded.parquet",
        "reflect:  of  attempts can be reflected on",
        "reflect:  samples to ask for in  requests,  are in the journal,  are of prompts that "
        "stand there twice",
        "reflect:  answered,  failed",
        "reflect: annotated.parquet",
    ]
    assert "564 samples to ask for in 188 requests, 0 are in the journal, 12 are of" in said


def test_until_valid_estimates_a_request_for_each_sample(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server), "--to", "grade")
    settings = config(server, reflect={"until_valid": True})
    said = go(tmp_path / "run", settings, "--to", "reflect")
    assert "reflect: at most 564 samples to ask for in 564 requests, 0 are in the journal" in said
    answered = re.search(r"reflect: (\d+) answered", said)
    assert answered
    said = go(tmp_path / "run", settings, "--from", "reflect", "--to", "reflect")
    had = re.search(r"reflect: nothing to ask, (\d+) samples are in the journal", said)
    assert had
    assert int(had[1]) >= int(answered[1])  # those of attempts that are there twice count twice


def test_after_a_whole_run_no_table_was_made_with_other_settings(
    server: Server, tmp_path: Path
) -> None:
    go(tmp_path / "run", config(server))
    for stage in ("sample", "grade", "reflect", "create"):
        assert "Note" not in go(tmp_path / "run", config(server), "--from", stage)
    assert "Note" not in command("grade", tmp_path / "run")


def test_what_is_to_be_known_of_a_table_is_told_as_it_is(server: Server, tmp_path: Path) -> None:
    folder, grade = tmp_path / "run", ("--from", "grade", "--to", "grade")
    go(folder, config(server))
    hints = config(server, grade={"hint_words": ["clue"]})
    go(folder, hints, *grade)
    said = go(folder, config(server), "--from", "reflect", "--to", "reflect")
    assert "graded.parquet was made with other settings" in said
    attempts = folder / "attempts.parquet"
    pq.write_table(pq.read_table(attempts), attempts, compression=None)
    assert "attempts.parquet is not as it was made" in go(folder, config(server), *grade)
    go(folder, config(server, questions={"count": 11}), "--to", "questions")
    said = go(folder, config(server), *grade)
    assert "attempts.parquet was made from another input, or by another version" in said


def test_where_no_attempt_is_right_nothing_is_in_the_journal(
    server: Server, tmp_path: Path
) -> None:
    server.speak = lambda request, sample: f"It is <answer>{sample}</answer>"
    said = go(tmp_path / "run", config(server), "--to", "reflect")
    assert "reflect: 0 of 192 attempts can be reflected on; the others not: no_correct" in said
    assert "reflect: nothing to ask\n" in said


def test_going_on_counts_what_was_never_answered_as_new(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server, questions={"count": 6}), "--to", "sample")
    said = go(tmp_path / "run", config(server), "--to", "sample")
    assert "sample: 96 samples to ask for in 24 requests, 96 are in the journal" in said
    assert "because" not in said


# -- a dry run ------------------------------------------------------------------------------------


def test_a_dry_run_says_whether_a_server_answers(server: Server, tmp_path: Path) -> None:
    said = go(tmp_path / "run", config(server), "--dry-run")
    assert f"sample: would ask {server.url} tiny; a server answers there" in said
    said = go(tmp_path / "run", config(server, model={"name": "huge"}), "--dry-run")
    assert "Note: it lists tiny, not huge" in said
    server.key = "k"
    said = go(tmp_path / "run", config(server), "--dry-run")
    assert f"sample: would ask {server.url} (its only model); a server answers there" in said
    assert "wants a key" in said
    server.die()
    said = go(tmp_path / "run", config(server), "--dry-run")
    server.revive()
    assert f"sample: would ask {server.url} (its only model)\nNote: no server answers there" in said
    assert "base_url (--base-url) or $OPENAI_BASE_URL" in said
    assert "192 samples to ask for" in said
    assert server.asked == 0


def test_a_dry_run_of_what_is_made_knows_what_is_left(server: Server, tmp_path: Path) -> None:
    go(tmp_path / "run", config(server))
    said = go(tmp_path / "run", config(server, reflect={"reflections": 5}), "--dry-run")
    assert "sample: nothing to ask, 192 samples are in the journal" in said
    assert "reflect: 376 samples to ask for in 188 requests, 576 are in the journal" in said
    said = go(tmp_path / "run", config(server), "--dry-run", "--from", "grade")
    assert "grade: asks nobody" in said
    assert "reflect: nothing to ask, 576 samples are in the journal" in said


def test_no_server_names_where_to_say_where_it_is(server: Server, tmp_path: Path) -> None:
    settings = config(server)
    server.die()
    said = go(tmp_path / "run", settings, code=1)
    server.revive()
    assert f"no server answers at {server.url}" in said
    assert "start it, or say where it is with base_url (--base-url) or $OPENAI_BASE_URL" in said


# -- prompt variants of a file --------------------------------------------------------------------


def test_prompt_variants_of_a_file_that_are_not_asked_are_told(
    server: Server, tmp_path: Path
) -> None:
    prompts = tmp_path / "mine.yaml"
    words = {name: {"user": "{question} <answer></answer>"} for name in ("mine", "yours")}
    prompts.write_text(yaml.safe_dump({"variants": words}))

    def told(*variants: str) -> str:
        sample = {"prompts": str(prompts), "prompt_variants": list(variants)}
        return go(tmp_path / "run", config(server, sample=sample), "--to", "sample")

    note = "has prompt variants that are not asked: mine, yours; to ask them, name them in"
    assert note in told("original")
    assert note in told("original")  # though attempts.parquet is up to date
    assert "not asked: yours;" in told("original", "mine")
    assert "not asked" not in told("mine", "yours")
    result = CliRunner().invoke(
        main,
        ["sample", "-o", str(tmp_path / "run"), "--prompt-variants", "mine", "--dry-run"],
    )
    assert "not asked: yours;" in result.output


@pytest.mark.parametrize("until_valid", [False, True])
def test_a_file_of_requests_for_nothing_says_what_the_journal_has(
    server: Server, tmp_path: Path, until_valid: bool
) -> None:
    go(tmp_path / "run", config(server, reflect={"until_valid": until_valid}))
    path = tmp_path / "requests.jsonl"
    said = command("sample", "-o", tmp_path / "run", "--write-requests", path)
    assert "0 requests for 0 samples; 192 are in the journal" in said
    said = command("reflect", tmp_path / "run", "--write-requests", path)
    had = re.search(r"0 requests for 0 samples; (\d+) are in the journal", said)
    assert had
    assert int(had[1]) == 576 if not until_valid else 188 <= int(had[1]) < 576
    assert path.read_text() == ""


def test_what_was_sent_once_is_not_said_to_be_sent_again(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(500, holds="What is 7 + 12?")]
    said = go(tmp_path / "run", config(server, model={"tries": 1}), "--to", "sample")
    assert "176 answered, 16 failed" in said
    assert "sent again" not in said
