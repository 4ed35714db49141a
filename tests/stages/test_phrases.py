"""The phrase bank."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from skill_factory.errors import PhraseError
from skill_factory.stages.create.phrases import Kind, load_phrases


def test_the_built_in_bank_has_a_dozen_phrases_of_each_kind() -> None:
    bank = load_phrases()
    for kind in Kind:
        assert len(bank.phrases[kind]) >= 12
        assert [bank.texts[i] for i in bank.ids(kind)] == list(bank.phrases[kind])
    # Two phrases that a missing comma fused would read as one long line of several sentences.
    assert max(len(text) for text in bank.texts) < 110


def test_no_phrase_is_in_two_kinds() -> None:
    texts = load_phrases().texts
    assert len(set(texts)) == len(texts)


def bank(**changes: object) -> dict[str, object]:
    return {kind.value: [f"A {kind} phrase."] for kind in Kind} | changes


def others(kind: str) -> dict[str, object]:
    return {name: phrases for name, phrases in bank().items() if name != kind}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("- just\n- a list", "expected lists of phrases under the kinds"),
        ("generic: [unclosed", "not a YAML file"),
        (bank(glue=["x"]), "unknown kind 'glue'"),
        (bank(generic=None), "generic: expected a list"),
        (bank(generic=[]), "generic: expected a list"),
        (bank(generic=["ok", "  "]), "generic: phrase 2 is empty"),
        (bank(generic=[True]), "generic: phrase 1 is True, not text"),
        (bank(closing=["a\nb"]), "closing: phrase 1 is longer than one line"),
        (bank(closing=["so <answer>"]), "closing: phrase 1 holds the tag <answer>"),
        (bank(closing=["so <|im_end|>"]), "closing: phrase 1 holds the tag <|im_end|>"),
        (bank(closing=["a", "b", "a"]), "closing: phrase 3 is there twice"),
        (bank(generic=["a"], closing=[" a "]), "closing: phrase 1 is there twice"),
        (bank(closing=["a\rb"]), "closing: phrase 1 is longer than one line"),
        (bank(closing=["a\u2028b"]), "closing: phrase 1 is longer than one line"),
        ("generic: [a]\ngeneric: [b]\n", "the kind generic is there twice"),
        ('closing: ["\\ud800 x"]\n' + yaml.safe_dump(others("closing")), "half a surrogate"),
        ("generic: [2024-99-99]\n", "not a YAML file: month must be in"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path: Path, content: object, problem: str) -> None:
    path = tmp_path / "phrases.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(PhraseError) as error:
        load_phrases(path)
    assert str(path) in str(error.value)
    assert problem in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhraseError, match="No such file"):
        load_phrases(tmp_path / "none.yaml")
