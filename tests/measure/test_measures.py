"""Measures against values worked out by hand, and against other people's formulas."""

from __future__ import annotations

import json
import re
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, Row

from skill_factory.core.tables import RESPONSES
from skill_factory.measure.bootstrap import Sums, intervals, paired_intervals
from skill_factory.measure.figures import Figure, Measured
from skill_factory.measure.measures import MEASURES, Measure
from skill_factory.measure.question_sums import by_question
from skill_factory.measure.rules import READY_MADE, MeasureRules, phrases_of
from skill_factory.measure.several_samples import RIGHT, majority_at_k, pass_at_k
from skill_factory.measure.skills import is_looping, read_skills
from skill_factory.measure.write import measure_responses

GLUE = "Let me look at the question again."


def trace(*attempts: tuple[str, str | None], final: str | None) -> str:
    """A trace of attempts, each an answer and the verdict on it (None: no verdict in the
    reflection)."""
    blocks = [
        f"<sample>\nI get {answer}.\n<answer>{answer}</answer>\n</sample>\n<reflect>\nHm.\n"
        f"{'' if verdict is None else f'<verdict>{verdict}</verdict>'}\n</reflect>\n"
        for answer, verdict in attempts
    ]
    end = "" if final is None else f"So the answer is:\n\n<answer>\n{final}\n</answer>"
    return f"<think>\n{f'{GLUE}{chr(10)}'.join(blocks)}</think>\n\n{end}"


def row(response: str, question: str = "2 + 2?", gold: str | None = "4", **other: Any) -> Row:
    """A response to a sum."""
    return {
        "question": question,
        "answer": gold,
        "task_source": "integers",
        "metadata": "{}",
        "question_set": "sums",
        "sample": 0,
        "response": response,
    } | other


def measured(rows: list[Row], folder: Path, **rules: Any) -> Measured:
    """The figures of some rows, which are one group."""
    batch = pa.RecordBatch.from_pylist(rows, schema=RESPONSES)
    (found,) = measure_responses([batch], folder, MeasureRules(phrases=phrases_of(()), **rules))
    return found


def value(found: Measured, name: str) -> float | None:
    figure = found.figures[name].value
    return None if figure is None else round(figure, 6)


RIGHT_AT_ONCE = trace(("4", "Correct"), final="4")
RESCUED = trace(("5", "Incorrect"), ("4", "Correct"), final="4")
HARMED = trace(("4", "Incorrect"), ("5", "Correct"), final="5")
THREE = trace(("3", None), ("5", "Correct"), ("6", "Incorrect"), final="6")
PLAIN = "It is 4."
CUT_OFF = "<think>\n<sample>\nTwo and"
UNDECIDED = "<answer>about four or so</answer>"

TABLE = [
    row(RIGHT_AT_ONCE),
    row(RESCUED, sample=1),
    row(HARMED, "1 + 3?"),
    row(THREE, "1 + 3?", sample=1),
    row(PLAIN, "3 + 1?"),
    row(CUT_OFF, "3 + 1?", sample=1),
]
"""Two samples of three questions, whose answer is 4."""

