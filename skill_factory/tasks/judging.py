"""Judges: processes that answer, a question at a time, so that what they do can be given up."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from skill_factory.errors import TaskError

_FOLDER = Path(__file__).parent


class Judges:
    """The judges of one file, as many as threads have asked at a time.

    `script` is the file, beside this one unless it is a path, that `judge_process` runs, and
    `library` the package it imports, called `name` by those who install it, with our `extra`;
    `purpose` is what cannot be done without.
    """

    def __init__(self, script: str, library: str, name: str, extra: str, purpose: str) -> None:
        self.script = script
        self.library = library
        self.name = name
        self.extra = extra
        self.purpose = purpose
        self._idle: list[_Judge] = []
        self._lock = threading.Lock()
        atexit.register(self._dismiss)

    def ask(self, *arguments: Any, seconds: float) -> Any:
        """What an idle judge, or a new one, says; None if it failed or died over it.

        Raises `TaskError` if the library is not installed, or does not run.
        """
        if importlib.util.find_spec(self.library) is None:
            raise TaskError(
                f"{self.purpose} needs {self.name}: pip install 'skill-factory[{self.extra}]'"
            )
        with self._lock:
            mine = [judge for judge in self._idle if judge.owner == os.getpid()]
            judge = mine[-1] if mine else None
            if judge:
                self._idle.remove(judge)
        judge = judge or _Judge(self.script, self.name)
        reply = judge.ask(json.dumps([*arguments, seconds]))
        if not reply:
            judge.close()
            return None
        with self._lock:
            self._idle.append(judge)
        return json.loads(reply)

    def _dismiss(self) -> None:
        while self._idle:
            self._idle.pop().close()


class _Judge:
    """A judging process, and whose it is: a fork must not talk through its parent's pipes.

    Raises `TaskError` if it cannot begin.
    """

    def __init__(self, script: str, name: str) -> None:
        self.owner = os.getpid()
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  closed by close()
        process = str(_FOLDER / "judge_process.py")
        self.process = subprocess.Popen(
            # -P: the modules beside the file are not for the library to import
            [sys.executable, "-P", process, str(_FOLDER / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            encoding="utf-8",
            env=os.environ | {"PYTHONHASHSEED": "0"},  # the same is said of the same in every run
        )
        if self._pipe(self.process.stdout).readline() != "ready\n":
            self.errors.seek(0)
            said = self.errors.read().strip().rpartition("\n")[2]
            self.close()
            raise TaskError(f"{name} is installed but does not run: {said}")

    def ask(self, question: str) -> str:
        """The reply's line; empty if the process died over it."""
        try:
            self._pipe(self.process.stdin).write(f"{question}\n")
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
