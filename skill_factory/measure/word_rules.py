"""Word rules: words that stand for a skill in models without our tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core.arrays import view
from skill_factory.core.yaml_files import UNREADABLE, parse
from skill_factory.errors import InputError

WordRules = Mapping[str, tuple[str, ...]]
"""Words and phrases by the name of what they stand for."""

PREFIX = "words_"
"""Before the name of a rule in the table of measures."""

_BUILT_IN = Path(__file__).with_name("word_rules.yaml")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def load_word_rules(path: Path | None = None) -> WordRules:
    """The word rules in a YAML file; None is the one of the package.

    Raises `InputError` for a file that is missing or no YAML, and for what is no name with a list
    of words.
    """
    where = str(path or _BUILT_IN)
    try:
        content, _ = parse((path or _BUILT_IN).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{where}: cannot read the word rules: {error.strerror}") from None
    except UNREADABLE as error:
        raise InputError(f"{where}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not content:
        raise InputError(f"{where}: expected names, each with a list of words")
    return {str(name): _checked(name, words, where) for name, words in content.items()}


def _checked(name: object, words: object, where: str) -> tuple[str, ...]:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise InputError(f"{where}: {name!r:.60}: expected a name of small letters, digits and _")
    if not isinstance(words, list) or not words:
        raise InputError(f"{where}: {name}: expected a list with at least one word")
    for number, word in enumerate(words, 1):
        if not (isinstance(word, str) and word.strip()):
            raise InputError(f"{where}: {name}: word {number} is {word!r:.60}, not a text")
    return tuple(words)


def word_counts(texts: pa.Array, words: tuple[str, ...]) -> npt.NDArray[np.int32]:
    """How often the words of a rule stand in each text, without overlaps.

    >>> word_counts(pa.array(["Wait. No, wait!", "waiter"]), ("wait",)).tolist()
    [2, 0]
    """
    found = pc.count_substring_regex(texts, pattern_of(words), ignore_case=True)
    return view(found).astype(np.int32)


def pattern_of(words: tuple[str, ...]) -> str:
    """RE2 pattern of the words: whole ones, a longer before its beginning."""
    ordered = sorted(
        {" ".join(word.split()) for word in words}, key=lambda word: (-len(word), word)
    )
    return f"(?:{'|'.join(map(_one, ordered))})"


def _one(word: str) -> str:
    before = r"\b" if word[0].isalnum() else ""
    after = r"\b" if word[-1].isalnum() else ""
    spelt = r"\s+".join(re.escape(part) for part in word.split())
    return f"{before}{spelt}{after}"
