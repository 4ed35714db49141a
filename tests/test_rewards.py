"""Rewards: what is right, what is wrong, and what no text can do to them."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from skill_factory import rewards
from skill_factory.core.trace_tags import final_answer
from skill_factory.errors import TaskError
from skill_factory.rewards import answer_reward, compute_score, compute_score_batch
from skill_factory.tasks import TASKS, countdown, task_of

FACTS = {"numbers": [3, 3, 5, 7], "target": 24}
EIGHTS = {"numbers": [3, 3, 8, 8], "target": 24}


def score(answer: str, source: str, gold: str = "", facts: dict[str, Any] | None = None) -> object:
    return compute_score(source, f"<think>a</think>\n\n<answer>{answer}</answer>", gold, facts)


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        ("(3 + 5) * 3 = 24", FACTS),
        ("(3 + 5) * 3", FACTS),
        ("24 = (3 + 5) * 3", FACTS),
        ("(3 + 5) * 3 = 8 * 3 = 24", FACTS),
        ("3(3 + 5)", FACTS),
        ("[3 + 5] x 3 = 24.", FACTS),
        ("Answer: (3 + 5) * 3", FACTS),
        ("**(3 + 5) * 3 = 24**", FACTS),
        ("- 3 * (3 - 5 - (3 + 3))", {"numbers": [3, 3, 3, 3, 5], "target": 24}),
        ("Step 1: 3 + 5 = 8\nStep 2: 8 * 3 = 24", FACTS),
        ("Step 1: 3 + 5 = 8, Step 2: 8 × 3 = 24.", FACTS),
        ("Step 1: 3 + 5 = 8\nStep 2: 8 * 3 = 24\n(3 + 5) * 3 = 24", FACTS),
        ("3 + 5 = 8\n8 * 3 = 24", FACTS),
        (r"\[ (3+5) \times 3 = 24 \]", FACTS),
        (r"$\left(3+5\right)\cdot 3$", FACTS),
        (r"\boxed{(3+5)*3}", FACTS),
        ("（３＋５）×３＝24", FACTS),
        ("8 ÷ (3 − 8 ∕ 3)", EIGHTS),
        (r"\frac{8}{3 - \dfrac{8}{3}}", EIGHTS),
        ("3 + 5 = 8, 8 * 3 = 24", FACTS),
        ("1. 3 + 5 = 8\n2. 8 * 3 = 24", FACTS),
        (r"\boxed{(3+5) \times 3 = 24}", FACTS),
        ("The answer is (3+5)3 = 24", FACTS),
        ("Step 1: 3 - 5 = -2\nStep 2: 26 + (-2) = 24", {"numbers": [3, 5, 26], "target": 24}),
        ("1 / 2 = 0.5\n0.5 * 48 = 24", {"numbers": [1, 2, 48], "target": 24}),
        ("1,000 + 24", {"numbers": [1000, 24], "target": 1024}),
        ("5 / 2", {"numbers": [5, 2], "target": 2.5}),
        ("5 - 3", {"numbers": "3, 5", "target": "2"}),
    ],
)
def test_a_solution_of_countdown_is_right(answer: str, facts: dict[str, Any]) -> None:
    assert score(answer, "countdown_4arg", facts=facts) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "24",
        "24 = 24",
        "8 * 3 = 24",  # there is no 8
        "3 * 3 * 3 - 3 = 24",  # more threes than there are
        "(3 + 5) * 3 = 25",
        "(3 + 5) * 3 = 24 = 25",
        "3 * 7 = 24",
        "5²-1",
        "3 * (5 + 3",
        "3 + + * 5",
        "3 / 0",
        "3 5",
        "() 3",
        "2**3 * 3",
        "3**(8)",
        "3, 5 * 3 + 3 = 24",
        "__import__('os')",
        "Step 1: 3 + 5 = 8",
        "Step 1: 3 + 5 = 9\nStep 2: 8 * 3 = 24",
        "Step 1: 3 + 5 = 8\nStep 2: 8 * 3 = 24\nStep 3: 24 + 7 = 31",
        "Step 1: 3 + 5 = 8\nStep 2: 8 + 8 + 8 = 24",  # one 8 was made
        "Step 1: 3 * 3 = 9\nStep 2: 9 + 3 * 5 = 24",  # two threes were there
        "Step 1: 3 + 5 = 8\nStep 2: 3 * 7 + 3 = 24",  # in itself it is, but a 3 was used
        r"\frac{3}{3} * 24",
        r"\frac{3",
        "\\",
        "{3 + 5) * 3",
    ],
)
def test_what_is_no_solution_of_countdown_is_wrong(answer: str) -> None:
    assert score(answer, "countdown_4arg", facts=FACTS) == 0.0


def test_without_facts_the_gold_expression_has_the_numbers_and_the_value() -> None:
    assert score("5 * 3 + 9", "countdown", gold="3 * (5 + 3) = 24") == 0.0
    assert score("5 * 3 + 3 * 3", "countdown", gold="3 * (5 + 3) = 24") == 0.0
    assert score("3 * 3 + 3 * 5", "countdown", gold="(3 + 5) * 3 + 3 - 3") == 1.0
    assert score("3 * (3 + 5)", "countdown", gold="3 * (5 + 3) = 24") == 1.0
    undecided = compute_score("countdown", "<answer>3</answer>", "no expression", details=True)
    assert undecided == {"score": 0.0, "answered": 1.0, "undecided": 1.0}


@pytest.mark.parametrize(
    ("source", "gold", "answer", "expected"),
    [
        ("addition", "26", "26", 1.0),
        ("addition", "26", "27", 0.0),
        ("addition", "26", "", 0.0),
        ("openai/gsm8k", "6 * 3 = <<6*3=18>>18\n#### 1,234", "$1234.00", 1.0),
        ("gsm8k", "5", "x = 5 apples", 1.0),
        ("gsm8k", "5", "5 or 6", 0.0),
        ("gsm8k", "5", "-5", 0.0),
        ("gsm8k", "-5", "−5", 1.0),
        ("gsm8k", "5", r"\boxed{5}", 1.0),
        ("gsm8k", "5", "5.5", 0.0),
        ("gsm8k", "12", "1,2", 0.0),
        ("gsm8k", "5", r"\textbf{5}", 1.0),
        ("gsm8k", "5", "US$5 per day", 1.0),
        ("gsm8k", "5", "5 m^2", 1.0),
        ("gsm8k", "-5", "- 5", 1.0),
        ("gsm8k", "-5", "negative 5", 1.0),
        ("gsm8k", "1234", "1\u202f234", 1.0),
        ("gsm8k", "5000", "5 thousand", 1.0),
        *(
            ("gsm8k", "5", wrong, 0.0)
            for wrong in ("5e5", r"5\times10", "5 million", "5²", "- 5", "-(5)", "<5", "negative 5")
        ),
        ("gsm8k", "2", "2+2", 0.0),
        ("gsm8k", "2", "2/2", 0.0),
        ("gsm8k", "10", "10^10", 0.0),
        ("long_multiplication_2", "408", "12 × 34 = 408.", 1.0),
        ("long_multiplication_5", "1234567890", "1{,}234{,}567{,}890", 1.0),
        ("csqa", "B", "(b)", 1.0),
        ("csqa", "(B)", "B. the dog", 1.0),
        ("csqa", "B", "The answer is B.", 1.0),
        ("csqa", "B", r"\text{B}", 1.0),
        ("csqa", "B", "B - a dog", 1.0),
        ("csqa", "B", r"\boxed{\textbf{(B)}}", 1.0),
        ("csqa", "B", r"\(B\)", 1.0),
        ("csqa", "B", "B) 10 N", 1.0),
        ("csqa", "B", "B. x", 1.0),
        ("csqa", "A", "A) E. coli", 1.0),
        ("csqa", "D", "D. Both A and B", 1.0),
        ("csqa", "B", "B\nIt fits", 1.0),
        ("csqa", "B", "The correct answer is option (B)", 1.0),
        ("csqa", "B", "(B) is wrong, so (A)", 0.0),
        ("csqa", "B", "B, A", 0.0),
        ("csqa", "B", "B) or A)", 0.0),
        ("csqa", "B", "B - A", 0.0),
        ("csqa", "B", "B. vitamin C", 1.0),
        ("csqa", "B", "Option B: a dog and a cat", 1.0),
        ("csqa", "B", "B) or C)", 0.0),
        ("csqa", "B", "(B) and (C).", 0.0),
        ("csqa", "A", "A dog", 0.0),
        ("csqa", "B", "A", 0.0),
        ("csqa", "B", "B, C", 0.0),
        ("csqa", "B", "A or B", 0.0),
        ("csqa", "B", "Both", 0.0),
        ("text", "the Seine", " The  Seine. ", 1.0),
        ("text", "the Seine", "the Rhine", 0.0),
        ("math_500", "1+x^2", "x^2+1", 1.0),
        ("math", r"\frac12", "0.5", 1.0),
        ("math", "2^{10}", "1024", 1.0),
        ("math", "2", r"\dfrac{4}{2}", 1.0),
        ("math", "11/2", "1 1/2", 0.0),
        ("math", "12", "1 2", 0.0),
        ("math", "5", "$6$ $5$", 0.0),
        ("math", "101", "101_2", 0.0),
        ("math", r"\text{even}", r"\text{odd}", 0.0),
        ("math", "A", "A", 1.0),
        ("aime24", "033", "33", 1.0),
        # math-verify alone drops \mathrm{e}, and calls these equal.
        ("math", r"1-\frac{1}{\mathrm{e}}", r"1+\frac{1}{\mathrm{e}}", 0.0),
        ("math", r"1-\frac{1}{\mathrm{xy}}", r"1+\frac{1}{\mathrm{xy}}", 0.0),
    ],
)
def test_an_answer_is_graded_by_its_task(
    source: str, gold: str, answer: str, expected: float
) -> None:
    assert score(answer, source, gold) == expected


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think><answer>1</answer></think> <answer> 2 </answer>", "2"),
        ("<think><answer>1</answer></think> so", None),
        ("<answer>1</answer> no <answer>2</answer>", "2"),
        ("</think> <answer>1</answer></think> <answer>2</answer> </answer>", "2"),
        ("<answer>1</answer></think>", None),
        ("<answer>1 <answer>2</answer>", "2"),
        ("<answer>1</answer> <answer>2", "1"),
        ("</answer>1<answer>", None),
        ("<ANSWER>1</ANSWER>", None),
        ("", None),
    ],
)
def test_the_final_answer_is_the_last_pair_after_the_thinking(
    text: str, answer: str | None
) -> None:
    assert final_answer(text) == answer


def test_a_right_answer_with_a_wrong_one_after_it_is_wrong() -> None:
    text = "<answer>26</answer> wait <answer>27</answer>"
    assert compute_score("addition", text, "26") == 0.0


def test_a_batch_is_scored_as_its_completions_are() -> None:
    texts = ["<answer>3*(3+5)</answer>", "<answer>26</answer>", "<answer>x</answer>", ""]
    sources, golds = ["countdown", "addition", "math", "csqa"], ["", "26", "x", "A"]
    facts = [FACTS, {}, None, {}]
    each = list(map(compute_score, sources, texts, golds, facts))
    assert compute_score_batch(sources, texts, golds, facts) == each == [1.0, 1.0, 1.0, 0.0]
    assert compute_score_batch([], [], [], []) == []
    with_details = compute_score_batch(sources, texts, golds, facts, details=True)
    assert with_details[3] == {"score": 0.0, "answered": 0.0, "undecided": 0.0}


def test_verls_other_arguments_are_accepted() -> None:
    more: dict[str, Any] = {"reward_router_address": None, "reward_model_tokenizer": None}
    assert compute_score("addition", "<answer>4</answer>", 4, {"index": 1}, **more) == 1.0
    assert compute_score("mine", "<answer>4</answer>", 4, task="integers") == 1.0


def test_a_task_that_does_not_exist_ends_a_run_at_once() -> None:
    for name in ("letter_count_4", "math_qa", "", "gsm", "arc_agi", "text_to_sql"):
        with pytest.raises(TaskError, match="the tasks are countdown, integers"):
            compute_score(name, "<answer>4</answer>", "4")


def test_a_gold_answer_may_be_of_other_types() -> None:
    assert score("3 * 8", "countdown", facts={"nums": [3, 8], "target": 24}) == 1.0
    facts = {"target": 24, "numbers": [3, 8]}
    assert compute_score("countdown", "<answer>3 * 8</answer>", facts) == 1.0
    assert compute_score("csqa", "<answer>A</answer>", ["A"]) == 1.0
    assert compute_score("gsm8k", "<answer>4</answer>", 4.0) == 1.0


@pytest.mark.parametrize("gold", [None, [], ["4", "5"], True, "nan", "N/A"])
def test_a_gold_answer_that_is_none_earns_nothing_and_ends_no_run(
    gold: object, caplog: pytest.LogCaptureFixture
) -> None:
    rewards._LOGGED.clear()
    texts = ["<answer>4</answer>"] * 3
    scores = compute_score_batch(["gsm8k"] * 3, texts, ["4", gold, gold], details=True)
    assert [score["score"] for score in scores if isinstance(score, dict)] == [1.0, 0.0, 0.0]
    (said,) = [record.message for record in caplog.records]
    assert said.startswith("row 1: a gold answer of integers cannot be graded against, ")
    assert said.endswith(repr(gold))


def test_a_gold_answer_that_cannot_be_graded_against_is_logged_with_its_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rewards._LOGGED.clear()
    for _ in range(3):  # a target alone does not tell the numbers
        assert compute_score("countdown", "<answer>97</answer>", "97", {"index": 12}) == 0.0
    assert [record.message for record in caplog.records] == [
        "row 12: a gold answer of countdown cannot be graded against, neither numbers and a "
        "target, nor a gold expression to take them from: '97'"
    ]


@pytest.mark.parametrize(
    ("text", "score", "as_it_was"),
    [
        ("<think>maybe <answer>4</answer> but wait, let me", 0.0, 1.0),
        ("<think>a</think> <answer>4</answer> <think>or", 0.0, 1.0),
        ("maybe</think> <answer>4</answer>", 1.0, 1.0),
        ("<think>a</think> <answer>4</answer>", 1.0, 1.0),
        ("<answer>4</answer>", 1.0, 1.0),
    ],
)
def test_an_answer_in_thinking_that_was_cut_off_earns_nothing(
    text: str, score: float, as_it_was: float
) -> None:
    assert compute_score("gsm8k", text, "4") == score
    assert compute_score("gsm8k", text, "4", unfinished_thinking=True) == as_it_was


def test_rules_are_keywords_of_a_reward() -> None:
    facts = {"numbers": [3, 5, 3], "target": 8}
    (text,) = ("<answer>3 + 5</answer>",)
    assert compute_score("countdown", text, "8", facts) == 1.0
    assert compute_score("countdown", text, "8", facts, all_numbers=True) == 0.0
    third = "<answer>0.3333333</answer>"
    assert compute_score("math", third, r"\frac13") == 0.0
    assert compute_score("math", third, r"\frac13", rounded=True) == 1.0


def test_a_judge_that_does_not_run_ends_a_run_at_once(tmp_path: Path) -> None:
    (tmp_path / "math_verify").mkdir()
    (tmp_path / "math_verify" / "__init__.py").write_text("raise ImportError('no ANTLR')")
    code = (
        "from skill_factory.rewards import compute_score\n"
        "compute_score('math', '<answer>1+x</answer>', 'x+1')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "TaskError: math-verify is installed but does not run" in done.stderr
    assert "no ANTLR" in done.stderr


def test_trl_gets_a_number_for_each_completion() -> None:
    chats = [[{"role": "assistant", "content": f"<answer>{n}</answer>"}] for n in (26, 27)]
    columns = {"data_source": ["addition"] * 2, "answer": ["26", "26"]}
    assert answer_reward(["?", "?"], chats, **columns) == [1.0, 0.0]
    texts = ["<answer>3*(3+5)</answer>", "<answer>24</answer>"]
    columns = {"data_source": ["countdown"] * 2, "ground_truth": ["", ""]}
    more = {"numbers": [[3, 3, 5]] * 2, "target": [24, 24], "trainer_state": object()}
    assert answer_reward(["?", "?"], texts, **columns, **more) == [1.0, 0.0]
    as_verl = {
        "reward_model": [{"style": "rule", "ground_truth": ""}] * 2,
        "extra_info": [FACTS] * 2,
    }
    assert answer_reward(["?"] * 2, texts, data_source=["countdown"] * 2, **as_verl) == [1.0, 0.0]
    with pytest.raises(TaskError, match="data_source"):
        answer_reward(["?"], ["4"], answer=["4"])


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        ([{"role": "assistant", "content": None, "tool_calls": []}], 0.0),
        ([{"role": "assistant", "tool_calls": []}], 0.0),
        ([], 0.0),
        ([None], 0.0),
        ([{"role": "assistant", "content": [{"type": "text", "text": "<answer>4</answer>"}]}], 1.0),
        ([{"role": "assistant", "content": [{"type": "image"}, {"text": None}]}], 0.0),
        ("<answer>4</answer>", 1.0),
    ],
)
def test_trls_completions_may_lack_a_text(completion: Any, score: float) -> None:
    assert answer_reward(["?"], [completion], data_source=["gsm8k"], answer=["4"]) == [score]


def test_trls_countdown_columns_are_known_by_both_names() -> None:
    text = ["<answer>(3+5)*3</answer>"]
    for name in ("nums", "numbers"):
        columns: dict[str, Any] = {name: [[3, 5, 3]], "target": [24]}
        for more in ({"answer": ["24"]}, {}):
            assert answer_reward(["?"], text, data_source=["countdown"], **columns, **more) == [1.0]


HOSTILE = {
    "a megabyte": "a" * 1_000_000,
    "NULs": "\0" * 1_000_000,
    "opened": "<answer>" * 125_000,
    "closed": "</answer>" * 110_000,
    "empty pairs": "<answer></answer>" * 60_000,
    "thoughts": "</think>" * 125_000,
    "brackets": "<" * 1_000_000,
    **{
        name: f"<answer>{text}</answer>"
        for name, text in {
            "parentheses": "(" * 10_000 + "3 + 5" + ")" * 10_000,
            "open parentheses": "(" * 1_000_000,
            "powers": "9**9**9",
            "sum": "1+" * 500_000 + "1",
            "digits": "9" * 1_000_000,
            "some digits": "9" * 9_999,
            "groups": "1,111" * 3_000,
            "signs": "-" * 19_000 + "3",
            "fractions": r"\frac{" * 3_000,
            "division": "1/" * 9_000 + "1",
            "products": "99999999999999999999*" * 900 + "1",
            "sides": "=".join(["3"] * 9_000),
            "steps": "Step 1:" * 2_500,
            "lines": "3=3\n" * 4_900,
            "x": "3 x" * 6_000,
            "spaces": " " * 19_999,
            "labels": "A " * 9_999,
            "phrase": "the answer is " * 700,
            "letters": "A) B) " * 1_600,
            "NUL": "\0",
            "surrogate": "\ud800",
            "fullwidth": "９" * 9_000,
            "thai": "๓" * 9_000,
        }.items()
    },
}


@pytest.mark.parametrize("source", ["countdown", "gsm8k", "csqa", "text"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_completion_earns_nothing_and_takes_no_time(source: str, text: str) -> None:
    seconds = []
    for _ in range(3):  # of this process alone: other work on the machine is not the reward's
        start = time.process_time()
        assert compute_score(source, text, "A" if source == "csqa" else "24", FACTS) == 0.0
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.1


@given(st.text(st.sampled_from("0123456789+-*/=(){}[]., \n\\$xA<>:frac"), max_size=60))
def test_no_text_makes_a_grader_raise(text: str) -> None:
    for source in ("countdown", "gsm8k", "csqa", "text"):
        for gold in ("(3 + 5) * 3", "A", text):
            assert score(text, source, gold) in (0.0, 1.0)
            assert score(text, source, gold, {"numbers": text, "target": text}) in (0.0, 1.0)


NUMBERS = st.lists(st.integers(1, 99), min_size=1, max_size=6)


@given(NUMBERS, st.randoms(use_true_random=False))
def test_whatever_arithmetic_makes_of_the_numbers_is_a_solution(
    numbers: list[int], random: Any
) -> None:
    from fractions import Fraction

    terms = [(str(n), Fraction(n)) for n in numbers]
    while len(terms) > 1:
        (a, x), (b, y) = terms.pop(random.randrange(len(terms))), terms.pop()
        sign = random.choice("+-*/" if y else "+-*")
        value = {"+": x + y, "-": x - y, "*": x * y, "/": x / y if y else x}[sign]
        terms.append((f"({a} {sign} {b})", value))
    (expression, value), facts = terms[0], {"numbers": numbers}
    assert countdown.grade(expression, "", facts | {"target": str(value)})
    assert not countdown.grade(expression, "", facts | {"target": str(value + 1)})
    assert not countdown.grade(f"{expression} + 0", "", facts | {"target": str(value)})
    assert len(numbers) == 1 or countdown.grade(expression, expression, {})


GOLD = {
    "countdown": "3 * (5 + 3)",
    "choice": "A",
    "text": "the Seine",
    "letter_countdown": "stone",
    "acronym": "cup, apple, tea",
}
STONE = {"letters": "nesotx", "length": 5, "words": ["stone", "notes", "onset"]}
CAT = {"choices": ["tea", "Apple", "cup", "toe", "egg"], "length": 3, "words": ["cat", "act"]}
GCD = {
    "gym": "gcd",
    "entry": '{"answer": "12", "metadata": {"result": 12}, "settings": {}}',
}
KNOWN: dict[str, dict[str, Any]] = {
    "letter_countdown": STONE,
    "acronym": CAT,
    "reasoning_gym": GCD,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_tasks_wrong_answer_is_wrong(name: str) -> None:
    task, gold, facts = task_of(name), GOLD.get(name, "12"), KNOWN.get(name, {})
    assert task.fault(gold, facts) is None
    assert task.grade(gold, gold, facts) is True
    assert not task.grade(task.wrong(gold, gold, facts), gold, facts)
    assert task.fault(" ", {}) is not None
    assert task.grade(gold, " ", {}) is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("stone", 1.0),
        ("NOTES", 1.0),
        ("**onset**", 1.0),
        ('"stone".', 1.0),
        ("The word is stone.", 1.0),
        ("The final answer is: **Stone**", 1.0),
        ("Word: stone", 1.0),
        (r"\boxed{\text{stone}}", 1.0),
        (r"$\boxed{stone}$", 1.0),
        ("S-T-O-N-E", 1.0),
        ("s t o n e", 1.0),
        ("stone\nstone", 1.0),
        ("stone, notes", 0.0),
        ("stone or onset", 0.0),
        ("not stone", 0.0),
        ("stones", 0.0),
        ("tones", 0.0),  # a word of these letters, but none that is accepted
        ("ston", 0.0),
        ("s t o n e s", 0.0),
        ("", 0.0),
        ("-", 0.0),
        ("ſtone", 1.0),  # the same but for case
    ],
)
def test_letter_countdown_takes_any_accepted_word(answer: str, expected: float) -> None:
    assert score(answer, "letter_countdown_5", "stone", STONE) == expected
    assert score(answer, "letter-countdown", "stone", STONE) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("cup, apple, tea", 1.0),
        ("Cup, Apple, Toe.", 1.0),
        ("apple cup tea", 1.0),
        ("cup\napple\ntea", 1.0),
        ("1. cup\n2. apple\n3. tea", 1.0),
        ("1) cup 2) apple 3) tea", 1.0),
        ("- cup\n- apple\n- tea", 1.0),
        ("cup, apple, and tea", 1.0),
        ("**cup**, **apple**, **tea**", 1.0),
        ('"cup", "apple", "tea"', 1.0),
        ("['cup', 'apple', 'tea']", 1.0),
        ("The words are: cup, apple, tea", 1.0),
        ("CAT: cup, apple, tea", 1.0),
        ("CAT = cup apple tea", 1.0),
        ("cup, apple, tea = CAT", 1.0),
        ("cup, apple, tea -> cat", 1.0),
        ("cup, apple, tea (CAT)", 1.0),
        ("cup apple tea spells CAT.", 1.0),
        (r"\boxed{\text{cup, apple, tea}}", 1.0),
        ("cat", 0.0),
        ("CAT", 0.0),
        ("C-A-T", 0.0),
        ("tea, apple, cup", 0.0),
        ("act: cup, apple, tea", 0.0),  # the words say cat
        ("cup, apple", 0.0),
        ("cup, apple, tea, toe", 0.0),
        ("cup, apple, tea or toe", 0.0),
        ("cup, apple, tea; apple, cup, tea", 0.0),
        ("cap, apple, tea", 0.0),
        ("cup, apple, tap", 0.0),
        ("", 0.0),
        (":", 0.0),
        ("and", 0.0),
    ],
)
def test_an_acronym_is_the_chosen_words_in_order(answer: str, expected: float) -> None:
    assert score(answer, "acronym_3", "cup, apple, tea", CAT) == expected


def test_a_word_is_chosen_as_often_as_it_is_there() -> None:
    facts = {"choices": ["egg", "bee"], "length": 3, "words": ["bee"]}
    assert score("bee, egg, egg", "acronym", "", facts) == 0.0
    facts["choices"] = ["egg", "bee", "egg"]
    assert score("bee, egg, egg", "acronym", "", facts) == 1.0


def test_facts_of_letters_may_be_arrays() -> None:
    import numpy as np

    for source, facts, gold in (
        ("letter_countdown", STONE, "stone"),
        ("acronym", CAT, "cup apple tea"),
    ):
        arrays = {name: np.array(value) for name, value in facts.items()}
        assert score(gold, source, gold, arrays | {"numbers": None, "index": 3}) == 1.0


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_word_earns_nothing_and_takes_no_time(text: str) -> None:
    start = time.process_time()
    for source, facts in (("letter_countdown", STONE), ("acronym", CAT)):
        assert compute_score(source, text, "stone", facts) == 0.0
    assert time.process_time() - start < 0.5


@given(st.text(st.sampled_from("ctaupe ,.:=->()*\n\\1"), max_size=60), st.none() | st.text())
def test_no_text_makes_a_grader_of_words_raise(text: str, facts: Any) -> None:
    for source, known in (("letter_countdown", STONE), ("acronym", CAT)):
        assert score(text, source, text, known) in (0.0, 1.0)
        assert score(text, source, text, dict.fromkeys(known, facts)) in (0.0, 1.0)


INSERTION = {
    "gym": "string_insertion",
    "entry": '{"answer": "ABCDE", "metadata": {}, "settings": {}}',
}


def test_reasoning_gym_gives_the_full_score_or_nothing() -> None:
    assert score("12", "reasoning_gym", "12", GCD) == 1.0
    assert score("12 or 13", "reasoning-gym:gcd", "12", GCD) == 0.0
    assert score("ABCDE", "reasoning_gym", "ABCDE", INSERTION) == 1.0
    assert score("zzz ABCDE", "reasoning_gym", "ABCDE", INSERTION) == 0.0
    unknown = GCD | {"gym": "no such dataset"}
    details = compute_score("reasoning_gym", "<answer>1</answer>", "1", unknown, details=True)
    assert details == {"score": 0.0, "answered": 1.0, "undecided": 1.0}


def test_what_a_scorer_is_made_to_run_does_no_harm(tmp_path: Path) -> None:
    """This scorer calls `eval` on the answer."""
    for harm in (
        f"__import__('os').system('touch {tmp_path}/a')",
        f"open('{tmp_path}/b', 'w')",
        f"__import__('pathlib').Path('{tmp_path}/c').mkdir()",
        "print('1.0')",
        "input()",
        "exit()",
    ):
        assert score(harm, "reasoning_gym", "ABCDE", INSERTION) == 0.0
    assert not list(tmp_path.iterdir())
    assert score("[9**9**9**9]", "reasoning_gym", "ABCDE", INSERTION) == 0.0
    assert score("ABCDE", "reasoning_gym", "ABCDE", INSERTION) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["9^{9^{9^{9}}}", "999999999!", "(" * 1_900])
def test_mathematics_that_never_ends_earns_nothing(answer: str) -> None:
    text = f"<answer>{answer}</answer>"
    assert compute_score("math", text, "5") == 0.0
    assert compute_score("math", "<answer>4+1</answer>", "5") == 1.0


def test_the_file_works_by_its_path_where_the_package_is_not_installed(tmp_path: Path) -> None:
    code = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("custom_module", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
heavy = {"numpy", "pyarrow", "datasets", "pandas", "math_verify"} & set(sys.modules)
print(module.compute_score("addition", "<answer>4</answer>", "4"), heavy)
"""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(ROOT / "skill_factory" / "rewards.py")],
        cwd=tmp_path,
        env=outside,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1.0", "set()"]


def test_no_score_is_a_nan() -> None:
    assert not math.isnan(float(str(score("nan", "countdown", facts={"target": float("nan")}))))


def test_lists_of_other_lengths_and_words_that_mean_nothing_are_errors() -> None:
    two, one = ["<answer>1</answer>"] * 2, ["1"]
    with pytest.raises(ValueError, match="shorter"):
        compute_score_batch(["addition"] * 2, two, one)
    with pytest.raises(ValueError, match="longer"):
        compute_score_batch(["addition"], two, one * 2)
    assert compute_score_batch([], [], []) == []
    with pytest.raises(TaskError, match="several_answers: expected any or all, not 'some'"):
        compute_score("addition", two[0], "1", several_answers="some")
