"""What is printed is shown, never obeyed, wherever it comes from."""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from conftest import ANSWER, CORRECT, REFLECTION, RESPONSE, ROOT, Outcome, attempts, run, write_rows
from hub import Fault as HubFault
from hub import Repo, User
from hub import serve as serve_hub
from hypothesis import given
from hypothesis import strategies as st
from model_server import Fault, Server, serve
from tutor import speak

from skill_factory.cli.main import main
from skill_factory.core.tables import ATTEMPTS
from skill_factory.core.terminal import guarded, visible
from skill_factory.stages.grade import IN_PROCESSES

EVIL = "\x1b]52;c;ZWNobyBoaQ==\x07\x1b[2J\x9b31m\r\x7f\x08\u202eevil\u2066\u200f\u2028\x00"
"""Fills the clipboard, clears the screen, turns text round."""

LATIN = "\x1b]52;c;ZWNobyBoaQ==\x07\x9b31m evil"
"""What of it a header of HTTP can hold."""

NAME = EVIL.replace("\x00", "")
"""As a file or an argument can be called."""

ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
PACKAGE = ROOT / "skill_factory"


def harmless(done: Outcome, *, code: int | None = None) -> Outcome:
    """Nothing in what a command printed gives an order to a terminal, and none is a traceback."""
    for said in (done.out, done.err):
        found = ORDERS.search(said)
        assert found is None, (found, said)
        assert "Traceback" not in said, said
    assert code is None or done.code == code, done
    return done


def command(*words: str | Path, code: int | None = None) -> Outcome:
    """Run a command in this process."""
    result = CliRunner().invoke(main, [*map(str, words)])
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    said = Outcome(result.exit_code, result.stdout, result.stderr)
    return harmless(said, code=code)


def apart(*words: str | Path, code: int | None = None, **environment: str) -> Outcome:
    """Run a command in a process of its own; all its bytes, with no \\r read as \\n."""
    done = subprocess.run(
        [sys.executable, "-m", "skill_factory", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        check=False,
    )
    said = Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())
    return harmless(said, code=code)


# -- the module ------------------------------------------------------------------------------------


@given(st.text())
def test_no_text_gives_an_order(text: str) -> None:
    shown = visible(text)
    assert not ORDERS.search(shown)
    assert visible(shown) == shown
    shown.encode()


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_words_stay_as_they_are(text: str) -> None:
    assert visible(text + "\n\t🎉é中") == text + "\n\t🎉é中"


@given(st.text())
def test_what_a_library_prints_is_shown(text: str) -> None:
    before = sys.stdout, sys.stderr
    try:
        sys.stdout = sys.stderr = stream = io.StringIO()
        with guarded():
            print(text)
            sys.stderr.write(text)
            click.echo(text, err=True)
    finally:
        sys.stdout, sys.stderr = before
    assert not ORDERS.search(stream.getvalue())


