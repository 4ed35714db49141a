"""A batch of responses, read and graded: the work that other processes do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pyarrow as pa
from xxhash import xxh3_128_hexdigest

from skill_factory.core import arrays
from skill_factory.core.columns import Column
from skill_factory.core.tables import MEASURES, RESPONSES
from skill_factory.core.trace_tags import Verdict
from skill_factory.measure.rules import MeasureRules
from skill_factory.measure.several_samples import RIGHT, Vote
from skill_factory.measure.skills import Skills, is_looping, read_skills
from skill_factory.measure.word_rules import PREFIX, WordRules, word_counts
from skill_factory.stages.grade import Outcome, grade_answer
from skill_factory.tasks import JUDGED_AT_ONCE, load_tasks, task_of
from skill_factory.tasks.text import normal

Row = dict[str, Any]
_Asked = tuple[str, str, str, str | None]
"""Task, gold answer, facts and an answer: what a grade depends on."""

_CUT_OFF = "length"


class MeasuredBatch(NamedTuple):
    """Rows of `RESPONSES`, graded, and those of `MEASURES` for them, without the question ids."""

    responses: pa.RecordBatch
    measures: pa.RecordBatch


def measures_schema(words: WordRules) -> pa.Schema:
    """`MEASURES` with a column for each word rule."""
    return pa.schema([*MEASURES, *(pa.field(PREFIX + name, pa.int32()) for name in words)])


def measure_elsewhere(
    batch: pa.RecordBatch, tasks: list[str], rules: MeasureRules
) -> MeasuredBatch:
    """`measure_batch` in another process, which loads the tasks that this one was told of."""
    load_tasks(tasks)
    return measure_batch(batch, rules)


def has_judges(batch: pa.RecordBatch) -> bool:
    """Whether a task of these rows is graded by other processes."""
    names = batch.column(Column.TASK).unique().to_pylist()
    return any(task_of(name).slow for name in names if name is not None)


def measure_batch(batch: pa.RecordBatch, rules: MeasureRules) -> MeasuredBatch:
    """Grade responses and read what they do.

    A grade that a row has already stays; a response that cannot be graded has none. Raises
    `TaskError` for a task that is not known, `PluginError` for one from outside that raises.
    """
    rows = batch.to_pylist()
    pattern = rules.pattern
    skills = [read_skills(row[Column.RESPONSE], pattern) for row in rows]
    grades = _Grades(rows, skills)
    outcomes = [_outcome(row, one, grades) for row, one in zip(rows, skills, strict=True)]
    graded = _graded(batch, outcomes, skills)
    made = [
        _measures(row, one, outcome, grades, rules.phrases)
        for row, one, outcome in zip(rows, skills, outcomes, strict=True)
    ]
    schema = measures_schema(rules.words)
    texts = batch.column(Column.RESPONSE)
    fixed = pa.RecordBatch.from_pylist(made, schema=MEASURES)
    words = [arrays.numbers(word_counts(texts, words)) for words in rules.words.values()]
    return MeasuredBatch(
        graded, pa.RecordBatch.from_arrays([*fixed.columns, *words], schema=schema)
    )


def _graded(
    batch: pa.RecordBatch, outcomes: list[Outcome | None], skills: list[Skills]
) -> pa.RecordBatch:
    columns = batch.columns
    columns[RESPONSES.get_field_index(Column.GRADE)] = pa.array(outcomes, pa.string())
    answers = pa.array([one.final for one in skills], pa.string())
    columns[RESPONSES.get_field_index(Column.EXTRACTED_ANSWER)] = answers
    return pa.RecordBatch.from_arrays(columns, schema=RESPONSES)


# -- grades ---------------------------------------------------------------------------------------


class _Grades:
    """The grades of all answers in some rows, each asked for once."""

    def __init__(self, rows: list[Row], skills: list[Skills]) -> None:
        asked = {
            _asked(row, answer): None
            for row, one in zip(rows, skills, strict=True)
            if _can_be_graded(row)
            for answer in (one.final, *one.answers)
        }
        slow = any(task_of(task).slow for task in {one[0] for one in asked})
        self._found = dict(zip(asked, _graded_each(asked, slow), strict=True))

    def of(self, row: Row, answer: str | None) -> Outcome | None:
        """The grade of an answer to a row's question; None: it cannot be graded."""
        return self._found[_asked(row, answer)] if _can_be_graded(row) else None


