"""The measures: what each counts, of what, and where it is from.

A measure is a ratio of two sums over responses: `above` by `below`. Undecided is a third value
everywhere: what is undecided is neither right nor wrong, and is left out of what is counted and of
what it is counted of. What is cut off is not right. Skill use is as in the paper's Table 4 (arXiv
2512.04072).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from skill_factory.core import arrays
from skill_factory.core.columns import Column
from skill_factory.measure.word_rules import PREFIX
from skill_factory.stages.grade import Outcome

Values = npt.NDArray[np.float64]


class Section(StrEnum):
    """What a measure is about, in the order of the tables."""

    ACCURACY = "Accuracy"
    SKILL_USE = "Skill use"
    EFFECT = "What the skills do"
    TEXT = "Text"
    WORDS = "Implicit, by word rules"


class Unit(StrEnum):
    """What a figure is: a share of 1, a score from 0 to 1, a mean count, a mean number of
    characters or tokens, or a difference of two shares."""

    SHARE = "share"
    SCORE = "score"
    MEAN = "mean"
    LENGTH = "length"
    DIFFERENCE = "difference"


class Ratio(NamedTuple):
    """What each response adds to both sums."""

    above: Values
    below: Values


class Rows:
    """Columns of a table of measures, one value a response, as floats; NaN is null."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.count = table.num_rows
        self._grades: dict[str, npt.NDArray[np.object_]] = {}

    def number(self, name: str) -> Values:
        """A column of numbers or bools."""
        column = self._table[name].combine_chunks()
        values = arrays.view(column).astype(np.float64)
        if column.null_count:
            values = values.copy()
            values[~arrays.given(column)] = np.nan
        return values

    def grade(self, name: str) -> npt.NDArray[np.object_]:
        """A column of grades, None where it is null."""
        if name not in self._grades:
            self._grades[name] = np.array(self._table[name].to_pylist(), dtype=np.object_)
        return self._grades[name]

    def right(self, name: str) -> Values:
        """1 where a grade is right, 0 where it is wrong or cut off, else NaN."""
        grade = self.grade(name)
        values = np.full(self.count, np.nan)
        values[(grade == Outcome.WRONG) | (grade == Outcome.CUT_OFF)] = 0
        values[grade == Outcome.RIGHT] = 1
        return values


@dataclass(frozen=True)
class Measure:
    """A measure: its `name` in files, its `title` for a person, and `about`, what it counts.

    `of` says what each response adds to both sums; None: of several samples together, by question
    (`summary`). `less_is_better` None: neither is.
    """

    name: str
    title: str
    section: Section
    unit: Unit
    about: str
    of: Callable[[Rows], Ratio] | None = None
    less_is_better: bool | None = None


def _mean(values: Values) -> Ratio:
    """Of all responses that have a value."""
    there = ~np.isnan(values)
    return Ratio(np.where(there, values, 0.0), there.astype(np.float64))


def _share(which: npt.NDArray[np.bool_], of: npt.NDArray[np.bool_]) -> Ratio:
    return Ratio((which & of).astype(np.float64), of.astype(np.float64))


def _graded(rows: Rows) -> npt.NDArray[np.bool_]:
    return np.array([grade is not None for grade in rows.grade(Column.GRADE)], np.bool_)


def _grade_is(outcome: Outcome) -> Callable[[Rows], Ratio]:
    return lambda rows: _share(rows.grade(Column.GRADE) == outcome, _graded(rows))


def _column(name: str) -> Callable[[Rows], Ratio]:
    return lambda rows: _mean(rows.number(name))


def _f1(verdict: str, meant: str, other_verdict: str, other: str) -> Callable[[Rows], Ratio]:
    """2 TP / (2 TP + FP + FN), which is 2PR / (P + R)."""

    def of(rows: Rows) -> Ratio:
        hits = 2 * rows.number(f"{verdict}_on_{meant}")
        misses = rows.number(f"{verdict}_on_{other}") + rows.number(f"{other_verdict}_on_{meant}")
        return Ratio(hits, hits + misses)

    return of


def _true_verdicts(rows: Rows) -> Ratio:
    true = rows.number("correct_on_right") + rows.number("incorrect_on_wrong")
    false = rows.number("correct_on_wrong") + rows.number("incorrect_on_right")
    return Ratio(true, true + false)


def _no_verdict(rows: Rows) -> Ratio:
    return Ratio(rows.number("no_verdict"), rows.number("explicit_reflections"))


