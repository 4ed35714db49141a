"""How responses are measured: what is said of all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skill_factory.core.whole_files import verified_manifest
from skill_factory.errors import OptionError
from skill_factory.measure.word_rules import WordRules, load_word_rules

READY_MADE: Mapping[str, str] = {
    "boxed": r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*)\}",
    "hashes": r"####\s*([^\n]+)",
    "number": r"(-?(?:\d[\d,]*(?:\.\d+)?|\.\d+))",
}
"""Answer patterns by name: the last `\\boxed`, the line after `####`, the last number."""


@dataclass(frozen=True)
class MeasureRules:
    """How responses are measured.

    `answer_pattern`: where a response has no `<answer>` pair, the first group of its last match is
    the answer; one of `READY_MADE` or a regular expression; None: it has no answer. `phrases` are
    looked for as whole lines; `words` by `word_rules`. Each interval comes from `draws` draws of
    questions; the same `seed` gives the same ones. `workers` processes read responses.
    """

    answer_pattern: str | None = None
    phrases: frozenset[str] = frozenset()
    words: WordRules = field(default_factory=load_word_rules)
    draws: int = 1000
    seed: int = 0
    workers: int = 1

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """The answer pattern, ready to use."""
        found = self.answer_pattern
        return None if found is None else re.compile(READY_MADE.get(found, found))


def check_pattern(text: str) -> str:
    """An answer pattern; raises `ValueError` for one that is no regular expression."""
    try:
        re.compile(READY_MADE.get(text, text))
    except re.error as error:
        names = ", ".join(READY_MADE)
        raise ValueError(f"expected {names}, or a regular expression: {error}") from None
    return text


def phrases_of(sft: tuple[Path, ...]) -> frozenset[str]:
    """The phrases in the manifests of SFT folders; of none: those of the package's phrase bank.

    Raises `InputError` for what is no SFT folder.
    """
    if not sft:
        from skill_factory.stages.create.phrases import load_phrases

        return frozenset(text.strip() for text in load_phrases().texts)
    manifests = {folder: verified_manifest(folder) for folder in sft}
    found = frozenset(
        text.strip()
        for manifest in manifests.values()
        for phrases in manifest["phrases"].values()
        for text in phrases
    )
    if not found:
        raise OptionError(f"{sft[0]}: its manifest.json names no phrases")
    return found
