"""The journal: what is in it after whatever happened to those who wrote it."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from conftest import ROOT

from skill_factory.asking.journal import Asked, Journal, Refused, Sample
from skill_factory.errors import InputError, OutputError
from skill_factory.models import Completion

KEY, OTHER = b"k" * 32, b"o" * 32


def said(text: str) -> Completion:
    return Completion(text, "stop", 7, 11, 0.25)


def test_what_was_added_is_found_at_once_and_by_the_next_process(tmp_path: Path) -> None:
    rows = [Sample(KEY, idx, said(f"answer {idx} \0 ü")) for idx in (3, 0, 1)]
    with Journal(tmp_path / "j") as journal:
        journal.add(rows)
        assert journal.have([KEY, OTHER]) == {KEY: {0, 1, 3}}
    with Journal(tmp_path / "j") as journal:
        assert journal.have([KEY, OTHER]) == {KEY: {0, 1, 3}}
        assert journal.read(KEY, 3) == [(0, rows[1].completion), (1, rows[2].completion)]
        assert journal.read(OTHER, 3) == []


def test_a_sample_is_never_replaced(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.add([Sample(KEY, 0, said("first"))])
        journal.add([Sample(KEY, 0, said("second"))])
        assert journal.read(KEY, 9) == [(0, said("first"))]


def test_answers_are_written_without_being_asked_to(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_add_and_wait, args=(tmp_path,))
    child.start()
    while not (tmp_path / "added").exists():
        time.sleep(0.01)
    time.sleep(0.3)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with Journal(tmp_path / "j") as journal:
        assert journal.have([KEY]) == {KEY: {0, 1, 2}}


def _add_and_wait(folder: Path) -> None:
    journal = Journal(folder / "j")
    for idx in range(3):
        journal.add([Sample(KEY, idx, said("here"))])
    (folder / "added").touch()
    time.sleep(60)


def test_a_second_process_is_refused_in_one_line(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from skill_factory.asking.journal import Journal\n"
        "try: Journal(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    with Journal(tmp_path / "j") as journal:
        journal.add([Sample(KEY, 0, said("mine"))])
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "j")],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == (
            f"OutputError {tmp_path / 'j'} is in use by another process: wait until that run has "
            "ended\n"
        )
        journal.add([Sample(KEY, 1, said("mine"))])
        assert journal.have([KEY]) == {KEY: {0, 1}}


def test_files_that_are_no_journal_are_left_as_they_are(tmp_path: Path) -> None:
    text, database = tmp_path / "text", tmp_path / "database"
    text.write_text("questions\n" * 999)
    other = sqlite3.connect(database)
    other.execute("CREATE TABLE samples (key)")
    other.commit()
    other.close()
    before = database.read_bytes()
    with pytest.raises(InputError, match="is not a journal: another path"):
        Journal(text)
    with pytest.raises(InputError, match="is not a journal, but another database"):
        Journal(database)
    assert (text.read_text(), database.read_bytes()) == ("questions\n" * 999, before)
    with pytest.raises(OutputError, match="cannot be written"):
        Journal(tmp_path / "absent" / "j")


def test_what_was_asked_under_a_name_is_kept(tmp_path: Path) -> None:
    name, asked = ("sample", "a question's", "variant\n1"), Asked(b"m", b"o", b"s")
    with Journal(tmp_path / "j") as journal:
        assert journal.last_asked([name]) == {}
        journal.note_asked({name: asked})
    with Journal(tmp_path / "j") as journal:
        journal.note_asked({name: asked._replace(model=b"other")})
        assert journal.last_asked([name, ("x",)]) == {name: Asked(b"m", b"other", b"s")}


def test_a_full_disk_is_one_line_and_what_was_written_stays(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, time; from pathlib import Path\n"
        "from skill_factory.asking.journal import Journal, Sample\n"
        "from skill_factory.models import Completion\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n"
        "    with Journal(Path(sys.argv[1])) as journal:\n"
        "        for idx in range(1000):\n"
        "            text = Completion('x' * 5000, 'stop', 1, 1, 0.0)\n"
        "            journal.add([Sample(b'k' * 32, idx, text)])\n"
        "            time.sleep(0.001)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "j")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith(f"OutputError {tmp_path / 'j'} cannot be written: "), done
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    with Journal(tmp_path / "j") as journal:
        there = journal.have([KEY])[KEY]
        assert there == set(range(len(there)))


def test_many_threads_may_add_and_read(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:

        def work(number: int) -> None:
            key = bytes([number]) * 32
            for idx in range(200):
                journal.add([Sample(key, idx, said(str(idx)))])
                assert idx in journal.have([key])[key]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        keys = [bytes([number]) * 32 for number in range(4)]
        assert journal.have(keys) == {key: set(range(200)) for key in keys}


# -- what is in the file --------------------------------------------------------------------------

OLD = """
CREATE TABLE samples (
    key BLOB NOT NULL, idx INTEGER NOT NULL, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER, completion_tokens INTEGER, seconds REAL NOT NULL, at REAL NOT NULL
);
CREATE UNIQUE INDEX samples_key ON samples (key, idx);
CREATE TABLE asked (
    name TEXT PRIMARY KEY, messages BLOB NOT NULL, model BLOB NOT NULL, sampling BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE written (key BLOB PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA application_id = 0x534B4644;
"""
"""A journal as it was before it had reasonings, checksums and refusals."""


def test_an_old_journal_goes_on(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "j")) as old:
        old.executescript(OLD)
        old.execute("INSERT INTO samples VALUES (?, 0, 'old', 'stop', 7, 11, 0.25, 0.0)", (KEY,))
        old.commit()
    new = said("new")._replace(reasoning="because")
    for _ in range(2):
        with Journal(tmp_path / "j") as journal:
            journal.add([Sample(KEY, 1, new)])
            assert journal.read(KEY, 9) == [(0, said("old")), (1, new)]
            assert journal.refused([KEY]) == {}


def test_a_journal_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    Journal(tmp_path / "j").close()
    with closing(sqlite3.connect(tmp_path / "j")) as database:
        database.execute("PRAGMA user_version = 99")
    before = (tmp_path / "j").read_bytes()
    with pytest.raises(InputError, match="of a newer version: update skill-factory"):
        Journal(tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == before


@pytest.mark.parametrize("place", ["text", "finish_reason", "reasoning"])
def test_a_bit_that_changed_on_the_disk_is_found(tmp_path: Path, place: str) -> None:
    texts = {name: f"the {name} of this sample" for name in ("text", "finish_reason", "reasoning")}
    with Journal(tmp_path / "j") as journal:
        answer = Completion(prompt_tokens=7, completion_tokens=11, seconds=0.25, **texts)
        journal.add([Sample(KEY, 0, answer), Sample(OTHER, 0, said("whole"))])
    data = bytearray((tmp_path / "j").read_bytes())
    data[data.index(texts[place].encode()) + 5] ^= 1
    (tmp_path / "j").write_bytes(data)
    with Journal(tmp_path / "j") as journal:
        assert journal.read(OTHER, 1) == [(0, said("whole"))]
        with pytest.raises(InputError, match=r"is damaged: sample 0 of 6b6b.* has changed; bring"):
            journal.read(KEY, 1)


LONG = "It is the same thought, in other words: number {} of many. "


def test_long_texts_are_packed_and_come_back_as_they_were(tmp_path: Path) -> None:
    texts = ["", "ü" * 300, "ü" * 5000, "".join(map(LONG.format, range(5000))), "\0" * 600]
    samples = [
        Sample(KEY, idx, said(text)._replace(reasoning=text[::-1]))
        for idx, text in enumerate(texts)
    ]
    with Journal(tmp_path / "j") as journal:
        journal.add(samples)
    assert (tmp_path / "j").stat().st_size < sum(map(len, texts)) / 2
    with Journal(tmp_path / "j") as journal:
        assert journal.read(KEY, 9) == [(one.idx, one.completion) for one in samples]


def test_a_journal_without_packed_texts_goes_on(tmp_path: Path) -> None:
    text = "".join(map(LONG.format, range(50)))
    with Journal(tmp_path / "j") as journal:
        journal.add([Sample(KEY, 0, said(text))])
    with closing(sqlite3.connect(tmp_path / "j")) as before:  # as version 1 has it
        before.execute("UPDATE samples SET text = ?", (text,))
        before.execute("PRAGMA user_version = 1")
        before.commit()
    with Journal(tmp_path / "j") as journal:
        journal.add([Sample(KEY, 1, said(text))])
        assert journal.read(KEY, 9) == [(0, said(text)), (1, said(text))]
    with closing(sqlite3.connect(tmp_path / "j")) as after:
        assert after.execute("PRAGMA user_version").fetchone() == (2,)


@pytest.mark.parametrize("length", [1, 40])
def test_no_bit_of_the_file_changes_an_answer_unseen(tmp_path: Path, length: int) -> None:
    samples = [
        Sample(
            bytes([65 + n]) * 32,
            0,
            said(" ".join(f"this is answer {n}, {i}" for i in range(length))),
        )
        for n in range(4)
    ]
    with Journal(tmp_path / "j") as journal:
        journal.add(samples)
    whole = (tmp_path / "j").read_bytes()
    draw = random.Random(3)
    written = [at for at, byte in enumerate(whole) if byte]
    for at in draw.sample(written, 150):
        data = bytearray(whole)
        data[at] ^= 1 << draw.randrange(8)
        (tmp_path / "j").write_bytes(data)
        with suppress(InputError, OutputError), Journal(tmp_path / "j") as journal:
            for key, _, answer in samples:
                texts = [(one.text, one.finish_reason) for _, one in journal.read(key, 1)]
                assert texts in ([], [(answer.text, answer.finish_reason)])


def test_a_text_that_no_file_can_hold_is_one_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.add([Sample(KEY, 0, said("half \ud800"))])
    with pytest.raises(OutputError, match="cannot be written") as caught:
        journal.close()
    assert "\n" not in str(caught.value)
    with Journal(tmp_path / "j") as journal:
        journal.add([Sample(KEY, 0, said("whole"))])
        assert journal.read(KEY, 1) == [(0, said("whole"))]


def test_what_was_refused_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    why = Refused("content_filter", "no\nü")
    with Journal(tmp_path / "j") as journal:
        journal.note_refused({KEY: Refused("refused", "?"), OTHER: why})
        journal.note_refused({KEY: why})
    with Journal(tmp_path / "j") as journal:
        assert journal.refused([KEY, OTHER, b"x"]) == {KEY: why, OTHER: why}
        journal.forget_refused([KEY])
        assert journal.refused([KEY, OTHER]) == {OTHER: why}


def test_many_keys_are_read_together(tmp_path: Path) -> None:
    counts = {bytes([number % 256, number // 256]) * 16: number % 4 for number in range(1200)}
    with Journal(tmp_path / "j") as journal:
        journal.add(Sample(key, idx, said(str(idx))) for key in counts for idx in (2, 0, 1))
        found = journal.read_all(counts)
    assert list(found) == list(counts)
    for key, count in counts.items():
        assert found[key] == [(idx, said(str(idx))) for idx in range(min(count, 3))]


def test_what_could_not_be_written_is_told_to_whoever_calls_next(tmp_path: Path) -> None:
    bad = Completion("half a character: \ud800", "stop", 1, 1, 0.0)
    journal = Journal(tmp_path / "j")
    journal.add([Sample(KEY, 0, bad)])
    with suppress(OutputError):  # or the thread that writes was first
        journal.have([KEY])
    for call in (journal.flush, journal.close):
        with pytest.raises(OutputError, match="cannot be written"):
            call()
