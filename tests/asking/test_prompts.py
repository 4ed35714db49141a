"""Prompts: what the built-in ones ask for, and what a file of one's own may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from skill_factory.asking.prompts import load_prompts
from skill_factory.errors import PromptError

BANK = load_prompts(None)


def test_the_papers_variants_are_there() -> None:
    assert {"original", "plan_and_execute", "alternatively", "rephrase"} <= BANK.variants.keys()


@pytest.mark.parametrize("name", BANK.variants)
def test_a_variant_asks_the_question_and_for_the_answer_tag(name: str) -> None:
    prompt = BANK.variants[name]
    (message,) = prompt.fill(question="What is 2 + 2?", answer="GOLD")
    assert "What is 2 + 2?" in message["content"]
    assert "<answer>" in message["content"]
    assert ("GOLD" in message["content"]) == prompt.hint == name.startswith("hint_")


def test_the_reflection_prompt_asks_for_a_verdict_and_never_shows_the_gold_answer() -> None:
    (message,) = BANK.reflection.fill(question="What?", attempt="It is 4.", answer="GOLD")
    for part in ("What?", "It is 4.", "<verdict>Correct</verdict>", "<verdict>Incorrect</verdict>"):
        assert part in message["content"]
    assert "GOLD" not in message["content"]


def test_what_is_filled_in_is_not_filled_in_again() -> None:
    (message,) = BANK.reflection.fill(question="{attempt} {x} {", attempt="{question} {answer}")
    assert "{attempt} {x} {" in message["content"]
    assert "{question} {answer}" in message["content"]


def test_a_file_adds_and_replaces(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "variants:\n"
        "  original: {user: 'Q: {question} <answer></answer>'}\n"
        "  shots:\n    grammar: root ::= [0-9]+\n    messages:\n"
        "    - {role: user, content: 'What is 1 + 1?'}\n"
        "    - {role: assistant, content: '<answer>2</answer>'}\n"
        "    - {role: user, content: '{question}'}\n"
    )
    bank = load_prompts(tmp_path / "mine.yaml")
    assert bank.variants.keys() == BANK.variants.keys() | {"shots"}
    assert bank.variants["original"].fill(question="?")[0]["content"] == "Q: ? <answer></answer>"
    assert len(bank.variants["shots"].fill(question="?")) == 3
    assert bank.variants["shots"].grammar == "root ::= [0-9]+"
    assert bank.reflection == BANK.reflection


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("variants: {a: {user: '<answer></answer>'}}", "variants.a: the prompt has no {question}"),
        ("variants: {a: {user: '{question}'}}", "does not ask for <answer> tags"),
        ("variants: {a: {user: '{question} {answer} <answer></answer>'}}", "without `hint: true`"),
        ("variants: {a: {hint: true, user: '{question} <answer></answer>'}}", "has no {answer}"),
        ("variants: {a: {user: '{question} {attempt} <answer></answer>'}}", "has {attempt}"),
        ("variants: {a: {text: x}}", "expected user or messages"),
        ("variants: {a: {messages: [{role: bot, content: x}]}}", "a message has a role"),
        ("variants: {a: {user: 5}}", "a message has a role"),
        ("variants: [a]", "expected prompts by their names"),
        ("reflection: {user: '{question}'}", "needs {question} and {attempt}"),
        ("reflection: {user: '{question} {attempt}'}", "does not ask for <verdict> tags"),
        (
            "reflection: {user: '{question} {attempt} {answer} <verdict></verdict>'}",
            "may not show the gold answer",
        ),
        ("other: 1", "expected the keys variants and reflection"),
        ("a: [", "not a YAML file"),
    ],
)
def test_a_prompt_that_would_be_asked_in_vain_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(PromptError, match=r"mine\.yaml") as raised:
        load_prompts(tmp_path / "mine.yaml")
    assert said in str(raised.value)