BY_HAND = {
    # right: 1 and 2; wrong: 3, 4, 5 (no tags); cut off: 6
    "accuracy": 2 / 6,
    "undecided": 0,
    "no_answer": 2 / 6,
    "cut_off": 1 / 6,
    # the first question has two right samples, the others none
    "pass_at_2": 1 / 3,
    "majority_at_2": 1 / 3,
    # pairs: 2, 3, 3, 4, 0, 0; reflections: 1, 2, 2, 3, 0, 0
    "explicit_answers": 12 / 6,
    "explicit_reflections": 8 / 6,
    # verdicts: C on right; I on wrong, C on right; I on right, C on wrong; none, C on wrong, I on
    # wrong
    "f1_correct": 2 * 2 / (2 * 2 + 2 + 1),
    "f1_incorrect": 2 * 2 / (2 * 2 + 1 + 2),
    "true_verdicts": 4 / 7,
    "no_verdict": 1 / 8,
    "tagged": 5 / 6,
    "well_formed": 4 / 6,
    "attempts": (1 + 2 + 2 + 3 + 1 + 1) / 6,
    # first attempts: right, wrong, right, wrong, wrong; the last has no answer, so it is wrong
    "first_right": 2 / 6,
    "rescued": 1 / 6,
    "harmed": 1 / 6,
    # with a right attempt: 1, 2, 3; the third ends wrong
    "abandoned": 1 / 3,
    "stopped_right": 2 / 6,
    "stopped_wrong": 1 / 6,
    "gain": (0 + 1 - 1 + 0 + 0 + 0) / 6,
    "accuracy_with_1_attempts": 1 / 3,
    "accuracy_with_2_attempts": 1 / 2,
    "accuracy_with_3_attempts": 0,
    "accuracy_with_4_attempts": None,
    "tokens": None,
    "looping": 0,
    # one between two attempts, and one before the final answer
    "phrases": (1 + 2 + 2 + 3) / 6,
    "with_phrases": 4 / 6,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_small_table_has_the_values_worked_out_by_hand(name: str, tmp_path: Path) -> None:
    expected = BY_HAND[name]
    assert value(measured(TABLE, tmp_path, draws=100), name) == (
        None if expected is None else pytest.approx(expected, abs=1e-6)
    )


def test_accuracy_is_first_right_and_rescued_less_harmed(tmp_path: Path) -> None:
    found = measured(TABLE, tmp_path, draws=100)
    parts = [found.figures[name].value or 0 for name in ("first_right", "rescued", "harmed")]
    assert found.figures["accuracy"].value == pytest.approx(parts[0] + parts[1] - parts[2])


def test_what_is_undecided_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    on_undecided = trace(("about four or so", "Correct"), ("4", "Correct"), final="4")
    rows = [row(RIGHT_AT_ONCE), row(UNDECIDED, "1 + 3?"), row(on_undecided, "0 + 4?")]
    found = measured(rows, tmp_path)
    assert value(found, "undecided") == pytest.approx(1 / 3, abs=1e-6)
    assert value(found, "accuracy") == 1
    assert found.figures["accuracy"].counted == 2
    assert value(found, "true_verdicts") == 1
    assert found.figures["true_verdicts"].counted == 2  # of three verdicts
    assert found.figures["rescued"].counted == 1  # its first attempt is decided too


def test_what_cannot_be_graded_has_skills_and_no_accuracy(tmp_path: Path) -> None:
    found = measured([row(RESCUED, gold=None), row(THREE, "1 + 3?", gold=None)], tmp_path)
    assert value(found, "attempts") == 2.5
    assert value(found, "explicit_reflections") == 2.5
    for name in ("accuracy", "f1_correct", "first_right", "rescued", "stopped_right", "cut_off"):
        assert found.figures[name] == Figure(None, None, None, 0, 0)


def test_figures_of_one_question_have_no_interval(tmp_path: Path) -> None:
    found = measured(TABLE[:2], tmp_path).figures["accuracy"]
    assert (found.value, found.low, found.high) == (1, None, None)


def test_the_same_seed_gives_the_same_intervals(tmp_path: Path) -> None:
    def found(seed: int) -> Figure:
        return measured(TABLE, tmp_path, seed=seed, draws=200).figures["attempts"]

    assert found(1) == found(1)
    assert {found(seed).low for seed in range(8)} != {found(1).low}


def test_verdict_f1_is_that_of_scikit_learn(tmp_path: Path) -> None:
    case = json.loads((ROOT / "tests/data/foreign/f1_scikit_learn.json").read_text())
    rows = [
        row(trace((("4" if right else "5"), verdict), final="4"), f"question {place}")
        for place, (right, verdict) in enumerate(zip(case["right"], case["verdicts"], strict=True))
    ]
    found = measured(rows, tmp_path, draws=100)
    assert value(found, "f1_correct") == pytest.approx(case["f1"]["Correct"], abs=1e-6)
    assert value(found, "f1_incorrect") == pytest.approx(case["f1"]["Incorrect"], abs=1e-6)


@pytest.mark.parametrize("samples", range(1, 9))
def test_pass_at_k_is_what_enumeration_gives(samples: int) -> None:
    for right in range(samples + 1):
        outcomes = [True] * right + [False] * (samples - right)
        for k in range(1, samples + 1):
            drawn = [any(one) for one in combinations(outcomes, k)]
            assert pass_at_k(samples, right, k) == pytest.approx(sum(drawn) / len(drawn))
            assert pass_at_k(samples, right, k) == pytest.approx(
                1 - comb(samples - right, k) / comb(samples, k)
            )


@pytest.mark.parametrize(
    ("votes", "k", "expected"),
    [
        ([RIGHT], 1, 1),
        ([RIGHT, "5", "5"], 3, 0),
        ([RIGHT, "5"], 2, 0.5),
        ([RIGHT, "5", "6"], 3, 1 / 3),
        ([None, None, RIGHT], 3, 1),
        ([None, None], 2, 0),
        ([RIGHT, "5", "5", "5"], 2, 0.25),  # two groups: a tie, and none right
    ],
)
def test_majority_and_its_ties(votes: list[str | None], k: int, expected: float) -> None:
    assert majority_at_k(votes, k) == pytest.approx(expected)


def test_right_answers_that_are_written_differently_are_one_vote(tmp_path: Path) -> None:
    answers = ["4", "4.0", "5", "5"]
    rows = [row(f"<answer>{text}</answer>", sample=place) for place, text in enumerate(answers)]
    assert value(measured(rows, tmp_path), "majority_at_4") == 0.5


# -- intervals ------------------------------------------------------------------------------------


def simulated(random: np.random.Generator, questions: int, samples: int) -> np.ndarray[Any, Any]:
    """How many samples are right of questions that differ in how hard they are; 0.4 on average."""
    return random.binomial(samples, random.beta(0.8, 1.2, questions)).astype(float)


def test_95_percent_intervals_hold_the_truth_in_95_percent_of_cases() -> None:
    random, questions, samples, tries = np.random.default_rng(0), 150, 4, 1000
    hits = 0
    for seed in range(tries):
        right = simulated(random, questions, samples)[:, None]
        found = intervals(Sums(right, np.full_like(right, samples)), 400, seed)
        hits += bool(found.low[0] <= 0.4 <= found.high[0])
    assert 0.92 <= hits / tries <= 0.98


def test_intervals_of_paired_differences_hold_the_truth_and_are_narrower() -> None:
    random, questions, tries = np.random.default_rng(1), 150, 500
    below = np.ones((questions, 1))
    hits, narrower = 0, 0
    for seed in range(tries):
        easy = random.beta(0.8, 1.2, questions)
        one, other = (
            Sums(random.binomial(8, chance)[:, None] / 8, below)
            for chance in (easy, np.clip(easy + 0.1, 0, 1))
        )
        truth = float(np.mean(np.clip(easy + 0.1, 0, 1) - easy))
        found = paired_intervals(one, other, 400, seed)
        apart = [intervals(sums, 400, seed) for sums in (one, other)]
        widths = [between.high[0] - between.low[0] for between in apart]
        hits += bool(found.low[0] <= truth <= found.high[0])
        narrower += bool(found.high[0] - found.low[0] < np.hypot(*widths))
    assert hits / tries >= 0.92
    assert narrower == tries


def test_samples_of_one_question_are_drawn_together() -> None:
    """Sixteen copies of each of 20 outcomes say no more than the 20 do."""
    outcomes = np.random.default_rng(2).integers(0, 2, (20, 1)).astype(float)
    once = intervals(Sums(outcomes, np.ones_like(outcomes)), 2000, 0)
    copied = intervals(Sums(outcomes * 16, np.full_like(outcomes, 16)), 2000, 0)
    assert np.allclose(once, copied)


# -- what a response does -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "looping"),
    [
        ("So 2 + 2 is 4. " * 30, True),
        ("a" * 200, True),
        ("abcdefgh" * 5, False),  # 40 characters are no loop
        ("This line has over twenty signs.\nx\n" * 6 + "The end is not one block.", True),
        ("This line has over twenty signs.\nx\n" * 5 + "The end is not one block.", False),
        ("short line\n" * 7 + "and an end that is no block of them", False),
        (RESCUED, False),
    ],
)
def test_loops(text: str, looping: bool) -> None:
    assert is_looping(text, [line.strip() for line in text.splitlines()], 1) is looping


