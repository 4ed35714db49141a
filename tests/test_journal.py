"""The journal: what is in it after whatever happened to those who wrote it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT

from skill_factory.errors import InputError, OutputError
from skill_factory.journal import Asked, Journal, Sample
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
        "import sys; from pathlib import Path; from skill_factory.journal import Journal\n"
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
        "from skill_factory.journal import Journal, Sample\n"
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
