"""`compare`: measured folders and files as columns, differences on the same questions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Outcome, Row, run
from test_measures import HARMED, PLAIN, RESCUED, RIGHT_AT_ONCE

from skill_factory.measure.compare import compare as compared
from skill_factory.measure.settings import CompareSettings

SUMS = [f"{n} + {4 - n}?" for n in range(5)]


def rows(*responses: str, **other: Any) -> list[Row]:
    """Responses to sums whose answer is 4."""
    return [
        {"question": question, "answer": "4", "task_source": "integers", "response": text} | other
        for question, text in zip(SUMS, responses, strict=False)
    ]


def write(path: Path, content: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a base model's responses, and those of a trained one, measured."""
    write(tmp_path / "base.jsonl", rows(PLAIN, PLAIN, RIGHT_AT_ONCE, HARMED))
    write(tmp_path / "sft.jsonl", rows(RIGHT_AT_ONCE, RESCUED, HARMED, RESCUED))
    for name in ("base", "sft"):
        done = run("measure", f"{name}.jsonl", "-o", name, module="skill_factory", cwd=tmp_path)
        assert done.code == 0, done.err
    return tmp_path


def compare(*arguments: str | Path, cwd: Path) -> Outcome:
    return run("compare", *arguments, module="skill_factory", cwd=cwd)