def test_a_line_for_each_attempt_is_no_loop() -> None:
    lines = ["Let me work this out step by step."] * 6
    assert is_looping("\n".join([*lines, "x"]), lines, 6) is False
    assert is_looping("\n".join([*lines, "x"]), lines, 5) is True


@pytest.mark.parametrize(
    ("pattern", "text", "answer"),
    [
        ("boxed", r"It is \boxed{\frac{1}{2}}. Or \boxed{4}.", "4"),
        ("boxed", r"It is \boxed{\frac{\sqrt{2}}{2}}.", r"\frac{\sqrt{2}}{2}"),
        ("hashes", "2 + 2 = 4\n#### 4\n", "4"),
        ("number", "First 5, then 1,204.5 apples.", "1,204.5"),
        (r"answer is (\w+)", "The answer is B.", "B"),
        ("number", "<think>7</think> none", None),
    ],
)
def test_answers_without_tags(pattern: str, text: str, answer: str | None) -> None:
    found = read_skills(text, re.compile(READY_MADE.get(pattern, pattern)))
    assert (found.final, found.answers) == (answer, (answer,))


def test_tags_win_over_the_answer_pattern(tmp_path: Path) -> None:
    rows = [row("I said 5 before.\n<answer>4</answer>\nOr 6?")]
    assert value(measured(rows, tmp_path, answer_pattern="number"), "accuracy") == 1
    assert value(measured([row("It is 4.")], tmp_path, answer_pattern="number"), "accuracy") == 1


