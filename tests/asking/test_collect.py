"""Sampling against a server of ours that speaks the real protocol and fails in every way: each
(prompt, index) is asked for until it is there, once."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from bisect import bisect
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import ROOT
from model_server import FORMS, SPOILT, Fault, Server, serve

from skill_factory.asking.collect import collect
from skill_factory.asking.estimates import estimate
from skill_factory.asking.journal import Journal
from skill_factory.asking.pace import Pace
from skill_factory.asking.requests import Ask, key_of
from skill_factory.asking.tally import Tally
from skill_factory.errors import SkillFactoryError
from skill_factory.models import ModelError, Sampling, Trouble
from skill_factory.models.replies import read_answer
from skill_factory.models.servers import OpenAIModel

QUICK = Pace(concurrency=32, wait=0.02, longest_wait=0.1, patience=20, every=0.05)
SAMPLING = Sampling(temperature=0.7, top_k=20, max_tokens=64)
KEY_NAME = "SKILL_FACTORY_TEST_KEY"


def asks(total: int, count: int, prompt: str = "What is {} + {}?") -> list[Ask]:
    return [
        Ask([{"role": "user", "content": prompt.format(i, i)}], count, ("sample", str(i), "plain"))
        for i in range(total)
    ]


def gather(
    server: Server,
    path: Path,
    wanted: list[Ask],
    *,
    sampling: Sampling = SAMPLING,
    pace: Pace = QUICK,
    timeout: float = 10.0,
    seen: list[Tally] | None = None,
) -> Tally:
    """Collect into a journal, and check that the tally is balanced and true of the journal."""

    async def work() -> Tally:
        model = OpenAIModel(server.url, "tiny", api_key_env=KEY_NAME, timeout=timeout)
        try:
            with Journal(path) as journal:
                progress = None if seen is None else (lambda tally: seen.append(replace(tally)))
                tally = await collect(
                    wanted, model, sampling, journal, settings=pace, progress=progress
                )
                assert tally.asked == tally.answered + tally.failed
                assert tally.had + tally.skipped + tally.asked == sum(ask.count for ask in wanted)
                assert tally.refused.total() <= tally.failed
                assert tally.finish_reasons.total() == tally.answered
                if not tally.failed + tally.skipped:
                    for ask in wanted:
                        found = journal.read(key_of(model, sampling, ask.messages), ask.count)
                        assert [idx for idx, _ in found] == list(range(ask.count))
                return tally
        finally:
            await model.close()

    return asyncio.run(work())


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server()) as server:
        yield server


# -- faults ---------------------------------------------------------------------------------------

FAULTS = {
    "429": [Fault(429, times=10)],
    "429 with seconds": [Fault(429, times=3, headers={"retry-after": "0.2"})],
    "429 now and then": [Fault(429, every=3, times=30)],
    "500": [Fault(500, every=3, times=20)],
    "503": [Fault(503, times=20)],
    "hang": [Fault("hang", every=10, times=4)],
    "cut": [Fault("cut", every=3, times=20)],
    "malformed": [Fault("malformed", every=3, times=20)],
    "html": [Fault("html", every=3, times=20)],
    "empty": [Fault("empty", every=3, times=20)],
    "null": [Fault("null", every=3, times=20)],
    "error": [Fault("error", every=3, times=20)],
    "all of them": [
        Fault(429, every=9, times=5),
        Fault(500, every=7, times=5),
        Fault("cut", every=6, times=5),
        Fault("malformed", every=5, times=5),
        Fault("empty", every=4, times=5),
        Fault("hang", every=20, times=2),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("name", FAULTS)
def test_after_every_fault_each_sample_is_there_once(
    server: Server, tmp_path: Path, name: str, count: int
) -> None:
    server.faults = [replace(fault) for fault in FAULTS[name]]
    tally = gather(server, tmp_path / "j", asks(60, count), timeout=0.5)
    assert (tally.asked, tally.answered, tally.failed) == (60 * count, 60 * count, 0)
    assert tally.retried == tally.troubles.total() or name in ("null", "all of them")
    assert tally.troubles or name == "null"
    if name not in ("hang", "null"):  # only there may an answer come that nobody waits for
        assert set(server.answered().values()) == {count}
    before = server.asked
    again = gather(server, tmp_path / "j", asks(60, count))
    assert (again.had, again.asked, server.asked) == (60 * count, 0, before)


@pytest.mark.slow
@pytest.mark.parametrize("when", [{"times": 1}, {"every": 7, "times": 5}], ids=["first", "later"])
@pytest.mark.parametrize("name", SPOILT)
def test_an_answer_that_is_none_is_asked_for_again(
    server: Server, tmp_path: Path, name: str, when: dict[str, Any]
) -> None:
    server.faults = [Fault(name, **when)]
    tally = gather(server, tmp_path / "j", asks(60, 1))
    assert (tally.answered, tally.failed, tally.retried) == (60, 0, when["times"])
    assert set(server.answered().values()) == {1}
    assert rows_of(tmp_path / "j") == 60


@pytest.mark.slow
@pytest.mark.parametrize("name", SPOILT)
def test_answers_that_are_never_any_end_the_run_in_one_line(
    server: Server, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = [Fault(name)]
    with pytest.raises(ModelError, match="no answer for too long; the last trouble: ") as caught:
        gather(server, tmp_path / "j", asks(60, 1), pace=replace(QUICK, patience=0.3))
    assert "\n" not in str(caught.value)
    gc.collect()
    assert not caplog.records
    assert rows_of(tmp_path / "j") == 0


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "when", [{"times": 1}, {"every": 7}, {}], ids=["first", "now and then", "always"]
)
@pytest.mark.parametrize("name", FORMS)
def test_an_answer_in_another_form_is_an_answer(
    server: Server, tmp_path: Path, name: str, when: dict[str, Any], count: int
) -> None:
    server.faults = [Fault(name, **when)]
    tally = gather(server, tmp_path / "j", asks(30, count))
    assert (tally.answered, tally.failed, tally.retried) == (30 * count, 0, 0)
    assert set(server.answered().values()) == {count}
    assert server.asked == 30
    assert rows_of(tmp_path / "j") == 30 * count


def rows_of(path: Path) -> int:
    """How many samples there are in a journal's file, each once."""
    with closing(sqlite3.connect(path)) as database:
        (rows,) = database.execute("SELECT count(*) FROM samples").fetchone()
        (names,) = database.execute("SELECT count(*) FROM (SELECT DISTINCT key, idx FROM samples)")
    assert rows == names[0]
    return int(rows)


