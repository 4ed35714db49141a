"""The stages' tables: column names and Arrow types."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.core.columns import Column
from skill_factory.errors import InputError

_FOR_REWARDS = [
    pa.field(name, pa.string())
    for name in (Column.DATA_SOURCE, Column.GROUND_TRUTH, Column.EXTRA_INFO)
]

USABLE = pa.schema(
    [
        pa.field(Column.QUESTION_ID, pa.binary(16), nullable=False),
        pa.field(Column.ATTEMPT_ID, pa.binary(16), nullable=False),
        pa.field(Column.ROW, pa.int64(), nullable=False),
        pa.field(Column.RESPONSE, pa.int32(), nullable=False),
        pa.field(Column.QUESTION, pa.string(), nullable=False),
        pa.field(Column.VARIANT, pa.string()),
        pa.field(Column.CORRECT, pa.bool_(), nullable=False),
        pa.field(Column.ATTEMPT, pa.string(), nullable=False),
        pa.field(Column.EXTRACTED_ANSWER, pa.string(), nullable=False),
        pa.field(Column.REFLECTIONS, pa.list_(pa.string()), nullable=False),
        pa.field(Column.REFLECTION_NUMBERS, pa.list_(pa.int32()), nullable=False),
        *_FOR_REWARDS,
    ]
)
"""One row per valid attempt, the working table of step 2.

`question_id` and `attempt_id` are digests of the content. `row` counts the input's rows from 0 over
all files in order; `response` is the place in the row's list of responses. `reflections` are the
valid ones only and `reflection_numbers` their places in the attempt's list. The last three are what
a reward needs, as in `PLAN`.
"""

QUESTIONS = pa.schema(
    [
        pa.field(name, pa.string(), nullable=False)
        for name in (Column.QUESTION, Column.GOLD, Column.TASK, Column.FACTS)
    ]
)
"""One row a question: what the model is asked, the gold answer, the task that grades it, and a JSON
object with what its grader needs besides."""

ATTEMPTS = pa.schema(
    [
        *QUESTIONS,
        pa.field(Column.VARIANT, pa.string(), nullable=False),
        pa.field(Column.SAMPLE, pa.int32(), nullable=False),
        pa.field(Column.RESPONSE, pa.string(), nullable=False),
        pa.field(Column.FINISH_REASON, pa.string(), nullable=False),
        pa.field(Column.COMPLETION_TOKENS, pa.int32()),
        pa.field(Column.TEXT_ALONE, pa.string()),
    ]
)
"""One row an attempt, in order of questions, variants and samples; `completion_tokens` null: the
server did not say. `text_alone` is the response without its thinking; null: it has no thinking.
`finish_reason` is "length" too for what never came out of its thinking."""

GRADED = pa.schema(
    [
        *ATTEMPTS,
        pa.field(Column.GRADE, pa.string(), nullable=False),
        pa.field(Column.EXTRACTED_ANSWER, pa.string()),
    ]
)
"""`grade` is right, wrong, undecided, cut_off (by a length limit, or in its thinking), leaks_hint;
`extracted_answer` is the text of the last `<answer>` pair, null without one."""

RESPONSES = pa.schema(
    [
        *(field.with_nullable(True) for field in QUESTIONS),
        pa.field(Column.QUESTION_SET, pa.string(), nullable=False),
        pa.field(Column.MODEL, pa.string()),
        pa.field(Column.STEP, pa.int64()),
        pa.field(Column.SAMPLE, pa.int32(), nullable=False),
        pa.field(Column.RESPONSE, pa.string(), nullable=False),
        pa.field(Column.FINISH_REASON, pa.string()),
        pa.field(Column.COMPLETION_TOKENS, pa.int32()),
        pa.field(Column.GRADE, pa.string()),
        pa.field(Column.EXTRACTED_ANSWER, pa.string()),
    ]
)
"""One row a response that is measured. What a file of others does not say is null. `question_set`
names where its question is from, `model` who answered, `step` the training step or checkpoint,
`sample` counts the responses to a question from 0. `grade` is right, wrong, undecided or cut_off;
null: it cannot be graded. `extracted_answer` is null where there is no `<answer>` pair."""

MEASURES = pa.schema(
    [
        pa.field(Column.QUESTION_ID, pa.string(), nullable=False),
        *(RESPONSES.field(name) for name in (Column.QUESTION_SET, Column.MODEL, Column.STEP)),
        *(RESPONSES.field(name) for name in (Column.SAMPLE, Column.GRADE)),
        *(pa.field(name, pa.bool_(), nullable=False) for name in ("answered", "tagged")),
        pa.field("well_formed", pa.bool_(), nullable=False),
        *(
            pa.field(name, pa.int32(), nullable=False)
            for name in ("attempts", "explicit_answers", "explicit_reflections", "no_verdict")
        ),
        *(
            pa.field(f"{verdict}_on_{grade}", pa.int32(), nullable=False)
            for verdict in ("correct", "incorrect")
            for grade in ("right", "wrong", "undecided")
        ),
        *(pa.field(name, pa.string()) for name in ("first_grade", "last_grade", "stopped_on")),
        pa.field("right_attempts", pa.int32()),
        pa.field("vote", pa.string()),
        pa.field(Column.COMPLETION_TOKENS, pa.int32()),
        pa.field("characters", pa.int32(), nullable=False),
        pa.field("characters_to_answer", pa.int32()),
        pa.field("looping", pa.bool_(), nullable=False),
        *(pa.field(name, pa.int32(), nullable=False) for name in ("phrases", "different_phrases")),
    ]
)
"""One row a response, in the order of its `RESPONSES`: what `measure.measures` is made from.

