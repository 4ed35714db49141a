"""Multiple choice: the answer is a letter, or the text of one of the question's options.

A letter counts where it stands as a label: alone, in brackets, before a full stop, a colon or a
dash, at the end, or after "the answer is" and the like. Elsewhere "A" and "I" are words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from string import ascii_letters, ascii_uppercase
from typing import Any

from skill_factory.tasks.clean_text import tidy, unmarked
from skill_factory.tasks.text import normal

LONGEST = 4_000
"""Characters of an answer that is still read."""

_ANGLED = re.compile(r"^\s*<([A-Za-z])>\s*$")
_LEAD_IN = re.compile(
    r"(?:(?:so|thus|hence|therefore|then|okay|ok|yes|final|correct|the|most|likely|probably)\b"
    r"[,:]? ?){0,4}['\"]?",
    re.I,
)
_CUE = re.compile(
    r"""\b(?: (?:answer|option|choice|letter|solution|response|selection)
              (?:[ ](?:is|would[ ]be|should[ ]be|must[ ]be|will[ ]be|was))?
            | choose | chose | chosen | pick | picked | select | selected
            | go(?:ing)?[ ](?:with|for) | it[ ]is | it's | is | be | think | believe | guess
            | so | thus | hence | therefore )\b
        [ ]?[:=,]?\s?(?:(?:clearly|definitely|therefore|indeed|probably|likely)[ ])?
        (?:(?:the[ ])?(?:(?:correct|best|right|final)[ ])?(?:answer|option|choice|letter)[ ]?:?\s?)?
        ['"]?""",
    re.I | re.X,
)
_BRACKETED = r"[(\[]\s?([A-Za-z])\s?[)\]]"
_FOLLOWED = (
    r"""([A-Za-z])(?=\s?(?:$|[),:;/&\]!\n→=|]|["'](?!\w)|\.(?![A-Za-z](?:\b|_))"""
    r"|-(?![a-z])|\s-|\s[(]))"
)
_EXPLAINED = r"([A-HJ-Za-hj-z])(?=\s(?:because|since|as|for|which|is|and|or|due|would)\b)"
_OPENING = re.compile(rf"{_BRACKETED}|{_FOLLOWED}|{_EXPLAINED}")
_CUED = re.compile(rf"{_OPENING.pattern}|(I)(?= because\b| since\b)|([B-HJ-Z])(?=\s[a-z0-9])")
_ANYWHERE = re.compile(
    rf"""(?<!\w)(?<!not\ )(?<!than\ ){_BRACKETED} | ^([A-Za-z])[).:](?=\s|$)
      | (?:答案|正确|选项|选择|选)[是为]?[ :]?([A-Z])
      | (?:^|(?<=[,.:]\ )|(?<=that\ ))([A-HJ-Z])(?=\ is\ (?:the\ )?(?:most\ |best\ )?
        (?:correct|right|answer|best|likely|suitable|appropriate|option|choice)\b)""",
    re.M | re.X,
)
_LAST = re.compile(r"(?:[:=>]|\s-)\s?([A-Z])[.!]?$")
_ANOTHER = re.compile(
    r"""[^\w\n]{0,4}(?:\b(?:or|and)\b|[,/&+;-])[^\w\n]{0,3}
        (?:(?:option|choice|maybe|perhaps|possibly|also)[ ])?
        (?:([A-Z])(?!['\w])(?![ ][a-z])|([a-z])(?=$|[).,;]))""",
    re.X,
)
_DENIAL = re.compile(
    r"\b(?:not|no|never|neither|nor|none|except|without|instead|wrong|incorrect|cannot|eliminate)\b"
    r"|n't\b",
    re.I,
)
_DENIED = re.compile(
    r"[\s\"').\]]{0,3}(?:(?:is|was|can|could|would|does|seems|looks) ?)?"
    r"(?:not|n't|\w{1,6}n't|cannot|wrong|incorrect|false)\b",
    re.I,
)
_HEDGED = re.compile(r"[\s\"').,\]]{0,3}or\b", re.I)
_LETTERS = frozenset(ascii_letters)
_ARTICLE = re.compile(r"^(?:an?|the) ")


def grade(answer: str, gold: str, facts: Mapping[str, Any]) -> bool | None:
    """Whether an answer names the gold letter, in any case; None if the gold answer is no letter,
    and if the answer names none, or several.

    `facts["options"]` are the texts of the options, A first, or a mapping from letters to texts: an
    answer may then be a text. One that names a letter with another letter's text is undecided.

    >>> [grade(answer, "B", {}) for answer in ("(b)", "So it is B.", "A", "A or B", "A dog")]
    [True, True, False, None, None]
    >>> options = {"options": ["a tree", "a bank"]}
    >>> [grade(answer, "B", options) for answer in ("the bank", "Tree", "B. tree")]
    [True, False, None]
    """
    options = _options(facts)
    wanted, named = _gold_letter(gold, options), letter_of(answer, options)
    return None if wanted is None or named is None else wanted == named


def _gold_letter(gold: str, options: Mapping[str, str]) -> str | None:
    """The letter of a gold answer, which may be an option's text."""
    return letter_of(gold, {}) or letter_of(gold, options)


