"""The report as a file: it says what the data says, and stays small, whole and closed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import (
    BUNDLED,
    REFLECTION,
    RESPONSE,
    attempt,
    attempts,
    read_manifest,
    read_traces,
    run,
    write_rows,
)
from model_server import Server, serve
from test_runs import config
from tutor import speak

skill_factory = partial(run, module="skill_factory")


class Page(HTMLParser):
    """A page as a browser reads it: its text, its scripts and style, its elements."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.raw = path.read_text("utf-8")
        self.text = ""
        self.inside: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: list[tuple[str, dict[str, str | None], str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(self.raw)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.blocks.append((*self.inside[-1], data))
        else:
            self.text += " " + data

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", self.text)

    @property
    def data(self) -> list[dict[str, Any]]:
        """The samples of its sides."""
        [found] = [text for _, attrs, text in self.blocks if attrs.get("id") == "data"]
        sides: list[dict[str, Any]] = json.loads(found)["sides"]
        return sides

    def meta(self, name: str) -> str | None:
        return next(
            (
                attrs.get("content")
                for tag, attrs in self.tags
                if tag == "meta" and name in (attrs.get("http-equiv"), attrs.get("name"))
            ),
            None,
        )


def drawn(*arguments: str | Path, page: Path) -> Page:
    done = skill_factory("report", *arguments, "-o", page)
    assert done.code == 0, done.err
    return Page(page)


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "sft"
    assert run("-i", BUNDLED, "-o", folder, "--attempts", "3").code == 0
    return folder


def test_its_numbers_are_those_of_the_manifest(sft: Path, tmp_path: Path) -> None:
    page, manifest = drawn(sft, page=tmp_path / "report.html"), read_manifest(sft)
    for name, account in manifest["ledger"].items():
        if account["losses"]:
            assert (
                f"{name.capitalize()} {account['kept']:,} of {account['read']:,} kept" in page.words
            )
        for reason, count in account["losses"].items():
            before, colon, last = reason.rpartition(": ")
            words = f"{before}{colon}{last.replace('_', ' ')}"
            assert f"{words} {count:,}" in page.words, words
    assert manifest["input"]["digest"] in page.words
    assert manifest["output"]["digest"] in page.words
    assert "Is it sound?" in page.words
    right, asked = 144, 256  # as tests/stages count the bundled data
    assert f"Right attempts {right} {right / asked:.0%}" in page.words


def test_each_loss_has_examples(sft: Path, tmp_path: Path) -> None:
    page = drawn(sft, page=tmp_path / "report.html")
    losses = [
        count
        for account in read_manifest(sft)["ledger"].values()
        for count in account["losses"].values()
    ]
    examples = sum(("class", "example") in attrs.items() for _, attrs in page.tags)
    assert examples >= sum(min(3, count) for count in losses)


def test_the_spans_of_the_sample_are_the_traces(sft: Path, tmp_path: Path) -> None:
    [side] = drawn(sft, page=tmp_path / "report.html").data
    traces = {row["trace_id"]: row for row in read_traces(sft)}
    assert len(side["traces"]) == len(traces)
    for trace in side["traces"]:
        row = traces[trace["id"]]
        text = "".join(side["texts"][span[1]] for span in trace["spans"])
        assert text == row["conversations"][1]["content"]
        question = side["questions"][trace["q"]]
        assert side["texts"][question["text"]] == row["conversations"][0]["content"]
        assert trace["label"] == f"{len(trace['pattern'])}C"
        assert trace["pattern"].endswith("R")


def test_the_same_seed_draws_the_same_sample_and_the_page_stays_small(tmp_path: Path) -> None:
    long = "word " * 6_000
    rows = [
        row | {RESPONSE: [f"{long}{number} {row[RESPONSE][0]}"]}
        for number in range(60)
        for row in attempts(3, 3, question=f"What is {number} + 2?")
    ]
    source = write_rows(tmp_path / "annotated.parquet", rows)
    assert run("-i", source, "-o", tmp_path / "sft", "--attempts", "2").code == 0
    pages = {}
    for seed in ("0", "1"):
        page = drawn(tmp_path / "sft", "--seed", seed, page=tmp_path / f"{seed}.html")
        pages[seed] = page
        [side] = page.data
        shown, questions = len(side["traces"]), len(side["questions"])
        assert 0 < shown < 120
        assert f"{shown} of 120 traces" in page.words
        assert f"{questions} of 60 questions" in page.words
        assert f"the seed {seed}" in page.words
        assert 3_000_000 < len(page.raw.encode()) <= 5_000_000
    assert drawn(tmp_path / "sft", page=tmp_path / "again.html").raw == pages["0"].raw
    assert [t["id"] for t in pages["0"].data[0]["traces"]] != [
        t["id"] for t in pages["1"].data[0]["traces"]
    ]


def test_nothing_that_was_written_is_part_of_the_page(tmp_path: Path) -> None:
    bad = "</script><script>taken()</script><!-- <b> & \u2028 {{ 1 }}"
    rows = [
        attempt(number, number < 2, question=f"{bad} What?")
        | {"prompt_variant": bad, REFLECTION: [f"{bad}<verdict>{says}</verdict>"]}
        for number, says in enumerate(["Correct", "Correct", "Incorrect", "Correct"])
    ]
    source = write_rows(tmp_path / "annotated.parquet", rows)
    assert run("-i", source, "-o", tmp_path / "sft", "--attempts", "2").code == 0
    page = drawn(tmp_path / "sft", page=tmp_path / "report.html")
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert bad in [text for text in page.data[0]["texts"] for text in [text.removesuffix(" What?")]]
    policy = page.meta("Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    for tag, attrs, text in page.blocks:
        if attrs.get("type") != "application/json":
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not any(
        name.startswith("on")
        or (name in ("src", "href") and not str(value).startswith(("#", "data:")))
        for _, attrs in page.tags
        for name, value in attrs.items()
    )


def test_without_its_input_it_says_what_is_left_out(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "annotated.parquet", attempts(3, 3))
    assert run("-i", source, "-o", tmp_path / "sft", "--attempts", "2").code == 0
    source.unlink()
    page = drawn(tmp_path / "sft", page=tmp_path / "report.html")
    assert "What depends on the input is left out" in page.words
    assert "Labels and lengths" in page.words
    assert "Prompt variants" not in page.words
    assert len(page.data[0]["traces"]) == 2


def test_two_show_first_what_differs(sft: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert run("-i", BUNDLED, "-o", other, "--attempts", "2", "--seed", "7").code == 0
    page = drawn(sft, other, page=tmp_path / "report.html")
    assert "create.attempts 3 2" in page.words
    assert "create.seed 0 7" in page.words
    assert page.words.index("What differs") < page.words.index("How it was made")
    counts = [read_manifest(folder)["counts"]["traces"] for folder in (sft, other)]
    assert f"Traces {counts[0]} {counts[1]} {counts[1] - counts[0]:+}" in page.words
    assert [len(side["traces"]) for side in page.data] == counts


def test_files_of_chats_are_drawn_too(sft: Path, tmp_path: Path) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": "2 + 2?"},
                {"role": "assistant", "content": text},
            ]
        }
        for text in [
            "<think>\n<sample>\n<answer>4</answer>\n</sample>\n</think>\n\n<answer>\n4\n</answer>",
            "no tags, <b>bold</b>",
            *(row["conversations"][1]["content"] for row in read_traces(sft)[:8]),
        ]
    ]
    path = write_rows(tmp_path / "outputs.jsonl", rows)
    page = drawn(path, page=tmp_path / "report.html")
    assert len(page.data[0]["traces"]) == 10
    assert "10 traces of 1 questions" in page.words
    assert {trace["pattern"][:1] for trace in page.data[0]["traces"]} == {"", "?"}


def test_what_cannot_be_drawn_is_one_line(sft: Path, tmp_path: Path) -> None:
    for arguments, words in (
        ((tmp_path / "nowhere", "-o", tmp_path / "x.html"), "no such file or folder"),
        ((sft, "-o", tmp_path), "is a folder; name a file"),
        ((sft, "-o", tmp_path / "no" / "x.html"), "cannot be written"),
    ):
        done = skill_factory("report", *arguments)
        assert done.code == 1
        assert words in done.err
        assert len(done.err.strip().splitlines()) == 1
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine</p>")
    done = skill_factory("report", sft, "-o", mine)
    assert done.code == 1
    assert mine.read_text() == "<p>mine</p>"
    assert "--overwrite" in done.err
    assert skill_factory("report", sft, "-o", mine, "--overwrite").code == 0
    assert skill_factory("report", sft, "-o", mine).code == 0  # a report may be replaced
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]


