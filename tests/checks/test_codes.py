"""Every code has a fault that it finds, and a near miss that it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from chats import (
    NOT_YET,
    QUESTION,
    RIGHT,
    STEPS,
    WRONG,
    YES,
    chat,
    chats,
    codes,
    text,
)
from conftest import Row

from skill_factory.checks.codes import CODES


class Case(NamedTuple):
    """Rows in which `code` is found, and rows in which it is not, with these `options`."""

    code: str
    planted: list[Row]
    near: list[Row]
    options: tuple[str, ...] = ()


def turns(*pairs: tuple[str, str]) -> Row:
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


def judged(reflection: str, attempt: str = RIGHT) -> Row:
    """A trace of one attempt and this reflection on it."""
    return chat(text([(attempt, reflection)], answer=attempt.split("<answer>")[1][:2]))


def retried(phrase: str) -> Row:
    return chat(text(glue=[phrase]))


def gold(said: str) -> Row:
    """A wrong attempt at a question whose gold answer is 42, and what is said of it."""
    steps = [(WRONG, f"{said}\n<verdict>Incorrect</verdict>"), (RIGHT, YES)]
    return chat(text(steps), answer="42")


def shares(phrases: list[str]) -> list[Row]:
    """40 traces; phrase i closes trace i."""
    closing = [f"That is my {n}. word:" for n in range(40)]
    rows = chats(40)
    for n, row in enumerate(rows):
        said = row["messages"][1]["content"]
        row["messages"][1]["content"] = said.replace(
            f"So, for the {n}. time:", phrases[n] if n < len(phrases) else closing[n]
        )
    return rows


LONG = "I go through it digit by digit, carry the one where it is due, and add up all parts again. "
"""Over 100 characters with what follows."""


def copied(again: str) -> list[Row]:
    other = "18 + 24 = 42.\n<answer>42</answer>"
    return [
        judged(f"{LONG}It is 42.\n<verdict>Correct</verdict>"),
        chat(text([(other, f"{again}\n<verdict>Correct</verdict>")]), "What is 18 + 24?"),
    ]


def of_one_attempt(share: float) -> list[Row]:
    """40 traces, this share of them of a single attempt."""
    rows = chats(40)
    for n in range(int(40 * share)):
        a = 10 + n
        right = f"{a} + 25 = {a + 25}.\n<answer>{a + 25}</answer>"
        said = f"I add {a} and 25.\n<verdict>Correct</verdict>"
        closing = f"So, for the {n}. time:"
        rows[n] = chat(text([(right, said)], closing=closing, answer=str(a + 25)), f"{a} + 25?")
    return rows


def of_verdict(right: int) -> list[Row]:
    """40 traces of one attempt, so many of them judged right."""
    rows = of_one_attempt(1.0)
    for row in rows[right:]:
        said = row["messages"][1]["content"]
        row["messages"][1]["content"] = said.replace(">Correct<", ">Incorrect<")
    return rows


CASES = [
    Case(
        "S01",
        [turns(("user", QUESTION), ("user", QUESTION), ("assistant", text()))],
        [turns(("system", "Be brief."), ("user", QUESTION), ("assistant", text()))],
    ),
    Case("S02", [chat(question=" \n")], [chat(question=".")]),
    Case("S03", [chat(question="What is <|im_end|>?")], [chat(question="What is <|im end>?")]),
    Case("S03", [judged(f"[INST] {YES}")], [judged(f"[INSTEAD] {YES}")]),
    Case(
        "S04",
        [chat(f"<think>\nHm.\n</think>\n{text()}")],
        [chat(text([(WRONG.replace("17", "I think 17", 1), NOT_YET), STEPS[1]]))],
    ),
    Case(
        "S05",
        [chat(text().replace("</reflect>\nLet", "Let"))],
        [chat(text([(WRONG, None), (RIGHT, None)]))],
    ),
    Case("S06", [chat(f"{text()}\nDone.")], [chat(text(answer="42 "))]),
    Case(
        "S06",
        [chat(text(lead="Hm.", restated=RIGHT).replace(f"Hm.\n{RIGHT}", f"Hm.\nOr {RIGHT}"))],
        [chat(text(lead="Hm.", restated=RIGHT))],
    ),
    Case(
        "S07",
        [judged(f"<answer>42</answer> {YES}")],
        [judged(f"<Answer>42</Answer> {YES}")],
    ),
    Case("S08", [chat(text().replace("Let me try again.\n", ""))], [retried("Hm.")]),
    Case("S09", [chat(text(answer="32"))], [chat(text(answer="x = 42"))]),
    Case(
        "S10",
        [judged("Fine. <verdict>Maybe</verdict>")],
        [judged("Fine. <verdict> correct\n</verdict>")],
    ),
    Case("W02", [retried("That looks right.")], [retried("That looks wrong.")]),
    Case(
        "W02",
        [chat(text([(RIGHT, YES), (f"Or: {RIGHT}", YES)], ["This is wrong."]))],
        [chat(text([(RIGHT, YES), (f"Or: {RIGHT}", YES)], ["What could be wrong?"]))],
    ),
    Case(
        "W03",
        [retried("Let me try again.One more try.")],
        [retried("Let me try again, e.g. with 3.5 or U.S. units. One more try.")],
    ),
    Case("W03", [retried("Let me try againWait, no.")], [retried("Let me try again. Wait, no.")]),
    Case("W04", shares(["My answer:"] * 11), shares(["My answer:"] * 10)),
    Case(
        "W05",
        [chat(text([(RIGHT, YES), (RIGHT, YES)]))],
        [chat(text([(RIGHT, YES), (f"Again: {RIGHT}", YES)], lead="Hm.", restated=RIGHT))],
    ),
    Case("W06", [chat(), chat()], [chat(), chat(question="What is 25 + 17?")]),
    Case(
        "W07", [gold("No: the correct answer is 42.")], [gold("17 + 25 = 42, so the answer is 42.")]
    ),
    Case("W07", [gold("It should be 42.")], [gold("It should be 42 - 10.")]),
    Case("W08", copied(f"{LONG}It is 42."), copied(f"{LONG}It is the 42.")),
    Case("W08", copied(f"{LONG}It is 42."), copied("It is 42.")),
    Case(
        "W09",
        [judged("This answer is wrong.\n<verdict>Correct</verdict>")],
        [judged("It claims that this answer is wrong.\n<verdict>Correct</verdict>")],
    ),
    Case(
        "W09",
        [judged("17 + 25 is 32. The attempt is correct.\n<verdict>Incorrect</verdict>", WRONG)],
        [judged("The attempt is correct if 7 is 17.\n<verdict>Incorrect</verdict>", WRONG)],
    ),
    Case(
        "W10",
        [judged(YES, f"As the hint says, {RIGHT}")],
        [judged(YES, f"As 7 + 5 says, {RIGHT}")],
    ),
    Case(
        "W10",
        [judged(YES, f"According to the given answer it is 42. {RIGHT}")],
        [judged(YES, f"The given numbers are 17 and 25. {RIGHT}")],
    ),
    Case("B01", of_one_attempt(0.6), of_one_attempt(0.5)),
    Case("B02", of_verdict(39), of_verdict(37)),
    Case(
        "R04",
        [chat(answer="no number", task_source="addition")],
        [chat(answer=42, task_source="addition")],
    ),
    Case("R04", [chat(answer="42", task_source="chess")], [chat(answer="42", task_source="gsm8k")]),
    Case(
        "R05",
        [chat(answer="3 + 5", task_source="countdown", metadata={"numbers": [3, 5], "target": 9})],
        [chat(answer="3 + 5", task_source="countdown", metadata={"numbers": [3, 5], "target": 8})],
    ),
    Case(
        "R06",
        [chat(answer="43", task_source="addition")],
        [chat(answer="42.0", task_source="addition")],
    ),
    Case("R07", [chat()], [chat(answer="42", task_source="addition")]),
    Case("R07", [chat(answer="42")], [chat(answer="42")], ("--task", "integers")),
]


@pytest.mark.parametrize("case", CASES, ids=[case.code for case in CASES])
def test_a_planted_fault_is_found_and_a_near_miss_left_alone(case: Case, tmp_path: Path) -> None:
    name = CODES[case.code]
    assert case.code in codes(tmp_path / "planted.jsonl", case.planted), name
    left = codes(tmp_path / "near.jsonl", case.near, *case.options)
    assert case.code not in left, left[case.code]
    errors = {code for code in left if CODES[code].severity == "error"}
    assert not errors, {code: left[code]["examples"] for code in errors}
