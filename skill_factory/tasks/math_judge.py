"""A process that judges mathematics: reads pairs of answers from its input, a line each, and writes
whether they are equal.

math-verify needs the main thread for its own time limits, can hang inside one long multiplication,
and can fill the memory; a process of its own can be given up without harm. It is run as a file, so
that it needs nothing of this package. Each line is a JSON list: gold answer, answer, seconds. Each
reply is `true`, `false` or `null` (undecided). Past its seconds the process dies without a reply.
"""

from __future__ import annotations

import json
import logging
import re
import resource
import signal
import sys
from typing import Any

MEMORY_BYTES = 4 << 30

# One letter in upright type is a letter; math-verify 0.9.0 drops what it does not know, and then
# takes 1 - 1/e and 1 + 1/e for the same 1.
_UPRIGHT = re.compile(r"\\(?:mathrm|mathit|mathbf|operatorname|text|rm)\s*\{\s*([A-Za-z])\s*\}")
_MATH_MODE = re.compile(r"\$|\\\(|\\\[|\\boxed")
_A_FRACTION = re.compile(r"-?\s*(?:\\[dtc]?frac\{-?\d+\}\{-?\d+\}|\d+\s*/\s*\d+)")
_MORE_THAN_A_NUMBER = re.compile(
    r"\\[dtc]?frac|\\sqrt|\\binom|\^(?!\s*\{?\s*\\circ)|[^\s({\[,=]\s*[-+*/]\s*\S|\\cdot|\\times|[_']"
)


def _parsed(text: str) -> list[Any] | None:
    """What math-verify makes of an answer; None if it makes nothing of it, or only of a part."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    plain = _UPRIGHT.sub(r"\1", text.strip())
    if plain.count("$") > 2 or plain.count(r"\boxed") > 1:  # several answers
        return None
    found = parse(
        plain if _MATH_MODE.search(plain) else f"${plain}$",
        [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()],
        fallback_mode="no_fallback",
        parsing_timeout=0,
    )
    if not found:
        return None
    if _A_FRACTION.fullmatch(plain.strip("$ ")):
        return list(found)
    whole = all(getattr(value, "is_Integer", False) for value in found)
    return None if whole and _MORE_THAN_A_NUMBER.search(plain) else list(found)


def _judge(gold: str, answer: str) -> bool | None:
    from math_verify import verify

    wanted, given = _parsed(gold), _parsed(answer)
    if wanted is None or given is None:
        return None
    return bool(verify(wanted, given, timeout_seconds=0, raise_on_error=True))


def main() -> None:
    """Judge until the input ends."""
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run; its end closes our input
    import math_verify  # noqa: F401  the second it takes is not part of a judgement

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        gold, answer, seconds = json.loads(line)
        # Without a handler the signal ends the process, even inside one long multiplication.
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            said = _judge(gold, answer)
        except (Exception, RecursionError, MemoryError):
            said = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
