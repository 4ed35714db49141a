"""Words and letters: letter countdown, a word made of some letters, and acronyms, words chosen so
that their first letters spell another.

Nothing here knows English: the facts carry every word that is accepted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from skill_factory.tasks.clean_text import tidy, typed, unmarked

LONGEST = 2_000
"""Characters of an answer that is still read; a right one has fewer than 300."""

_LABEL = re.compile(
    r"\b(?:answers?|words?|solution|acronym|choices?|selection|response|result|sequence|order)\b"
    r"(?: (?:is|are|would be|spells)\b ?:?| ?[:=])",
    re.I,
)
_DENYING = {"not", "no", "never", "cannot", "wrong", "incorrect", "or", "either", "neither"}
_DENYING |= {"isn't", "don't", "doesn't", "can't", "couldn't"}
_DENIAL = re.compile(rf"\b(?:{'|'.join(sorted(_DENYING))})\b", re.I)
_QUOTED = re.compile(r"\"\s?([^\W\d_]+)\s?\"|\*\*\s?([^\W\d_]+)\s?\*\*")
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_NUMBERED = re.compile(r"(?:^|(?<=[\s,;]))(?:\(?[0-9]{1,2}[.):]|[-•]) ", re.M)
_SPELT_FIRST = re.compile(r"([A-Za-z]+) ?(?:[:=→⇒]|->)")
_SPELT_LAST = re.compile(
    r"(?:[=:(→⇒]|->|\b(?:spells?|spelling|forms?|forming|makes?|making)\b(?: (?:the )?word)?) ?"
    r"([A-Za-z]+) ?\)?\.?$",
    re.I,
)


# -- letter countdown -----------------------------------------------------------------------------


def grade_word(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether an answer is one of `facts["words"]`, in any case; None without them, and where the
    answer is not one word.

    Quotes, bold type, "The word is" and a word that is spelt out (s-t-o-n-e) are understood.

    >>> known = {"letters": "nesot", "length": 5, "words": ["stone", "notes", "onset"]}
    >>> [grade_word(answer, "", known) for answer in ("**Notes**.", "stones", "stone or notes")]
    [True, False, None]
    """
    accepted, word = _accepted(facts), word_of(answer)
    return word in accepted if accepted and word else None


def word_of(text: str) -> str | None:
    """The one word a text says, in lower case; None if it says none, or several."""
    if len(text) > LONGEST:
        return None
    before, said = _concluded(_plain(text))
    words = _words(said)
    if len(words) > 1 and all(len(word) == 1 for word in words):
        return None if _DENIAL.search(before) else "".join(words)
    different = set(map(_joined, words))
    if len(different) > 1:
        before, different = typed(text), _quoted(text)
    return different.pop() if len(different) == 1 and not _DENIAL.search(before) else None


def _quoted(text: str) -> set[str]:
    """The words in quotes or bold type, in lower case."""
    return {(match[1] or match[2]).casefold() for match in _QUOTED.finditer(typed(text))}


def _joined(word: str) -> str:
    """A word, without the dashes between its letters."""
    return word.replace("-", "") if all(len(part) == 1 for part in word.split("-")) else word


def _concluded(plain: str) -> tuple[str, str]:
    """What stands before and after "the word is" and the like; nothing before where it is not
    said."""
    *_, end = (0, *(match.end() for match in _LABEL.finditer(plain)))
    return (plain[:end], plain[end:]) if _WORD.search(plain, end) else ("", plain)


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
    there, whose first letters spell one of `facts["words"]`; None without these, and where the
    answer is no list of words.

    The chosen words stand in order, with commas, spaces or line breaks between them, perhaps
    numbered; the acronym may stand before a colon or after an equals sign, and must then be theirs.

    >>> known = {"choices": ["tea", "apple", "cup"], "length": 3, "words": ["cat"]}
    >>> answers = ("cup, apple, tea", "CAT: cup apple tea", "cat", "tea, apple, cup")
    >>> [grade_acronym(answer, "cup, apple, tea", known) for answer in answers]
    [True, True, None, False]
    """
    accepted, choices = _accepted(facts), _choices(facts)
    if not accepted or not choices or facts.get("length") is None:
        return None
    length = int(facts["length"])
    if not _DENYING.isdisjoint({*_words(typed(answer))} - {*choices}):
        return None
    chosen, spelt = _chosen(answer, length)
    others = [word for word in chosen if word not in choices]
    if len(chosen) <= 2 * len(others) or (others and len(chosen) != length):
        return None
    initials = "".join(word[0] for word in chosen)
    return (
        len(chosen) == length
        and not Counter(chosen) - Counter(choices)
        and initials in accepted
        and spelt in (None, initials)
    )


def _chosen(text: str, length: int) -> tuple[list[str], str | None]:
    """The words an answer chooses and the acronym it says they make (None: it does not say), in
    lower case."""
    if len(text) > LONGEST:
        return [], None
    rest = _NUMBERED.sub(" ", _concluded(_plain(text))[1])
    words = _listed(rest)
    if len(words) == length:
        return words, None
    if (first := _SPELT_FIRST.match(rest)) and (after := _listed(rest[first.end() :])):
        return after, first[1].casefold()
    if last := _SPELT_LAST.search(rest):
        return _listed(rest[: last.start()]), last[1].casefold()
    return words, None


def _listed(text: str) -> list[str]:
    """The words of a list, without an "and" before the last, and without each one's first letter
    beside it: "C: cup", "cup (C)"."""
    words = _words(text)
    if words[-2:-1] == ["and"]:
        del words[-2]
    for initials, whole in ((words[::2], words[1::2]), (words[1::2], words[::2])):
        if len(words) > 1 and initials == [word[0] for word in whole]:
            return whole
    return words


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
    return tidy(unmarked(text)).strip()


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _accepted(facts: Mapping[str, Any]) -> set[str]:
    return set(_texts(facts.get("words")))


def _choices(facts: Mapping[str, Any]) -> list[str]:
    return list(_texts(facts.get("choices")))


def _texts(values: Any) -> Iterable[str]:
    """A list of texts in lower case; nothing for what is no list."""
    if values is None or isinstance(values, str) or not hasattr(values, "__iter__"):
        return []
    return [str(value).casefold() for value in values]