def prints(node: ast.AST) -> bool:
    """Whether this is a call that prints, or a stream that could be printed to."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id == "print"
    text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
    return text in ("click.echo", "click.secho", "sys.stdout", "sys.stderr", "sys.__stdout__")


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_only_one_module_prints(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    asks = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "isatty"
    }
    found = [n for n in ast.walk(tree) if prints(n) and id(n) not in asks]
    assert bool(found) == (path.name == "terminal.py"), list(map(ast.unparse, found))


def test_imports_bring_no_other_way_to_print() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in ("click", "sys"):
                names = {alias.name for alias in node.names}
                assert not names & {"echo", "secho", "stdout", "stderr"}, path


# -- every command, over hostile data --------------------------------------------------------------


def hostile_rows() -> list[dict[str, Any]]:
    rows = attempts(3, 3, f"What is 2 + 2? {EVIL}")
    for row in rows:
        row |= {
            RESPONSE: [row[RESPONSE][0].replace("\n", f" {EVIL}\n")],
            REFLECTION: [f"{EVIL} {text}" for text in row[REFLECTION]],
            "prompt_variant": f"{row['prompt_variant']}{EVIL}",
            ANSWER: [f"{row[ANSWER][0]}{EVIL}"],
            "task_source": f"integers{EVIL}",
        }
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a hostile name, with hostile data in it."""
    folder = tmp_path_factory.mktemp("data") / f"in{NAME}"
    folder.mkdir()
    write_rows(folder / "rows.parquet", hostile_rows(), schema=None)
    write_rows(folder / "rows.jsonl", hostile_rows())
    (folder / "broken.jsonl").write_text('{"question": "' + EVIL.replace("\x00", "") + "\n")
    questions = [
        {"question": f"What is {i} + {i}? {EVIL}", "answer": str(2 * i), "task_source": "integers"}
        for i in range(4)
    ]
    pq.write_table(pa.Table.from_pylist(questions), folder / "questions.parquet")
    odd = [{f"question{EVIL}": "What?", f"answer{EVIL}": "4", "task_source": EVIL}]
    pq.write_table(pa.Table.from_pylist(odd), folder / "odd.parquet")
    bad = [row | {CORRECT: [EVIL]} for row in hostile_rows()]
    write_rows(folder / "bad.parquet", bad, schema=None)
    return folder


@pytest.mark.slow
def test_create_over_hostile_data(data: Path, tmp_path: Path) -> None:
    rows, few = data / "rows.parquet", ["--attempts", "2"]
    told = command("create", "-i", rows, "--dry-run", *few, code=0)
    assert "no task is known as 'integers" in told.out
    command("create", "-i", data / "rows.jsonl", "--dry-run", *few, code=0)
    command("create", "-i", rows, "--dry-run", "--prompt-variants", NAME, code=1)
    done = apart("create", "-i", rows, "-o", tmp_path / f"sft{NAME}", *few, code=0)
    assert "SFT dataset: " in done.out
    for name in ("broken.jsonl", "odd.parquet", "bad.parquet", "none.parquet"):
        command("create", "-i", data / name, "-o", tmp_path / "x", code=1)
    command("create", "-i", rows, "-o", NAME, code=2)
    command("create", "-i", rows, "-o", "./x", "--question-column", NAME, code=1)
    command("create", "-i", rows, "-o", "./x", f"--{NAME}", code=2)
    command("create", "-i", rows, "-o", "./x", "--attempts", NAME, code=2)
    command("create", "-i", rows, "-o", "./x", "--task", NAME, code=2)
    command(NAME, code=2)


@pytest.mark.slow
def test_check_export_and_push_over_hostile_data(data: Path, tmp_path: Path) -> None:
    sft = tmp_path / f"sft{NAME}"
    command("create", "-i", data / "rows.parquet", "-o", sft, "--attempts", "2", code=0)
    command("check", sft, "-v")
    command("check", sft, "-v", "--no-rewards", code=0)
    command("check", sft, "-v", "--task", "integers")
    command("check", data, code=1)
    for words in ((), ("--questions",), ("--lost",), ("--lost", NAME), ("--grep", NAME)):
        command("show", sft, *words)
    command("show", data, code=1)
    command("show", data / "odd.parquet", code=1)
    command("verify", sft)
    command("diff", sft, sft)
    command("diff", sft, data, code=1)
    command("export", "llama-factory", sft, "-o", tmp_path / f"out{NAME}.yaml", "--name", NAME)
    command("export", "llama-factory", data, code=1)
    questions = data / "questions.parquet"
    command("export", "verl", "-i", questions, "-o", tmp_path / f"rl{NAME}", "--val-size", "1")
    command("export", "verl", "-i", data / "odd.parquet", "-o", tmp_path / "rl", code=1)
    faults = [HubFault("POST", "/repos/create", 400, 1, f"no {LATIN}")]
    evil = {"README.md": f"---\nconfigs: {json.dumps(EVIL)}\nx: [{NAME!r}\n---\n".encode()}
    with serve_hub(
        {"me/x": Repo({}), "me/y": Repo(evil)}, users={"hf_right": User("me")}, faults=faults
    ) as address:
        environment = {
            "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_right",
            "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip
        apart("push", sft, "me/x", "--commit-message", NAME, code=1, **environment)
        apart("push", sft, "me/y", code=1, **environment)
        apart("push", sft, f"me/{NAME}", code=2, **environment)
        apart("push", data, "me/x", code=1, **environment)


@pytest.mark.slow
def test_questions_over_hostile_data(data: Path, tmp_path: Path) -> None:
    good = data / "questions.parquet"
    done = command("questions", good, "--dry-run", code=0)
    assert "evil" in done.out
    command("questions", good, "-o", tmp_path / f"q{NAME}.jsonl", code=0)
    command("questions", data / "odd.parquet", "--dry-run", code=1)
    command("questions", good, "--dry-run", "--question-column", NAME, code=1)
    command("questions", good, "--dry-run", "--task-column", "question")
    command("questions", f"reasoning-gym:{NAME}", "--dry-run")
    command("questions", "addition", "--gym", NAME, "--dry-run", code=2)


def evil_speak(request: dict[str, Any], sample: int) -> str:
    return f"{EVIL} {speak(request, sample)}"


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server(speak=evil_speak, models=(f"tiny{NAME}",))) as server:
        yield server


