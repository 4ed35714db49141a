"""What a model says that was trained on traces: it tries a sum, reflects on it and ends; where its
answer is begun, it goes on from there, and gets it right."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

_SUM = re.compile(r"What is (\d+) \+ (\d+)\?")


def speak(request: dict[str, Any], sample: int) -> str:
    """The answer to a request: a trace of one attempt, right in one of two; or, where the thinking
    is begun, what follows in it."""
    question, begun = _asked(request)
    found = _SUM.search(question)
    if found is None:  # whether it goes on with an answer is looked at
        return "one"
    right = int(found[1]) + int(found[2])
    draw = sha256(f"{sample} {question} {begun}".encode()).digest()[0]
    if begun:
        return f"{'' if begun.endswith('>') else '...'}\n{_attempt(right, True)}"
    is_right = draw % 2 == 0
    return f"<think>\n<sample>\n{_attempt(right + (not is_right), is_right)}"


def _attempt(number: int, is_right: bool) -> str:
    """An attempt with its reflection, and the end of the trace."""
    verdict = "Correct" if is_right else "Incorrect"
    return (
        f"It is {number}.\n<answer>{number}</answer>\n</sample>\n<reflect>\nI add again.\n"
        f"<verdict>{verdict}</verdict>\n</reflect>\n</think>\n\n<answer>\n{number}\n</answer>"
    )


def _asked(request: dict[str, Any]) -> tuple[str, str]:
    """The question of a request, and the answer as far as it is begun."""
    if "prompt" in request:
        question, _, begun = str(request["prompt"]).rpartition("<|im_start|>assistant\n")
        return question, begun
    *before, last = request["messages"]
    if last["role"] == "assistant":
        return before[-1]["content"], last["content"]
    return last["content"], ""
