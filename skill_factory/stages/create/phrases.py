"""The phrase bank: what a trace says between the model's own texts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import yaml

from skill_factory.core import trace_tags as tags
from skill_factory.core.yaml_files import UNREADABLE, parse
from skill_factory.errors import PhraseError

_BUILT_IN = Path(__file__).with_name("phrases.yaml")


class Kind(StrEnum):
    """Where a phrase may stand; the order is the order of phrase ids."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    GENERIC = "generic"
    CLOSING = "closing"
    BACKTRACK = "backtrack"
    CONFIRMATION = "confirmation"


@dataclass(frozen=True)
class PhraseBank:
    """Phrases by kind. A phrase id is the phrase's index in `texts`, all kinds one after the
    other."""

    phrases: dict[Kind, tuple[str, ...]]

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """All phrases, in the order of their ids."""
        return tuple(text for kind in Kind for text in self.phrases[kind])

    def ids(self, *kinds: Kind) -> tuple[int, ...]:
        """Ids of the phrases of these kinds."""
        starts, start = {}, 0
        for kind in Kind:
            starts[kind] = start
            start += len(self.phrases[kind])
        return tuple(i for k in kinds for i in range(starts[k], starts[k] + len(self.phrases[k])))


def load_phrases(path: Path | None = None) -> PhraseBank:
    """The phrase bank in a YAML file; None is the one of the package.

    Raises `PhraseError` for a file that is missing or no YAML, a kind that is unknown, missing or
    empty, and a phrase that is no text, blank, longer than a line, there twice, or holds a tag or a
    chat token.
    """
    where = str(path or _BUILT_IN)
    try:
        source = (path or _BUILT_IN).read_text(encoding="utf-8")
        content, node = parse(source)
    except OSError as error:
        raise PhraseError(f"{where}: cannot read the phrase file: {error.strerror}") from None
    except UNREADABLE as error:
        raise PhraseError(f"{where}: not a YAML file: {' '.join(str(error).split())}") from None
    kinds = ", ".join(Kind)
    if not isinstance(content, dict):
        raise PhraseError(f"{where}: expected lists of phrases under the kinds {kinds}")
    if unknown := [str(key) for key in content if key not in set(Kind)]:
        raise PhraseError(f"{where}: unknown kind {unknown[0]!r}; the kinds are {kinds}")
    named = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    if twice := [kind for kind in Kind if named.count(kind) > 1]:
        raise PhraseError(f"{where}: the kind {twice[0]} is there twice")
    seen: set[str] = set()
    return PhraseBank({kind: _checked(content.get(kind), kind, where, seen) for kind in Kind})


def _checked(phrases: object, kind: Kind, where: str, seen: set[str]) -> tuple[str, ...]:
    if not isinstance(phrases, list) or not phrases:
        raise PhraseError(f"{where}: {kind}: expected a list with at least one phrase")
    for number, phrase in enumerate(phrases, 1):
        at = f"{where}: {kind}: phrase {number}"
        if not isinstance(phrase, str):
            raise PhraseError(f"{at} is {phrase!r}, not text; put it in quotes")
        if not phrase.strip():
            raise PhraseError(f"{at} is empty")
        if len(phrase.splitlines()) > 1:
            raise PhraseError(f"{at} is longer than one line: {phrase!r}")
        for pattern in (tags.ANY_TAG, *tags.CHAT_TOKENS):
            if tag := re.search(pattern, phrase):
                raise PhraseError(f"{at} holds the tag {tag[0]}; phrases hold no tags")
        if phrase.strip() in seen:
            raise PhraseError(f"{at} is there twice: {phrase!r}")
        seen.add(phrase.strip())
    return tuple(phrases)