@pytest.mark.slow
def test_runs_over_hostile_data_models_and_servers(
    server: Server, data: Path, tmp_path: Path
) -> None:
    prompts = {"variants": {f"mine{NAME}": {"user": "{question} <answer></answer> " + NAME}}}
    (tmp_path / "prompts.yaml").write_text(yaml.safe_dump(prompts))
    config = {
        "questions": {"source": str(data / "questions.parquet")},
        "model": {"base_url": server.url, "api_key_env": "NOT_THERE", "tries": 1},
        "sample": {
            "prompts": str(tmp_path / "prompts.yaml"), "samples": 3, "seed": 0,
            "prompt_variants": [f"mine{NAME}", "original"],
        },
        "reflect": {"reflections": 2, "seed": 0},
        "create": {"attempts": 2},
    }  # fmt: skip
    path, folder = tmp_path / f"c{NAME}.yaml", tmp_path / f"run{NAME}"
    path.write_text(yaml.safe_dump(config, allow_unicode=False))
    assert "evil" in command("run", path, "-o", folder, "--dry-run", code=0).out
    server.faults.append(Fault(500, times=2, every=5, message=f"broken {EVIL}"))
    command("run", path, "-o", folder, "--to", "reflect", code=0)
    assert "evil" in command("run", path, "-o", folder, code=0).out
    command("grade", folder, code=0)
    command("grade", folder, "--task", NAME, code=2)
    command("sample", "-o", folder, "--dry-run", code=0)
    command("reflect", folder, "--dry-run", "--reflections", "3", code=0)
    command(
        "sample", "-o", folder, "--samples", "4", "--write-requests", folder / "b.jsonl", code=0
    )
    answers = {"custom_id": NAME, "response": {"status_code": 500, "body": {"error": EVIL}}}
    (folder / "b.jsonl").write_text(json.dumps(answers) + "\n" + NAME)
    command("sample", "-o", folder, "--read-responses", folder / "b.jsonl")
    command("sample", "-o", folder, "--model", NAME, code=1)
    command("sample", "-o", folder, "--prompt-variants", NAME, code=2)
    for status in (400, 401, 404, 500):
        server.faults[:] = [Fault(status, message=EVIL, code=EVIL)]
        command("reflect", folder, "--reflections", "5", "--patience", "0.1")
    path.write_text(f"sample: {{{json.dumps(EVIL)}: {json.dumps(NAME)}}}\n")
    command("run", path, code=1)
    path.write_text(f"{json.dumps(NAME)}: [\n")
    command("run", path, code=1)


