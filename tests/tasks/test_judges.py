"""Processes that judge: what they may take, who they belong to, what they can do."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROOT

from skill_factory.errors import TaskError
from skill_factory.rewards import compute_score
from skill_factory.tasks.judging import Judges, cores

pytestmark = pytest.mark.slow

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what Linux's kernel holds them to")

JudgesOf = Callable[..., Judges]


@pytest.fixture
def judges_of(tmp_path: Path) -> Iterator[JudgesOf]:
    """Judges of a script, which has `prepared` and what else it is given."""
    made: list[Judges] = []

    def judges(script: str, library: str = "json", **settings: Any) -> Judges:
        path = tmp_path / f"judge_{len(made)}.py"
        path.write_text(textwrap.dedent(script), encoding="utf-8")
        names = ("json", "json", "json", "this test")
        made.append(Judges(str(path), library, *names[1:], **settings))
        return made[-1]

    yield judges
    for one in made:
        one.dismiss()


PATIENT = """
    import os, time

    def work(seconds):
        start = time.process_time()
        while time.process_time() < start + seconds:
            pass

    def judge(kind, amount=0):
        if kind == "work":
            work(amount)
        if kind == "sleep":
            time.sleep(amount)
        if kind == "power":
            return 7 ** (7 ** amount) == 1
        return True

    def prepared():
        return judge