def _can_be_graded(row: Row) -> bool:
    return row[Column.TASK] is not None and row[Column.GOLD] is not None


def _asked(row: Row, answer: str | None) -> _Asked:
    return row[Column.TASK], row[Column.GOLD], row[Column.FACTS] or "", answer


def _graded_each(asked: Iterable[_Asked], slow: bool) -> Iterator[Outcome]:
    if not slow:
        return map(_grade, asked)
    with ThreadPoolExecutor(JUDGED_AT_ONCE) as pool:
        return iter(list(pool.map(_grade, asked)))


def _grade(asked: _Asked) -> Outcome:
    task, gold, facts, answer = asked
    question = {Column.QUESTION: "", Column.TASK: task, Column.GOLD: gold, Column.FACTS: facts}
    return grade_answer(question, answer, None)


def _outcome(row: Row, skills: Skills, grades: _Grades) -> Outcome | None:
    """The grade of a response: that of its final answer. One without, which a length limit or its
    own thinking ended, is cut off."""
    if row[Column.GRADE] is not None:
        return Outcome(row[Column.GRADE])
    cut_off = row[Column.FINISH_REASON] == _CUT_OFF or skills.unfinished
    if cut_off and (skills.final is None or skills.unfinished):
        return Outcome.CUT_OFF if _can_be_graded(row) else None
    return grades.of(row, skills.final)


# -- measures -------------------------------------------------------------------------------------


def _measures(
    row: Row, skills: Skills, outcome: Outcome | None, grades: _Grades, phrases: frozenset[str]
) -> Row:
    text = row[Column.RESPONSE]
    lines = [line.strip() for line in text.splitlines()]
    of_attempts = _of_attempts(row, skills, outcome, grades)
    spoken = [line for line in lines if line in phrases]
    return {
        Column.QUESTION_ID: "",
        **{name: row[name] for name in _IDENTITY},
        Column.GRADE: outcome,
        "answered": skills.final is not None,
        "tagged": skills.tagged,
        "well_formed": skills.well_formed,
        "attempts": len(of_attempts),
        "explicit_answers": skills.explicit_answers,
        "explicit_reflections": skills.explicit_reflections,
        "no_verdict": skills.explicit_reflections - len(skills.judgements),
        **_verdicts(skills, of_attempts),
        "first_grade": of_attempts[0],
        "last_grade": of_attempts[-1],
        "stopped_on": of_attempts[-1] if skills.stopped else None,
        "right_attempts": None if None in of_attempts else of_attempts.count(Outcome.RIGHT),
        "vote": _vote(skills.final, outcome),
        "characters": len(text),
        "characters_to_answer": skills.before_answer,
        "looping": is_looping(text, lines, len(of_attempts)),
        "phrases": len(spoken),
        "different_phrases": len(set(spoken)),
    }


_LONGEST_VOTE = 64


def _vote(answer: str | None, outcome: Outcome | None) -> Vote:
    if outcome is Outcome.RIGHT:
        return RIGHT
    if answer is None:
        return None
    plain = normal(answer) or " "  # not the right one's name
    return plain if len(plain) <= _LONGEST_VOTE else xxh3_128_hexdigest(plain.encode())


_IDENTITY = (
    *(Column.QUESTION_SET, Column.MODEL, Column.STEP, Column.SAMPLE),
    Column.COMPLETION_TOKENS,
)


def _of_attempts(
    row: Row, skills: Skills, outcome: Outcome | None, grades: _Grades
) -> list[Outcome | None]:
    """The grades of a response's attempts; without tags it is one, graded as a whole."""
    if not skills.tagged:
        return [outcome]
    return [grades.of(row, answer) for answer in skills.answers]


def _verdicts(skills: Skills, grades: list[Outcome | None]) -> dict[str, int]:
    counts = dict.fromkeys(_VERDICT_COLUMNS, 0)
    for verdict, attempt in skills.judgements:
        if attempt is not None and grades[attempt] is not None:
            counts[f"{verdict.lower()}_on_{grades[attempt]}"] += 1
    return counts


_VERDICT_COLUMNS = [
    f"{verdict.lower()}_on_{grade}"
    for verdict in Verdict
    for grade in ("right", "wrong", "undecided")
]