def test_the_table_of_measures_says_which_attempt_was_right(tmp_path: Path) -> None:
    measured(TABLE, tmp_path)
    rows = pq.read_table(tmp_path / "measures.parquet").to_pylist()
    assert [one["first_grade"] for one in rows] == [
        *("right", "wrong", "right", "wrong", "wrong", "wrong")
    ]
    assert [one["stopped_on"] for one in rows] == ["right", "right", "wrong", None, None, None]
    assert [one["right_attempts"] for one in rows] == [1, 1, 1, 0, 0, 0]
    assert len({one["question_id"] for one in rows}) == 3
    responses = pq.read_table(tmp_path / "responses.parquet")
    assert responses.schema == RESPONSES
    assert responses["grade"].to_pylist() == ["right", "right", *["wrong"] * 3, "cut_off"]
    assert responses["extracted_answer"].to_pylist() == ["4", "4", "5", "6", None, None]


PAGE = (ROOT / "docs" / "measure.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("measure", MEASURES, ids=lambda one: one.name)
def test_every_measure_is_on_the_page_as_the_code_says_it(measure: Measure) -> None:
    assert f"| `{measure.name}` | {measure.about} |" in PAGE


def test_the_papers_figures_are_of_measures_and_on_the_page() -> None:
    import yaml

    from skill_factory.core.settings.checking import kinds
    from skill_factory.measure.compare import PAPER
    from skill_factory.measure.settings import CompareSettings

    found = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    assert tuple(found) == kinds(CompareSettings)["paper"].choices
    for name, columns in found.items():
        assert f"`{name}`" in PAGE
        assert {one for figures in columns.values() for one in figures} <= {
            measure.name for measure in MEASURES
        }


@pytest.mark.parametrize("size", [1, 5, 100])
def test_rows_are_counted_the_same_in_pieces_of_any_size(size: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    texts = (RIGHT_AT_ONCE, RESCUED, HARMED, THREE, PLAIN, CUT_OFF, UNDECIDED)
    rows = [
        row(texts[draw.integers(len(texts))], f"{draw.integers(9)} + 0?", sample=at)
        for at in draw.permutation(60).tolist()
    ]
    measured(rows, tmp_path)
    table = pq.read_table(tmp_path / "measures.parquet")
    whole = by_question([table])
    pieces = [table.slice(at, size) for at in range(0, len(rows), size)]
    apart = by_question([table.slice(0, 0), *pieces, *table.slice(0, 0).to_batches()])
    assert (apart.ids, apart.names) == (whole.ids, whole.names)
    assert {"pass_at_4", "majority_at_4"} < set(whole.names)
    for one, other in zip(
        (*whole.sums, whole.answered), (*apart.sums, apart.answered), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert whole.answered.sum() == 60