"""


def anything(reply: Any) -> bool:
    return True


def pids() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


# -- what they may take ----------------------------------------------------------------------------


def test_the_limit_is_the_judges_own_time(judges_of: JudgesOf) -> None:
    judges = judges_of(PATIENT, trusted=True)
    assert judges.ask("work", 0.05, seconds=0.5) is True
    assert judges.ask("sleep", 1.0, seconds=0.3) is True
    assert judges.ask("work", 60, seconds=0.3) is None
    assert judges.ask("power", 11, seconds=0.3) is None  # one operation that nothing interrupts
    assert judges.ask("right", seconds=0.3) is True


def test_a_judge_that_hangs_without_working_is_given_up(judges_of: JudgesOf) -> None:
    judges = judges_of(PATIENT, trusted=True, patience=0.2)
    assert judges.ask("sleep", 100, seconds=0.02) is None
    assert judges.ask("right", seconds=0.02) is True


def test_what_comes_before_a_judgement_is_not_its_time(judges_of: JudgesOf) -> None:
    script = """
        import time

        def work(seconds):
            start = time.process_time()
            while time.process_time() < start + seconds:
                pass

        done = set()

        def prepare(kind):
            if kind not in done:
                done.add(kind)
                return lambda: work(0.6)

        def judge(kind):
            work(0.6 if kind == "slow" else 0.01)
            return True

        def prepared():
            work(0.6)
            return judge
    """
    judges = judges_of(script)
    assert [judges.ask(kind, seconds=0.4) for kind in "aba"] == [True] * 3
    assert judges.ask("slow", seconds=0.4) is None
    assert judges.ask("a", seconds=0.4) is True


def test_memory_is_limited(judges_of: JudgesOf) -> None:
    judges = judges_of("def prepared(): return lambda size: len(bytearray(size)) > 0")
    assert judges.ask(1 << 20, seconds=5) is True
    assert judges.ask(1 << 36, seconds=5) is None
    assert judges.ask(1 << 20, seconds=5) is True


BUSY = "while True: pass"


def test_right_answers_of_cold_threads_are_right_on_a_busy_machine() -> None:
    """In a process of its own, with no judge yet, beside more work than there are cores."""
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from skill_factory.rewards import compute_score\n"
        "one = lambda _: compute_score('math', '<answer>0.5</answer>', r'\\frac{1}{2}')\n"
        "with ThreadPoolExecutor(16) as pool: print(sum(pool.map(one, range(16))))\n"
    )
    load = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2 * cores())]
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for process in load:
            process.kill()
            process.wait()
    assert done.stdout == "16.0\n"


def test_there_is_no_more_than_a_judge_a_core(judges_of: JudgesOf) -> None:
    judges = judges_of(PATIENT)
    before, seen = pids(), set()

    def ask(_: int) -> Any:
        reply = judges.ask("work", 0.02, seconds=5)
        seen.update(pids() - before)
        return reply

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(48))) == [True] * 48
    assert 1 <= len(seen) <= cores() <= (os.cpu_count() or 1)


# -- what they say ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "judge",
    [
        "lambda kind: 1",
        "lambda kind: 1.0",
        "lambda kind: 'true'",
        "lambda kind: [True]",
        "lambda kind: float('nan')",
        "lambda kind: {kind}",
        "lambda kind: 1 / 0",
        "lambda kind: exit(0)",
        "lambda kind: os._exit(0)",
        "lambda kind: os.kill(os.getpid(), 9)",
        "lambda kind: (_ for _ in ()).throw(KeyboardInterrupt)",
        "lambda kind: bool(os.write(4, b'true\\n'))",
        "lambda kind: bool([os.write(4, b'true\\n') for _ in range(3)])",
        "lambda kind: os.write(4, b'ready\\npreparing\\nprepared\\n') > 0",
        "lambda kind: os.write(4, bytes(100)) > 0",
    ],
)
def test_a_reply_is_a_verdict_or_nothing(judges_of: JudgesOf, judge: str) -> None:
    script = f"""
        import os
        odd = {judge}
        def prepared():
            return lambda kind: odd(kind) if kind == "odd" else kind == "right"
    """
    judges = judges_of(script, trusted=True)
    for _ in range(2):
        assert judges.ask("odd", seconds=5) is None
        assert judges.ask("right", seconds=5) is True
        assert judges.ask("wrong", seconds=5) is False


def test_what_is_said_unasked_is_no_reply_to_the_next_question(judges_of: JudgesOf) -> None:
    script = """
        import os, threading

        def late():
            os.write(4, b"true\\n")

        def judge(kind):
            if kind == "odd":
                threading.Timer(0.05, late).start()
            return kind != "wrong"

        def prepared():
            return judge
    """
    judges = judges_of(script, trusted=True)
    assert judges.ask("odd", seconds=5) is True
    threading.Event().wait(0.2)
    assert judges.ask("wrong", seconds=5) is False


def test_questions_and_replies_may_be_long(judges_of: JudgesOf) -> None:
    judges = judges_of("def prepared(): return lambda text: text[::-1]", valid=anything)
    for size in (1, 65_535, 65_536, 3_000_000):
        assert judges.ask("é" * size + "x", seconds=20) == "x" + "é" * size
    assert judges.ask("a\nb\0\ud800", seconds=5) == "\ud800\0b\na"


def test_what_a_library_prints_is_no_reply(judges_of: JudgesOf) -> None:
    script = """
        import sys
        print("true")
        def judge(kind):
            print("true", flush=True)
            print("true", file=sys.stderr, flush=True)
            return sys.stdin.read() == "" and False
        def prepared():
            return judge
    """
    assert judges_of(script).ask("?", seconds=5) is False


def test_a_library_that_is_missing_or_does_not_run_is_an_error(judges_of: JudgesOf) -> None:
    with pytest.raises(TaskError, match=r"this test needs json: pip install 'skill-factory\[json"):
        judges_of(PATIENT, library="no_such_library").ask("right", seconds=1)
    with pytest.raises(TaskError, match="json is installed but does not run: ImportError: no ANTL"):
        judges_of("raise ImportError('no ANTLR')").ask("right", seconds=1)


# -- who they belong to ----------------------------------------------------------------------------


def test_judges_outlive_the_threads_that_asked(judges_of: JudgesOf) -> None:
    judges = judges_of("import os\ndef prepared(): return lambda: os.getpid()", valid=anything)
    said = set()
    for _ in range(3):
        thread = threading.Thread(target=lambda: said.add(judges.ask(seconds=5)))
        thread.start()
        thread.join()
    assert len(said) == 1


def script_of(judge: Path, code: str) -> list[str]:
    """A command that runs code with `judges` of a script."""
    head = f"""
        import os, sys, time, threading, multiprocessing
        from skill_factory.tasks.judging import Judges, cores
        judges = Judges({str(judge)!r}, "json", "json", "json", "?", valid=lambda reply: True)
        def ask(*arguments, seconds=60):
            return judges.ask(*arguments, seconds=seconds)
    """
    return [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code)]


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    path = tmp_path / "judge.py"
    path.write_text(
        textwrap.dedent(
            """
            import os
            def judge(kind):
                if kind == "power":
                    7 ** (7 ** 11)
                return os.getpid()
            def prepared():
                return judge
            """
        )
    )
    return path


@pytest.mark.parametrize("work", ["idle", "power"])
def test_judges_die_with_a_parent_that_is_killed(judge: Path, work: str) -> None:
    code = f"""
        threads = [threading.Thread(target=ask, args=("?",)) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        if {work!r} == "power":
            threading.Thread(target=ask, args=("power",), daemon=True).start()
            time.sleep(0.3)
        print("ready", flush=True)
        if os.fork() == 0:  # what keeps the pipes open
            time.sleep(60)
        time.sleep(60)
    """
    parent = subprocess.Popen(script_of(judge, code), env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    family = psutil.Process(parent.pid).children()
    judging = [child for child in family if "judge_process.py" in " ".join(child.cmdline())]
    assert judging
    parent.kill()
    parent.wait()
    parent.stdout.close()
    if sys.platform == "linux":
        assert psutil.wait_procs(judging, timeout=30)[1] == []
    for child in family:
        if child.is_running():
            child.kill()


def test_judges_end_with_their_parent(judge: Path) -> None:
    done = subprocess.run(
        script_of(judge, "print(ask('?'))"), env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert not psutil.pid_exists(int(done.stdout))


def test_a_forked_process_has_judges_of_its_own(judge: Path) -> None:
    code = """
        mine = ask("?")
        read, write = os.pipe()
        if os.fork() == 0:
            os.write(write, f"{ask('?')} {ask('?')}".encode())
            os._exit(0)
        os.wait()
        theirs = os.read(read, 100).decode().split()
        assert theirs[0] == theirs[1] != str(mine), theirs
        assert ask("?") == mine
        print("done")
    """
    done = subprocess.run(
        script_of(judge, code), env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_process_forked_while_judges_are_busy_has_judges_of_its_own(judge: Path) -> None:
    code = """
        threads = [threading.Thread(target=ask, args=("power",), kwargs={"seconds": 1.5})
                   for _ in range(3 * cores())]
        [thread.start() for thread in threads]
        time.sleep(0.3)
        if os.fork() == 0:
            os._exit(0 if isinstance(ask("?"), int) else 1)
        print(os.wait()[1])
        [thread.join() for thread in threads]
    """
    done = subprocess.run(
        script_of(judge, code), env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "0\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_daemonic_process_may_judge(judge: Path, tmp_path: Path, method: str) -> None:
    file = tmp_path / "daemon.py"
    command = script_of(
        judge,
        f"""
        def work(queue):
            queue.put(ask("?"))
        if __name__ == "__main__":
            first = ask("?") if {method!r} == "fork" else 0
            context = multiprocessing.get_context({method!r})
            queue = context.Queue()
            process = context.Process(target=work, args=(queue,), daemon=True)
            process.start()
            assert queue.get(timeout=60) != first
            process.join()
            print("done")
        """,
    )
    file.write_text(command[-1])
    done = subprocess.run(
        [sys.executable, str(file)], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_an_event_loop_may_judge() -> None:
    async def all_of_them() -> list[Any]:
        direct = compute_score("math", "<answer>0.5</answer>", r"\frac{1}{2}")
        texts = [f"<answer>{n}/4</answer>" for n in range(1, 13)]
        tasks = [asyncio.to_thread(compute_score, "math", text, "0.5") for text in texts]
        return [direct, *await asyncio.gather(*tasks)]

    assert asyncio.run(all_of_them()) == [1.0, 0.0, 1.0] + [0.0] * 10


def test_an_interrupted_question_leaves_no_reply_behind(judges_of: JudgesOf) -> None:
    judges = judges_of(PATIENT)
    assert judges.ask("right", seconds=5) is True
    timer = threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        judges.ask("work", 60, seconds=60)
    timer.join()
    assert judges.ask("right", seconds=5) is True


# -- what they can do ------------------------------------------------------------------------------

HARM = {
    "write": "open(path, 'w')",
    "append": "open(path, 'a')",
    "mkdir": "os.mkdir(path)",
    "mknod": "os.mknod(path)",
    "fifo": "os.mkfifo(path)",
    "link": "os.symlink('/', path)",
    "rename": "os.rename(other, path)",
    "remove": "os.remove(other)",
    "truncate": "os.truncate(other, 0)",
    "mode": "os.chmod(other, 0)",
    "time": "os.utime(other, (0, 0))",
    "sqlite": "sqlite3.connect(path).execute('create table t(a)')",
    "memory file": "os.memfd_create('a')",
    "program": "subprocess.run(['/bin/touch', path])",
    "below subprocess": "_posixsubprocess.fork_exec([b'touch', path.encode()], [b'/bin/touch'], "
    "True, (), None, None, -1, -1, -1, -1, -1, -1, 2, True, False, -1, None, None, None, -1, None, "
    "True)",
    "exec": "os.execv('/bin/touch', ['touch', path])",
    "spawn": "os.posix_spawn('/bin/touch', ['touch', path], {})",
    "fork": "os.fork()",
    "thread": "threading.Thread(target=print).start()",
    "socket": "socket.create_connection(('127.0.0.1', port))",
    "socket pair": "socket.socketpair()",
    "C library": "touch(path.encode())",
    "fork in C": "fork()",
    "kill": "os.kill(os.getppid(), 9)",
    "signal": "signal.signal(signal.SIGPROF, signal.SIG_IGN)",
    "limits": "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))",
    "other pipes": "[os.write(n, b'true') for n in range(30) if n != 4]",
    "working folder": "os.chdir('/tmp')",
    "priority": "os.nice(-5)",
    "eval": "eval('1')",
    "exec of text": "exec('1')",
    "compile": "compile('1', 'a', 'eval')",
}


@LINUX
@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_a_judge_that_is_taken_over_does_no_harm(
    judges_of: JudgesOf, tmp_path: Path, harm: str
) -> None:
    """Code of a judge's own stands for what an answer might run after all."""
    script = f"""
        import ctypes, os, resource, signal, socket, sqlite3, subprocess, threading
        import _posixsubprocess
        library = ctypes.CDLL(None, use_errno=True)
        def touch(path):
            if library.creat(path, 0o600) < 0:
                raise OSError("refused")
        def fork():
            if library.fork() < 0:
                raise OSError("refused")
        def judge(kind, path, other, port):
            if kind == "harm":
                {harm}
            return True
        def prepared():
            return judge
    """
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "other").write_text("kept")
    before = (folder / "other").stat()
    judges = judges_of(script)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        rest = (str(folder / "harm"), str(folder / "other"), server.getsockname()[1])
        assert judges.ask("harm", *rest, seconds=5) is None
        assert judges.ask("right", *rest, seconds=5) is True
        with pytest.raises(BlockingIOError):
            server.accept()
    assert [path.name for path in folder.iterdir()] == ["other"]
    after = (folder / "other").stat()
    assert (before.st_mtime, before.st_mode, after.st_size) == (after.st_mtime, after.st_mode, 4)
    assert [child for pid in pids() for child in psutil.Process(pid).children()] == []


