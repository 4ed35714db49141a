"""What `judge_process` judges mathematics with: whether two answers are equal, by math-verify.

math-verify needs the main thread for its own time limits, can hang inside one long multiplication,
and can fill the memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

# One letter in upright type is a letter; math-verify 0.9.0 drops what it does not know, and then
# takes 1 - 1/e and 1 + 1/e for the same 1.
_UPRIGHT = re.compile(r"\\(?:mathrm|mathit|mathbf|operatorname|text|rm)\s*\{\s*([A-Za-z])\s*\}")
_MATH_MODE = re.compile(r"\$|\\\(|\\\[|\\boxed")
_A_FRACTION = re.compile(r"-?\s*(?:\\[dtc]?frac\{-?\d+\}\{-?\d+\}|\d+\s*/\s*\d+)")
_MORE_THAN_A_NUMBER = re.compile(
    r"\\[dtc]?frac|\\sqrt|\\binom|\^(?!\s*\{?\s*\\circ)|[^\s({\[,=]\s*[-+*/]\s*\S|\\cdot|\\times|[_']"
)

_FIRST = (r"\frac{x^2+1}{2}", r"\begin{pmatrix}1\\2\end{pmatrix}", r"(1,\sqrt{2}]", r"x=\pi")


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


def prepared() -> Callable[[str, str], bool | None]:
    """The function that judges a gold answer and an answer; None: undecided."""
    # The second that importing takes, and what first uses take, is not part of a judgement.
    for answer in _FIRST:
        _judge(answer, answer)
    return _judge
