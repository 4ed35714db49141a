"""Prompts that a server will not answer: counted, left out, asked again when told to; and settings
that no prompt would get past, which end a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from model_server import Fault, Server, serve
from test_collect import QUICK, SAMPLING, asks, gather, rows_of
from test_runs import accounts, config, go
from tutor import speak

from skill_factory.asking.journal import Journal
from skill_factory.asking.requests import Ask, key_of
from skill_factory.models import ModelError

pytestmark = pytest.mark.slow

FILTER = Fault(400, message="The response was filtered due to the prompt", code="content_filter")
ODD = Fault(422, message="this prompt I do not like")


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server()) as server:
        yield server


def of(fault: Fault, *sums: int) -> list[Fault]:
    """A fault that comes over the questions after some sums."""
    return [replace(fault, holds=f"What is {number} + {number}?") for number in sums]


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize(
    ("fault", "reason"), [(FILTER, "content_filter"), (ODD, "refused")], ids=["filter", "odd"]
)
@pytest.mark.parametrize("refused", [(0, 1), (30, 31), (58, 59)], ids=["first", "middle", "last"])
def test_a_refused_prompt_is_counted_and_left_out_of_the_next_run(
    server: Server, tmp_path: Path, fault: Fault, reason: str, refused: tuple[int, ...], count: int
) -> None:
    server.faults = of(fault, *refused)
    tally = gather(server, tmp_path / "j", asks(60, count))
    assert (tally.answered, tally.failed, tally.retried) == (58 * count, 2 * count, 0)
    assert tally.refused == {reason: 2 * count}
    assert tally.last_refusal.startswith(f"sample {refused[0]} plain: ") or (
        tally.last_refusal.startswith(f"sample {refused[1]} plain: ")
    )
    assert fault.message in tally.last_refusal
    assert rows_of(tmp_path / "j") == 58 * count
    asked = server.asked
    again = gather(server, tmp_path / "j", asks(60, count + 1))
    assert (again.skipped, again.asked, server.asked) == (2 * (count + 1), 58, asked + 58)
    server.faults.clear()
    pace = replace(QUICK, retry_refused=True)
    last = gather(server, tmp_path / "j", asks(60, count + 1), pace=pace)
    assert (last.skipped, last.answered) == (0, 2 * (count + 1))
    assert gather(server, tmp_path / "j", asks(60, count + 1)).asked == 0
    assert set(server.answered().values()) == {count + 1}


@pytest.mark.parametrize("n", ["honoured", "ignored", "rejected"])
def test_other_samples_of_a_refused_prompt_are_not_asked_for(
    server: Server, tmp_path: Path, n: Any
) -> None:
    server.n, server.faults = n, of(ODD, 40)
    tally = gather(server, tmp_path / "j", asks(60, 8))
    assert (tally.answered, tally.refused) == (59 * 8, {"refused": 8})
    met = server.faults[0].met
    assert met <= 2


@pytest.mark.parametrize("status", [400, 413, 422])
def test_settings_that_are_refused_end_the_run(server: Server, tmp_path: Path, status: int) -> None:
    server.faults = [Fault(status, message="top_k is not\n known")]
    with pytest.raises(
        ModelError, match=r"\d+ prompts are refused.*sample \d+ plain.*known"
    ) as caught:
        gather(server, tmp_path / "j", asks(500, 1))
    assert "\n" not in str(caught.value)
    assert "set that to none" in str(caught.value)
    assert server.asked <= 32
    server.faults.clear()
    assert gather(server, tmp_path / "j", asks(500, 1)).answered == 500


def test_refusals_that_come_before_the_first_answer_stop_no_run(
    server: Server, tmp_path: Path
) -> None:
    server.slow = 0.5
    server.faults = of(ODD, *range(0, 24, 3))
    tally = gather(server, tmp_path / "j", asks(80, 1))
    assert (tally.answered, tally.refused) == (72, {"refused": 8})


def test_few_prompts_that_are_all_refused_end_the_run_too(server: Server, tmp_path: Path) -> None:
    server.faults = [replace(ODD)]
    with pytest.raises(ModelError, match="3 prompts are refused"):
        gather(server, tmp_path / "j", asks(3, 2))
    server.faults.clear()
    assert gather(server, tmp_path / "j", asks(3, 2)).answered == 6


def test_settings_that_are_refused_halfway_end_the_run(server: Server, tmp_path: Path) -> None:
    gather(server, tmp_path / "j", asks(20, 1))
    server.faults = [replace(ODD)]
    with pytest.raises(ModelError, match=r"\d+ prompts are refused"):
        gather(server, tmp_path / "j", asks(500, 1))


def test_a_filter_that_stops_most_prompts_stops_no_run(server: Server, tmp_path: Path) -> None:
    server.faults = [replace(FILTER, holds="+ 1")]
    tally = gather(server, tmp_path / "j", asks(200, 1))
    assert tally.refused["content_filter"] == tally.failed == 111
    assert tally.answered == 89


def test_a_filter_that_stops_all_prompts_ends_the_run(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(403, message="your account is flagged by moderation: usage policy")]
    with pytest.raises(ModelError, match=r"\d+ prompts are refused and none is answered.*account"):
        gather(server, tmp_path / "j", asks(500, 1))
    assert server.asked < 100
    server.faults.clear()
    pace = replace(QUICK, retry_refused=True)
    assert gather(server, tmp_path / "j", asks(500, 1), pace=pace).answered == 500


def test_what_was_refused_is_in_the_journal_with_the_servers_words(
    server: Server, tmp_path: Path
) -> None:
    server.faults = of(FILTER, 3)
    wanted = asks(20, 1)
    gather(server, tmp_path / "j", wanted)
    with Journal(tmp_path / "j") as journal:
        (why,) = journal.refused(_keys(server, wanted)).values()
    assert why.reason == "content_filter"
    assert FILTER.message in why.message


def _keys(server: Server, wanted: list[Ask]) -> list[bytes]:
    class Known:
        identity = f"{server.url} tiny"

    return [key_of(Known(), SAMPLING, ask.messages) for ask in wanted]


# -- whole runs -----------------------------------------------------------------------------------


def losses(folder: Path, stage: str, kind: str) -> dict[str, int]:
    said: dict[str, int] = accounts(folder)[stage][kind]["losses"]
    return said


def test_a_run_goes_on_without_what_is_refused(tmp_path: Path) -> None:
    with serve(Server(speak=speak)) as server:
        settings = config(server)
        server.faults = [replace(FILTER, holds="What is 7 + 12?")]
        said = go(tmp_path / "run", settings)
        assert losses(tmp_path / "run", "sample", "samples") == {"content_filter": 16}
        assert "content_filter: 16" in said
        assert "Note: 16 samples were refused, and are asked for again with --retry-refused" in said
        assert FILTER.message in said
        assert "samples failed and are asked for" not in said
        asked = server.asked
        assert "sample: " in (said := go(tmp_path / "run", settings))
        assert "is up to date" in said
        assert server.asked == asked
        server.faults.clear()
        again = settings | {"model": settings["model"] | {"retry_refused": True}}
        said = go(tmp_path / "run", again)
        assert losses(tmp_path / "run", "sample", "samples") == {}
        go(tmp_path / "smooth", settings)
    for name in ("attempts", "graded", "annotated"):
        one, two = (tmp_path / place / f"{name}.parquet" for place in ("smooth", "run"))
        assert one.read_bytes() == two.read_bytes()


def test_a_reasoning_parser_that_takes_everything_is_said_once(tmp_path: Path) -> None:
    with serve(Server(speak=speak)) as server:
        server.faults = [Fault("reasoning alone", every=2)]
        said = go(tmp_path / "run", config(server), "--to", "sample")
    assert said.count("reasoning parser took it") == 1
    assert "the server's reasoning parser took it" in said
    assert losses(tmp_path / "run", "sample", "samples") == {}


def test_reflections_that_are_refused_are_counted_as_such(tmp_path: Path) -> None:
    with serve(Server(speak=speak)) as server:
        settings = config(server)
        go(tmp_path / "run", settings, "--to", "grade")
        server.faults = [replace(FILTER, every=9)]
        said = go(tmp_path / "run", settings, "--to", "reflect")
        lost = losses(tmp_path / "run", "reflect", "reflections")
        assert lost["content_filter"] > 0
        assert "missing" not in lost
        assert "content_filter: " in said
        asked = server.asked
        said = go(tmp_path / "run", settings, "--to", "reflect")
        assert "is up to date" in said
        assert server.asked == asked
        server.faults.clear()
        again = settings | {"model": settings["model"] | {"retry_refused": True}}
        go(tmp_path / "run", again, "--to", "reflect")
        assert "content_filter" not in losses(tmp_path / "run", "reflect", "reflections")