def test_a_judge_that_turns_its_timer_off_is_ended_all_the_same(judges_of: JudgesOf) -> None:
    script = """
        import signal
        def judge(kind):
            if kind == "harm":
                signal.setitimer(signal.ITIMER_PROF, 0)
                while True:
                    pass
            return True
        def prepared():
            return judge
    """
    judges = judges_of(script)
    assert judges.ask("harm", seconds=0.3) is None
    assert judges.ask("right", seconds=0.3) is True


def test_a_judge_still_reads_files_and_loads_modules(judges_of: JudgesOf, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("some")
    script = """
        def judge(path):
            import colorsys, csv, dataclasses, decimal, statistics, zoneinfo
            from collections import namedtuple
            kept = namedtuple("Kept", "text")(open(path).read())
            return kept.text == "some"
        def prepared():
            return judge
    """
    assert judges_of(script).ask(str(tmp_path / "some.txt"), seconds=10) is True


def test_a_judge_knows_nothing_of_our_environment(
    judges_of: JudgesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    script = """
        import os
        def prepared():
            return lambda: [dict(os.environ), open("/proc/self/environ").read(), os.getcwd()]
    """
    names, raw, folder = judges_of(script, valid=anything).ask(seconds=5)
    assert "secret" not in raw
    assert set(names) <= {
        *("PYTHONPATH", "PYTHONHASHSEED", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONHOME"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    }
    assert folder == "/"


def test_makers_are_not_held_to_it(judges_of: JudgesOf) -> None:
    judges = judges_of("def prepared(): return lambda text: eval(text)", valid=anything, trusted=1)
    assert judges.ask("1 + 1", seconds=5) == 2