LOUD = """
import sys
from skill_factory.tasks import Task

def grade(answer, gold, facts):
    print(answer)
    print(answer, file=sys.stderr)
    return answer == gold

loud = Task("loud", grade)
"""
GRADE = """
import sys
from pathlib import Path
from skill_factory.stages.grade import grade_file
from skill_factory.tasks import load_task

folder = Path(sys.argv[1])
load_task(f"{folder / 'loud.py'}:loud")
grade_file(folder / "a.parquet", folder / "b.parquet", hints=frozenset(), words=(), workers=2)
"""


@pytest.mark.slow
def test_what_a_task_of_ones_own_prints_in_another_process_is_shown(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    texts = dict.fromkeys(ATTEMPTS.names, "")
    row = texts | {"task_source": "loud", "sample": 0, "response": f"<answer>{EVIL}</answer>"}
    table = pa.Table.from_pylist([row | {"completion_tokens": None}] * IN_PROCESSES, ATTEMPTS)
    pq.write_table(table, tmp_path / "a.parquet")
    done = subprocess.run(
        [sys.executable, "-c", GRADE, tmp_path],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    for said in (done.stdout.decode(), done.stderr.decode()):
        assert "\\x1b]52;c;" in said
        assert ORDERS.search(said) is None


# -- a terminal ------------------------------------------------------------------------------------


def on_a_terminal(*words: str | Path, **environment: str) -> str:
    """What a command writes to a terminal."""
    return written_to_terminal(words, os.environ | environment, rows=24, typed=False)


def written_to_terminal(
    words: Iterable[str | Path], environment: Mapping[str, str], rows: int, typed: bool
) -> str:
    """What a command writes to a terminal of 80 columns; `typed`: it is its input, too."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (rows, 80))
    with subprocess.Popen(
        [sys.executable, "-m", "skill_factory", *map(str, words)],
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdin=theirs if typed else subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 4096):
                said += part
        except OSError:  # how Linux says that the other end is closed
            pass
        finally:
            os.close(ours)
    return said.decode().replace("\r\n", "\n")


@pytest.mark.slow
def test_bars_move_on_a_terminal_and_data_does_not(data: Path, tmp_path: Path) -> None:
    said = on_a_terminal("create", "-i", data / "rows.parquet", "--dry-run", "--attempts", "2")
    assert "index: " in said
    assert "\r" in said
    assert not ORDERS.search(said.replace("\r", "").replace("\x1b[A", ""))
    said = on_a_terminal("check", data)
    assert "\\x1b]52;c;" in said
    assert not ORDERS.search(said.replace("\r", ""))


# -- streams that cannot be written to -------------------------------------------------------------


def redirected(words: str, cwd: Path) -> tuple[int, str]:
    """Run a command in a shell, with a redirection; its exit code and its errors."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m skill_factory {words}"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_device_is_one_line(
    tmp_path: Path, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    full = "Error: the standard output cannot be written: No space left on device\n"
    for words in ("--help", "--version", "questions addition --count 3 --dry-run"):
        assert redirected(f"{words} > /dev/full", tmp_path) == (1, full)
    assert redirected("nothing 2> /dev/full", tmp_path) == (1, "")
    assert redirected("questions addition --count 3 --dry-run > /dev/full 2>&1", tmp_path) == (
        1,
        "",
    )


@pytest.mark.slow
def test_a_reader_that_goes_and_a_closed_stream_are_quiet(tmp_path: Path) -> None:
    words = "questions addition --count 200 --dry-run"
    assert redirected(f"{words} | true", tmp_path)[1] == ""
    assert redirected(f"{words} >&-", tmp_path) == (0, "")


def test_an_encoding_that_lacks_characters_is_no_error(tmp_path: Path) -> None:
    done = run("check", "é🎉", module="skill_factory", PYTHONIOENCODING="ascii:strict")
    assert done.err.startswith(r"Error: \xe9\U0001f389: no such file or folder")
