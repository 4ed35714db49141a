"""Where the thinking in a response stands, and what an attempt has of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_factory.core import trace_tags as tags
from skill_factory.models import Completion
from skill_factory.models.thinking import Thinking, handle_thinking, read

SHAPES = {
    "tags": "<think>\n{}\n</think>\n\n{}",
    "only the end tag": "{}\n</think>\n\n{}",
    "upper case, attributes": '<THINK effort="low">{}</Think >{}',
    "thinking": "<thinking>{}</thinking>{}",
    "another end": "<thinking>{}</think>{}",
    "reasoning": "<reasoning>\n{}\n</reasoning>\n{}",
    "thought": "<thought>{}</thought>{}",
    "Seed-OSS": "<seed:think>{}</seed:think>{}",
    "Kimi": "◁think▷{}◁/think▷{}",
    "Magistral": "[THINK]{}[/THINK]{}",
    "gpt-oss": "<|channel|>analysis<|message|>{}<|end|>"
    "<|start|>assistant<|channel|>final<|message|>{}<|return|>",
    "gpt-oss, opened by the template": "<|message|>{}<|end|>"
    "<|start|>assistant<|channel|>final <|constrain|>json<|message|>{}".removeprefix("<|message|>"),
    "gpt-oss without special tokens": "analysis{}assistantfinal{}",
    "Gemma": "<|channel>thought\n{}<channel|>{}",
    "Sky-T1": "<|begin_of_thought|>{}<|end_of_thought|>\n"
    "<|begin_of_solution|>{}<|end_of_solution|>",
    "Command A": "<|START_THINKING|>{}<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_thinking_is_told_from_the_text(shape: str) -> None:
    thought, text = "We add: 3 < 4, so 7.", "It is\n<answer>7</answer>"
    response = read(shape.format(thought, text))
    assert response.blocks == ((True, thought), (False, text))
    assert not response.unfinished
    assert response.text("drop") == text
    assert response.text("keep") == f"{thought}\n\n{text}"


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_thinking_that_was_cut_off_is_unfinished(shape: str) -> None:
    opening, closing = shape.split("{}")[:2]
    if opening:
        assert read(f"{opening}We add. <answer>7</answer>").unfinished
    assert read(f"{opening}We add. <answer>7</answer>{closing}").unfinished


@pytest.mark.parametrize(
    ("text", "reasoning", "blocks", "unfinished"),
    [
        ("a 7", "", ["t a 7"], False),
        ("\n a 7 \n", "", ["t \n a 7 \n"], False),  # as it is
        ("", "", [], False),
        ("7", "a", ["T a", "t 7"], False),
        ("\n\n7\n", " a\n", ["T a", "t 7"], False),
        ("", "a <answer>7</answer>", ["T a <answer>7</answer>"], True),
        ("  ", "a", ["T a"], True),
        # the server's parser took more than the thinking
        ("", "a</think>7", ["T a", "t 7"], False),
        # it gave the thinking twice, or other thinking
        ("<think>a</think>7", "a", ["T a", "t 7"], False),
        ("<think>b</think>7", "a", ["T a", "T b", "t 7"], False),
        ("7", "<think>a</think>", ["T a", "t 7"], False),
        ("<think>b", "a", ["T a", "T b"], True),
        # several, nested, spoken of
        ("<think>a</think>b<think>c</think>d", "", ["T a", "t b", "T c", "t d"], False),
        ("<think>a <think>b</think> c</think>d", "", ["T a b c", "t d"], False),
        ("<think>a <think> b</think>d", "", ["T a  b", "t d"], False),
        ("<think>a</think>b<think>c", "", ["T a", "t b", "T c"], True),
        ("a<think>b</think>c", "", ["t a", "T b", "t c"], False),
        ("<think>a <reasoning>b</reasoning> c</think>d", "", None, False),
        ("<think>a <reasoning>b</reasoning> c", "", None, True),
        ("a [THINK] or <reasoning> b</think>d", "", ["T a [THINK] or <reasoning> b", "t d"], False),
        ("<think>a</think>use <reasoning>", "", ["T a", "t use <reasoning>"], False),
        # nothing in it
        ("<think>\n\n</think>\n\n7", "", ["t 7"], False),
        ("</think>7", "", ["t 7"], False),
        ("<think>a</think>", "", ["T a"], True),
        ("<think>", "", [], True),
        # no markers
        ("I was thinking: <thinking of it>", "", ["t I was thinking: <thinking of it>"], False),
        ("analysis of it: 7", "", ["t analysis of it: 7"], False),
        # harmony with a tool, and with thinking after a preamble
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary "
            "to=functions.run <|constrain|>json<|message|>{}<|call|>",
            "",
            ["T a{}"],
            True,
        ),
    ],
)
def test_responses_are_read(
    text: str, reasoning: str, blocks: list[str] | None, unfinished: bool
) -> None:
    response = read(text, reasoning)
    assert response.unfinished == unfinished
    if blocks is not None:
        assert [f"{'tT'[block.is_thinking]} {block.text}" for block in response.blocks] == blocks


MARKS = ["<think>", "</think>", "<THINKING a='b'>", "[/THINK]", "◁think▷", "<|end|>", "<|return|>"]
MARKS += ["<|channel|>final<|message|>", "<|channel|>analysis<|message|>", "assistantfinal"]
MARKS += ["<answer>", "</answer>", "<verdict>", "</verdict>", "<", "</", ">", "answer>"]
anything = st.lists(st.one_of(st.sampled_from(MARKS), st.text(max_size=5))).map("".join)
kinds = st.sampled_from(["drop", "keep"])


@given(anything, anything, kinds)
def test_reading_anything_does_not_raise(text: str, reasoning: str, thinking: Thinking) -> None:
    said = Completion(text, "stop", 1, 2, 0.0, reasoning)
    handled, alone = handle_thinking(said, thinking)
    assert alone == (read(text, reasoning).text("drop") if alone is not None else None)
    if alone is None and not reasoning.strip() and read(text).blocks == ((False, text),):
        assert handled.text == text


@given(anything)
def test_no_answer_and_no_verdict_is_left_in_kept_thinking(thought: str) -> None:
    text = tags.untagged(thought)
    assert not re.search(tags.ANSWER_TAG, text)
    assert not re.search(tags.VERDICT_TAG, text)


@given(anything, st.text("abc <answer>", max_size=20))
def test_the_answer_is_that_of_the_text_however_much_is_kept(thought: str, text: str) -> None:
    said = read(f"{text}<answer>7</answer>", thought)
    if said.has_thinking and not re.search(r"think|final|◁|\[|chan", thought):
        assert tags.final_answer(said.text("keep")) == tags.final_answer(said.text("drop"))


@pytest.mark.parametrize(
    ("thought", "left"),
    [
        ("so <answer>7</answer>.", "so 7."),
        ("Put it in <answer></answer> tags.", "Put it in answer tags."),
        ("between `<answer>` and `</answer>`", "between `answer`"),
        ("between <answer> and </answer>", "between answer"),
        ("<answer>a < b</answer>", "a < b"),
        ("<answer>7", "7"),
        ("<verdict>Incorrect</verdict>", "Incorrect"),
        ("<verdict> or <answer>3</answer>", "verdict or 3"),
        ("<<answer>answer>7", " 7"),
        ("no tags: <Answer>", "no tags: <Answer>"),
    ],
)
def test_tags_that_prompts_ask_for_are_taken_off(thought: str, left: str) -> None:
    assert tags.untagged(thought) == left