def row_of(found: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = [row for row in found["rows"] if row["measure"] == name]
    assert isinstance(row, dict)
    return row


def test_folders_are_columns_with_differences_to_the_first(place: Path) -> None:
    done = compare("base", "sft", "--json", cwd=place)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["columns"] == ["base", "sft"]
    first, other = row_of(found, "accuracy")["cells"]
    assert (first["figure"]["value"], first["difference"]) == (0.25, None)
    assert other["figure"]["value"] == 0.75
    assert other["difference"]["value"] == 0.5
    assert other["difference"]["questions"] == 4
    rescued = row_of(found, "rescued")["cells"]
    assert [cell["figure"]["value"] for cell in rescued] == [0, 0.5]


def test_differences_are_of_the_questions_that_both_answered(place: Path) -> None:
    write(place / "more.jsonl", rows(RIGHT_AT_ONCE, PLAIN, PLAIN, PLAIN, RIGHT_AT_ONCE)[::-1][:4])
    done = compare("base", "more.jsonl", "--json", cwd=place)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    accuracy = row_of(found, "accuracy")["cells"][1]
    assert accuracy["figure"]["value"] == 0.25  # of the last four
    assert accuracy["difference"] == pytest.approx(
        accuracy["difference"] | {"value": 0 - 1 / 3, "questions": 3}
    )
    assert found["notes"] == [
        "more.jsonl, base: differences are of the 3 questions that it shares with base"
    ]


def test_files_and_folders_can_stand_side_by_side(place: Path) -> None:
    files, folders = (
        json.loads(compare(*paths, "--json", "--measures", "all", cwd=place).out)["rows"]
        for paths in (("base.jsonl", "sft.jsonl"), ("base", "sft"))
    )
    assert files == folders
    assert len(files) > 20


def test_an_interval_that_leaves_0_out_is_marked(tmp_path: Path) -> None:
    for name, text in (("a", PLAIN), ("b", RIGHT_AT_ONCE)):
        many = [row | {"question": f"{n}?"} for n in range(30) for row in rows(text)]
        write(tmp_path / f"{name}.jsonl", many)
    done = compare("a.jsonl", "b.jsonl", cwd=tmp_path)
    assert done.code == 0, done.err
    assert re.search(r"^accuracy % +\+100\.0\* \[\+100\.0, \+100\.0\]$", done.out, re.M)


def test_the_last_step_is_shown_and_all_are_in_the_series(tmp_path: Path) -> None:
    content = [row | {"step": s} for s, t in ((1, PLAIN), (2, RESCUED)) for row in rows(t, t)]
    done = compare(write(tmp_path / "rl.jsonl", content), "--json", cwd=tmp_path)
    found = json.loads(done.out)
    assert row_of(found, "accuracy")["cells"][0]["figure"]["value"] == 1
    (series,) = found["series"]
    assert [point["step"] for point in series["points"]] == [1, 2]
    assert [point["figures"]["accuracy"]["value"] for point in series["points"]] == [0, 1]
    assert found["notes"] == ["rl.jsonl, rl: step 2 is shown, the last of 2"]


def test_several_models_in_a_folder_are_columns(tmp_path: Path) -> None:
    content = [*rows(PLAIN, model="small"), *rows(RESCUED, model="large")]
    found = json.loads(compare(write(tmp_path / "two.jsonl", content), "--json", cwd=tmp_path).out)
    assert found["columns"] == ["two.jsonl: large", "two.jsonl: small"]
    assert row_of(found, "accuracy")["cells"][1]["difference"]["value"] == -1


def test_the_papers_figures_stand_beside(place: Path) -> None:
    done = compare("sft", "--paper", "countdown_3arg", "--json", cwd=place)
    found = json.loads(done.out)
    assert found["columns"] == ["sft", "paper"]
    papers = {row["measure"]: row["cells"][1] for row in found["rows"]}
    assert papers["explicit_answers"]["figure"]["value"] == 1.59
    assert papers["f1_incorrect"]["figure"]["value"] == 0.92
    assert papers["accuracy"] is None


def test_examples_are_of_questions_that_only_one_got_right(place: Path) -> None:
    found = compared([place / "base", place / "sft"], CompareSettings(examples=5))
    turned = {
        example.question: [response.grade for response in example.responses]
        for example in found.examples
    }
    assert turned == {
        "0 + 4?": ["wrong", "right"],
        "1 + 3?": ["wrong", "right"],
        "3 + 1?": ["wrong", "right"],
        "2 + 2?": ["right", "wrong"],
    }
    assert {one.response for one in found.examples[0].responses} <= {
        *(PLAIN, RIGHT_AT_ONCE, RESCUED, HARMED)
    }


@pytest.mark.parametrize(
    ("flag", "suffix"), [("--markdown", ".md"), ("--latex", ".tex"), ("--json", ".json")]
)
def test_a_form_can_be_printed_or_written(flag: str, suffix: str, place: Path) -> None:
    printed = compare("base", "sft", flag, cwd=place)
    written = compare("base", "sft", "-o", f"table{suffix}", cwd=place)
    assert (printed.code, written.code) == (0, 0)
    assert printed.out == (place / f"table{suffix}").read_text()
    assert written.out.startswith("base\n")


def test_markdown_holds_what_a_model_wrote(tmp_path: Path) -> None:
    from markdown_it import MarkdownIt

    hostile = "```\n</code><script>alert(1)</script>\n````\n| a | b |"
    write(tmp_path / "a.jsonl", rows(hostile))
    write(tmp_path / "b.jsonl", rows(RIGHT_AT_ONCE))
    done = compare("a.jsonl", "b.jsonl", "--markdown", "--examples", "1", cwd=tmp_path)
    parser = MarkdownIt("gfm-like", {"linkify": False})
    fences = [token for token in parser.parse(done.out) if token.type == "fence"]
    assert hostile in [token.content.rstrip("\n") for token in fences]
    assert "<script>" not in parser.render(done.out)
    assert parser.render(done.out).count("<table>") == 2


def test_latex_compiles_in_its_grammar(place: Path) -> None:
    write(place / "odd_50%&#.jsonl", rows(PLAIN))
    text = compare("base", "odd_50%&#.jsonl", "--latex", cwd=place).out
    bare = re.sub(r"\\[&%$#_{}\\]", "", text.split("\n", 1)[1])
    assert not re.search(r"[%$#_]", bare)
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    for table in re.findall(r"\\begin\{tabular\}\{(l r*|lr+)\}(.*?)\\end", text, re.S):
        cells = [line.count(" & ") for line in table[1].splitlines() if " & " in line]
        assert set(cells) == {len(table[0]) - 1}


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["none"], "none: no such file or folder", 1),
        (["base", "--json", "--latex"], "choose one of --json, --markdown and --latex", 2),
        (["base", "-o", "x.txt"], "expected a .html, .json, .md or .tex file: x.txt", 2),
        (["base", "--paper", "mmlu"], "countdown_3arg", 2),
        (["damaged"], "measures.parquet: cannot be read", 1),
        (["old"], "measures.parquet: has no column 'question_id'; measure its responses", 1),
        ([], "Missing argument", 2),
    ],
    ids=lambda one: str(one)[:30],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, code: int, place: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in ("damaged", "old"):
        (place / name).mkdir()
    (place / "damaged" / "measures.parquet").write_bytes(b"PAR1")
    pq.write_table(pa.table({"a": [1]}), place / "old" / "measures.parquet")
    done = compare(*arguments, cwd=place)
    assert done.code == code, done.out + done.err
    assert message in done.err
    assert "Traceback" not in done.err