def _turned(first: int, final: int) -> Callable[[Rows], Ratio]:
    """From the first attempt to the final answer, of what is decided in both."""

    def of(rows: Rows) -> Ratio:
        one, other = rows.right("first_grade"), rows.right(Column.GRADE)
        return _share((one == first) & (other == final), ~np.isnan(one + other))

    return of


def _abandoned(rows: Rows) -> Ratio:
    final = rows.right(Column.GRADE)
    return _share(final == 0, (rows.number("right_attempts") > 0) & ~np.isnan(final))


def _stopped(outcome: Outcome) -> Callable[[Rows], Ratio]:
    return lambda rows: _share(rows.grade("stopped_on") == outcome, _graded(rows))


def _gain(rows: Rows) -> Ratio:
    return _mean(rows.right("last_grade") - rows.right("first_grade"))


def _with_attempts(low: int, high: float) -> Callable[[Rows], Ratio]:
    def of(rows: Rows) -> Ratio:
        attempts, final = rows.number("attempts"), rows.right(Column.GRADE)
        return _share(final == 1, (attempts >= low) & (attempts <= high) & ~np.isnan(final))

    return of


def _has_phrases(rows: Rows) -> Ratio:
    return _mean((rows.number("phrases") > 0).astype(np.float64))


MOST_ATTEMPTS = 5
"""From so many attempts on, responses are counted together."""

_ACC, _USE, _DO, _TEXT = Section.ACCURACY, Section.SKILL_USE, Section.EFFECT, Section.TEXT
_SHARE, _MEAN, _LENGTH, _SCORE = Unit.SHARE, Unit.MEAN, Unit.LENGTH, Unit.SCORE