def letter_of(text: str, options: Mapping[str, str]) -> str | None:
    """The one letter a text names, as a capital; None if it names none, or several, or one that is
    not among the options. `options`: letters to texts as `_comparable` makes them, or empty."""
    if len(text) > LONGEST:
        return None
    plain = tidy(unmarked(_ANGLED.sub(r"\1", text, count=1))).lstrip("-> ")
    bare = plain.strip(" .,;:!\"'()[]")
    if bare in _LETTERS:
        return bare.upper() if not options or bare.upper() in options else None
    labels = _said(plain)
    letters = {plain[start].upper() for start, _ in labels}
    told = _with_text(options, (plain, _conclusion(plain))) | _lettered(options, plain)
    if len(told) == 1 and (len(letters) != 1 or letters == told):
        return told.pop()
    if len(letters) != 1:
        return None
    told |= _with_text(options, _beside(plain, labels[0]))
    if (told and not letters <= told) or (options and not letters <= options.keys()):
        return None
    return letters.pop()


def _said(plain: str) -> list[tuple[int, int]]:
    """The labels that an answer stands by: none if it denies the first, or hedges one."""
    labels, told = list[tuple[int, int]](), 0
    for label in _labels(plain):
        if denial := _DENIED.match(plain, label[1]):
            told = told if labels else denial.end()
        else:
            labels.append(label)
    hedged = any(_HEDGED.match(plain, end) for _, end in labels)
    denied = bool(labels) and _DENIAL.search(plain, told, labels[0][0]) is not None
    return [] if hedged or denied else labels


def _labels(plain: str) -> list[tuple[int, int]]:
    """Where the letters stand that an answer names, and where their labels end."""
    found = dict(_label(match) for match in _all_labels(plain))
    for end in list(found.values()):
        if another := _ANOTHER.match(plain, end):
            found.update([_label(another)])
    return sorted(found.items())


def _all_labels(plain: str) -> Iterator[re.Match[str]]:
    lead_in = _LEAD_IN.match(plain)
    starts = [(_OPENING, lead_in.end() if lead_in else 0)]
    starts += [(_CUED, cue.end()) for cue in _CUE.finditer(plain)]
    yield from (match for label, at in starts if (match := label.match(plain, at)))
    yield from _ANYWHERE.finditer(plain)
    if last := _LAST.search(plain, max(0, len(plain) - 9)):
        yield last


def _label(match: re.Match[str]) -> tuple[int, int]:
    """The place of the letter, the end of its label."""
    return match.start(match.lastindex or 0), match.end()


# -- options --------------------------------------------------------------------------------------


def _options(facts: Mapping[str, Any]) -> dict[str, str]:
    """The options of a question by their letters, as they are compared; empty for what is none."""
    given = facts.get("options")
    if isinstance(given, Mapping):
        pairs: Iterable[tuple[Any, Any]] = given.items()
    elif given is None or isinstance(given, str) or not isinstance(given, Iterable):
        pairs = ()
    else:
        pairs = zip(ascii_uppercase, given, strict=False)
    texts = {str(name).strip().upper(): str(text) for name, text in pairs if text is not None}
    return {letter: _comparable(_unlabelled(text, letter)) for letter, text in texts.items()}


def _unlabelled(text: str, letter: str) -> str:
    """An option's text without its own letter: "B. a bank"."""
    label, space, rest = text.strip().partition(" ")
    return rest if space and label.strip("()[].:") == letter != label else text


def _comparable(text: str) -> str:
    return _ARTICLE.sub("", normal(unmarked(text)).strip("()[]\"' "))


def _with_text(options: Mapping[str, str], texts: Iterable[str]) -> set[str]:
    """The letters of the options with one of some texts."""
    longest = 4 * max(map(len, options.values()), default=-25) + 100
    compared = {_comparable(text) for text in texts if len(text) <= longest}
    return {letter for letter, option in options.items() if option in compared}


def _lettered(options: Mapping[str, str], plain: str) -> set[str]:
    """The letter of an option that an answer gives whole, as in "B bank"."""
    return {plain[0].upper()} & _with_text(options, [plain[2:]]) if plain[1:2] == " " else set()


def _conclusion(plain: str) -> str:
    """What an answer says after "the answer is" and the like; all of it if that is denied."""
    *_, end = (0, *(cue.end() for cue in _CUE.finditer(plain)))
    return plain if _DENIAL.search(plain, 0, end) else plain[end:]


def _beside(plain: str, label: tuple[int, int]) -> tuple[str, ...]:
    """What stands before a label, and after it altogether and in its line."""
    before, after = plain[: label[0]].rstrip(" (-:"), plain[label[1] :].lstrip(" ).:-\n")
    return (before, _conclusion(before), after, after.partition("\n")[0])


def fault(gold: str, facts: Mapping[str, Any]) -> str | None:
    """Why nothing can be graded against this gold answer; None if it can."""
    return None if _gold_letter(gold, _options(facts)) else "not one letter"


def wrong(answer: str, gold: str, facts: Mapping[str, Any]) -> str:
    """Another letter."""
    return "B" if _gold_letter(gold, _options(facts)) == "A" else "A"
