"""The report in a real browser, opened from disk: what a reader does works, nothing is loaded, and
what a model wrote stays text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from chromium import Opened, browser, open_page
from conftest import ANSWER, BUNDLED, CORRECT, REFLECTION, RESPONSE, Row, attempt, run, write_rows
from model_server import Server, serve
from playwright.sync_api import expect
from tutor import speak

skill_factory = partial(run, module="skill_factory")

HOSTILE = [
    "<script>document.title='taken'; window.taken=1</script>",
    "</script><script>window.taken=1</script>",
    "<!-- <script> -->",
    "</textarea><img src=x onerror='window.taken=1'>",
    "<svg onload='window.taken=1'><a xlink:href='javascript:window.taken=1'>x</a>",
    "a broken <b",
    "\u202egnp.exe\u202c and \u2066these\u2069, \u200f marks",
    "\x1b[31mred\x1b[0m \x1b]0;taken\x07 \x9b2J",
    "{{ 7 * 7 }} {% include '/etc/passwd' %} ${window.taken=1}",
    "https://example.org/x.png \u2028 \u2029 end",
]
WIDE, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an SFT folder of the bundled data, another one, and their reports."""
    place = tmp_path_factory.mktemp("report")
    for name, longest in (("short", "2"), ("sft", "3")):
        done = run("-i", BUNDLED, "-o", place / name, "--attempts", longest)
        assert done.code == 0, done.err
    for folders in (("sft",), ("short", "sft")):
        page = place / f"{'-'.join(folders)}.html"
        done = skill_factory("report", *(place / name for name in folders), "-o", page)
        assert done.code == 0, done.err
    return place


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on what attacks it, in questions, variants, attempts, answers and reflections."""
    place = tmp_path_factory.mktemp("hostile")
    rows = [
        _hostile_row(number, text, right)
        for text in [*HOSTILE, "long " + "x" * 200_000]
        for number, right in ((0, True), (1, False), (2, True))
    ]
    source = write_rows(place / "annotated.parquet", rows)
    assert run("-i", source, "-o", place / "sft", "--attempts", "2").code == 0
    done = skill_factory("report", place / "sft", "-o", place / "hostile.html")
    assert done.code == 0, done.err
    return place / "hostile.html"


def _hostile_row(number: int, text: str, right: bool) -> Row:
    row = attempt(number, right, question=f"{text[:300]} What?")
    says = "Correct" if right else "Incorrect"
    return row | {
        "prompt_variant": f"variant {number} {text[:80]}",
        RESPONSE: [f"{text} {number}\n<answer>4 {text[:60]}</answer>"],
        ANSWER: [f"4 {text[:60]}"],
        CORRECT: [right],
        REFLECTION: [f"{text}\n<verdict>{says}</verdict>"],
    }


@pytest.fixture
def opened(chromium: Any, place: Path) -> Iterator[Opened]:
    found = open_page(chromium, place / "sft.html")
    yield found
    found.page.close()
    assert found.requests == []
    assert found.complaints == []


def count_of(page: Any) -> int:
    """How many traces the list says that it shows."""
    found = re.match(r"([\d,]+) of", page.text_content("#shown"))
    assert found
    return int(found[1].replace(",", ""))


def unfold(page: Any) -> None:
    """Open all that can be opened, but for questions."""
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")


def shown_id(page: Any) -> str:
    return str(page.text_content("#reader .id"))


# -- reading --------------------------------------------------------------------------------------


def test_filters_leave_the_traces_that_fit(opened: Opened) -> None:
    page = opened.page
    total = count_of(page)
    assert total == 81
    page.select_option("#f-label", "3C")
    assert count_of(page) == 27
    page.select_option("#f-pattern", "WWR")
    assert 0 < count_of(page) < 27
    assert "3C: wrong, wrong, right" in page.text_content("#reader h3")
    page.click("#filters button[type=reset]")
    expect(page.locator("#shown")).to_contain_text("81 of 81")
    page.select_option("#f-length", "1")
    assert count_of(page) == 27
    page.click("#filters button[type=reset]")
    expect(page.locator("#shown")).to_contain_text("81 of 81")
    page.fill("#f-text", "14 + 7")
    some = count_of(page)
    assert 0 < some < total
    assert page.locator("#reader mark").first.text_content() == "14 + 7"
    page.fill("#f-text", "no trace says this")
    assert count_of(page) == 0
    assert "No trace" in page.text_content("#reader")


def test_parts_have_a_name_and_fold(opened: Opened) -> None:
    page = opened.page
    page.select_option("#f-pattern", "WR")
    heads = page.locator("#reader .fold").all_text_contents()
    assert heads[0] == "✗ Attempt 1, wrong"
    assert heads[1] == "✓ Reflection on attempt 1, true: Incorrect"
    assert heads[-1] == "✓ Answer, right"
    fold, body = page.locator("#reader .fold").first, page.locator("#reader .attempt .text").first
    fold.click()
    assert body.is_hidden()
    assert fold.get_attribute("aria-expanded") == "false"
    fold.click()
    assert body.is_visible()
    page.click("#reader .b-fold")
    assert page.locator("#reader .span:not(.tag) .text:visible").count() == 0


def test_the_parts_put_together_are_the_trace(opened: Opened, place: Path) -> None:
    import pyarrow.parquet as pq

    page = opened.page
    files = sorted((place / "sft" / "sft_train").glob("*.parquet"))
    traces = {
        row["trace_id"]: row["conversations"][1]["content"]
        for row in pq.read_table(files).to_pylist()
    }
    page.click("#reader .b-tags")
    said = page.locator("#reader .span .text").all_text_contents()
    assert "".join(said) == traces[shown_id(page)]


def test_where_a_part_came_from_shows_on_focus_and_click(opened: Opened) -> None:
    page = opened.page
    origin = page.locator("#reader .attempt .origin").first
    assert origin.is_hidden()
    page.locator("#reader .attempt .fold").first.focus()
    assert origin.is_visible()
    assert re.search(r"row \d+", origin.text_content())
    page.locator("#f-text").focus()
    assert origin.is_hidden()
    page.locator("#reader .attempt .text").first.click()
    assert origin.is_visible()


def test_keys_walk_through_the_traces(opened: Opened) -> None:
    page = opened.page
    first = shown_id(page)
    page.keyboard.press("j")
    second = shown_id(page)
    assert second != first
    page.keyboard.press("k")
    assert shown_id(page) == first
    page.focus("#list")
    page.keyboard.press("ArrowDown")
    assert shown_id(page) == second
    page.keyboard.press("End")
    last = page.locator('#list [aria-selected="true"]')
    assert last.get_attribute("aria-posinset") == "81"
    assert page.get_attribute("#list", "aria-activedescendant") == last.get_attribute("id")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "f-text"
    page.keyboard.type("j")  # text, not an order
    assert page.input_value("#f-text") == "j"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#keys").is_hidden()


def test_a_link_leads_to_its_trace(chromium: Any, place: Path, opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("j")
    page.keyboard.press("j")
    name = shown_id(page)
    assert page.evaluate("location.hash") == f"#trace={name}"
    again = open_page(chromium, place / "sft.html", anchor=f"#trace={name}")
    assert shown_id(again.page) == name
    again.page.evaluate("location.hash = '#trace=nowhere'")
    again.page.wait_for_selector("#reader .note")
    assert "nowhere is not on this page" in again.page.text_content("#reader")
    again.page.close()
    assert again.complaints == []


def test_what_is_copied_is_the_trace(chromium: Any, place: Path) -> None:
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    opened = open_page(context, place / "sft.html")
    opened.page.click("#reader .b-copy")
    expect(opened.page.locator("#reader .b-copy")).to_have_text("Copied")
    text = opened.page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("<think>\n<sample>\n")
    assert text.endswith("</answer>")
    context.close()


def test_the_table_of_questions_sorts_and_shows_attempts(opened: Opened) -> None:
    page = opened.page
    page.click("#question-table thead th:nth-child(2) button")
    right = [
        int(text) for text in page.locator("#question-table td:nth-child(2)").all_text_contents()
    ]
    assert right == sorted(right, reverse=True)
    assert page.get_attribute("#question-table th:nth-child(2)", "aria-sort") == "descending"
    page.click("#question-table thead th:nth-child(2) button")
    right = [
        int(text) for text in page.locator("#question-table td:nth-child(2)").all_text_contents()
    ]
    assert right == sorted(right)
    page.click("#question-table thead th:nth-child(2) button")
    page.locator("#question-table tr:has(td:last-child:text-is('3')) .open").first.click()
    assert page.locator(".detail .attempt").count() == 8
    assert page.locator(".detail .reflection").count() > 0
    link = page.locator(".detail a").first
    name = link.get_attribute("href").removeprefix("#trace=")
    link.click()
    expect(page.locator("#reader .id")).to_have_text(name)


def test_two_are_shown_side_by_side(chromium: Any, place: Path) -> None:
    opened = open_page(chromium, place / "short-sft.html")
    page = opened.page
    assert page.text_content("h1").split() == ["short", "against", "sft"]
    assert page.locator("main > section").first.get_attribute("id") == "differences"
    differing = page.locator("#differences .pairs tbody tr").all_text_contents()
    assert any("create.attempts" in row and "2" in row and "3" in row for row in differing)
    assert count_of(page) == 81 + _traces(place)
    page.select_option("#f-side", "1")
    assert count_of(page) == 81
    assert "sft:" in shown_id(page)
    page.close()
    assert opened.requests == opened.complaints == []


def _traces(place: Path) -> int:
    """How many traces the shorter one has."""
    return int(json.loads((place / "short" / "manifest.json").read_text())["counts"]["traces"])


# -- attacks --------------------------------------------------------------------------------------


def test_what_a_model_wrote_stays_text(chromium: Any, hostile: Path) -> None:
    opened = open_page(chromium, hostile)
    page = opened.page
    total = count_of(page)
    assert total >= len(HOSTILE)
    seen = ""
    for _ in range(total):
        for head in page.locator("#reader .fold").all()[:1]:
            head.focus()
        seen += page.text_content("#reader")
        page.keyboard.press("j")
    for row in page.locator("#question-table .open").all():
        row.click()
    unfold(page)
    page.wait_for_timeout(300)
    assert page.evaluate("window.taken") is None
    assert "SkillFactory" in page.title()
    assert "<script>document.title='taken'; window.taken=1</script>" in seen
    assert "<img src=x onerror='window.taken=1'>" in seen
    assert "{{ 7 * 7 }}" in seen
    assert "<U+202E>gnp.exe<U+202C>" in seen
    assert "\\x1b[31mred" in seen
    steering = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\x1b\x07\x9b\u2028\u2029]")
    assert not steering.search(page.evaluate("document.body.innerText"))
    assert page.locator("main img, main iframe, main object, main textarea").count() == 0
    page.close()
    assert opened.requests == opened.complaints == []


def test_a_very_long_line_is_shown_in_part_until_asked(chromium: Any, hostile: Path) -> None:
    opened = open_page(chromium, hostile)
    page = opened.page
    page.fill("#f-text", "long xxxx")
    assert count_of(page) > 0
    more = page.locator("#reader .attempt button:has-text('Show all 200,')").first
    before = len(page.locator("#reader .attempt .text").first.text_content())
    assert before < 21_000
    more.click()
    assert len(page.locator("#reader .attempt .text").first.text_content()) > 200_000
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
    assert opened.complaints == []


# -- everyone -------------------------------------------------------------------------------------


def serious(page: Any, but: str = "") -> list[str]:
    """What axe-core finds that is serious or critical, `but` for a rule."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    page.evaluate(Path(spec.origin).with_name("axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in ("serious", "critical") and one["id"] != but
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("name", ["sft.html", "short-sft.html"])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    chromium: Any, place: Path, scheme: str, size: tuple[int, int], name: str
) -> None:
    opened = open_page(chromium, place / name, scheme=scheme, width=size[0], height=size[1])
    page = opened.page
    unfold(page)
    page.locator("#question-table .open").first.click()
    page.locator("#reader .fold").first.focus()
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
    assert opened.complaints == []


