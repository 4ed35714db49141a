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


def measured(files: list[Path], place: Path) -> list[str]:
    """Folders of their names."""
    for file in files:
        done = run("measure", file, "-o", file.stem, module="skill_factory", cwd=place)
        assert done.code == 0, done.err
    return [file.stem for file in files]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a base model's responses, and those of a trained one, measured."""
    base = write(tmp_path / "base.jsonl", rows(PLAIN, PLAIN, RIGHT_AT_ONCE, HARMED))
    sft = write(tmp_path / "sft.jsonl", rows(RIGHT_AT_ONCE, RESCUED, HARMED, RESCUED))
    measured([base, sft], tmp_path)
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


# -- seeds ----------------------------------------------------------------------------------------


def seeds(place: Path, name: str, *each: list[Row]) -> list[Path]:
    return [write(place / f"{name}-{n}.jsonl", content) for n, content in enumerate(each)]


def test_seeds_are_a_column_that_is_counted_over_all_of_them(tmp_path: Path) -> None:
    base = measured([write(tmp_path / "base.jsonl", rows(PLAIN, PLAIN, RIGHT_AT_ONCE))], tmp_path)
    sft = seeds(
        tmp_path,
        "sft",
        rows(RIGHT_AT_ONCE, RESCUED, HARMED) + rows(PLAIN, PLAIN, HARMED),
        rows(RIGHT_AT_ONCE, PLAIN, HARMED) + rows(RIGHT_AT_ONCE, PLAIN, HARMED),
    )
    folders = [*base, *measured(sft, tmp_path)]
    done = compare(*folders, "--merge-seeds", "--json", "--measures", "all", cwd=tmp_path)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["columns"] == ["base", "sft (2 seeds)"]
    accuracy = row_of(found, "accuracy")["cells"][1]
    assert accuracy["figure"]["value"] == pytest.approx(4 / 12)
    assert accuracy["figure"]["counted"] == 12
    assert accuracy["difference"]["value"] == pytest.approx(0)
    # Of each seed's two samples, not of any two of the four.
    assert row_of(found, "pass_at_2")["cells"][1]["figure"]["value"] == pytest.approx(3 / 6)
    assert row_of(found, "rescued")["cells"][1]["figure"]["value"] == pytest.approx(1 / 12)
    (series,) = [one for one in found["series"] if one["column"] == "sft (2 seeds)"]
    assert [(one["responses"], one["samples"]) for one in series["points"]] == [(12, 4)]
    (note,) = found["notes"]
    assert note.endswith("accuracy % of each is 33.3 (sft-0), 33.3 (sft-1)")


def test_seeds_are_merged_at_each_step_that_all_have(tmp_path: Path) -> None:
    files = seeds(
        tmp_path,
        "rl",
        [row | {"step": step} for step in (1, 2, 3) for row in rows(PLAIN, RESCUED)],
        [row | {"step": step} for step in (1, 2) for row in rows(RESCUED, RESCUED)],
    )
    folders = measured(files, tmp_path)
    found = json.loads(compare(*folders, "--merge-seeds", "--json", cwd=tmp_path).out)
    assert found["columns"] == ["rl (2 seeds)"]
    (series,) = found["series"]
    assert [point["step"] for point in series["points"]] == [1, 2]
    assert [point["figures"]["accuracy"]["value"] for point in series["points"]] == [0.75, 0.75]


def test_seeds_without_a_step_in_common_are_refused(tmp_path: Path) -> None:
    each = ([row | {"step": step} for row in rows(PLAIN)] for step in (1, 2))
    folders = measured(seeds(tmp_path, "rl", *each), tmp_path)
    done = compare(*folders, "--merge-seeds", cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("these seeds have no step in common: rl-0, rl-1\n")


def test_without_the_option_and_with_one_seed_nothing_is_merged(tmp_path: Path) -> None:
    files = seeds(tmp_path, "sft", rows(PLAIN), rows(RESCUED))
    folders = measured(files, tmp_path)
    apart = json.loads(compare(*folders, "--json", cwd=tmp_path).out)
    assert apart["columns"] == ["sft-0", "sft-1"]
    alone = json.loads(compare(folders[0], "--merge-seeds", "--json", cwd=tmp_path).out)
    assert (alone["columns"], alone["notes"]) == (["sft-0"], [])


def test_seeds_may_be_files_and_count_with_the_questions_that_they_have(tmp_path: Path) -> None:
    more = [row | {"question": f"other {row['question']}"} for row in rows(RESCUED, RESCUED)]
    files = seeds(tmp_path, "sft", rows(PLAIN, PLAIN, PLAIN), [*rows(PLAIN), *more])
    found = compared(files, CompareSettings(merge_seeds=True))
    assert found.columns == ("sft (2 seeds)",)
    figure = row_of(found.as_dict(), "accuracy")["cells"][0]["figure"]
    assert (figure["value"], figure["questions"], figure["counted"]) == (pytest.approx(2 / 6), 5, 6)


def test_examples_of_seeds_are_of_the_first_that_has_the_questions(tmp_path: Path) -> None:
    a, b = ({"question_set": name} for name in "ab")
    base = write(tmp_path / "base.jsonl", [*rows(PLAIN, **a), *rows(PLAIN, **b)])
    sft = seeds(tmp_path, "sft", rows(PLAIN, **a), [*rows(PLAIN, **a), *rows(RESCUED, **b)])
    found = compared([base, *sft], CompareSettings(merge_seeds=True, examples=1))
    [example] = found.examples
    assert (example.question_set, example.responses[1].response) == ("b", RESCUED)
    assert [one.column for one in example.responses] == ["base.jsonl", "sft (2 seeds)"]
    assert found.notes[-1] == "sft (2 seeds), b: accuracy % of each is 100.0 (sft-1.jsonl)"
