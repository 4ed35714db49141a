"""Chats with our tags for the tests of checks, written to a file as anybody may have them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conftest import Outcome, Row, run, write_rows

from skill_factory.core import markup

QUESTION = "What is 17 + 25?"
WRONG = "17 + 25 = 32.\n<answer>32</answer>"
RIGHT = "17 + 25 = 42.\n<answer>42</answer>"
NOT_YET = "17 + 25 is over 40, not 32.\n<verdict>Incorrect</verdict>"
YES = "7 + 5 ends in 2, and 10 + 20 + 12 is that.\n<verdict>Correct</verdict>"
STEPS = ((WRONG, NOT_YET), (RIGHT, YES))


def text(
    steps: Sequence[tuple[str, str | None]] = STEPS,
    glue: Sequence[str] | None = None,
    closing: str = "So the answer is:",
    answer: str = "42",
    **more: Any,
) -> str:
    """A trace; by default a wrong attempt and a right one."""
    phrases = ["Let me try again."] * (len(steps) - 1) if glue is None else glue
    parts = tuple(markup.Step(*step) for step in steps)
    return markup.write(markup.Trace(parts, tuple(phrases), closing, answer, **more))


def chat(assistant: str | None = None, question: str = QUESTION, **columns: Any) -> Row:
    """A row of a chat dataset; the assistant's turn is a trace by default."""
    turns = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": text() if assistant is None else assistant},
    ]
    return {"messages": turns} | columns


def chats(count: int, **columns: Any) -> list[Row]:
    """So many different traces with different phrases, half of them of three attempts."""
    rows = []
    for n in range(count):
        a, b = 10 + n, 25
        wrong = f"{a} + {b} = {a + b - 10}.\n<answer>{a + b - 10}</answer>"
        right = f"{a} + {b} = {a + b}.\n<answer>{a + b}</answer>"
        other = f"{b} + {a} = {a + b + 1}.\n<answer>{a + b + 1}</answer>"
        no, yes = (
            f"I add {a} and {b}.\n<verdict>{word}</verdict>" for word in ("Incorrect", "Correct")
        )
        steps = [(wrong, no), (other, no), (right, yes)][n % 2 :]
        glue = [f"Take {n * 3 + i}." for i in range(len(steps) - 1)]
        whole = text(steps, glue, f"So, for the {n}. time:", str(a + b))
        rows.append(chat(whole, f"What is {a} + {b}?", **columns))
    return rows


def look(path: Path, rows: Sequence[Row], *options: str | Path) -> Outcome:
    """Write rows as a file, and check it."""
    write_rows(path, list(rows), None)
    return check(path, *options)


def check(what: Path, *options: str | Path) -> Outcome:
    """Run the command."""
    return run("check", what, *options, module="skill_factory")


def codes(path: Path, rows: Sequence[Row], *options: str | Path) -> dict[str, Any]:
    """What is found in rows, by code."""
    return found(look(path, rows, "--json", *options))


def found(done: Outcome) -> dict[str, Any]:
    """What a check with --json has found, by code."""
    return {one["code"]: one for one in json.loads(done.out)["findings"]}
