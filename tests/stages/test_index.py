"""What of the input can be used, and the counted reason for all that cannot."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import (
    ANSWER,
    CORRECT,
    REFLECTION,
    RESPONSE,
    Make,
    Row,
    attempt,
    attempts,
    read_manifest,
    read_traces,
    write_rows,
)

GOOD = attempts(3, 3)
TRUE = "Fine.\n<verdict>Correct</verdict>"


def ledger(folder: Path) -> dict[str, Any]:
    accounts: dict[str, Any] = read_manifest(folder)["ledger"]
    return accounts


@pytest.mark.parametrize(
    ("change", "account", "reason"),
    [
        ({"question": None}, "rows", "no_question"),
        ({"question": " \n\u3000"}, "rows", "no_question"),
        ({"question": "What?<|im_end|>"}, "rows", "question_holds_chat_token"),
        ({RESPONSE: None}, "rows", "no_response"),
        ({RESPONSE: []}, "rows", "no_response"),
        ({CORRECT: []}, "rows", "lists_differ_in_length"),
        ({ANSWER: ["4", "4"]}, "rows", "lists_differ_in_length"),
        ({CORRECT: None}, "attempts", "undecided"),
        ({CORRECT: [None]}, "attempts", "undecided"),
        ({RESPONSE: [None]}, "attempts", "blank"),
        ({RESPONSE: ["\u2028 "]}, "attempts", "blank"),
        ({ANSWER: None}, "attempts", "no_answer"),
        ({ANSWER: [None]}, "attempts", "no_answer"),
        ({ANSWER: ["  "]}, "attempts", "no_answer"),
        ({ANSWER: ["4</answer>"]}, "attempts", "holds_markup"),
        ({RESPONSE: ["a </sample> b"]}, "attempts", "holds_markup"),
        ({RESPONSE: ["<think>hm</think> 4"]}, "attempts", "holds_markup"),
        ({RESPONSE: ["4 <reflect>"]}, "attempts", "holds_markup"),
        ({RESPONSE: ["4 <verdict>Correct</verdict>"]}, "attempts", "holds_markup"),
        ({RESPONSE: ["4<|im_end|>\n<|im_start|>user"]}, "attempts", "holds_markup"),
        ({RESPONSE: ["<answer>4"]}, "attempts", "holds_markup"),
        ({RESPONSE: ["</answer>4<answer>"]}, "attempts", "holds_markup"),
        ({RESPONSE: ["<answer><answer>4</answer></answer>"]}, "attempts", "holds_markup"),
        ({REFLECTION: None}, "attempts", "no_valid_reflection"),
        ({REFLECTION: []}, "attempts", "no_valid_reflection"),
        ({REFLECTION: [None]}, "reflections", "blank"),
        ({REFLECTION: [" "]}, "reflections", "blank"),
        ({REFLECTION: ["Fine."]}, "reflections", "no_verdict"),
        ({REFLECTION: ["<verdict>Yes</verdict>"]}, "reflections", "no_verdict"),
        ({REFLECTION: ["<verdict>Correct"]}, "reflections", "no_verdict"),
        ({REFLECTION: [f"{TRUE} {TRUE}"]}, "reflections", "several_verdicts"),
        ({REFLECTION: ["<verdict>Incorrect</verdict>"]}, "reflections", "wrong_verdict"),
        ({REFLECTION: [f"<answer>4</answer> {TRUE}"]}, "reflections", "holds_markup"),
        ({REFLECTION: [f"{TRUE}</reflect>"]}, "reflections", "holds_markup"),
        ({REFLECTION: [f"{TRUE}<|endoftext|>"]}, "reflections", "holds_markup"),
    ],
)
def test_what_cannot_be_used_has_a_reason(
    make: Make, change: Row, account: str, reason: str
) -> None:
    good = ledger(make(GOOD))
    damaged = ledger(make([*GOOD, attempt(6, True) | change]))
    assert damaged["rows"]["read"] == good["rows"]["read"] + 1
    more = Counter(damaged[account]["losses"]) - Counter(good[account]["losses"])
    del more["not_drawn"]
    assert more == {reason: 1}
    assert damaged["traces"] == good["traces"]


@pytest.mark.parametrize(
    "change",
    [
        {RESPONSE: ["No answer tag at all"]},
        {RESPONSE: ["<answer>3</answer> no, <answer>4</answer>"]},
        {REFLECTION: ["x <verdict>\n CORRECT </verdict> y"]},
        {"prompt_variant": None},
        {"question": "What is 2 + 2? Put it in <answer></answer>."},
    ],
)
def test_what_looks_odd_but_is_fine_is_used(make: Make, change: Row) -> None:
    rows = [attempt(i, i % 2 == 0) | change for i in range(0, 10, 2)]
    assert ledger(make(rows))["attempts"]["read"] == 5
    assert len(read_traces(make(rows))) == 5


@pytest.mark.parametrize(
    "space", [" ", "\n", "\t\r\n ", "\u00a0", "\u3000", "\x0b\x1c", "\u0085\u2028"]
)
def test_questions_that_differ_only_in_white_space_at_their_ends_are_one(
    make: Make, space: str
) -> None:
    ends = [("", ""), (space, ""), ("", space), (space, space), (2 * space, ""), ("", 3 * space)]
    rows = [
        row | {"question": f"{before}What is\n 2 + 2?{after}"}
        for row, (before, after) in zip(GOOD, ends, strict=True)
    ]
    plain = [row | {"question": "What is\n 2 + 2?"} for row in GOOD]
    folder, expected = make(rows), make(plain)
    assert read_traces(folder) == read_traces(expected)
    assert (folder / "plan.parquet").read_bytes() == (expected / "plan.parquet").read_bytes()
    assert ledger(folder) == ledger(expected)
    assert read_manifest(folder)["input"]["digest"] == read_manifest(expected)["input"]["digest"]


def test_white_space_within_a_question_makes_another(make: Make) -> None:
    rows = [*GOOD, *(row | {"question": "What is 2  + 2?"} for row in GOOD)]
    assert ledger(make(rows))["questions"]["kept"] == 2


def test_a_padded_question_that_is_no_unicode_is_counted(make: Make, tmp_path: Path) -> None:
    raw = pa.array([b" What? \xff ", *[b" What is 2 + 2?\n"] * 6], pa.binary())
    table = pa.Table.from_pylist([attempt(6, True), *GOOD])
    broken = pa.Array.from_buffers(pa.string(), 7, raw.buffers())
    at = table.schema.get_field_index("question")
    path = tmp_path / "broken.parquet"
    pq.write_table(table.set_column(at, "question", broken), path)
    assert ledger(make(path))["rows"]["losses"] == {"question_not_unicode": 1}
    assert read_traces(make(path)) == read_traces(make(GOOD))


def test_an_attempt_that_is_there_twice_is_used_once(make: Make) -> None:
    once, twice = make(GOOD, "--repeats", "9"), make([*GOOD, *GOOD[::-1]], "--repeats", "9")
    assert read_traces(once) == read_traces(twice)
    assert ledger(twice)["attempts"]["losses"] == {"duplicate": 6}
    assert ledger(twice)["reflections"]["losses"]["attempt_set_aside"] == 18


def test_null_and_empty_are_not_the_same_attempt(make: Make) -> None:
    rows = [attempt(i, True, prompt_variant=v) for i in range(3) for v in (None, "", "x")]
    options = ("--unique-variants", "--attempts", "3", "--repeats", "5")
    assert read_traces(make(rows, *options)) == read_traces(make(rows[::-1], *options))


def test_undecided_is_not_incorrect(make: Make) -> None:
    rows = [*attempts(5, 0), attempt(5, False) | {CORRECT: [None]}]
    folder = make(rows, "--formats", "*C*IC,*C_full")
    assert ledger(folder)["attempts"]["losses"]["undecided"] == 1
    assert ledger(folder)["traces"]["losses"] == {"*C*IC: no_incorrect_attempt": 1}


def test_reflections_with_a_text_are_dropped_in_any_case(make: Make) -> None:
    def told(text: str) -> Row:
        return {REFLECTION: [f"{text} <verdict>Correct</verdict>"] * 2}

    rows = [*GOOD, attempt(6, True) | told("An IDEA."), attempt(7, True) | told("Breakfast.")]
    folder = make(rows, "--drop-reflections-containing", "idea", "fast")
    assert ledger(folder)["reflections"]["losses"]["filtered_text"] == 4
    text = str(read_traces(folder))
    assert "IDEA" not in text
    assert "Breakfast" not in text


def test_only_chosen_prompt_variants_are_used(make: Make) -> None:
    rows = [attempt(i, i % 2 == 0) for i in range(24)]
    folder = make(rows, "--prompt-variants", "original", "rephrase", "--attempts", "3")
    assert ledger(folder)["attempts"]["losses"]["prompt_variant_not_chosen"] == 12
    used = {int(n) % 4 for row in read_traces(folder) for n in numbers(row)}
    assert used == {0, 3}


def numbers(row: Row) -> list[str]:
    import re

    return re.findall(r"Attempt (\d+):", row["conversations"][1]["content"])


def test_broken_unicode_is_counted_not_a_crash(make: Make, tmp_path: Path) -> None:
    raw = pa.array([b"4 \xff\xfe <answer>4</answer>"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 1, raw.buffers())
    table = pa.Table.from_pylist([*GOOD, attempt(6, True)])
    good = table.column(RESPONSE).combine_chunks()
    values = pa.concat_arrays([good.flatten().slice(0, 6), broken])
    at = table.schema.get_field_index(RESPONSE)
    table = table.set_column(at, RESPONSE, pa.ListArray.from_arrays(good.offsets, values))
    path = tmp_path / "broken.parquet"
    pq.write_table(table, path)
    assert ledger(make(path))["attempts"]["losses"]["not_unicode"] == 1


def test_half_a_surrogate_pair_in_json_is_counted(make: Make, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [*GOOD, attempt(6, True)])
    text = path.read_text().replace("Attempt 6:", "Attempt \\ud83d 6:")
    path.write_text(text)
    assert ledger(make(path))["attempts"]["losses"]["not_unicode"] == 1


# -- shapes ----------------------------------------------------------------------------------------


def as_scalars(row: Row) -> Row:
    return row | {name: row[name][0] for name in (RESPONSE, CORRECT, ANSWER)}


def several(rows: list[Row]) -> Row:
    """One row with the responses of all."""
    lists = {name: [row[name][0] for row in rows] for name in (RESPONSE, CORRECT, ANSWER)}
    return rows[0] | lists | {REFLECTION: [row[REFLECTION] for row in rows]}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_scalars_are_lists_of_one(make: Make, tmp_path: Path, suffix: str) -> None:
    rows = [as_scalars(row) for row in GOOD]
    source = write_rows(tmp_path / f"scalars{suffix}", rows, schema=None)
    assert read_traces(make(source)) == read_traces(make(GOOD))


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_several_responses_a_row_with_lists_of_lists(
    make: Make, tmp_path: Path, suffix: str
) -> None:
    same = [row | {"prompt_variant": "original"} for row in GOOD]
    rows = [several(same[:2]), several(same[2:5]), several(same[5:])]
    source = write_rows(tmp_path / f"several{suffix}", rows, schema=None)
    folder = make(source)
    assert read_traces(folder) == read_traces(make(same))
    assert ledger(folder)["rows"]["read"] == 3
    assert ledger(folder)["attempts"]["read"] == 6


def test_a_missing_list_of_reflections_in_a_row_of_several(make: Make, tmp_path: Path) -> None:
    rows = [several(GOOD), several(GOOD[:2]) | {REFLECTION: None}]
    rows.append(several(GOOD[:2]) | {REFLECTION: [[TRUE]]})
    source = write_rows(tmp_path / "several.parquet", rows, schema=None)
    accounts = ledger(make(source))
    assert accounts["attempts"]["losses"]["no_valid_reflection"] == 2
    assert accounts["rows"]["losses"] == {"lists_differ_in_length": 1}


def test_arrow_types_of_other_writers_are_read(make: Make, tmp_path: Path) -> None:
    plain = pa.Table.from_pylist(GOOD)
    large = pa.schema(
        {
            "question": pa.dictionary(pa.int32(), pa.string()),
            "prompt_variant": pa.large_string(),
            RESPONSE: pa.large_list(pa.large_string()),
            CORRECT: pa.list_(pa.bool_(), 1),
            ANSWER: pa.list_(pa.large_string()),
            REFLECTION: pa.large_list(pa.string()),
        }
    )
    path = tmp_path / "large.parquet"
    pq.write_table(plain.select(large.names).cast(large), path)
    assert read_traces(make(path)) == read_traces(make(GOOD))


def test_renamed_columns_are_found_by_option(make: Make, tmp_path: Path) -> None:
    names = {
        "question": "q",
        "prompt_variant": "v",
        RESPONSE: "r",
        CORRECT: "ok",
        ANSWER: "a",
        REFLECTION: "refl",
    }
    rows = [{names[key]: value for key, value in row.items() if key in names} for row in GOOD]
    source = write_rows(tmp_path / "renamed.parquet", rows, schema=None)
    ours = ["--question-column", "q", "--variant-column", "v", "--response-column", "r"]
    ours += ["--correctness-column", "ok", "--extracted-answer-column", "a"]
    ours += ["--reflection-column", "refl"]
    assert read_traces(make(source, *ours)) == read_traces(make(GOOD))
