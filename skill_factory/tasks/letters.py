"""Words and letters: letter countdown, a word made of some letters, and acronyms, words chosen so
that their first letters spell another.

Nothing here knows English: the facts carry every word that is accepted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 2_000
"""Characters of an answer that is still read; a right one has fewer than 300."""

_PLAIN = re.compile(
    r"\\(?:boxed|textbf|textit|texttt|text|mathrm|mathbf|mathit)\b|\\[()\[\]]|[${}*`\"“”„«»]"
)
_LEAD_IN = re.compile(
    r"""\s*(?:(?:so|thus|and|my|the|final|correct|chosen|selected|english|best)\s+)*
        (?:answer|words?|solution|acronym|choices?|selection)
        (?:\s+(?:is|are)\b\s*:?|\s*[:=])\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_NUMBERED = re.compile(r"(?:^|(?<=[\s,;]))(?:\(?\d{1,2}[.):]|[-•–])\s+", re.MULTILINE)
_SPELT_FIRST = re.compile(r"\s*([A-Za-z]+)\s*(?::|=|->|→|⇒)(?=.*\w)(.*)", re.DOTALL)
_SPELT_LAST = re.compile(
    r"(?:=|->|→|⇒|:|\bspells?\b|\()\s*([A-Za-z]+)\s*\)?\s*\.?\s*$", re.IGNORECASE
)


# -- letter countdown -----------------------------------------------------------------------------


def grade_word(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether an answer is one of `facts["words"]`, in any case; None without them.

    Quotes, bold type, "The word is" and a word that is spelt out (s-t-o-n-e) are understood; two
    different words are wrong.

    >>> known = {"letters": "nesot", "length": 5, "words": ["stone", "notes", "onset"]}
    >>> [grade_word(answer, "stone", known) for answer in ("**Notes**.", "stone or notes")]
    [True, False]
    """
    accepted = _accepted(facts)
    return word_of(answer) in accepted if accepted else None


def word_of(text: str) -> str | None:
    """The one word a text says, in lower case; None if it says none, or several."""
    if len(text) > LONGEST:
        return None
    words = [word.casefold() for word in _WORD.findall(_LEAD_IN.sub("", _plain(text), count=1))]
    if len(words) == 1 and "-" in words[0]:
        words = words[0].split("-")
    if len(words) > 1 and all(len(word) == 1 for word in words):
        return "".join(words)
    return words[0] if len(set(words)) == 1 else None


def fault_word(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if _accepted(facts) else "no words that are accepted are given with it"


def key_word(gold: str, facts: Mapping[str, Any]) -> str | None:
    """The letters in order and the length: the same for the same question in other words."""
    letters = facts.get("letters")
    if letters is None or facts.get("length") is None:
        return None
    return f"{''.join(sorted(str(letters).casefold()))} {int(facts['length'])}"


# -- acronyms -------------------------------------------------------------------------------------


def grade_acronym(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether an answer chooses `facts["length"]` of `facts["choices"]`, none more often than it is
    there, whose first letters spell one of `facts["words"]`; None without these.

    The chosen words stand in order, with commas, spaces or line breaks between them, perhaps
    numbered; the acronym may stand before a colon or after an equals sign, and must then be theirs.

    >>> known = {"choices": ["tea", "apple", "cup"], "length": 3, "words": ["cat"]}
    >>> answers = ("cup, apple, tea", "CAT: cup apple tea", "cat", "tea, apple, cup")
    >>> [grade_acronym(answer, "cup, apple, tea", known) for answer in answers]
    [True, True, False, False]
    """
    accepted, choices = _accepted(facts), _choices(facts)
    if not accepted or not choices or facts.get("length") is None:
        return None
    chosen, spelt = _chosen(answer)
    initials = "".join(word[0] for word in chosen)
    return (
        len(chosen) == int(facts["length"])
        and not Counter(chosen) - Counter(choices)
        and initials in accepted
        and spelt in (None, initials)
    )


def _chosen(text: str) -> tuple[list[str], str | None]:
    """The words an answer chooses and the acronym it says they make (None: it does not say), in
    lower case."""
    if len(text) > LONGEST:
        return [], None
    rest, spelt = _NUMBERED.sub(" ", _LEAD_IN.sub("", _plain(text), count=1)), None
    if first := _SPELT_FIRST.fullmatch(rest):
        spelt, rest = first.groups()
    elif last := _SPELT_LAST.search(rest):
        spelt, rest = last[1], rest[: last.start()]
    words = [word.casefold() for word in _WORD.findall(rest)]
    if len(words) > 1 and words[-2] == "and":
        del words[-2]
    return words, spelt and spelt.casefold()


def fault_acronym(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    whole = _accepted(facts) and _choices(facts) and facts.get("length") is not None
    return None if whole else "no choices, or no words that are accepted, are given with it"


def key_acronym(gold: str, facts: Mapping[str, Any]) -> str | None:
    """The choices in order and the length: the same for the same question in other words."""
    choices = _choices(facts)
    if not choices or facts.get("length") is None:
        return None
    return f"{' '.join(sorted(choices))} {int(facts['length'])}"


# -- both -----------------------------------------------------------------------------------------


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """What is no word."""
    return "zzz"


def _plain(text: str) -> str:
    return _PLAIN.sub("", text)


def _accepted(facts: Mapping[str, Any]) -> set[str]:
    return set(_texts(facts.get("words")))


def _choices(facts: Mapping[str, Any]) -> list[str]:
    return list(_texts(facts.get("choices")))


def _texts(values: Any) -> Iterable[str]:
    """A list of texts in lower case; nothing for what is no list."""
    if values is None or isinstance(values, str) or not hasattr(values, "__iter__"):
        return []
    return [str(value).casefold() for value in values]
