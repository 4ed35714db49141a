"""CSV files are read as people write them, and errors name the row, the line and the column."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import ANSWER, CORRECT, REFLECTION, RESPONSE, Make, Row, attempts, read_traces

from skill_factory.cli.main import main

LISTS = (RESPONSE, CORRECT, ANSWER, REFLECTION)
ROWS = [row for i in range(9) for row in attempts(3, 4, f'What, "exactly",\nis {i} + {i}? 好')]


def scalars(row: Row) -> Row:
    """A row as most CSV files have it: only the reflections are a list."""
    one = {name: row[name][0] for name in (RESPONSE, CORRECT, ANSWER)}
    return row | one | {REFLECTION: json.dumps(row[REFLECTION])}


def in_json(row: Row) -> Row:
    return row | {name: json.dumps(row[name]) for name in LISTS}


def write(path: Path, rows: list[Row], **options: Any) -> Path:
    """Write rows as Python's own module does."""
    with path.open("w", encoding=options.pop("encoding", "utf-8"), newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), **options)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def expected(make: Make) -> list[Row]:
    return read_traces(make(ROWS))


def test_csv_of_every_kind(make: Make, tmp_path: Path, expected: object) -> None:
    rows = [in_json(row) for row in ROWS]
    pd.DataFrame(rows).to_csv(tmp_path / "pandas.csv", index=False)
    pd.DataFrame(rows).to_csv(tmp_path / "index.csv")
    write(tmp_path / "excel.csv", rows, delimiter=";", encoding="utf-8-sig")
    write(tmp_path / "quoted.CSV", rows, quoting=csv.QUOTE_ALL)
    write(tmp_path / "tabs.tsv", rows, delimiter="\t", lineterminator="\n")
    packed = gzip.compress((tmp_path / "pandas.csv").read_bytes())
    (tmp_path / "packed.csv.gz").write_bytes(packed)
    found = sorted(tmp_path.glob("*.*[sS][vV]*"))
    assert len(found) == 6
    for path in found:
        assert read_traces(make(path)) == expected, path.name


def test_one_response_a_row_need_not_be_a_list(
    make: Make, tmp_path: Path, expected: object
) -> None:
    path = write(tmp_path / "rows.csv", [scalars(row) for row in ROWS])
    assert read_traces(make(path)) == expected


def test_several_responses_a_row_are_lists(make: Make, tmp_path: Path) -> None:
    plain = [row | {"prompt_variant": "original"} for row in ROWS[:7]]
    together = {name: json.dumps([row[name][0] for row in plain]) for name in LISTS[:3]}
    together[REFLECTION] = json.dumps([row[REFLECTION] for row in plain])
    path = write(tmp_path / "rows.csv", [plain[0] | together])
    assert read_traces(make(path)) == read_traces(make(plain))


def test_a_column_may_be_empty_for_long(make: Make, tmp_path: Path) -> None:
    none: list[Row] = [row | {REFLECTION: None} for row in ROWS * 20]
    assert len(none) > 1024, "more rows than are read together"
    empty = [scalars(row | {REFLECTION: []}) | {REFLECTION: ""} for row in none]
    path = write(tmp_path / "late.csv", [*empty, *map(scalars, ROWS)])
    assert read_traces(make(path)) == read_traces(make([*none, *ROWS]))


def test_a_folder_of_csv_files_is_one_dataset(make: Make, tmp_path: Path, expected: object) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(3):
        rows = ROWS[21 * number : 21 * (number + 1)]
        write(folder / f"{number}.csv", [in_json(row) for row in rows])
    assert read_traces(make(folder)) == expected


def test_a_csv_file_beside_other_data_is_not_read(
    make: Make, tmp_path: Path, expected: object
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    lines = (json.dumps(row) + "\n" for row in ROWS)
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "scores.csv").write_text("name,score\na,1\n")
    assert read_traces(make(folder)) == expected