def test_a_page_without_script_still_has_its_numbers(chromium: Any, place: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    opened = open_page(context, place / "sft.html")
    assert "27 of 32" in re.sub(r"\s+", " ", opened.page.inner_text("main"))
    assert opened.page.locator("noscript, .note").count() > 0
    context.close()


# -- a run that goes on ---------------------------------------------------------------------------


def test_the_page_of_a_run_loads_itself_anew_until_the_run_ends(
    chromium: Any, tmp_path: Path
) -> None:
    page, copies = tmp_path / "live.html", []

    def spy(*arguments: Any, **named: Any) -> Any:
        copies.append(page.read_bytes())
        return speak(*arguments, **named)

    with serve(Server(speak=spy)) as server:
        config = {
            "questions": {"source": "addition", "count": 6},
            "model": {"base_url": server.url, "api_key_env": "NO_KEY", "concurrency": 2},
            "sample": {"samples": 4},
            "create": {"attempts": 2},
        }
        (tmp_path / "small.yaml").write_text(json.dumps(config))
        done = skill_factory(
            "run", tmp_path / "small.yaml", "-o", tmp_path / "run", "--report", page
        )
    assert done.code == 0, done.err
    (tmp_path / "middle.html").write_bytes(copies[-1])
    live = open_page(chromium, tmp_path / "middle.html")
    assert live.page.get_attribute("meta[http-equiv=refresh]", "content") == "60"
    assert "reflect" in live.page.inner_text("h2")
    assert live.page.locator(".answer-card").count() > 0
    assert serious(live.page, but="meta-refresh") == []  # which is what the page is for
    live.page.close()
    end = open_page(chromium, page)
    assert end.page.locator("meta[http-equiv=refresh]").count() == 0
    assert count_of(end.page) > 0
    end.page.close()
    assert live.requests + live.complaints + end.requests + end.complaints == []