`tagged`: it holds a `<sample>` block; one without is one attempt, with the grade of the response.
`first_grade` and `last_grade` are those of its attempts, `right_attempts` counts the right ones;
null: they cannot be graded. `correct_on_wrong` counts its verdicts Correct on wrong attempts, and
so on. `stopped_on`: the grade of its last attempt, if a verdict Correct on it ends the thinking;
else null. `vote` is the final answer as majority@k compares it: empty for any right one; null:
there is none. `characters_to_answer` counts those before its final answer. A column `words_NAME`
follows for each word rule (int32): how often its words stand in the response.
"""

ANNOTATED = pa.schema(
    [
        *QUESTIONS,
        *(GRADED.field(name) for name in (Column.VARIANT, Column.SAMPLE)),
        pa.field(Column.RESPONSES, pa.list_(pa.string())),
        pa.field(Column.CORRECTNESS, pa.list_(pa.bool_())),
        pa.field(Column.EXTRACTED_ANSWERS, pa.list_(pa.string())),
        pa.field(Column.REFLECTION, pa.list_(pa.string())),
        pa.field(Column.REFLECTION_SAMPLES, pa.list_(pa.int32())),
        *(
            GRADED.field(name)
            for name in (Column.GRADE, Column.FINISH_REASON, Column.COMPLETION_TOKENS)
        ),
    ]
)
"""One row an attempt, in the columns of the released reflection datasets and some more. The lists
of the response are of one; correctness is null for what is neither right nor wrong, as `grade`
says. `reflection_samples` are the reflections' sample numbers in the journal."""

SFT = pa.schema(
    [
        pa.field(
            Column.CONVERSATIONS,
            pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])),
        ),
        pa.field(Column.LABEL, pa.string()),
        pa.field(Column.TRACE_ID, pa.string()),
    ]
)
"""The SFT dataset: a user turn and an assistant turn, the format label, and the trace's name in the
plan."""

LAYOUTS = {
    name: pa.schema([SFT.field(0).with_name(name), *list(SFT)[1:]])
    for name in (Column.CONVERSATIONS, Column.MESSAGES)
}
"""The SFT dataset's schema by the name of its first column: LLaMA-Factory's habit, and TRL's."""

PLAN = pa.schema(
    [
        pa.field(Column.TRACE_ID, pa.string()),
        pa.field(Column.QUESTION_ID, pa.string()),
        pa.field("format", pa.string()),
        pa.field("label", pa.string()),
        pa.field("repeat", pa.int32()),
        pa.field("slot", pa.int32()),
        pa.field(
            Column.STEPS,
            pa.list_(
                pa.struct(
                    [
                        pa.field(Column.ROW, pa.int64()),
                        pa.field(Column.RESPONSE, pa.int32()),
                        pa.field(Column.CORRECT, pa.bool_()),
                        pa.field("reflection", pa.int32()),
                        pa.field("glue", pa.int32()),
                    ]
                )
            ),
        ),
        pa.field("lead", pa.int32()),
        pa.field("restated", pa.int32()),
        pa.field("closing", pa.int32()),
        pa.field(Column.ANSWER_OF, pa.int32()),
        *_FOR_REWARDS,
    ]
)
"""One row per trace: where each of its texts comes from.

A step is an attempt (`row` and `response` as in `USABLE`), whether it is `correct`, the place of
its `reflection` in the input's list (null: none shown) and the phrase id of the `glue` after it
(null after the last). `lead` and `closing` are phrase ids; `restated` and `answer_of` count the
steps from 0: the attempt given again after a backtrack (null: none) and the one whose extracted
answer ends the trace. Phrase texts stand in the manifest.

For rewards, named as verl does: `data_source` names the question's task, `ground_truth` is its gold
answer, `extra_info` its facts, a JSON object; null where the input does not say.
"""


_ADDED = {Column.TEXT_ALONE}
"""Columns that tables of older versions do not have."""


def with_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch of one of our tables with the columns of a schema; columns that its version did not
    have yet are null."""
    columns = [
        batch.column(field.name)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


_ROOM = 100
"""Levels by which metadata may be nested less deeply than JSON can be read."""


def validate_table(path: Path, schema: pa.Schema, stage: str) -> None:
    """Raise `InputError` unless a file is the table that `stage` makes: its columns and types, no
    null where none may be, and JSON objects as metadata."""
    with pq.ParquetFile(path) as table:
        found = table.schema_arrow
        for field in schema:
            if field.name in _ADDED and field.name not in found.names:
                continue
            at = found.get_field_index(field.name)
            if at < 0 or found.field(at).type != field.type:
                raise InputError(
                    f"{path}: has no column {field.name!r} of the type {field.type}, so it is not "
                    f"what the stage `{stage}` makes; make it with `--from {stage}`"
                )
        strict = [field.name for field in schema if not field.nullable]
        for batch in table.iter_batches(columns=strict):
            for name in strict:
                if batch.column(name).null_count:
                    raise InputError(f"{path}: column {name!r} has nulls; mend the file")
            if not all(map(_is_metadata, set(batch.column(Column.FACTS).to_pylist()))):
                raise InputError(f"{path}: column {Column.FACTS!r} holds what is no JSON object")


def _is_metadata(text: str) -> bool:
    try:
        if text.count("{") + text.count("[") > _ROOM:  # others read it deeper in the stack
            json.loads("[" * _ROOM + text + "]" * _ROOM)
        return not text or isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