# -- runs -----------------------------------------------------------------------------------------


def test_a_run_is_drawn_wherever_it_is(tmp_path: Path) -> None:
    with serve(Server(speak=speak)) as server:
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(config(server)))
        folder, page = tmp_path / "run", tmp_path / "report.html"
        for last, words in (
            ("questions", "So far it has questions"),
            ("grade", "This run has not made its traces yet"),
            ("reflect", "True reflections"),
            ("create", "Traces"),
        ):
            done = skill_factory("run", tmp_path / "small.yaml", "-o", folder, "--to", last)
            assert done.code == 0, done.err
            found = drawn(folder, page=page)
            assert words in found.words
    assert "Prompts original, plan_and_execute, alternatively, rephrase" in found.words
    assert "temperature 0.7" in found.words
    assert "tokens" in found.words
    reflections = json.loads((folder / "manifest.json").read_text())["stages"]["reflect"]
    lost = reflections["accounts"]["reflections"]["losses"]
    assert f"no verdict {lost['no_verdict']}" in found.words
    [side] = found.data
    origins = [word for word in side["words"] if "of request" in word]
    assert any(
        re.search(r"sample \d+ of request [0-9a-f]{16}, answered 2\d{3}-", o) for o in origins
    )


def test_the_page_of_a_run_follows_it_and_ends_as_its_report(tmp_path: Path) -> None:
    page, seen = tmp_path / "live.html", []

    def spy(*arguments: Any, **named: Any) -> Any:
        seen.append(page.read_text("utf-8"))
        return speak(*arguments, **named)

    with serve(Server(speak=spy)) as server:
        settings = config(server, model={"prompt_price": 1.0, "completion_price": 2.0})
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(settings))
        done = skill_factory(
            "run", tmp_path / "small.yaml", "-o", tmp_path / "run", "--report", page
        )
    assert done.code == 0, done.err
    assert all('http-equiv="refresh" content="60"' in text for text in seen)
    assert "of 192" in seen[0]
    assert "What was asked" in seen[-1]
    assert re.search(r"cost so far</dt><dd>\d+\.\d\d<", seen[-1])
    end = Page(page)
    assert end.meta("refresh") is None
    assert len(end.data[0]["traces"]) == 36