MEASURES: tuple[Measure, ...] = (
    Measure(
        "accuracy", "accuracy", _ACC, _SHARE,
        "Responses whose final answer is right, of those that are right, wrong or cut off: the "
        "mean over samples.",
        lambda rows: _mean(rows.right(Column.GRADE)), False,
    ),
    Measure(
        "pass_at_k", "pass@k", _ACC, _SHARE,
        "The chance that one of k samples is right, 1 - C(n-c, k)/C(n, k) for c right ones of n "
        "decided ones; the mean over questions with at least k (Chen et al. 2021, arXiv "
        "2107.03374).",
        None, False,
    ),
    Measure(
        "majority_at_k", "majority@k", _ACC, _SHARE,
        "The chance that the most frequent answer of k samples is right; the mean over disjoint "
        "groups of k neighbouring samples, then over questions. All right answers are one; "
        "others are the same if their texts are, but for case, spacing and marks at their ends. Of "
        "equally frequent answers each is taken with the same chance (Wang et al. 2022, arXiv "
        "2203.11171).",
        None, False,
    ),
    Measure(
        "undecided", "undecided", _ACC, _SHARE,
        "Responses whose final answer the grader can call neither right nor wrong.",
        _grade_is(Outcome.UNDECIDED), None,
    ),
    Measure(
        "no_answer", "without an answer", _ACC, _SHARE,
        "Responses without a final answer after their thinking, cut off or not.",
        lambda rows: _mean(1 - rows.number("answered")), True,
    ),
    Measure(
        "cut_off", "cut off", _ACC, _SHARE,
        "Responses that a length limit or their own thinking ended before a final answer.",
        _grade_is(Outcome.CUT_OFF), True,
    ),
    Measure(
        "explicit_answers", "explicit answers", _USE, _MEAN,
        "`<answer>` pairs a response (Table 4).", _column("explicit_answers"),
    ),
    Measure(
        "explicit_reflections", "explicit reflections", _USE, _MEAN,
        "`<reflect>` blocks a response (Table 4).", _column("explicit_reflections"),
    ),
    Measure(
        "f1_correct", "verdict F1, correct", _USE, _SCORE,
        "2 TP / (2 TP + FP + FN) of the verdict Correct, each verdict held against the grade of "
        "the attempt that it is about (Table 4). Verdicts on undecided attempts are left out.",
        _f1("correct", "right", "incorrect", "wrong"), False,
    ),
    Measure(
        "f1_incorrect", "verdict F1, incorrect", _USE, _SCORE,
        "The same of the verdict Incorrect.",
        _f1("incorrect", "wrong", "correct", "right"), False,
    ),
    Measure(
        "true_verdicts", "true verdicts", _USE, _SHARE,
        "Verdicts that agree with the grade of their attempt, of those on decided ones.",
        _true_verdicts, False,
    ),
    Measure(
        "no_verdict", "reflections without a verdict", _USE, _SHARE,
        "`<reflect>` blocks without exactly one verdict, of all.", _no_verdict, True,
    ),
    Measure(
        "tagged", "with our tags", _USE, _SHARE,
        "Responses with a `<sample>` block.", _column("tagged"),
    ),
    Measure(
        "well_formed", "well formed", _USE, _SHARE,
        "Responses that can be read back as a trace without a problem.",
        _column("well_formed"), False,
    ),
    Measure(
        "attempts", "attempts", _DO, _MEAN,
        "`<sample>` blocks a response; one without tags is one attempt.", _column("attempts"),
    ),
    Measure(
        "first_right", "first attempt right", _DO, _SHARE,
        "Responses whose first attempt is right, of those where it is decided.",
        lambda rows: _mean(rows.right("first_grade")), False,
    ),
    Measure(
        "rescued", "rescued", _DO, _SHARE,
        "First attempt wrong and final answer right, of responses with both decided. Accuracy is "
        "`first_right + rescued - harmed`, where all are decided.",
        _turned(0, 1), False,
    ),
    Measure(
        "harmed", "harmed", _DO, _SHARE,
        "First attempt right and final answer wrong or cut off, of responses with both decided.",
        _turned(1, 0), True,
    ),
    Measure(
        "abandoned", "right attempts abandoned", _DO, _SHARE,
        "Final answer wrong or cut off, of decided responses that have a right attempt.",
        _abandoned, True,
    ),
    Measure(
        "stopped_right", "stopping right", _DO, _SHARE,
        "Responses whose thinking ends with the verdict Correct on a last attempt that is right, "
        "of all that are graded.",
        _stopped(Outcome.RIGHT), False,
    ),
    Measure(
        "stopped_wrong", "stopping wrong", _DO, _SHARE,
        "The same on a last attempt that is wrong.", _stopped(Outcome.WRONG), True,
    ),
    Measure(
        "gain", "gain of the last attempt", _DO, Unit.DIFFERENCE,
        "Share of right last attempts less that of right first ones, of responses with both "
        "decided.",
        _gain, False,
    ),
    *(
        Measure(
            f"accuracy_with_{count}_attempts",
            f"accuracy, {count}{'+' * (count == MOST_ATTEMPTS)} attempt{'s' * (count > 1)}",
            _DO, _SHARE,
            f"Accuracy of the responses with {count} attempt{'s' * (count > 1)}"
            f"{' or more' * (count == MOST_ATTEMPTS)}.",
            _with_attempts(count, count if count < MOST_ATTEMPTS else np.inf), False,
        )
        for count in range(1, MOST_ATTEMPTS + 1)
    ),
    Measure(
        "tokens", "tokens", _TEXT, _LENGTH,
        "Tokens of a response, where the file says how many.", _column(Column.COMPLETION_TOKENS),
    ),
    Measure(
        "characters", "characters", _TEXT, _LENGTH, "Characters of a response.",
        _column("characters"),
    ),
    Measure(
        "characters_to_answer", "characters to the answer", _TEXT, _LENGTH,
        "Characters before the final answer, of responses that have one.",
        _column("characters_to_answer"),
    ),
    Measure(
        "looping", "looping", _TEXT, _SHARE,
        "Responses that repeat themselves: a line of at least 20 characters that stands there more "
        "than 5 times, and more often than there are attempts; or an end that is one block 4 times "
        "over, of at least 100 characters in all.",
        _column("looping"), True,
    ),
    Measure(
        "phrases", "phrases of the data", _TEXT, _MEAN,
        "Lines of a response that are a phrase of the data: of `--sft` folders, or of the phrase "
        "bank.",
        _column("phrases"),
    ),
    Measure(
        "with_phrases", "with a phrase of the data", _TEXT, _SHARE,
        "Responses with such a line.", _has_phrases,
    ),
)  # fmt: skip
"""All measures but those by word rules, in the order of the tables."""


MAIN = (
    *("accuracy", "explicit_answers", "explicit_reflections", "f1_correct", "f1_incorrect"),
    *("first_right", "rescued", "harmed", "cut_off"),
)
"""The measures of a short table."""


def is_main(name: str) -> bool:
    """Whether a short table has the figure of this name: of several samples too."""
    return name in MAIN or "_at_" in name


def word_measures(names: list[str]) -> Iterator[Measure]:
    """The measures of a table's columns `words_NAME`."""
    for name in names:
        if name.startswith(PREFIX):
            plain = name.removeprefix(PREFIX)
            yield Measure(
                name,
                f"{plain.replace('_', ' ')} (words)",
                Section.WORDS,
                Unit.MEAN,
                f"How often a response has the words of the rule `{plain}`. A guess from words.",
                _column(name),
            )