@pytest.mark.slow
@pytest.mark.parametrize("good", [0, 30])
def test_requests_that_fail_together_are_one_line(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, good: int
) -> None:
    gather(server, tmp_path / "j", asks(good, 1))
    server.latency, server.faults = 0.05, [Fault(401, message="the key has expired")]
    with pytest.raises(ModelError, match="wants a key"):
        gather(server, tmp_path / "j", asks(60, 1))
    assert server.asked >= good + 16
    gc.collect()
    assert not caplog.records
    server.faults.clear()
    assert gather(server, tmp_path / "j", asks(60, 1)).answered == 60 - good
    assert rows_of(tmp_path / "j") == 60


@pytest.mark.slow
def test_a_full_disk_is_one_line_however_many_requests_meet_it(
    server: Server, tmp_path: Path
) -> None:
    code = (
        "import asyncio, resource, signal, sys; from pathlib import Path\n"
        "from test_collect import asks, QUICK, SAMPLING\n"
        "from skill_factory.asking.journal import Journal\n"
        "from skill_factory.asking.collect import collect\n"
        "from skill_factory.models.servers import OpenAIModel\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "async def work():\n"
        "    model = OpenAIModel(sys.argv[1], 'tiny')\n"
        "    try:\n"
        "        with Journal(Path(sys.argv[2])) as journal:\n"
        "            await collect(asks(900, 4), model, SAMPLING, journal, settings=QUICK)\n"
        "    finally: await model.close()\n"
        "try: asyncio.run(work())\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    server.latency = 0.01
    done = subprocess.run(
        [sys.executable, "-c", code, server.url, str(tmp_path / "j")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith(f"OutputError {tmp_path / 'j'} cannot be written: "), done
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
    tally = gather(server, tmp_path / "j", asks(900, 4))
    assert tally.had > 0
    assert rows_of(tmp_path / "j") == 3600


def test_retry_after_pauses_all_requests(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(429, times=1, headers={"retry-after": "0.5"})]
    start = time.time()
    gather(server, tmp_path / "j", asks(40, 1))
    # Those that were sent with the first one may still be answered at once.
    assert sum(entry.at < start + 0.5 for entry in server.log) <= 16
    assert max(entry.at for entry in server.log) > start + 0.5


@pytest.mark.slow
def test_retry_after_may_be_a_date(server: Server, tmp_path: Path) -> None:
    date = formatdate(time.time() + 2, usegmt=True)
    server.faults = [Fault(429, times=1, headers={"retry-after": date})]
    start = time.monotonic()
    gather(server, tmp_path / "j", asks(1, 1))
    assert 0.9 < time.monotonic() - start < 3


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_of_our_own_is_not_said_to_be_asked_for(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.faults = [Fault(status)]
    pace = replace(QUICK, wait=0.3, longest_wait=0.4, patience=0.2)
    with pytest.raises(ModelError, match="no answer for too long") as caught:
        gather(server, tmp_path / "j", asks(60, 1), pace=pace)
    assert "left alone" not in str(caught.value)


def test_a_server_that_asks_for_more_than_our_patience_ends_the_run(
    server: Server, tmp_path: Path
) -> None:
    server.faults = [Fault(429, headers={"retry-after": "86400"})]
    with pytest.raises(
        ModelError,
        match=r"no answer for too long; the last trouble: status 429: as asked for; it asks to be "
        r"left alone for 86,400 s, the patience is 20 s",
    ):
        gather(server, tmp_path / "j", asks(40, 1))


@pytest.mark.parametrize("said", ["Fri, 31 Dec 99999 23:59:59 GMT", "1e400", "9" * 400])
def test_a_wait_without_an_end_ends_the_run(server: Server, tmp_path: Path, said: str) -> None:
    server.faults = [Fault(429, headers={"retry-after": said})]
    with pytest.raises(ModelError, match="asks to be left alone for"):
        gather(server, tmp_path / "j", asks(40, 1))


@pytest.mark.parametrize("said", ["soon", "nan", "-5", "", "Fri, 32 Foo 2026 25:61:61 XYZ"])
def test_a_wait_that_cannot_be_read_is_none(server: Server, tmp_path: Path, said: str) -> None:
    server.faults = [Fault(429, times=2, headers={"retry-after": said})]
    assert gather(server, tmp_path / "j", asks(40, 1)).answered == 40


def test_too_many_requests_lower_how_many_are_in_flight(server: Server, tmp_path: Path) -> None:
    server.latency, server.faults = 0.01, [Fault(429, every=60, times=4)]
    seen: list[Tally] = []
    tally = gather(server, tmp_path / "j", asks(500, 1), seen=seen)
    assert tally.troubles == {"too many requests": 4}
    assert 16 < server.most_busy <= 32
    assert any(0 < entry.concurrency < 16 for entry in seen)
    assert any(entry.attempts_per_second > 0 for entry in seen)
    assert any(entry.tokens_per_second > 0 for entry in seen)


def test_a_request_that_always_fails_is_counted_and_asked_again_by_the_next_run(
    server: Server, tmp_path: Path
) -> None:
    server.faults = [Fault(500, holds="What is 7 + 7?"), Fault("null", holds="What is 8 + 8?")]
    tally = gather(server, tmp_path / "j", asks(60, 1))
    assert (tally.asked, tally.answered, tally.failed) == (60, 58, 2)
    assert tally.last_failure.startswith(("sample 7 plain: status 500", "sample 8 plain: "))
    server.faults.clear()
    tally = gather(server, tmp_path / "j", asks(60, 1))
    assert (tally.had, tally.answered, tally.failed) == (58, 2, 0)


def test_answers_that_were_cut_off_are_kept_as_such(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault("length", times=5)]
    tally = gather(server, tmp_path / "j", asks(20, 1))
    assert tally.finish_reasons == {"stop": 15, "length": 5}
    assert not tally.retried


# -- a server that goes away ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back_loses_nothing(server: Server, tmp_path: Path) -> None:
    server.latency = 0.01

    def trouble() -> None:
        while len(server.log) < 100:
            time.sleep(0.005)
        server.die()
        time.sleep(0.7)
        server.revive()

    thread = threading.Thread(target=trouble)
    thread.start()
    tally = gather(server, tmp_path / "j", asks(300, 1))
    thread.join()
    assert (tally.asked, tally.answered, tally.failed) == (300, 300, 0)
    assert tally.troubles["no connection"] >= 8
    # While it was gone there was one request now and then, not all of them again and again.
    assert tally.troubles.total() < 32 + 32 + 0.7 / 0.05


def test_a_server_that_only_fails_is_left_in_peace_and_burns_no_asks(
    server: Server, tmp_path: Path
) -> None:
    server.faults = [Fault(500)]

    start = time.monotonic()

    def mend() -> None:
        time.sleep(0.8)
        server.faults.clear()

    thread = threading.Thread(target=mend)
    thread.start()
    tally = gather(server, tmp_path / "j", asks(200, 1))
    thread.join()
    assert (tally.answered, tally.failed) == (200, 0)
    # The first ones, three short pauses, and then one after each longest wait.
    assert tally.troubles["faulty answers"] < 16 + 3 + (time.monotonic() - start) / 0.05


def test_a_server_that_stays_away_ends_the_run_and_the_journal_keeps_all(
    server: Server, tmp_path: Path
) -> None:
    gather(server, tmp_path / "j", asks(30, 1))
    server.die()
    with pytest.raises(ModelError) as caught:
        gather(server, tmp_path / "j", asks(60, 1), pace=replace(QUICK, patience=0.5))
    assert "no answer for too long; the last trouble: the connection failed" in str(caught.value)
    assert "\n" not in str(caught.value)
    server.revive()
    tally = gather(server, tmp_path / "j", asks(60, 1))
    assert (tally.had, tally.answered) == (30, 30)
    assert set(server.answered().values()) == {1}


# -- what no request would get past ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "model", "key", "told"),
    [
        ({}, "huge", None, r"no model 'huge' there.*does not exist.*the server has 'tiny'$"),
        ({"lists": False}, "huge", None, r"no model 'huge' there"),
        ({"lists": False}, None, None, r"which model\? Give its name; .*status 404"),
        ({"models": ("a", "b")}, None, None, r"which model\? Give its name; it has 'a', 'b'$"),
        ({"key": "right"}, "tiny", None, rf"wants a key, and there is none in \${KEY_NAME}"),
        ({"key": "right"}, "tiny", "wrong-key", rf"refuses the key in \${KEY_NAME} .*: \*\*\*\)"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_asked(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any],
    model: str | None,
    key: str | None,
    told: str,
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    if key:
        monkeypatch.setenv(KEY_NAME, key)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ModelError, match=told) as caught:
        asyncio.run(_look(server.url, model))
    assert "\n" not in str(caught.value)
    assert "wrong-key" not in str(caught.value) + caplog.text
    assert not server.log


async def _look(url: str, model: str | None) -> str:
    asked = OpenAIModel(url, model, api_key_env=KEY_NAME, timeout=5)
    try:
        await asked.preflight()
        return asked.identity
    finally:
        await asked.close()


def test_a_server_that_is_there_passes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(_look(server.url, "tiny")) == f"{server.url} tiny"
    assert asyncio.run(_look(server.url, None)) == f"{server.url} tiny"
    assert server.asked == 0
    server.lists = False
    assert asyncio.run(_look(server.url, "tiny")) == f"{server.url} tiny"
    server.key = "right"
    monkeypatch.setenv(KEY_NAME, "right")
    assert asyncio.run(_look(server.url, "tiny")) == f"{server.url} tiny"
    assert server.asked == 2
    server.faults = [Fault(503), Fault(429)]
    assert asyncio.run(_look(server.url, "tiny"))


def test_a_model_may_have_any_name(server: Server) -> None:
    server.models = ("half \ud800 and ü",)
    assert asyncio.run(_look(server.url, None)) == f"{server.url} half ? and ü"


def test_no_server_and_no_address_are_told(server: Server) -> None:
    server.die()
    with pytest.raises(ModelError, match=f"no server answers at {server.url} .*start it"):
        asyncio.run(_look(server.url, "tiny"))
    server.revive()
    with pytest.raises(ModelError, match=r"no model 'tiny' there, or the address should end in"):
        asyncio.run(_look(server.url[:-1] + "2", "tiny"))
    with pytest.raises(ModelError, match=r"'127\.0\.0\.1' is no address of a server"):
        OpenAIModel("127.0.0.1", "tiny")


def test_an_address_keeps_its_secrets() -> None:
    model = OpenAIModel("http://me:secret@127.0.0.1:1/v1/?token=secret", "tiny")
    assert model.identity == "http://127.0.0.1:1/v1 tiny"
    asyncio.run(model.close())


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault(401, message="no such key"), "wants a key"),
        (Fault(404, message="no such model"), "no model 'tiny' there"),
        (Fault(400, message="top_k is not\n known"), "refuses the request .*top_k is not known"),
        (Fault(429, message="pay", code="insufficient_quota"), "refuses the request .*pay"),
    ],
)
def test_what_would_fail_again_ends_the_run_at_once(
    server: Server, tmp_path: Path, fault: Fault, told: str
) -> None:
    server.faults = [replace(fault)]
    with pytest.raises(ModelError, match=told) as caught:
        gather(server, tmp_path / "j", asks(500, 1))
    assert "\n" not in str(caught.value)
    assert server.asked <= 32


def test_a_prompt_that_is_too_long_ends_the_run_or_is_counted(
    server: Server, tmp_path: Path
) -> None:
    wanted = [*asks(40, 1), Ask([{"role": "user", "content": "x" * 999}], 2, ("sample", "long"))]
    server.context = 500
    with pytest.raises(ModelError, match=r"maximum context length is 500.*\(asked: sample long\)"):
        gather(server, tmp_path / "j", wanted)
    pace = replace(QUICK, skip_too_long=True)
    tally = gather(server, tmp_path / "j", wanted, pace=pace)
    assert (tally.had + tally.answered, tally.failed) == (40, 2)


# -- several samples a request --------------------------------------------------------------------


@pytest.mark.parametrize("n", ["honoured", "ignored", "rejected"])
def test_all_samples_come_whatever_the_server_makes_of_n(
    server: Server, tmp_path: Path, n: Any
) -> None:
    server.n = n
    tally = gather(server, tmp_path / "j", asks(40, 8))
    assert (tally.answered, tally.failed, tally.retried) == (320, 0, 0)
    assert set(server.answered().values()) == {8}
    if n == "honoured":
        assert server.asked == 40
        assert (tally.prompt_tokens, tally.completion_tokens) == (40 * 7, 320 * 33)
    else:
        assert server.asked <= 320 + 40


@pytest.mark.parametrize("n", ["honoured", "ignored"])
def test_each_sample_has_a_seed_of_its_own(server: Server, tmp_path: Path, n: Any) -> None:
    server.n = n
    seeded = replace(SAMPLING, seed=100)
    gather(server, tmp_path / "j", asks(1, 3), sampling=seeded)
    gather(server, tmp_path / "j", asks(1, 5), sampling=seeded)
    seeds = sorted((entry.seed or 0) + i for entry in server.log for i in range(entry.count))
    assert seeds == [100, 101, 102, 103, 104]


def test_an_answer_without_a_text_ends_what_is_taken_of_it() -> None:
    def choice(index: int, text: str | None, reason: str | None = "stop") -> dict[str, Any]:
        return {"index": index, "message": {"content": text}, "finish_reason": reason}

    body: dict[str, Any] = {
        "choices": [choice(2, "c"), choice(0, "aa\ud800"), choice(1, None, "length")],
        "usage": {"prompt_tokens": 5, "completion_tokens": 10},
    }
    first, second, third = read_answer(body, 0.5)
    assert first == ("aa?", "stop", 5, 7, 0.5, "")
    assert second == ("", "length", 0, 0, 0.5, "")
    assert third == ("c", "stop", 0, 3, 0.5, "")
    body["choices"][2] = choice(1, None)
    assert [answer.text for answer in read_answer(body, 0.5)] == ["aa?"]
    shapes: list[Any] = [None, [], {}, {"choices": None}, {"choices": [7]}, {"choices": [{}]}]
    for broken in shapes:
        with pytest.raises(Trouble):
            read_answer(broken, 0.5)


# -- what is asked again, and what is not ---------------------------------------------------------


def test_more_samples_ask_only_for_the_rest(server: Server, tmp_path: Path) -> None:
    gather(server, tmp_path / "j", asks(20, 8))
    tally = gather(server, tmp_path / "j", asks(20, 16))
    assert (tally.had, tally.asked, tally.answered) == (160, 160, 160)
    assert set(server.answered().values()) == {16}
    tally = gather(server, tmp_path / "j", asks(20, 8))
    assert (tally.had, tally.asked) == (160, 0)


class Known(NamedTuple):
    """A model that is not asked."""

    identity: str


def anew(
    server: Server, path: Path, wanted: list[Ask], model: str = "tiny", **drawn: Any
) -> dict[tuple[str, ...], int]:
    """What would be asked anew, by what has changed."""
    sampling = replace(SAMPLING, **drawn)
    with Journal(path) as journal:
        about = estimate(wanted, Known(f"{server.url} {model}"), sampling, journal)
        return {tuple(map(str, parts)): count for parts, count in about.anew.items()}


def test_what_was_answered_and_has_changed_is_asked_anew(server: Server, tmp_path: Path) -> None:
    path, otherwise = tmp_path / "j", "Say what {} + {} is."
    assert anew(server, path, asks(10, 2)) == {}
    gather(server, path, asks(10, 2))
    assert anew(server, path, asks(10, 2)) == {}
    assert anew(server, path, asks(12, 5)) == {}  # more of the same
    assert anew(server, path, asks(12, 5, otherwise)) == {("the prompt",): 50}
    assert anew(server, path, asks(10, 2), "other") == {("the model",): 20}
    assert anew(server, path, asks(10, 2, otherwise), temperature=0.8) == {
        ("the prompt", "the sampling"): 20
    }


def test_what_was_answered_once_is_never_asked_anew(server: Server, tmp_path: Path) -> None:
    path, otherwise = tmp_path / "j", "Say what {} + {} is."
    gather(server, path, asks(10, 2))
    gather(server, path, asks(5, 2, otherwise))
    assert anew(server, path, asks(10, 2, otherwise)) == {("the prompt",): 10}
    assert anew(server, path, asks(10, 4)) == {}
    gather(server, path, asks(10, 4))
    assert set(server.answered().values()) == {4, 2}


def test_what_failed_is_not_known_as_asked(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(500, holds="What is 7 + 7?")]
    gather(server, tmp_path / "j", asks(10, 1))
    otherwise = asks(10, 1, "Say what {} + {} is.")
    assert anew(server, tmp_path / "j", otherwise) == {("the prompt",): 9}


def test_the_first_alone_is_answered_before_any_other_is_asked(
    server: Server, tmp_path: Path
) -> None:
    server.context = 300
    long = Ask([{"role": "user", "content": "Think. " * 99}], 1, ("sample", "long"))

    async def work(first: list[Ask]) -> Tally:
        model = OpenAIModel(server.url, "tiny")
        try:
            with Journal(tmp_path / "j") as journal:
                wanted = [*first, *asks(200, 1)]
                return await collect(wanted, model, SAMPLING, journal, first_alone=True)
        finally:
            await model.close()

    with pytest.raises(ModelError, match="maximum context length"):
        asyncio.run(work([long]))
    assert not server.log
    assert asyncio.run(work([])).answered == 200


def test_the_same_prompt_twice_is_asked_once(server: Server, tmp_path: Path) -> None:
    server.latency = 0.01
    wanted = [ask for ask in asks(50, 2) for _ in range(3)] * 2
    tally = gather(server, tmp_path / "j", wanted)
    assert (tally.asked, tally.had) == (100, 500)
    assert set(server.answered().values()) == {2}


def test_asks_are_taken_as_they_are_needed(server: Server, tmp_path: Path) -> None:
    taken = most = 0

    def wanted() -> Iterator[Ask]:
        nonlocal taken, most
        for ask in asks(600, 1):
            taken += 1
            most = max(most, taken - len(server.log))
            yield ask

    async def work() -> None:
        model = OpenAIModel(server.url, "tiny")
        with Journal(tmp_path / "j") as journal:
            await collect(wanted(), model, SAMPLING, journal, settings=QUICK)
        await model.close()

    asyncio.run(work())
    assert taken == 600
    assert most <= 32 + 64 + 32 + 64  # ready, in flight, and those being looked up


def test_cost_is_counted_given_prices(server: Server, tmp_path: Path) -> None:
    pace = replace(QUICK, prompt_price=10.0, completion_price=100.0)
    seen: list[Tally] = []
    tally = gather(server, tmp_path / "j", asks(10, 2), pace=pace, seen=seen)
    assert tally.cost == pytest.approx((10 * 7 * 10 + 20 * 33 * 100) / 1e6)
    assert seen[-1] == tally


def test_a_fault_in_the_asks_keeps_what_was_answered(server: Server, tmp_path: Path) -> None:
    def wanted() -> Iterator[Ask]:
        yield from asks(300, 1)
        raise SkillFactoryError("row 300 is broken")

    async def work() -> None:
        model = OpenAIModel(server.url, "tiny")
        try:
            with Journal(tmp_path / "j") as journal:
                await collect(wanted(), model, SAMPLING, journal, settings=QUICK)
        finally:
            await model.close()

    with pytest.raises(SkillFactoryError, match="row 300"):
        asyncio.run(work())
    assert server.log


# -- kill -9 --------------------------------------------------------------------------------------


def _child(url: str, path: Path, total: int) -> None:
    async def work() -> None:
        model = OpenAIModel(url, "tiny")
        with Journal(path) as journal:
            await collect(asks(total, 2), model, SAMPLING, journal, settings=QUICK)
        await model.close()

    asyncio.run(work())


@pytest.mark.slow
def test_killed_twenty_times_a_run_asks_for_nothing_that_was_answered(
    server: Server, tmp_path: Path
) -> None:
    server.latency, total, draw, kills = 0.1, 900, random.Random(4), list[float]()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skill_factory.asking.collect", "skill_factory.models.servers"])
    while len(kills) < 20:
        child = context.Process(target=_child, args=(server.url, tmp_path / "j", total))
        child.start()
        before = server.asked
        while server.asked == before:
            assert child.is_alive(), "it ended before it could be caught"
            time.sleep(0.002)
        time.sleep(draw.random() * 0.3)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        kills.append(time.time())
        child.join()
        assert child.exitcode == -signal.SIGKILL
    server.latency = 0.0
    tally = gather(server, tmp_path / "j", asks(total, 2))
    assert (tally.failed, tally.had + tally.answered) == (0, total * 2)
    assert tally.had > 0
    again = {digest for digest, count in server.answered().items() if count > 2}
    times = sorted(entry.at for entry in server.log)
    places = [bisect(times, kill) for kill in kills]
    for digest in again:
        *before_last, _ = [entry.at for entry in server.log if entry.digest == digest]
        for at in before_last:  # on its way when a kill came, or answered to nobody after it
            assert any(abs(bisect(times, at) - place) < 128 for place in places)
    assert len(again) <= 20 * 32
    assert len(server.answered()) == total
