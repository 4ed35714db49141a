"""How the values of an annotated dataset become ours.

Whether they come from parquet or from JSON: the same data gives the same texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from skill_factory.tasks import kept_facts
from skill_factory.tasks.facts import Groups, facts_of, without_nulls
from skill_factory.tasks.golds import number_text as number_text


def question_text(value: object) -> str | None:
    """A question's text, or that of the one user turn among messages; a system turn may stand
    before it. Raises `ValueError` for anything else.

    >>> question_text([{"role": "system", "content": "Add."}, {"role": "user", "content": "1 + 1"}])
    '1 + 1'
    """
    if not isinstance(value, list):
        return plain_text(value)
    turns = [turn if isinstance(turn, Mapping) else {} for turn in value]
    if [str(turn.get("role")).lower() for turn in turns] not in (["user"], ["system", "user"]):
        raise ValueError("not one user turn")
    return plain_text(turns[-1].get("content"))


def facts_text(value: object) -> str | None:
    """Facts as JSON text, null for an object that holds none that a task reads; a text is left as
    it is. Raises `ValueError` for what is neither."""
    if not isinstance(value, Mapping):
        return plain_text(value)
    facts = plain_facts(value, kept_facts())
    return None if facts is None else json.dumps(facts)


def plain_facts(value: object, groups: Groups | None) -> dict[str, Any] | None:
    """The facts in an object or its JSON (`tasks.facts.facts_of`), as JSON can hold them."""
    facts = facts_of(value, groups)
    return None if facts is None else _plain_object(facts)


def gold_text(value: object) -> str | None:
    """A gold answer as text; null for a null, NaN, or a list or object with nothing in it.

    A list of numbers becomes one of their texts: `[1, 2]` as text is an interval. An object is
    without its nulls, which a parquet file has for each name that any object has. Raises
    `ValueError` for an infinite number and for bytes that are no UTF-8.

    >>> gold_text(["5", 2.50]), gold_text({"value": "Paris", "aliases": None}), gold_text(1e10)
    ('["5", "2.5"]', '{"value": "Paris"}', '10000000000')
    """
    if isinstance(value, Mapping):
        plain = _plain(without_nulls(value))
    elif isinstance(value, list):
        items = [item if isinstance(item, Mapping | list) else gold_text(item) for item in value]
        plain = [_plain(without_nulls(item)) for item in items if item is not None]
    elif isinstance(value, bool | bytes | str | None):
        return str(value) if isinstance(value, bool) else plain_text(value)
    elif isinstance(value, int | float | Decimal):
        return number_text(value)
    else:
        return str(value)  # dates and the like
    return json.dumps(plain, ensure_ascii=False, sort_keys=True) if plain else None


_TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def read_correctness(value: object) -> bool | None:
    """Correctness, which may be written as a number or a text, and null where it is null or NaN;
    raises `ValueError` for any other value.

    >>> [read_correctness(value) for value in (True, 0, 1.0, "False", "true", None)]
    [True, False, True, False, True, None]
    """
    if isinstance(value, str) and value.strip().lower() in _TRUTHS:
        return _TRUTHS[value.strip().lower()]
    if isinstance(value, bool | int | float | Decimal) and value in (0, 1):
        return bool(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    raise ValueError("neither true nor false")


def plain_text(value: object) -> str | None:
    """A text, perhaps in bytes of UTF-8; raises `ValueError` for anything else."""
    if isinstance(value, bytes):
        return value.decode()
    if value is None or isinstance(value, str):
        return value
    raise ValueError("not text")


def _plain(value: Any) -> Any:
    """A value as JSON can hold it; a whole number is an int, as parquet makes doubles of all of a
    column that has one."""
    if isinstance(value, Mapping):
        return _plain_object(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, float):
        return None
    return value if isinstance(value, str | int | None) else gold_text(value)


def _plain_object(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): _plain(item) for name, item in value.items()}


Reader = Callable[[object], str | None]

READERS: dict[str, Reader] = {
    "question": question_text,
    "gold": gold_text,
    "task": plain_text,
    "facts": facts_text,
}
"""How a value of a column of texts is read, by role. Where one raises, it is null, and counted."""

UNREADABLE = (ValueError, OverflowError, RecursionError)
"""What they raise: `ValueError`, or what Python does for dates out of its range and for lists in
hundreds of lists."""

READABLE = {
    "question": "a text, or one user turn after at most one system turn",
    "gold": "a text, a number, a list or an object",
    "task": "a text",
    "facts": "JSON text or an object",
}
"""What they take, for a person."""
