"""What a model server says in tests of whole runs: right and wrong answers to sums and Countdown
puzzles, true and false verdicts, by a digest of what it is asked."""

from __future__ import annotations

import re
from fractions import Fraction
from hashlib import sha256
from itertools import permutations
from typing import Any

_SUM = re.compile(r"What is (\d+) \+ (\d+)\?")
_PUZZLE = re.compile(r"Make (\d+) from the numbers ([\d, ]+)\.")


def speak(request: dict[str, Any], sample: int) -> str:
    """The answer to a request: two of three attempts are right, three of four verdicts true."""
    text = next(m["content"] for m in reversed(request["messages"]) if m["role"] == "user")
    if text in ("Hi", "Say a."):  # whether it answers, and goes on with an answer, is looked at
        return "one"
    draw = sha256(f"{sample} {text}".encode()).digest()[0]
    right, wrong = _answers(text)
    if "Attempt:" not in text:
        return f"I go my way {draw}.\n<answer>{right if draw % 3 else wrong}</answer>"
    if draw % 16 == 1:
        return f"I cannot tell {draw}."
    answer = re.search(r"Attempt:.*<answer>([^<]*)</answer>", text, re.DOTALL)
    assert answer, text
    verdict = "Correct" if (answer[1] == right) == (draw % 4 > 0) else "Incorrect"
    return f"I go over it again, my way {draw}.\n<verdict>{verdict}</verdict>"


def _answers(text: str) -> tuple[str, str]:
    """A right and a wrong answer to the question in a prompt."""
    if asked := _SUM.search(text):
        total = int(asked[1]) + int(asked[2])
        return str(total), str(total + 1)
    puzzle = _PUZZLE.search(text)
    assert puzzle, text
    numbers, target = puzzle[2].split(", "), int(puzzle[1])
    found = _reach([(Fraction(number), number) for number in numbers], target)
    assert found, text
    return f"{found} = {target}", f"{' + '.join(numbers)} = {target}"


def _reach(terms: list[tuple[Fraction, str]], target: int) -> str | None:
    """An expression of the terms that reaches a target."""
    if terms[0][0] == target:
        return terms[0][1]
    for (a, one), (b, two), *rest in permutations(terms) if len(terms) > 1 else ():
        joined = [(a + b, f"({one} + {two})"), (a - b, f"({one} - {two})")]
        joined.append((a * b, f"({one} * {two})"))
        if b:
            joined.append((a / b, f"({one} / {two})"))
        for term in joined:
            if found := _reach([term, *rest], target):
                return found
    return None
