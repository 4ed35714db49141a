"""A process that judges: reads questions from its input, a line each, and writes what it thinks.

Libraries that judge can hang, fill the memory or run what they are given; a process of its own can
be given up without harm. It is run as a file, so that it needs nothing of this package, with the
path of a file whose `prepared()` gives the function that judges. Each line is a JSON list: that
function's arguments, then the seconds it may take. Each reply is its answer as JSON, `null` if it
failed. Past its seconds the process dies without a reply.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import runpy
import signal
import sys

MEMORY_BYTES = 4 << 30


def main() -> None:
    """Judge until the input ends."""
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run; its end closes our input
    # What a library prints is no reply, and what it reads is no question.
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nowhere, stream)
    judge = runpy.run_path(sys.argv[1])["prepared"]()  # imports: no part of a judgement's seconds

    replies.write("ready\n")
    replies.flush()
    for line in questions:
        *arguments, seconds = json.loads(line)
        # Without a handler the signal ends the process, even inside one long multiplication.
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            said = json.dumps(judge(*arguments))
        except (Exception, RecursionError, MemoryError):
            said = "null"
        signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(f"{said}\n")
        replies.flush()


if __name__ == "__main__":
    main()
