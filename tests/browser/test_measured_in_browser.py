"""The report on measured folders and the page of `compare` in a real browser, opened from disk."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chromium import browser, open_page
from conftest import Row, run
from test_measures import HARMED, PLAIN, RESCUED, RIGHT_AT_ONCE
from test_report_in_browser import HOSTILE, PHONE, WIDE, count_of, serious, shown_id, unfold

skill_factory = partial(run, module="skill_factory")
SUMS = [f"{n} + {4 - n}?" for n in range(30)]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as made:
        yield made


def rows(texts: list[str], questions: list[str] = SUMS, **other: Any) -> list[Row]:
    """Responses to sums whose answer is 4, drawn from some texts."""
    drawn = random.Random(json.dumps(other, sort_keys=True))
    row = {"answer": "4", "task_source": "integers"} | other
    return [row | {"question": one, "response": drawn.choice(texts)} for one in questions]


def measure(place: Path, name: str, content: list[Row]) -> None:
    file = place / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    done = skill_factory("measure", file, "-o", place / name)
    assert done.code == 0, done.err


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of one model, of one over steps, of both, and the comparisons of models."""
    place = tmp_path_factory.mktemp("measured")
    measure(place, "base", rows([PLAIN, PLAIN, RIGHT_AT_ONCE]))
    measure(place, "sft", rows([RESCUED, RIGHT_AT_ONCE, HARMED]))
    steps = [
        row
        for step in range(0, 60, 10)
        for row in rows([RESCUED] * (step // 10) + [PLAIN] * 3 + [HARMED], step=step)
    ]
    measure(place, "rl", steps)
    for folders in (["sft"], ["rl"], ["base", "sft"]):
        draw(place, "report", *folders, page=f"report-{'-'.join(folders)}.html")
    for folders in (["base", "sft"], ["base", "sft", "rl"]):
        draw(place, "compare", *folders, page=f"compare-{'-'.join(folders)}.html")
    return place


def draw(place: Path, command: str, *folders: str, page: str) -> Path:
    done = skill_factory(command, *folders, "-o", page, cwd=place)
    assert done.code == 0, done.err
    return place / page


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of responses that attack them, in questions, responses, names and gold answers."""
    place = tmp_path_factory.mktemp("hostile")
    texts = [*HOSTILE, "long " + "x" * 200_000]
    asked = [f"{text[:300]} What?" for text in texts]
    for name in ("attack", "kind"):
        found = [
            row | {"response": f"{text} {RIGHT_AT_ONCE if name == 'kind' else HARMED} {text}"}
            for text, row in zip(
                texts, rows([""], asked, model=f"{name} {HOSTILE[1]}"), strict=True
            )
        ]
        measure(place, name, found)
    draw(place, "report", "attack", page="report.html")
    draw(place, "compare", "attack", "kind", "--examples", "50", page="compare.html")
    return place


def test_responses_are_filtered_by_grade_and_step(chromium: Any, place: Path) -> None:
    opened = open_page(chromium, place / "report-rl.html")
    page = opened.page
    assert count_of(page) == 180
    page.select_option("#f-step", "50")
    assert count_of(page) == 30
    page.select_option("#f-label", "right")
    some = count_of(page)
    assert 0 < some < 30
    assert "step 50" in page.text_content("#reader header")
    assert "Gold answer" in page.text_content("#reader .question")
    page.fill("#f-text", "It is 4.")
    assert count_of(page) == 0  # without our tags there is no answer
    assert page.locator("#f-set").is_hidden()
    assert page.locator("#f-model").is_hidden()
    assert "No response is like this" in page.text_content("#reader")
    page.close()
    assert opened.requests == opened.complaints == []


def test_a_response_without_tags_is_one_part_with_its_grade(chromium: Any, place: Path) -> None:
    opened = open_page(chromium, place / "report-rl.html")
    page = opened.page
    page.fill("#f-text", "It is 4.")
    assert page.locator("#reader .fold").all_text_contents() == ["✗ Response, wrong"]
    assert page.locator("#reader .response .text").text_content() == PLAIN
    page.close()
    assert opened.complaints == []


def test_a_link_leads_to_a_response_and_questions_sort(chromium: Any, place: Path) -> None:
    opened = open_page(chromium, place / "report-sft.html", anchor="#trace=responses.parquet%3A3")
    page = opened.page
    assert shown_id(page) == "responses.parquet:3"
    page.click("#question-table thead th:nth-child(2) button")
    right = page.locator("#question-table td:nth-child(2)").all_text_contents()
    assert right == sorted(right, reverse=True)
    page.locator("#question-table .open").first.click()
    assert "Responses: right" in page.text_content(".detail")
    page.close()
    assert opened.complaints == []


def test_curves_have_a_point_for_each_step_and_their_numbers_behind(
    chromium: Any, place: Path
) -> None:
    opened = open_page(chromium, place / "compare-base-sft-rl.html")
    page = opened.page
    chart = page.locator("section[aria-label='Accuracy %']")
    assert chart.locator("path.line").count() == 3
    assert chart.locator("path.dot").count() == 6
    box, svg = chart.locator("path.line").nth(2).bounding_box(), chart.locator("svg").bounding_box()
    assert box["width"] == pytest.approx(svg["width"], rel=0.02)
    chart.locator("summary").click()
    numbers = chart.locator("tbody tr").all_text_contents()
    assert len(numbers) == 8
    assert all(re.search(r"\d\.\d\[\d+\.\d, \d+\.\d\]$", row) for row in numbers)
    page.close()
    assert opened.requests == opened.complaints == []


def test_examples_unfold_side_by_side(chromium: Any, place: Path) -> None:
    opened = open_page(chromium, place / "compare-base-sft.html")
    page = opened.page
    example = page.locator(".compared").nth(2)
    assert example.locator(".pair").is_hidden()
    example.locator("summary").click()
    sides = [side.bounding_box() for side in example.locator(".side").all()]
    assert sides[0]["y"] == sides[1]["y"]
    assert sides[0]["x"] < sides[1]["x"]
    grades = example.locator(".side .grade").all_text_contents()
    assert {" ".join(grade.split()) for grade in grades} == {"✓ right", "✗ wrong"}
    page.close()
    assert opened.requests == opened.complaints == []


@pytest.mark.parametrize("name", ["report.html", "compare.html"])
def test_what_a_model_wrote_stays_text(chromium: Any, hostile: Path, name: str) -> None:
    opened = open_page(chromium, hostile / name)
    page = opened.page
    unfold(page)
    seen = page.text_content("main")
    if name == "report.html":
        for _ in range(count_of(page)):
            seen += page.text_content("#reader")
            page.keyboard.press("j")
    page.wait_for_timeout(300)
    assert page.evaluate("window.taken") is None
    assert "SkillFactory" in page.title()
    assert "<script>document.title='taken'; window.taken=1</script>" in seen
    assert "<U+202E>gnp.exe<U+202C>" in seen
    assert "\\x1b[31mred" in seen
    steering = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\x1b\x07\x9b\u2028\u2029]")
    assert not steering.search(page.evaluate("document.body.innerText"))
    assert page.locator("main img, main iframe, main object, main textarea").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious(page) == []
    page.close()
    assert opened.requests == opened.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize(
    "name",
    ["report-rl", "report-sft", "report-base-sft", "compare-base-sft", "compare-base-sft-rl"],
)
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    chromium: Any, place: Path, scheme: str, size: tuple[int, int], name: str
) -> None:
    opened = open_page(
        chromium, place / f"{name}.html", scheme=scheme, width=size[0], height=size[1]
    )
    page = opened.page
    unfold(page)
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
    assert opened.requests == opened.complaints == []
