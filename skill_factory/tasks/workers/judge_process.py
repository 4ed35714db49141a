"""A process that judges: reads questions from its input, a line each, and writes what it thinks.

Libraries that judge can hang, fill the memory or run what they are given; a process of its own can
be given up without harm. It is run as a file, so that it needs nothing of this package, with the
path of a file whose `prepared()` gives the function that judges, the process that asks, and
`guarded`, or `trusted` if no one else's text is judged.

A question is a JSON list: a mark, the seconds of CPU time that it may take, and the function's
arguments. The reply is the mark, a space, and the answer as JSON: `null` if it failed, or if
something was refused. The file may have a function `prepare` of the same arguments that gives what
has to be done first, or None; that time does not count, and lines before and after it say so. Past
its time the process is ended by who asks; its own timer is for when they cannot.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import runpy
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

MEMORY_BYTES = 4 << 30
PREPARING_SECONDS = 120.0
GRACE_SECONDS = 1.0

_Refusals = Callable[[], list[str]]


def main() -> None:
    """Judge until the input ends."""
    script, parent, kind = sys.argv[1:]
    sandbox = _beside("judge_sandbox.py")
    sandbox["die_with"](int(parent))
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run; its end closes our input
    questions, replies = _channel()
    guard = _beside("judge_guard.py") if kind == "guarded" else None
    if guard:
        guard["install"]()
    own = runpy.run_path(script)
    judge = own["prepared"]()  # imports: no part of a judgement's seconds
    os.dup2(0, 2)
    if guard:
        guard["lock"]()
        sandbox["lock"](replies.fileno())
    _say(replies, "ready")
    for line in questions:
        _reply(line, replies, judge, own.get("prepare"), guard["refusals"] if guard else list)


def _beside(name: str) -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).with_name(name)))


def _channel() -> tuple[IO[str], IO[str]]:
    """Where questions come from and replies go; what a library prints is no reply, and what it
    reads is no question."""
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nowhere, stream)
    return questions, replies


def _reply(
    line: str,
    replies: IO[str],
    judge: Callable[..., Any],
    prepare: Callable[..., Callable[[], object] | None] | None,
    refusals: _Refusals,
) -> None:
    mark, seconds, *arguments = json.loads(line)
    work = None
    if prepare:
        with suppress(Exception):  # the judge will find the same fault
            work = prepare(*arguments)
    if work:
        _say(replies, "preparing")
        _judged(work, (), PREPARING_SECONDS)
        _say(replies, "prepared")
    refusals()
    said = _judged(judge, arguments, seconds)
    _say(replies, f"{mark} {'null' if refusals() else said}")


def _judged(judge: Callable[..., Any], arguments: Any, seconds: float) -> str:
    # Without a handler the signal ends the process, even inside one long multiplication.
    signal.setitimer(signal.ITIMER_PROF, seconds + GRACE_SECONDS)
    try:
        return json.dumps(judge(*arguments))
    except MemoryError:  # who knows what else went without
        os._exit(1)
    except Exception:
        return "null"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _say(replies: IO[str], words: str) -> None:
    replies.write(f"{words}\n")
    replies.flush()


if __name__ == "__main__":
    main()
