"""The stages' tables: column names, Arrow types, and the check where a stranger's table enters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.columns import COLUMN_OPTIONS, OPTIONAL_COLUMNS, Columns
from skill_factory.errors import ColumnError, InputError

# How many lists may stand around a value, and what the value is.
_ACCEPTED: dict[str, tuple[tuple[int, ...], pa.DataType]] = {
    "question": ((0,), pa.string()),
    "variant": ((0,), pa.string()),
    "response": ((0, 1), pa.string()),
    "correctness": ((0, 1), pa.bool_()),
    "extracted_answer": ((0, 1), pa.string()),
    "reflection": ((0, 1, 2), pa.string()),
}
FACT_GROUPS = (
    ("numbers", "target"),
    ("letters", "length", "words"),
    ("choices", "length", "words"),
    ("gym", "entry"),
    ("options",),
    ("accepted_answers",),
    ("all_numbers",),
    ("rounded",),
)
"""What a grader may need of a question besides its gold answer: a group is of use only whole."""


def facts_of(known: object) -> dict[str, Any] | None:
    """The facts in a mapping or its JSON, `nums` taken for `numbers`; None if no group of them is
    all there."""
    if isinstance(known, str):
        try:
            known = json.loads(known)
        except (ValueError, RecursionError):
            return None  # metadata of another kind
    if not isinstance(known, dict):
        return None
    named = {"numbers": known.get("nums")} | known
    whole = [group for group in FACT_GROUPS if all(named.get(name) is not None for name in group)]
    return {name: named[name] for group in whole for name in group} or None


_KINDS = {0: "{}", 1: "list of {}", 2: "list of lists of {}"}


USABLE = pa.schema(
    [
        pa.field("question_id", pa.binary(16), nullable=False),
        pa.field("attempt_id", pa.binary(16), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("response", pa.int32(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("variant", pa.string()),
        pa.field("correct", pa.bool_(), nullable=False),
        pa.field("attempt", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("reflections", pa.list_(pa.string()), nullable=False),
        pa.field("reflection_numbers", pa.list_(pa.int32()), nullable=False),
        pa.field("data_source", pa.string()),
        pa.field("ground_truth", pa.string()),
        pa.field("extra_info", pa.string()),
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
        for name in ("question", "answer", "task_source", "metadata")
    ]
)
"""One row a question: what the model is asked, the gold answer, the task that grades it, and a JSON
object with what its grader needs besides."""

ATTEMPTS = pa.schema(
    [
        *QUESTIONS,
        pa.field("prompt_variant", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("response", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("completion_tokens", pa.int32()),
    ]
)
"""One row an attempt, in order of questions, variants and samples; `completion_tokens` null: the
server did not say."""

GRADED = pa.schema(
    [
        *ATTEMPTS,
        pa.field("grade", pa.string(), nullable=False),
        pa.field("extracted_answer", pa.string()),
    ]
)
"""`grade` is right, wrong, undecided, cut_off (by a length limit) or leaks_hint; `extracted_answer`
the text of the last `<answer>` pair, null without one."""

ANNOTATED = pa.schema(
    [
        *QUESTIONS,
        pa.field("prompt_variant", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field(Columns.response, pa.list_(pa.string())),
        pa.field(Columns.correctness, pa.list_(pa.bool_())),
        pa.field(Columns.extracted_answer, pa.list_(pa.string())),
        pa.field(Columns.reflection, pa.list_(pa.string())),
        pa.field("reflection_samples", pa.list_(pa.int32())),
        pa.field("grade", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("completion_tokens", pa.int32()),
    ]
)
"""One row an attempt, in the columns of the released reflection datasets and some more. The lists
of the response are of one; correctness is null for what is neither right nor wrong, as `grade`
says. `reflection_samples` are the reflections' sample numbers in the journal."""

SFT = pa.schema(
    [
        pa.field(
            "conversations",
            pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])),
        ),
        pa.field("sft_template_type_idx", pa.string()),
        pa.field("trace_id", pa.string()),
    ]
)
"""The SFT dataset: a user turn and an assistant turn, the format label, and the trace's name in the
plan."""

LAYOUTS = {
    name: pa.schema([SFT.field(0).with_name(name), *list(SFT)[1:]])
    for name in ("conversations", "messages")
}
"""The SFT dataset's schema by the name of its first column: LLaMA-Factory's habit, and TRL's."""

