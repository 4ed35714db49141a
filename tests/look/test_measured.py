"""`show` and `report` of measured folders, and the page of `compare`."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import Outcome, Row, run
from model_server import Server, serve
from test_measures import HARMED, PLAIN, RESCUED, RIGHT_AT_ONCE
from test_report import Page, drawn
from tutor import speak

skill_factory = partial(run, module="skill_factory")
SUMS = [f"{n} + {4 - n}?" for n in range(20)]


def rows(*responses: str, **other: Any) -> list[Row]:
    """Responses to sums whose answer is 4, the texts in turns."""
    return [
        {
            "question": question,
            "answer": "4",
            "task_source": "integers",
            "response": responses[at % len(responses)],
        }
        | other
        for at, question in enumerate(SUMS)
    ]


def measure(place: Path, name: str, content: list[Row], **sets: list[Row]) -> Path:
    """A measured folder; of `sets` each has a file of its own."""
    files = [place / f"{one}.jsonl" for one in (name, *sets)]
    for file, rows_of in zip(files, (content, *sets.values()), strict=True):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows_of), encoding="utf-8")
    done = skill_factory("measure", *files, "-o", place / name)
    assert done.code == 0, done.err
    return place / name


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured folders: of one model; of a better one; of one at three steps; of two sets."""
    place = tmp_path_factory.mktemp("measured")
    measure(place, "base", rows(PLAIN, PLAIN, PLAIN, RIGHT_AT_ONCE))
    measure(place, "sft", rows(RESCUED, RIGHT_AT_ONCE, HARMED))
    steps = [(0, PLAIN, HARMED), (10, PLAIN, RESCUED), (20, RESCUED, RIGHT_AT_ONCE)]
    measure(place, "rl", [row for step, *texts in steps for row in rows(*texts, step=step)])
    measure(place, "sets", rows(PLAIN), other=rows(RESCUED))
    return place


def shown(*arguments: str | Path) -> str:
    done = skill_factory("show", *arguments)
    assert done.code == 0, done.err
    return done.out


# -- show -----------------------------------------------------------------------------------------


def test_responses_are_read_as_traces_with_the_truth_of_their_parts(place: Path) -> None:
    text = shown(place / "sft", "--trace", "responses.parquet:0")
    assert text.splitlines()[0] == "response responses.parquet:0  right, 1 of 20"
    headings = [line for line in text.splitlines() if re.match("(attempt|reflection|answer)", line)]
    assert headings == [
        "attempt 1, wrong",
        "reflection on attempt 1, true: Incorrect",
        "attempt 2, right",
        "reflection on attempt 2, true: Correct",
        "answer, right",
    ]


def test_a_response_without_our_tags_is_shown_as_it_is(place: Path) -> None:
    text = shown(place / "base", "--trace", "responses.parquet:0")
    assert "response, wrong\n  It is 4." in text


def test_a_label_is_a_grade_or_the_name_of_a_set(place: Path) -> None:
    table = pq.read_table(place / "sft" / "responses.parquet")
    grades = table["grade"].to_pylist()
    for grade in ("right", "wrong"):
        text = shown(place / "sft", "--label", grade, "-n", "1")
        assert f"of {grades.count(grade)} responses that match" in text
    assert "20 of 20 responses that match" in shown(place / "sets", "--label", "other", "-n", "20")
    done = skill_factory("show", place / "sft", "--label", "5C")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "no response has the label '5C'; there are: right, sft, wrong" in done.err


def test_each_step_is_named(place: Path) -> None:
    text = shown(place / "rl", "--question", "3 + 1?", "-n", "9")
    assert re.findall(r"step (\d+)", text) == ["0", "10", "20"]


@pytest.mark.parametrize("flag", ["--questions", "--lost"])
def test_what_a_measured_folder_does_not_have_is_one_line(place: Path, flag: str) -> None:
    done = skill_factory("show", place / "sft", flag)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "name an SFT folder or a run's" in done.err


@pytest.mark.parametrize("name", ["responses.parquet", "measures.parquet", "summary.json"])
@pytest.mark.parametrize("command", ["show", "report"])
def test_a_damaged_folder_is_one_line(place: Path, tmp_path: Path, name: str, command: str) -> None:
    folder = measure(tmp_path, "damaged", rows(PLAIN))
    (folder / name).write_bytes(b"PAR1 not")
    done = skill_factory(command, folder, cwd=tmp_path)
    if (command, name) == ("show", "summary.json"):
        assert done.code == 0, done.err
        return
    assert (done.code, done.err.count("\n")) == (1, 1), done.err
    assert name in done.err
    assert not (tmp_path / "report.html").exists()


