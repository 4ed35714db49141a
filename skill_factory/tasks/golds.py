r"""Gold answers as datasets have them, read into the one text that a grader takes.

A gold answer may be text, a number, a bool, a list of these, or a struct. What is graded in a
worked solution is what its last `\boxed` holds (MATH), or what follows `####` (GSM8K). A list of
one is that one. Of a list of several, by `Several`, each is right or all are asked for. A struct
with a `value` and its `aliases` (TriviaQA), or a list of texts under `text` (SQuAD) or `target`
(search-r1), gives one of several; any other struct is taken for facts.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

ACCEPTED = "accepted_answers"
"""The fact that holds further answers which are right too: a list of texts."""


class Several(StrEnum):
    """What a list of several gold answers asks for."""

    ANY = "any"
    """One of them: other names of the same answer."""
    ALL = "all"
    """All of them: the solutions of an equation."""


class NoGold(StrEnum):
    """Why a value holds no gold answer."""

    NO_GOLD_ANSWER = "no_gold_answer"
    """It is null or blank, or says that there is none: proof, nan, N/A."""
    NO_ANSWER_IN_SOLUTION = "no_answer_in_solution"
    """It is a worked solution, and nothing marks the answer in it."""
    SEVERAL_GOLD_ANSWERS = "several_gold_answers"
    """All of several are asked for, and the task grades one."""


class Gold(NamedTuple):
    """A gold answer: its text, and what the value told besides: facts, perhaps `ACCEPTED`."""

    text: str
    facts: Mapping[str, Any] = {}


_ONE_ANSWER = ("mathematics", "integers", "choice")
"""The tasks whose gold answers are looked for in a worked solution, and where several of them are
all asked for unless told otherwise: roots, or a question with several right choices."""

_JOINED = "mathematics"
"""The task whose grader can ask for all of several answers, written with commas."""

# Written for a null by pandas, spreadsheets and Python; and by NuminaMath, where nothing is to be
# found: https://huggingface.co/datasets/AI-MO/NuminaMath-1.5
_NOTHING = {
    *("nan", "NaN", "NAN", "n/a", "N/A", "#N/A", "<NA>", "null", "NULL", "None", "-", "--", "?"),
    *("proof", "Proof", "proof.", "Proof.", "notfound", "not found", "Not found"),
}
_MOST_WORDS = 20
"""Words outside of formulas, from which on a gold answer is taken for a worked solution."""

_VALUE_IN = ("value", "answer", "ground_truth", "text", "target")
"""Where a struct has its gold answer, the first that is there."""

_WRITTEN = re.compile(r"""\s*(?:\[\s*)*(?:\[\s*|\{\s*)['"]""")
"""How a list of texts or a struct begins that was written down as text."""

_ALIASES_IN = ("aliases", "normalized_value", "normalized_aliases")
"""Where it has other names of it."""


def read(value: Any, task: str, several: Several | None = None) -> Gold | NoGold:
    r"""The gold answer that a value holds for the task of this name, or why it holds none.

    `several` None: all of them for mathematics, integers and choices, any for other tasks. Reading
    what was read changes nothing.

    >>> read(r"so $x = \boxed{\frac{1}{2}}$.", "mathematics").text
    '\\frac{1}{2}'
    >>> read(["Paris", "paris, France"], "text")
    Gold(text='Paris', facts={'accepted_answers': ['paris, France']})
    >>> read([1, 2.5], "mathematics").text, read([None, float("nan")], "text").value
    ('1, 2.5', 'no_gold_answer')
    """
    value = _plain(value)
    if isinstance(value, Mapping):
        return _of_struct(value, task, several)
    if isinstance(value, list):
        return _of_list(value, task, several)
    if isinstance(value, bool):
        return Gold(str(value), {ACCEPTED: ["yes" if value else "no"]})
    text = _text(value).strip()
    if not text or text in _NOTHING:
        return NoGold.NO_GOLD_ANSWER
    return _in_solution(text) if task in _ONE_ANSWER else Gold(text)


def _plain(value: Any) -> Any:
    """A value without NumPy's types; a list or struct that was written down as text is one again.

    Only lists of texts are: `[1, 2]` is an interval.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    if not isinstance(value, str) or not _WRITTEN.match(value):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return list(found) if isinstance(found, set) else found
    return value


def _of_struct(value: Mapping[str, Any], task: str, several: Several | None) -> Gold | NoGold:
    names = [name for name in _VALUE_IN if value.get(name) is not None]
    if not names or task == "countdown":
        return Gold(_text(value.get("target")), dict(value))
    own = value[names[0]]
    listed = [own] if names[0] in ("ground_truth", "answer") else _list(own)
    aliases = [alias for name in _ALIASES_IN for alias in _list(value.get(name))]
    if len(listed) == 1 and not aliases:
        return read(listed[0], task, several)
    return _of_list([*listed, *aliases], task, several or Several.ANY)


def _of_list(values: Iterable[Any], task: str, several: Several | None) -> Gold | NoGold:
    found = [read(value, task, several) for value in values]
    golds = [gold for gold in found if isinstance(gold, Gold) and (gold.text or gold.facts)]
    if not golds:
        lacks = (gold for gold in found if isinstance(gold, NoGold))
        return next(lacks, NoGold.NO_GOLD_ANSWER)
    named = [gold for gold in golds if gold.text]
    own = list(dict.fromkeys(gold.text for gold in named))
    if len(own) < 2:
        return named[0] if named else golds[0]
    if (several or (Several.ALL if task in _ONE_ANSWER else Several.ANY)) is Several.ANY:
        right = list(dict.fromkeys(text for gold in named for text in answers(*gold)))
        return Gold(right[0], {ACCEPTED: right[1:]})
    return Gold(", ".join(own)) if task == _JOINED else NoGold.SEVERAL_GOLD_ANSWERS


def answers(gold: str, facts: Mapping[str, Any]) -> list[str]:
    """All texts that are right, the gold answer first."""
    return [gold, *map(str, _list(facts.get(ACCEPTED)))]


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    value = _plain(value)
    return value if isinstance(value, list) else [value]


def number_text(number: float | Decimal) -> str | None:
    """A number in as few digits as name it, those of a whole one without a point; null for NaN.

    Raises `ValueError` for an infinite one.

    >>> [number_text(number) for number in (10**20, 1e10, 5.0, 0.1, 1e-7, Decimal("2.50"))]
    ['100000000000000000000', '10000000000', '5', '0.1', '1e-07', '2.5']
    """
    exact = Decimal(str(number))
    if exact.is_nan():
        return None
    if exact.is_infinite():
        raise ValueError("an infinite number")
    if isinstance(number, float) and number and not 1e-6 <= abs(number) < 1e21:
        return str(number)
    text = f"{exact:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _text(value: Any) -> str:
    if isinstance(value, float | Decimal) and math.isfinite(value):
        return number_text(value) or ""
    return "" if value is None else str(value)


# -- worked solutions -----------------------------------------------------------------------------

_FORMULAS = re.compile(r"\$[^$]*\$|\\\(.*?\\\)|\\\[.*?\\\]|\\[A-Za-z]+|\{[^{}]*\}", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]{2,}")
_SAID = re.compile(r".*\banswer\s*(?:is|:|=)\s*:?\s*(?P<said>\S[^\n]*?)\s*\.?\s*", re.DOTALL | re.I)
_BETWEEN = re.compile(
    r"[\s$]*(?:,|;|and|or|\\text\{\s*(?:and|or)\s*\}|\\quad)(?:\s*(?:and|or)\b)?[\s$]*"
    r"(?:[A-Za-z]\w?\s*=\s*)?"
)
"""What stands between boxes that are one answer together."""


def _in_solution(text: str) -> Gold | NoGold:
    """What marks the answer of a worked solution, or the text where it is none."""
    if "####" in text:
        return _or_nothing(text.rpartition("####")[2].strip())
    if "\\boxed" in text or "\\fbox" in text:
        return _or_nothing(last_boxed(text))
    if len(_WORD.findall(_FORMULAS.sub(" ", text))) <= _MOST_WORDS:
        return Gold(text)
    said = _SAID.fullmatch(text)
    return _or_nothing(said["said"] if said and len(said["said"]) < 100 else None)


def _or_nothing(text: str | None) -> Gold | NoGold:
    return Gold(text) if text and text not in _NOTHING else NoGold.NO_ANSWER_IN_SOLUTION


def last_boxed(text: str) -> str | None:
    r"""What the last \boxed{...} or \fbox{...} of a text holds; None if there is none that is
    closed. Boxes that end a text as one list, "\boxed{1} or \boxed{2}", are all of them.

    >>> last_boxed(r"so $x = \boxed{\frac{1}{2}}$."), last_boxed(r"\boxed{1}$ and $\boxed{2}.")
    ('\\frac{1}{2}', '1, 2')
    """
    held: list[str] = []
    end = len(text)
    while (start := max(text.rfind(f"{name}{{", 0, end) for name in ("\\boxed", "\\fbox"))) >= 0:
        opening = text.index("{", start)
        inside = _braced(text, opening)
        if inside is None or not inside.strip():
            break
        after = opening + len(inside) + 2
        if held and not (end - after < 40 and _BETWEEN.fullmatch(text[after:end])):
            break
        held.insert(0, inside.strip())
        end = start
    return ", ".join(held) or None


def _braced(text: str, opening: int) -> str | None:
    """What stands in the braces that open at a place; None if they are not closed."""
    depth = 0
    for brace in re.compile(r"\\.|[{}]").finditer(text, opening):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[opening + 1 : brace.start()]
    return None