def test_bytes_that_are_no_utf_8_are_counted(make: Make, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", [scalars(row) for row in ROWS])
    path.write_bytes(path.read_bytes().replace(b"Attempt 3:", b"Attempt \xe9 3:", 1))
    manifest = json.loads((make(path) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["ledger"]["attempts"]["losses"]["not_unicode"] == 1


HEADER = f"question,prompt_variant,{','.join(LISTS)}\n"
GOOD = 'What?,original,it is 4,true,4,"[""<verdict>Correct</verdict>""]"\n'


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (f"{HEADER}{GOOD}\n\na,b\n", "row 1 (line 5) has 2 cells, but the header names 6 columns"),
        (f'{HEADER}"W\nhat",{GOOD[6:]}x\n', "row 1 (line 4) has 1 cells"),
        (f'{HEADER}{GOOD}"What?,original', "line 3 is not CSV: unexpected end of data"),
        (f"a,a\n{GOOD}", "the header names the column 'a' twice"),
        (f"question,other\n{'x,y'}\n", "column 'prompt_variant' is missing"),
        (
            HEADER + GOOD + GOOD.replace('"[""<verdict>Correct</verdict>""]"', "\"['a', 'b']\""),
            f"row 1 (line 3), column '{REFLECTION}': expected a list as JSON",
        ),
        (
            HEADER + GOOD.replace('"[""<verdict>Correct</verdict>""]"', "\"['a', 'b']\""),
            "write the column with .map(json.dumps)",
        ),
        (
            HEADER + GOOD.replace("true", "perhaps"),
            f"row 0 (line 2), column '{CORRECT}': expected bool, of true and false or 1 and 0",
        ),
        (HEADER, "the dataset has no rows"),
        ("\n", "the dataset has no rows"),
    ],
)
def test_a_broken_csv_file_is_one_line(tmp_path: Path, content: str, error: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content, encoding="utf-8")
    done = CliRunner().invoke(main, ["create", "-i", str(path), "--dry-run"])
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"Error: {path}: ")
    assert error in done.stderr


def test_utf_16_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEADER + GOOD, encoding="utf-16")
    done = CliRunner().invoke(main, ["create", "-i", str(path), "--dry-run"])
    assert (done.exit_code, done.stderr) == (1, f"Error: {path}: is UTF-16; save it as UTF-8\n")


def questions_of(source: Path, *options: str) -> list[Row]:
    out = source.with_name("questions.parquet")
    done = CliRunner().invoke(main, ["questions", str(source), "-o", str(out), *options])
    assert done.exit_code == 0, done.output
    found: list[Row] = pq.read_table(out).to_pylist()
    return found


def test_questions_are_read_from_csv(tmp_path: Path) -> None:
    rows = [
        {"question": "What is 007 - 0?", "answer": "007", "note": ""},
        {"question": "A number\nbetween 0 and 1?", "answer": "[0, 1]", "note": "an interval"},
        {"question": "", "answer": "5", "note": "no question"},
    ]
    path = write(tmp_path / "rows.csv", rows)
    found = questions_of(path, "--task", "mathematics")
    assert [row["question"] for row in found] == [row["question"] for row in rows[:2]]
    assert [row["answer"] for row in found] == ["007", "[0, 1]"]


def test_choices_messages_and_facts_are_json_in_cells(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Which is red?"}]
    row = {"question": json.dumps(turns), "answer": "blood"}
    path = write(tmp_path / "choice.csv", [row | {"choices": '["grass", "blood"]'}])
    (found,) = questions_of(path, "--task", "choice")
    assert found["question"] == "Which is red?\n\nA. grass\nB. blood"
    assert found["answer"] == "B"
    facts = '{"numbers": [3, 5], "target": 8}'
    row = {"question": "Make 8 of 3 and 5.", "answer": "3 + 5", "metadata": facts}
    (found,) = questions_of(
        write(tmp_path / "facts.csv", [row]), "--task", "countdown", "--overwrite"
    )
    assert json.loads(found["metadata"]) == {"numbers": [3, 5], "target": 8}


def test_an_answer_in_brackets_beside_a_plain_response_is_a_text(
    make: Make, tmp_path: Path
) -> None:
    of_text = [row | {ANSWER: ["[1, 2]"]} for row in ROWS[:2]] + ROWS[2:]
    path = write(tmp_path / "rows.csv", [scalars(row) for row in of_text])
    assert read_traces(make(path)) == read_traces(make(of_text))


def test_a_tsv_file_has_tabs_whatever_its_header_has_more_of(
    make: Make, tmp_path: Path, expected: object
) -> None:
    rows = [scalars(row) | {"a,b,c,d,e,f,g,h,i,j,k,l,m": "1"} for row in ROWS]
    assert read_traces(make(write(tmp_path / "rows.tsv", rows, delimiter="\t"))) == expected