def test_files_of_different_lengths_are_refused(place: Path, tmp_path: Path) -> None:
    folder = measure(tmp_path, "short", rows(PLAIN))
    table = pq.read_table(folder / "responses.parquet")
    pq.write_table(table.slice(3), folder / "responses.parquet")
    done = skill_factory("show", folder)
    assert done.code == 1
    assert "has 17 responses, and measures.parquet 20; measure it again" in done.err


# -- report ---------------------------------------------------------------------------------------


def figures(folder: Path, step: int | None = None) -> dict[str, Any]:
    """What summary.json has of a step."""
    groups = json.loads((folder / "summary.json").read_text())["groups"]
    (found,) = [one["figures"] for one in groups if one["step"] == step]
    assert isinstance(found, dict)
    return found


def percent(one: dict[str, float]) -> str:
    value, low, high = (f"{100 * one[name]:.1f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def test_its_figures_are_those_of_the_summary(place: Path, tmp_path: Path) -> None:
    page = drawn(place / "sft", page=tmp_path / "report.html")
    found = figures(place / "sft")
    assert f"accuracy % {percent(found['accuracy'])}" in page.words
    assert f"rescued % {percent(found['rescued'])}" in page.words
    assert f"{found['attempts']['value']:.2f} [" in page.words
    assert "20 responses to 20 questions." in page.words
    assert "Is it complete?" in page.words
    assert "Nothing is missing" in page.words
    assert "sft.jsonl" in page.words


def test_all_responses_are_there_with_grades_and_gold_answers(place: Path, tmp_path: Path) -> None:
    [side] = drawn(place / "sft", page=tmp_path / "report.html").data
    table = pq.read_table(place / "sft" / "responses.parquet").to_pylist()
    assert len(side["traces"]) == len(table)
    for trace in side["traces"]:
        row = table[int(trace["id"].rpartition(":")[2])]
        question = side["questions"][trace["q"]]
        assert "".join(side["texts"][span[1]] for span in trace["spans"]) == row["response"]
        assert (trace["label"], trace["set"]) == (row["grade"], "sft")
        assert side["texts"][question["text"]] == row["question"]
        assert side["texts"][question["gold"]] == "4"
        assert question["right"] == (row["grade"] == "right")
    assert {trace["pattern"] for trace in side["traces"]} == {"WR", "R", "RW"}


def test_steps_are_drawn_as_curves_with_their_numbers(place: Path, tmp_path: Path) -> None:
    page = drawn(place / "rl", page=tmp_path / "report.html")
    for step in (0, 10, 20):
        found = figures(place / "rl", step)["accuracy"]
        assert f"responses {step} {percent(found)}" in page.words
    assert "The figures are of the last of 3 steps" in page.words
    assert {trace["step"] for trace in page.data[0]["traces"]} == {"0", "10", "20"}
    dots = [attrs for _, attrs in page.tags if attrs.get("class") == "dot s1"]
    assert len(dots) % 3 == 0
    assert dots


def test_sets_stand_side_by_side(place: Path, tmp_path: Path) -> None:
    page = drawn(place / "sets", page=tmp_path / "report.html")
    assert "Accuracy % by set of questions" in page.words
    assert {trace["set"] for trace in page.data[0]["traces"]} == {"sets", "other"}


def test_two_folders_show_what_differs(place: Path, tmp_path: Path) -> None:
    page = drawn(place / "base", place / "sft", page=tmp_path / "report.html")
    before, after = (figures(place / name)["accuracy"]["value"] for name in ("base", "sft"))
    assert f"{100 * (after - before):+.1f} points" in page.words
    assert "Attempts" not in page.words.split("What differs")[1].split("Settings and origin")[0]


def test_many_long_responses_fit_on_a_page(tmp_path: Path) -> None:
    long = [row | {"response": f"{'word ' * 8_000} {at}"} for at, row in enumerate(rows(PLAIN))]
    folder = measure(tmp_path, "long", [one | {"sample": n} for n in range(20) for one in long])
    page = drawn(folder, page=tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    assert 0 < len(page.data[0]["traces"]) < 400
    assert "of 400 responses are on this page" in page.words


def test_an_evaluation_opens_and_one_without_responses_says_so(tmp_path: Path) -> None:
    with serve(Server(speak=speak)) as server:
        asked = ["addition", "--count", "4", "--base-url", server.url]
        done = skill_factory("evaluate", *asked, "-o", tmp_path / "e")
        assert done.code == 0, done.err
    page = drawn(tmp_path / "e", page=tmp_path / "e.html")
    assert "Asked with the bare question" in page.words
    assert "temperature" in page.words
    assert "4 of 4 responses" in shown(tmp_path / "e", "-n", "4")
    for name in ("responses.parquet", "measures.parquet", "summary.json", "manifest.json"):
        (tmp_path / "e" / name).unlink()
    done = skill_factory("show", tmp_path / "e")
    assert done.code == 1
    assert "has no responses yet; `evaluate` goes on with it" in done.err


# -- compare --------------------------------------------------------------------------------------


def compared(*arguments: str | Path, cwd: Path) -> Outcome:
    done = skill_factory("compare", *arguments, cwd=cwd)
    assert done.code == 0, done.err
    return done


def test_a_comparison_is_a_page_of_the_same_figures(place: Path, tmp_path: Path) -> None:
    page_file = tmp_path / "compare.html"
    done = compared("base", "sft", "-o", page_file, cwd=place)
    page = Page(page_file)
    found = json.loads(compared("base", "sft", "--json", "--measures", "all", cwd=place).out)
    (accuracy,) = [row["cells"][1] for row in found["rows"] if row["measure"] == "accuracy"]
    change = accuracy["difference"]
    ends = ", ".join(f"{100 * change[name]:+.1f}" for name in ("low", "high"))
    assert (
        f"{percent(accuracy['figure'])} {100 * change['value']:+.1f} [{ends}] ▲ better"
        in page.words
    )
    assert all(row["title"] in page.words for row in found["rows"])
    assert "It is 4." not in done.out  # the examples are on the page
    assert done.out.startswith(compared("base", "sft", cwd=place).out)


def test_examples_stand_side_by_side_with_the_truth_of_their_parts(
    place: Path, tmp_path: Path
) -> None:
    compared("base", "sft", "-o", tmp_path / "compare.html", "--examples", "2", cwd=place)
    page = Page(tmp_path / "compare.html")
    assert sum(attrs.get("class") == "card compared" for _, attrs in page.tags) == 3
    assert "✗ Response, wrong It is 4." in page.words
    assert "✓ Reflection on attempt 1, true: Incorrect" in page.words


def test_a_page_of_many_long_examples_stays_small(tmp_path: Path) -> None:
    for name, text in (("a", PLAIN), ("b", RIGHT_AT_ONCE)):
        long = [
            row | {"question": f"{n} {row['question']}"} for n in range(40) for row in rows(text)
        ]
        padded = [row | {"response": f"{'<b>é</b> ' * 2_000}{row['response']}"} for row in long]
        measure(tmp_path, name, padded)
    compared("a", "b", "-o", "page.html", "--examples", "100", cwd=tmp_path)
    assert (tmp_path / "page.html").stat().st_size < 5_000_000
    page = Page(tmp_path / "page.html")
    (more,) = re.findall(r"(\d+) more have no room on this page", page.words)
    assert sum(attrs.get("class") == "card compared" for _, attrs in page.tags) == 100 - int(more)


def test_a_comparison_over_steps_has_a_curve_for_each_model(place: Path, tmp_path: Path) -> None:
    compared("base", "rl", "-o", tmp_path / "compare.html", cwd=place)
    page = Page(tmp_path / "compare.html")
    assert "2 lines from step 0 to 20" in page.words
    assert "rl, base: step 20 is shown, the last of 3" in page.words


def test_a_page_runs_nothing_and_loads_nothing(tmp_path: Path) -> None:
    attack = "</div><script>alert(1)</script><img src=x onerror=alert(1)>"
    measure(
        tmp_path,
        "hostile",
        [row | {"question": f"{attack} {row['question']}"} for row in rows(attack)],
    )
    measure(
        tmp_path,
        "kind",
        [row | {"question": f"{attack} {row['question']}"} for row in rows(RIGHT_AT_ONCE)],
    )
    compared("hostile", "kind", "-o", "compare.html", cwd=tmp_path)
    page = Page(tmp_path / "compare.html")
    assert attack in page.words
    assert {tag for tag, _ in page.tags} & {"script", "img", "iframe", "object", "form"} == set()
    assert "default-src 'none'" in (page.meta("Content-Security-Policy") or "")


def test_a_page_that_cannot_be_written_is_one_line(place: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    done = skill_factory("compare", place / "base", "-o", tmp_path / "folder.html")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "folder.html" in done.err