def test_a_page_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    place = tmp_path / "pages"
    place.mkdir()

    def spy(*arguments: Any, **named: Any) -> Any:
        if place.is_dir():
            (place / "live.html").unlink()
            place.rmdir()
        return speak(*arguments, **named)

    with serve(Server(speak=spy)) as server:
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(config(server)))
        done = skill_factory(
            *("run", tmp_path / "small.yaml", "-o", tmp_path / "run"),
            *("--report", place / "live.html"),
        )
    assert done.code == 0, done.err
    assert done.out.count("Note: the report is not written") == 1
    assert (tmp_path / "run" / "sft" / "manifest.json").is_file()


def test_a_run_that_fails_says_so_on_its_page(tmp_path: Path) -> None:
    page = tmp_path / "live.html"
    settings = {
        "questions": {"source": "addition", "count": 4},
        "model": {"base_url": "http://127.0.0.1:9/v1", "patience": 1, "name": "tiny"},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(settings))
    done = skill_factory("run", tmp_path / "small.yaml", "-o", tmp_path / "run", "--report", page)
    assert done.code == 1
    found = Page(page)
    assert "It ended with an error" in found.words
    assert found.meta("refresh") is None


def test_the_card_has_the_funnel_and_the_mix(sft: Path) -> None:
    card = (sft / "README.md").read_text("utf-8")
    counts = read_manifest(sft)["counts"]
    assert f"| `3C` | 3 | {counts['labels']['3C']} | 33% |" in card
    assert re.search(r"\| wrong, wrong, right \| \d+ \| \d+% \|", card)
    assert f"| Traces | {counts['traces']} | made |" in card
    assert "`skill-factory report` draws all of this" in card
