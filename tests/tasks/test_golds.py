"""Gold answers as datasets have them: what is read, what is set aside, and that all read alike."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import run, write_rows
from hypothesis import given
from hypothesis import strategies as st

from skill_factory.rewards import compute_score
from skill_factory.tasks import task_of
from skill_factory.tasks.golds import Gold, NoGold, Several, answers, read


@pytest.mark.parametrize(
    ("value", "task", "text"),
    [
        (r"\frac{14}{3}", "mathematics", r"\frac{14}{3}"),
        (r"\sqrt{51}", "mathematics", r"\sqrt{51}"),
        (r"\text{Evelyn}", "mathematics", r"\text{Evelyn}"),
        (r"\left( 3, \frac{\pi}{2} \right)", "mathematics", r"\left( 3, \frac{\pi}{2} \right)"),
        (r"We get $x=4$, so $x^2 - 11 = \boxed{5}$.", "mathematics", "5"),
        (r"First \boxed{2}. But then $\boxed{\frac{1}{2}}$.", "mathematics", r"\frac{1}{2}"),
        (r"\boxed{\boxed{7}}", "mathematics", "7"),
        (r"\fbox{8}", "mathematics", "8"),
        (r"$x = \boxed{1}$ or $x = \boxed{-2}$.", "mathematics", "1, -2"),
        (r"the set \boxed{\{1, 2\}}", "mathematics", r"\{1, 2\}"),
        ("6 * 3 = <<6*3=18>>18\n#### 18", "integers", "18"),
        ("6 * 3 = 18\n#### 18", "mathematics", "18"),
        ("word " * 30 + "Hence the answer is: $\\pi$.", "mathematics", "$\\pi$"),
        (["5"], "mathematics", "5"),
        (["2", "3"], "mathematics", "2, 3"),
        ([["5"]], "mathematics", "5"),
        ("['2']", "mathematics", "2"),
        ('["2", "3"]', "mathematics", "2, 3"),
        (["2", None, "2"], "mathematics", "2"),
        ("[1, 2]", "mathematics", "[1, 2]"),
        (np.array(["5"]), "mathematics", "5"),
        (np.int64(5), "integers", "5"),
        (10_000_000_000, "integers", "10000000000"),
        (10**30, "integers", "1" + "0" * 30),
        (27.0, "integers", "27"),
        (1e10, "integers", "10000000000"),
        (0.1, "mathematics", "0.1"),
        (-2.5, "integers", "-2.5"),
        (4.5e33, "mathematics", "4.5e+33"),
        (Decimal("1.50"), "integers", "1.5"),
        ({"ground_truth": "5", "style": "rule"}, "integers", "5"),
        ({"text": ["Paris"], "answer_start": [17]}, "text", "Paris"),
        ("(B)", "choice", "(B)"),
        (r"So it is \boxed{B}.", "choice", "B"),
        ("None of them", "text", "None of them"),
    ],
)
def test_a_gold_answer_is_read(value: object, task: str, text: str) -> None:
    gold = read(value, task)
    assert isinstance(gold, Gold)
    assert gold.text == text
    assert read(gold.text, task) == Gold(text)


@pytest.mark.parametrize(
    ("value", "task", "right"),
    [
        (["Paris", "Paris, France"], "text", ["Paris", "Paris, France"]),
        ({"value": "Paris", "aliases": ["City of Light"]}, "text", ["Paris", "City of Light"]),
        ('{"value": "Paris", "aliases": ["Lutetia"]}', "text", ["Paris", "Lutetia"]),
        ({"target": ["a", "b"]}, "text", ["a", "b"]),
        ({"text": ["x", "y"], "answer_start": [1, 2]}, "text", ["x", "y"]),
        (True, "text", ["True", "yes"]),
        (False, "text", ["False", "no"]),
    ],
)
def test_each_of_several_names_is_right(value: object, task: str, right: list[str]) -> None:
    gold = read(value, task)
    assert isinstance(gold, Gold)
    assert answers(*gold) == right
    for answer in right:
        assert compute_score(task, f"<answer>{answer}</answer>", value) == 1.0
    assert compute_score(task, "<answer>something else</answer>", value) == 0.0


def test_of_several_solutions_all_are_asked_for_unless_one_is_said_to_do() -> None:
    def score(answer: str, **rules: Any) -> object:
        return compute_score("math", f"<answer>{answer}</answer>", ["2", "3"], **rules)

    assert [score(answer) for answer in ("3, 2", "$2$ and $3$", "2")] == [1.0, 1.0, 0.0]
    one = {"several_answers": "any"}
    assert [score(answer, **one) for answer in ("3", "2", "4")] == [1.0, 1.0, 0.0]
    assert read(["A", "C"], "choice") is NoGold.SEVERAL_GOLD_ANSWERS
    assert read(["A", "C"], "choice", Several.ANY) == Gold("A", {"accepted_answers": ["C"]})


@pytest.mark.parametrize(
    "value",
    [None, "", " \n", "nan", "NaN", "N/A", "null", "None", "proof", "Proof.", math.nan, [], [None]],
)
def test_what_says_nothing_is_no_gold_answer(value: object) -> None:
    for task in ("mathematics", "integers", "text", "choice"):
        assert read(value, task) is NoGold.NO_GOLD_ANSWER


@pytest.mark.parametrize(
    "value",
    [
        r"A long solution with $x$ and $y$ and $z$ that ends in \boxed 5",
        r"It is \boxed{}.",
        r"It is \boxed{5",
        "We proceed by induction. " * 10,
        "a #### ",
    ],
)
def test_a_worked_solution_without_an_answer_is_set_aside(value: str) -> None:
    assert read(value, "mathematics") is NoGold.NO_ANSWER_IN_SOLUTION


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inside: st.lists(inside) | st.dictionaries(st.sampled_from(["value", "a"]), inside),
        max_leaves=6,
    )
)
def test_no_value_makes_reading_raise_and_reading_twice_changes_nothing(value: object) -> None:
    for task in ("mathematics", "integers", "text", "choice"):
        gold = read(value, task)
        if isinstance(gold, Gold) and gold.text and not gold.facts:
            assert read(gold.text, task) == gold


ROWS: list[dict[str, Any]] = [
    {"problem": "What is 28 / 6?", "answer": r"\frac{14}{3}"},
    {"problem": "What is the positive root of x^2 = 51?", "answer": r"\sqrt{51}"},
    {"problem": "Who won?", "answer": r"\text{Evelyn}"},
    {"problem": "x^2 = 25, x > 0", "answer": ["5"]},
    {"problem": "(x - 2)(x - 3) = 0", "answer": ["2", "3"]},
    {"problem": "How many?", "answer": 10_000_000_000},
    {"problem": "Show that it is so.", "answer": "proof"},
    {"problem": "Nothing.", "answer": None},
]
GOLDS = [r"\frac{14}{3}", r"\sqrt{51}", r"\text{Evelyn}", "5", "2, 3", "10000000000"]


def test_every_command_reads_the_same_gold_answers(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", ROWS, None)
    named = ("--question-column", "problem", "--task", "math")
    made = run(
        *("questions", "in.jsonl", "-o", "q.parquet", *named), module="skill_factory", cwd=tmp_path
    )
    assert made.code == 0, made.err
    assert "no_gold_answer" in made.out
    assert pq.read_table(tmp_path / "q.parquet")["answer"].to_pylist() == GOLDS
    again = run("questions", "q.parquet", "-o", "r.parquet", module="skill_factory", cwd=tmp_path)
    assert again.code == 0, again.err
    assert pq.read_table(tmp_path / "r.parquet") == pq.read_table(tmp_path / "q.parquet")
    done = run(
        *("export", "verl", "-i", "in.jsonl", "-o", "rl", "--val-size", "1", *named),
        module="skill_factory",
        cwd=tmp_path,
    )
    assert done.code == 0, done.err
    tables = [pq.read_table(tmp_path / "rl" / f"{name}.parquet") for name in ("train", "val")]
    rows = pa.concat_tables(tables, promote_options="permissive").to_pylist()
    assert sorted(row["reward_model"]["ground_truth"] for row in rows) == sorted(GOLDS)


def test_verl_gets_choices_and_solutions_as_questions_has_them(tmp_path: Path) -> None:
    listed = {"label": ["A", "B"], "text": ["tree", "bank"]}
    rows = [{"question": f"Money {n}?", "choices": listed, "answerKey": "B"} for n in range(3)]
    write_rows(tmp_path / "csqa.jsonl", rows, None)
    done = run(
        *("export", "verl", "-i", "csqa.jsonl", "-o", "rl", "--val-size", "1"),
        *("--task", "commonsenseqa", "--answer-column", "answerKey"),
        module="skill_factory",
        cwd=tmp_path,
    )
    assert done.code == 0, done.err
    for row in pq.read_table(tmp_path / "rl" / "train.parquet").to_pylist():
        assert row["prompt"][0]["content"].endswith("?\n\nA. tree\nB. bank")
        assert row["reward_model"]["ground_truth"] == "B"
        assert row["extra_info"]["options"] == ["tree", "bank"]
        wanted = (row["reward_model"]["ground_truth"], row["extra_info"])
        assert compute_score(row["data_source"], "<answer>the bank</answer>", *wanted) == 1.0
    solved = [{"question": f"P{n}", "answer": rf"$x={n}$ so \boxed{{{n}}}."} for n in range(3)]
    write_rows(tmp_path / "math.jsonl", solved, None)
    done = run(
        *("export", "verl", "-i", "math.jsonl", "-o", "rl2", "--val-size", "1", "--task", "math"),
        module="skill_factory",
        cwd=tmp_path,
    )
    assert done.code == 0, done.err
    golds = pq.read_table(tmp_path / "rl2" / "train.parquet")["reward_model"].to_pylist()
    assert {row["ground_truth"] for row in golds} < {"0", "1", "2"}


def test_facts_may_stand_in_columns_and_a_question_in_messages(tmp_path: Path) -> None:
    prompt = [{"role": "user", "content": "Use 44, 19, 35 to make 98"}]
    rows = [{"prompt": prompt, "answer": "98", "nums": [44, 19, 35], "target": 98}]
    rows += [{"prompt": [*prompt, *prompt], "answer": "98", "nums": [44, 54], "target": 98}]
    rows += [{"prompt": prompt, "answer": "99", "nums": [44, 19, 36], "target": 98}]
    write_rows(tmp_path / "in.jsonl", rows, None)
    made = run(
        *("questions", "in.jsonl", "-o", "q.jsonl", "--task", "countdown"),
        *("--question-column", "prompt", "--all-numbers"),
        module="skill_factory",
        cwd=tmp_path,
    )
    assert made.code == 0, made.err
    (row,) = map(json.loads, (tmp_path / "q.jsonl").read_text().splitlines())
    assert row["question"] == "Use 44, 19, 35 to make 98"
    facts = {"numbers": [44, 19, 35], "target": 98, "all_numbers": True}
    assert json.loads(row["metadata"]) == facts


def test_a_gold_answer_that_is_not_right_is_counted(tmp_path: Path) -> None:
    rows = [
        {"question": "Make 24.", "answer": "3 * 8", "nums": [3, 8], "target": 24},
        {"question": "Make 25.", "answer": "3 * 8", "nums": [3, 8], "target": 25},
        {"question": "Make 26.", "answer": "24", "nums": [3, 8], "target": 26},
    ]
    write_rows(tmp_path / "in.jsonl", rows, None)
    made = run(
        *("questions", "in.jsonl", "-o", "q.parquet", "--task", "countdown"),
        module="skill_factory",
        cwd=tmp_path,
    )
    assert made.code == 0, made.err
    assert pq.read_table(tmp_path / "q.parquet")["question"].to_pylist() == ["Make 24."]
    assert "gold_not_right" in made.out


def test_every_task_knows_its_own_gold_answer_again() -> None:
    for name, gold in (("gsm8k", "5"), ("math", r"\frac12"), ("text", "x"), ("csqa", "B")):
        task = task_of(name)
        assert task.grade(gold, gold, {}) is True
        assert task.grade(task.wrong(gold, gold, {}), gold, {}) is not True
