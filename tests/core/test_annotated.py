"""Annotated datasets as people have them: columns of mixed and of odd types."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import (
    ANSWER,
    CORRECT,
    RESPONSE,
    Make,
    Row,
    attempt,
    attempts,
    read_manifest,
    read_traces,
    run,
    write_rows,
)
from hypothesis import given
from hypothesis import strategies as st

from skill_factory.core.arrays import is_list
from skill_factory.core.columns import Columns
from skill_factory.core.sources.batches import UnreadIn
from skill_factory.core.sources.find_source import find_source
from skill_factory.errors import ColumnError

DEFAULTS = Columns()
GOOD = attempts(3, 3)


class Read(NamedTuple):
    """The columns of an input as they are read, None for one that is not, and what could not be."""

    columns: dict[str, list[Any] | None]
    unread: dict[str, UnreadIn]


def read(path: Path, columns: Columns = DEFAULTS) -> Read:
    source = find_source(str(path), None, None, None)
    tables = [batch.table for batch in source.batches(columns)]
    there = {name for table in tables for name in table.schema.names}
    rows = [row for table in tables for row in table.to_pylist()]
    names = [columns.question, columns.correctness, "answer", "task_source", "metadata"]
    return Read(
        {name: [row.get(name) for row in rows] if name in there else None for name in names},
        dict(source.unread),
    )


def rows_with(column: str, values: list[Any]) -> list[Row]:
    return [attempt(n, n % 2 == 0) | {column: value} for n, value in enumerate(values)]


def write_json(path: Path, rows: list[Row]) -> Path:
    """Write rows as JSON lines or, by the name, as an array."""
    text = json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows))
    path.write_text(text)
    return path


FACTS = {"numbers": [3, 3, 5], "target": 24}
TEXT_OF_FACTS = json.dumps(FACTS)


@pytest.mark.parametrize(
    ("column", "values", "expected", "unread"),
    [
        ("answer", ["4", 4, 4.0, True, None], ["4", "4", "4", "True", None], []),
        ("answer", [10**10, 2**53 + 1, 2**63], [str(10**10), str(2**53 + 1), str(2**63)], []),
        ("answer", [2**53 + 1, 0.5], [str(2**53 + 1), "0.5"], []),
        ("answer", [1e10, 3, 0.1], ["10000000000", "3", "0.1"], []),
        ("answer", [["5"], "5", [5, 6]], ['["5"]', "5", '["5", "6"]'], []),
        ("answer", [{"value": "a"}, "b", [], {}], ['{"value": "a"}', "b", None, None], []),
        ("answer", [math.inf, "4", -math.inf], [None, "4", None], [0, 2]),
        ("answer", [math.nan, 4.5], [None, "4.5"], []),
        ("task_source", ["aime", 3, {"a": 1}, None, ["x"]], ["aime", *[None] * 4], [1, 2, 4]),
        ("metadata", ["text", FACTS, "{}"], ["text", TEXT_OF_FACTS, "{}"], []),
        ("metadata", [{"a": 1}, "text", FACTS], [None, "text", TEXT_OF_FACTS], []),
        ("metadata", [None, {"a": 1}, FACTS], [None, None, TEXT_OF_FACTS], []),
        ("metadata", [3, True, [FACTS], FACTS], [None, None, None, TEXT_OF_FACTS], [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_columns_that_need_not_be_there_may_be_mixed_in_json(
    tmp_path: Path,
    name: str,
    column: str,
    values: list[Any],
    expected: list[Any],
    unread: list[int],
) -> None:
    path = tmp_path / name
    for order in (1, -1):
        write_json(path, rows_with(column, values[::order]))
        found = read(path)
        assert found.columns[column] == expected[::order]
        places = unread if order == 1 else [len(values) - 1 - row for row in unread[::-1]]
        role = {"answer": "gold", "task_source": "task", "metadata": "facts"}[column]
        wanted = {role: UnreadIn(len(places), str(path), places[0])} if places else {}
        assert found.unread == wanted


def test_a_number_of_5000_digits_is_a_gold_answer(tmp_path: Path) -> None:
    path = write_json(tmp_path / "rows.jsonl", rows_with("answer", ["LONG", 4]))
    path.write_text(path.read_text().replace('"LONG"', "9" * 5000))
    assert read(path).columns["answer"] == ["9" * 5000, "4"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "before", "after", "expected"),
    [
        ("answer", "4", {"value": "4"}, '{"value": "4"}'),
        ("answer", 4, "four", "four"),
        ("answer", None, 2**70, str(2**70)),
        ("metadata", "text", FACTS, TEXT_OF_FACTS),
        ("metadata", {"a": 1}, FACTS, TEXT_OF_FACTS),
        ("metadata", FACTS, {"letters": "ab", "length": 2, "words": ["ab"]}, None),
        ("metadata", None, FACTS, TEXT_OF_FACTS),
        ("metadata", "absent", FACTS, TEXT_OF_FACTS),
    ],
)
def test_what_comes_late_in_a_long_json_file_is_read(
    tmp_path: Path, column: str, before: Any, after: Any, expected: str | None
) -> None:
    long = [f"{'x' * (2 << 20)} <answer>4</answer>"]  # a file is parsed in pieces of 16 MiB
    rows = [attempt(n, True) | {RESPONSE: long, column: before} for n in range(9)]
    if before == "absent":
        rows = [{name: value for name, value in row.items() if name != column} for row in rows]
    rows.append(attempt(9, True) | {column: after})
    found = read(write_json(tmp_path / "rows.jsonl", rows)).columns[column]
    assert found is not None
    assert found[-1] == (expected or json.dumps(after))


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_ANY = _SCALARS | st.lists(_SCALARS, max_size=3) | st.dictionaries(st.text(), _SCALARS, max_size=3)


@given(values=st.lists(_ANY, min_size=1, max_size=6))
def test_lines_and_an_array_of_the_same_are_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    rows = rows_with("answer", values)
    lines, array = (write_json(folder / name, rows) for name in ("rows.jsonl", "rows.json"))
    assert read(lines).columns == read(array).columns


def texts(*values: str) -> pa.Array:
    return pa.array(values, pa.string())


@pytest.mark.parametrize(
    ("column", "found", "expected", "unread"),
    [
        ("answer", pa.array([4, None, 2**63], pa.uint64()), ["4", None, str(2**63)], 0),
        ("answer", pa.array([1e10, 0.5, math.nan]), ["10000000000", "0.5", None], 0),
        ("answer", pa.array([0.1, math.inf], pa.float32()), ["0.1", None], 1),
        ("answer", pa.array([0.5, 2.0], pa.float16()), ["0.5", "2"], 0),
        ("answer", pa.array([Decimal("2.50"), Decimal("3.00")]), ["2.5", "3"], 0),
        ("answer", pa.array([True, False, None]), ["True", "False", None], 0),
        ("answer", texts("a", "b", "a").dictionary_encode(), ["a", "b", "a"], 0),
        ("answer", pa.array([4, 5, 4]).dictionary_encode(), ["4", "5", "4"], 0),
        ("answer", texts("a", "b").cast(pa.large_string()), ["a", "b"], 0),
        ("answer", pa.array([b"a", b"\xff", None]), ["a", None, None], 1),
        ("answer", pa.array([None, None], pa.null()), [None, None], 0),
        ("answer", pa.array([["5"], None, [], ["5"]]), ['["5"]', None, None, '["5"]'], 0),
        ("answer", pa.array([[0.1, 2]], pa.list_(pa.float32())), ['["0.1", "2"]'], 0),
        ("answer", pa.array([["5"]], pa.large_list(pa.string())), ['["5"]'], 0),
        ("answer", pa.array([["5", "6"]], pa.list_(pa.string(), 2)), ['["5", "6"]'], 0),
        ("answer", pa.array([[[1], [2]], [[1]]]), ["[[1], [2]]", "[[1]]"], 0),
        (
            "answer",
            pa.array([{"value": "a", "aliases": ["b"]}, {"value": "a", "aliases": None}, None]),
            ['{"aliases": ["b"], "value": "a"}', '{"value": "a"}', None],
            0,
        ),
        (
            "answer",
            pa.array([[("value", "5")]], pa.map_(pa.string(), pa.string())),
            ['{"value": "5"}'],
            0,
        ),
        ("answer", texts('"5"', "5", '["5"]', "{").cast(pa.json_()), ["5", "5", '["5"]', "{"], 0),
        ("task_source", pa.array([1, 2]), [None, None], 2),
        ("task_source", pa.array([b"aime"]), ["aime"], 0),
        ("metadata", pa.array([{"a": 1.5}]), None, 0),
        ("metadata", pa.array([[1], None]), [None, None], 1),
        ("metadata", pa.array([FACTS, None]), [TEXT_OF_FACTS, None], 0),
        ("metadata", texts(TEXT_OF_FACTS).cast(pa.json_()), [TEXT_OF_FACTS], 0),
        (
            "metadata",
            pa.array([{"numbers": [Decimal("3.50")], "target": Decimal(24), "x": None}]),
            ['{"numbers": ["3.5"], "target": "24"}'],
            0,
        ),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_columns_that_need_not_be_there_may_be_of_any_type(
    tmp_path: Path, column: str, found: pa.Array, expected: list[Any] | None, unread: int
) -> None:
    table = pa.Table.from_pylist([attempt(n, True) for n in range(len(found))])
    table = table.drop_columns(["answer"]).append_column(column, found)
    pq.write_table(table, tmp_path / "rows.parquet")
    seen = read(tmp_path / "rows.parquet")
    assert seen.columns[column] == expected
    assert sum(part.rows for part in seen.unread.values()) == unread


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        lambda n: {"answer": 10**10 + n},
        lambda n: {"answer": None if n == 2 else n},
        lambda n: {"answer": n / 4},
        lambda n: {"answer": [str(n), "x"]},
        lambda n: {"answer": [n, 5]},
        lambda n: {"answer": {"value": n, "aliases": None if n else ["x"]}},
        lambda n: {"answer": n % 2 == 0},
        lambda n: {"metadata": {"numbers": [n, 3], "target": 24, "seed": n}},
        lambda n: {"metadata": {"numbers": [n / 2, 3], "target": 24 if n else 2.5}},
        lambda n: {"metadata": {"seed": n}},
        lambda n: {CORRECT: int(n < 3), ANSWER: "4", RESPONSE: f"{n} <answer>4</answer>"},
    ],
)
def test_the_same_data_gives_the_same_plan_from_parquet_and_json(
    make: Make, tmp_path: Path, more: Callable[[int], Row]
) -> None:
    rows = [attempt(n, n < 3, f"What is {n % 2}?") | more(n) for n in range(6)]
    options = ("--attempts", "2", "--task", "mathematics")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    folders = [make(tmp_path / "rows.parquet", *options)]
    for name in ("rows.jsonl", "rows.json"):
        folders.append(make(write_json(tmp_path / name, rows), *options))
    plans = [(folder / "plan.parquet").read_bytes() for folder in folders]
    assert plans[0] == plans[1] == plans[2]
    outputs = [read_manifest(folder)["output"]["digest"] for folder in folders]
    assert len(set(outputs)) == 1


def test_what_could_not_be_read_is_noted_once_for_a_column(tmp_path: Path) -> None:
    rows = [row | {"metadata": "{}", "task_source": "addition"} for row in GOOD]
    for row in (2, 4):
        rows[row] = rows[row] | {"metadata": [1]}
    path = write_json(tmp_path / "rows.jsonl", rows)
    done = run("-i", path, "-o", tmp_path / "sft")
    assert done.code == 0, done.err
    notes = [line for line in done.out.splitlines() if line.startswith("Note: ")]
    assert notes == [
        f"Note: column 'metadata': 2 rows, the first of them row 2 of {path}, hold neither null "
        "nor JSON text or an object; it counts as null"
    ]


def test_a_column_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", GOOD)
    done = run("-i", path, "-o", tmp_path / "sft", "--facts-column", "info")
    assert done.code == 1
    assert "no column 'info' to take the facts from" in done.err


def test_mixed_columns_of_a_dataset_that_datasets_loads(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    rows = [row | {"answer": 4, "metadata": "text"} for row in GOOD]
    rows[1] |= {"answer": ["4"], "metadata": FACTS}
    write_json(folder / "train.jsonl", rows)
    done = run("-i", folder, "-o", tmp_path / "sft", "--input-split", "train", "--attempts", "1")
    assert done.code == 0, done.err
    assert "Note: column" not in done.out
    plan = pq.read_table(tmp_path / "sft" / "plan.parquet")
    assert set(plan["ground_truth"].to_pylist()) <= {"4", '["4"]'}


# -- correctness -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "written",
    [
        lambda right: int(right),
        lambda right: float(right),
        lambda right: str(right),
        lambda right: str(right).lower(),
        lambda right: str(int(right)),
        lambda right: [int(right)],
        lambda right: [float(right)],
        lambda right: [str(right)],
    ],
)
@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.json"])
def test_correctness_may_be_numbers_or_texts(
    make: Make, tmp_path: Path, name: str, written: Callable[[bool], Any]
) -> None:
    rows = [row | {CORRECT: written(row[CORRECT][0])} for row in GOOD]
    rows.append(attempt(6, True) | {CORRECT: None})
    if name == "rows.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        write_json(tmp_path / name, rows)
    folder = make(tmp_path / name)
    assert read_traces(folder) == read_traces(make(GOOD))
    assert read_manifest(folder)["ledger"]["attempts"]["losses"]["undecided"] == 1


@pytest.mark.parametrize(
    "written",
    [
        *(pa.array([1, 0], kind) for kind in (pa.int8(), pa.uint64(), pa.float32(), pa.float16())),
        pa.array([Decimal("1.0"), Decimal("0.0")]),
        pa.array([1, 0]).dictionary_encode(),
        pa.array(["True", "False"], pa.large_string()),
        pa.array([[1], [0]], pa.list_(pa.int8(), 1)),
        pa.array([[1], [0]], pa.large_list(pa.int64())),
    ],
    ids=lambda written: str(written.type),
)
def test_correctness_may_be_of_any_such_type(tmp_path: Path, written: pa.Array) -> None:
    table = pa.Table.from_pylist([attempt(n, True) for n in range(2)]).drop_columns([CORRECT])
    pq.write_table(table.append_column(CORRECT, written), tmp_path / "rows.parquet")
    expected = [[True], [False]] if is_list(written.type) else [True, False]
    assert read(tmp_path / "rows.parquet").columns[CORRECT] == expected


@pytest.mark.parametrize(
    ("value", "found"),
    [(2, "'2'"), (0.5, "'0.5'"), ("yes", "'yes'"), ([2], "2"), (["maybe"], "maybe"), ("", "''")],
)
@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl"])
def test_other_correctness_is_an_error_with_the_first_row(
    tmp_path: Path, name: str, value: Any, found: str
) -> None:
    one: Any = value[0] if isinstance(value, list) else value
    good: Any = type(one)(1)
    rows = [row | {CORRECT: [good] if isinstance(value, list) else good} for row in GOOD]
    rows[3] |= {CORRECT: value}
    rows[5] |= {CORRECT: value}
    if name == "rows.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        write_json(tmp_path / name, rows)
    with pytest.raises(ColumnError) as failure:
        read(tmp_path / name)
    place = "row 3" if name == "rows.parquet" else "line 4"
    assert f"{name}: {place}, column {CORRECT!r}: expected " in str(failure.value)
    assert "true and false or 1 and 0, found " in str(failure.value)
    assert found in str(failure.value)


# -- questions as messages -------------------------------------------------------------------------

SYSTEM = {"role": "system", "content": "Be brief."}


def asked(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.json"])
@pytest.mark.parametrize("before", [[], [SYSTEM]])
def test_a_question_may_be_messages(
    make: Make, tmp_path: Path, name: str, before: list[dict[str, str]]
) -> None:
    rows = [
        {key: value for key, value in row.items() if key != "question"}
        | {"prompt": [*before, asked(row["question"])]}
        for row in GOOD
    ]
    conversation = [asked("Hm?"), {"role": "assistant", "content": "Yes."}, asked("What?")]
    rows.append(rows[0] | {"prompt": conversation})
    rows.append(rows[0] | {"prompt": None})
    if name == "rows.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        write_json(tmp_path / name, rows)
    folder = make(tmp_path / name, "--question-column", "prompt")
    assert read_traces(folder) == read_traces(make(GOOD))
    assert read_manifest(folder)["ledger"]["rows"]["losses"] == {"no_question": 2}
    unread = read(tmp_path / name, Columns(question="prompt")).unread
    assert unread == {"question": UnreadIn(1, str(tmp_path / name), 6)}


def test_texts_and_messages_may_be_mixed_in_json(tmp_path: Path) -> None:
    rows = rows_with("question", ["What?", [asked("Why?")], "How?", 4])
    found = read(write_json(tmp_path / "rows.jsonl", rows))
    assert found.columns["question"] == ["What?", "Why?", "How?", None]


def test_messages_that_lack_a_name_are_no_question(tmp_path: Path) -> None:
    rows = rows_with("question", [[{"from": "human", "value": "What?"}]])
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    with pytest.raises(ColumnError, match="expected string or messages"):
        read(tmp_path / "rows.parquet")