PLAN = pa.schema(
    [
        pa.field("trace_id", pa.string()),
        pa.field("question_id", pa.string()),
        pa.field("format", pa.string()),
        pa.field("label", pa.string()),
        pa.field("repeat", pa.int32()),
        pa.field("slot", pa.int32()),
        pa.field(
            "steps",
            pa.list_(
                pa.struct(
                    [
                        pa.field("row", pa.int64()),
                        pa.field("response", pa.int32()),
                        pa.field("correct", pa.bool_()),
                        pa.field("reflection", pa.int32()),
                        pa.field("glue", pa.int32()),
                    ]
                )
            ),
        ),
        pa.field("lead", pa.int32()),
        pa.field("restated", pa.int32()),
        pa.field("closing", pa.int32()),
        pa.field("answer_of", pa.int32()),
        pa.field("data_source", pa.string()),
        pa.field("ground_truth", pa.string()),
        pa.field("extra_info", pa.string()),
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


def check_own(path: Path, schema: pa.Schema, stage: str) -> None:
    """See that a file is a table of ours, with nothing missing in it; raises `InputError`."""
    with pq.ParquetFile(path) as table:
        found = table.schema_arrow
        for field in schema:
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


def check_annotated(schema: pa.Schema, columns: Columns, where: str) -> pa.Schema:
    """The types to read the annotated table's columns as: `schema` narrowed to plain strings, bools
    and lists. Columns that need not be there are in it if they are.

    Raises `ColumnError`, naming the file `where`, the column, the columns there are and the option
    to set.
    """
    fields: dict[str, pa.Field] = {}
    for role, option in COLUMN_OPTIONS.items():
        name = getattr(columns, role)
        if name in fields:
            raise ColumnError(
                f"{where}: column {name!r} cannot be two things at once; "
                f"name another {role.replace('_', ' ')} column with {option}."
            )
        at = schema.get_all_field_indices(name)
        if len(at) != 1:
            problem = "is missing" if not at else "is there more than once"
            raise ColumnError(
                f"{where}: column {name!r} {problem}. "
                f"Columns there are: {', '.join(schema.names) or 'none'}. "
                f"Name the {role.replace('_', ' ')} column with {option}."
            )
        depths, leaf = _ACCEPTED[role]
        found = schema.field(at[0]).type
        depth, inner = _unwrap(found)
        if depth not in depths or not _fits(inner, leaf):
            expected = " or ".join(_KINDS[d].format(leaf) for d in depths)
            raise ColumnError(
                f"{where}: column {name!r} has the type {found}; expected {expected}. "
                f"Name another {role.replace('_', ' ')} column with {option}."
            )
        for _ in range(depth):
            leaf = pa.list_(leaf)
        fields[name] = pa.field(name, leaf)
    for role, option in OPTIONAL_COLUMNS.items():
        name = getattr(columns, role)
        at, asked_for = schema.get_all_field_indices(name), name != getattr(Columns, role)
        kind = _optional(role, schema.field(at[0]).type) if len(at) == 1 else None
        if kind is not None and name not in fields:
            fields[name] = pa.field(name, kind)
        elif asked_for:
            raise ColumnError(
                f"{where}: no column {name!r} to take the {role} from; "
                f"columns there are: {', '.join(schema.names) or 'none'}. Name it with {option}."
            )
    return pa.schema(fields.values())


def _optional(role: str, found: pa.DataType) -> pa.DataType | None:
    """The type to read an optional column as; None: as if it were not there."""
    text = _unwrap(found) == (0, found) and _fits(found, pa.string())
    if text or (pa.types.is_dictionary(found) and _fits(found.value_type, pa.string())):
        return pa.string()
    if role == "gold" and (pa.types.is_integer(found) or pa.types.is_floating(found)):
        return pa.string()
    facts = role == "facts" and pa.types.is_struct(found)
    if not facts:
        return None
    names = {child.name for child in found}
    return found if any(names.issuperset(group) for group in FACT_GROUPS) else None


def list_depth(kind: pa.DataType) -> int:
    """How many lists stand around the values of a type."""
    return _unwrap(kind)[0]


def _unwrap(kind: pa.DataType) -> tuple[int, pa.DataType]:
    depth = 0
    while True:
        if (
            pa.types.is_list(kind)
            or pa.types.is_large_list(kind)
            or pa.types.is_fixed_size_list(kind)
            or pa.types.is_list_view(kind)
            or pa.types.is_large_list_view(kind)
        ):
            kind, depth = kind.value_type, depth + 1
        elif pa.types.is_dictionary(kind):
            kind = kind.value_type
        else:
            return depth, kind


def _fits(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_null(found):
        return True
    if pa.types.is_boolean(wanted):
        return bool(pa.types.is_boolean(found))
    return bool(
        pa.types.is_string(found)
        or pa.types.is_large_string(found)
        or pa.types.is_string_view(found)
    )
