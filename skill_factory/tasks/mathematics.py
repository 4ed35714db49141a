"""Mathematics: answers that are equal, however they are written, by math-verify (extra `math`)."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from skill_factory.errors import TaskError

SECONDS = 2.0
"""How long one judgement may take."""

LONGEST = 2_000
"""Characters of an answer that is still read."""

_TRIVIAL = re.compile(
    r"\\(?:left|right|displaystyle)\b|\\[,;!:]|(?<!\d)\s+|\s+(?!\d)|^\$([^$]*)\$$|\.$"
)


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether two answers are equal; None if that could not be decided, or not in time.

    Answers of the same letters are equal without being parsed. Raises `TaskError` if math-verify is
    not installed.
    """
    wanted, given = _plain(gold), _plain(answer)
    if not wanted:
        return None
    if wanted == given:
        return True
    if not given or len(answer) > LONGEST:
        return False
    return _judge(gold, answer)


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if _plain(gold) else "it is empty"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """Something that is not equal, whatever the gold answer is."""
    return "7919" if "7919" not in gold else "7907"


def _plain(text: str) -> str:
    text = text.strip()
    boxed = re.fullmatch(r"\$*\\boxed\{(.*)\}\$*", text, re.DOTALL)
    return _TRIVIAL.sub(lambda match: match[1] or "", boxed[1] if boxed else text)


# -- judges: processes that answer, a question at a time ------------------------------------------


class _Judge:
    """A judging process, and whose it is: a fork must not talk through its parent's pipes.

    Raises `TaskError` if it cannot begin.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  closed by close()
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("math_judge.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            encoding="utf-8",
        )
        if self._pipe(self.process.stdout).readline() != "ready\n":
            self.errors.seek(0)
            said = self.errors.read().strip().rpartition("\n")[2]
            self.close()
            raise TaskError(f"math-verify is installed but does not run: {said}")

    def ask(self, gold: str, answer: str) -> str:
        """The reply's line; empty if the process died over it."""
        try:
            self._pipe(self.process.stdin).write(json.dumps([gold, answer, SECONDS]) + "\n")
            self._pipe(self.process.stdin).flush()
            return self._pipe(self.process.stdout).readline()
        except OSError:
            return ""

    def close(self) -> None:
        if self.owner != os.getpid():
            return
        self.errors.close()
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                self._pipe(pipe).close()
            except OSError:  # what was being written when it died
                continue

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


_idle: list[_Judge] = []
_lock = threading.Lock()


def _judge(gold: str, answer: str) -> bool | None:
    """Ask an idle judge, or a new one; as many are alive as threads have asked at a time."""
    if importlib.util.find_spec("math_verify") is None:
        raise TaskError("grading mathematics needs math-verify: pip install 'skill-factory[math]'")
    with _lock:
        mine = [judge for judge in _idle if judge.owner == os.getpid()]
        judge = mine[-1] if mine else None
        if judge:
            _idle.remove(judge)
    judge = judge or _Judge()
    reply = judge.ask(gold, answer)
    if not reply:
        judge.close()
        return None
    with _lock:
        _idle.append(judge)
    decided: bool | None = json.loads(reply)
    return decided


@atexit.register
def _dismiss() -> None:
    while _idle:
        _idle.pop().close()
