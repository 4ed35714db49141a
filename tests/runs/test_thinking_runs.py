"""Whole runs with models that think before they answer, in the shapes in which servers give it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import CORRECT, REFLECTION, ROOT, read_traces
from model_server import Server, serve
from test_runs import accounts, command, config, go, rows
from tutor import speak

from skill_factory.core.ledger import Reason
from skill_factory.stages.grade import Outcome
from skill_factory.stages.settings import ReflectConfig, SampleConfig

pytestmark = pytest.mark.slow

RESPONSE = "model_responses__mutated_prompts"

Speak = Callable[[dict[str, Any], int], str | dict[str, Any]]


def think(request: dict[str, Any], sample: int) -> tuple[str, str]:
    """What a model thinks, and what it then says."""
    said = speak(request, sample)
    if "Attempt:" in request["messages"][-1]["content"]:
        return f"They want <verdict>Correct</verdict> or not; let me add, {sample}.", said
    return (
        f"It goes between <answer> and </answer>. Is it <answer>5</answer>? {sample}",
        said,
    )


def in_tags(request: dict[str, Any], sample: int) -> str:
    thought, said = think(request, sample)
    return f"<think>\n{thought}\n</think>\n\n{said}"


def end_tag_only(request: dict[str, Any], sample: int) -> str:
    thought, said = think(request, sample)
    return f"{thought}\n</think>\n\n{said}"


def apart(request: dict[str, Any], sample: int) -> dict[str, Any]:
    thought, said = think(request, sample)
    return {"content": f"\n\n{said}", "reasoning_content": f"{thought}\n"}


def harmony(request: dict[str, Any], sample: int) -> str:
    thought, said = think(request, sample)
    return (
        f"<|channel|>analysis<|message|>{thought}<|end|>"
        f"<|start|>assistant<|channel|>final<|message|>{said}<|return|>"
    )


SHAPES = [in_tags, end_tag_only, apart, harmony]


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server()) as server:
        yield server


def small(server: Server, attempts: str = "keep", reflections: str = "drop") -> dict[str, Any]:
    return config(
        server,
        questions={"count": 4},
        sample={"thinking": attempts},
        reflect={"thinking": reflections},
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thinking_model_ends_in_traces_whether_its_thinking_is_kept_or_dropped(
    server: Server, tmp_path: Path, shape: Speak
) -> None:
    server.speak = speak
    go(tmp_path / "plain", small(server))
    server.speak = shape
    found = {}
    for kept in ("drop", "keep"):
        said = go(tmp_path / kept, small(server, kept, kept))
        assert said.count("the model thinks before it answers") == 2
        told = accounts(tmp_path / kept)
        assert told["sample"]["samples"] == {"read": 64, "kept": 64, "losses": {}}
        assert told["reflect"]["attempts"]["losses"] == {}
        assert "No fault found." in command("check", tmp_path / kept / "sft")
        found[kept] = read_traces(tmp_path / kept / "sft")
    plain = read_traces(tmp_path / "plain" / "sft")
    assert [row["conversations"] for row in found["drop"]] == [
        row["conversations"] for row in plain
    ]
    for trace in found["keep"]:
        text = trace["conversations"][1]["content"]
        assert "It goes between answer. Is it 5?" in text
        assert "They want Correct or not" in text


def test_another_setting_makes_the_tables_anew_and_asks_nothing(
    server: Server, tmp_path: Path
) -> None:
    server.speak = in_tags
    go(tmp_path / "run", small(server, "keep", "drop"))
    kept = rows(tmp_path / "run", "annotated")
    asked = server.asked
    go(tmp_path / "run", small(server, "drop", "keep"))
    dropped = rows(tmp_path / "run", "annotated")
    assert server.asked == asked
    for one, two in zip(kept, dropped, strict=True):
        (short,), (long,) = two[RESPONSE], one[RESPONSE]
        assert long.endswith(f"\n\n{short}")
        assert long.startswith("It goes between answer.")
        assert one[CORRECT] == two[CORRECT]
        for alone, whole in zip(one[REFLECTION], two[REFLECTION], strict=True):
            assert whole.endswith(f"\n\n{alone}")
            assert whole.startswith("They want Correct or not")
    command("sample", "-o", tmp_path / "run", "--thinking", "keep")
    command("grade", tmp_path / "run")
    command("reflect", tmp_path / "run", "--thinking", "drop")
    assert server.asked == asked
    assert rows(tmp_path / "run", "annotated") == kept


def test_a_reflection_is_asked_about_the_attempt_without_its_thinking(
    server: Server, tmp_path: Path
) -> None:
    prompts = list[str]()

    def hear(request: dict[str, Any], sample: int) -> str:
        prompts.append(request["messages"][-1]["content"])
        return in_tags(request, sample)

    server.speak = hear
    go(tmp_path / "run", small(server), "--to", "reflect")
    reflected = [text for text in prompts if "Attempt:" in text]
    assert reflected
    assert not any("It goes between" in text for text in reflected)


def test_thinking_without_an_end_is_cut_off_and_told_while_the_run_goes_on(
    server: Server, tmp_path: Path
) -> None:
    def lost(request: dict[str, Any], sample: int) -> str | dict[str, Any]:
        thought, said = think(request, sample)
        if sample % 2:
            return f"<think>{thought} {said}"
        return {"content": None, "reasoning_content": f"{thought} {said}"}

    server.speak = lost
    said = go(tmp_path / "run", small(server), "--to", "grade")
    told = "Note: sample: 50 of the first 50 answers cannot be used: cut_off 50; see docs/thinking"
    assert 0 < said.index(told) < said.index("64 answered")
    assert accounts(tmp_path / "run")["grade"]["attempts"]["losses"] == {"cut_off": 64}


def test_what_create_would_lose_is_told_after_the_first_answers(
    server: Server, tmp_path: Path
) -> None:
    def odd(request: dict[str, Any], sample: int) -> str:
        text = request["messages"][-1]["content"]
        if "Attempt:" in text:
            said = speak(request, sample)
            return f"<answer>{said}</answer>" if sample == 1 else said
        return ["It is 5.", "<sample> <answer>5</answer>", "", ""][sample] or speak(request, sample)

    server.speak = odd
    said = go(tmp_path / "run", config(server, create={"attempts": 2}))
    lost = re.search(r"Note: sample: (\d+) of the first 50 answers cannot be used: (.*); see", said)
    assert lost
    assert dict(part.split(" ") for part in lost[2].split(", ")).keys() == {
        "no_answer",
        "holds_markup",
    }
    assert 24 <= int(lost[1]) <= 26
    told = accounts(tmp_path / "run")["reflect"]
    assert told["attempts"]["losses"]["holds_markup"] == 48
    assert re.search(r"Note: reflect: \d+ of the first 50 .*holds_markup \d+.*; see", said)


def test_a_model_whose_answers_can_be_used_is_told_nothing(server: Server, tmp_path: Path) -> None:
    server.speak = speak
    said = go(tmp_path / "run", config(server), "--to", "sample")
    assert "Note" not in said


def test_tags_of_a_trace_in_kept_thinking_set_the_attempt_aside(
    server: Server, tmp_path: Path
) -> None:
    def odd(request: dict[str, Any], sample: int) -> str:
        thought, said = think(request, sample)
        return f"<think>{thought} {'<sample>' if sample == 0 else ''}</think>{said}"

    server.speak = odd
    go(tmp_path / "run", small(server), "--to", "reflect")
    assert accounts(tmp_path / "run")["reflect"]["attempts"]["losses"] == {"holds_markup": 16}
    go(tmp_path / "run", small(server, "drop"), "--to", "reflect")
    assert accounts(tmp_path / "run")["reflect"]["attempts"]["losses"] == {}


def test_tables_of_before_are_read(server: Server, tmp_path: Path) -> None:
    server.speak = speak
    go(tmp_path / "run", small(server))
    before = rows(tmp_path / "run", "annotated")
    for name in ("attempts", "graded"):
        path = tmp_path / "run" / f"{name}.parquet"
        pq.write_table(pq.read_table(path).drop_columns("text_alone"), path)
    asked = server.asked
    command("reflect", tmp_path / "run")
    command("grade", tmp_path / "run")
    assert rows(tmp_path / "run", "annotated") == before
    assert server.asked == asked


def test_the_page_is_true_of_the_settings_and_names_every_reason_that_is_told() -> None:
    page = (ROOT / "docs" / "thinking.md").read_text(encoding="utf-8")
    for stage, default in (
        ("sample", SampleConfig().thinking),
        ("reflect", ReflectConfig().thinking),
    ):
        assert re.search(rf"^\| `{stage}\.thinking` .*\| `{default}` \|$", page, re.MULTILINE)
    told = [Outcome.CUT_OFF, Reason.BLANK, Reason.NO_ANSWER, Reason.NOT_UNICODE]
    told += [Reason.HOLDS_MARKUP, Reason.NO_VERDICT, Reason.SEVERAL_VERDICTS, Reason.FILTERED_TEXT]
    for reason in told:
        assert f"`{reason}`" in page
