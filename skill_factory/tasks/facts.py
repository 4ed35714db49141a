"""Facts: what a grader needs of a question besides its gold answer; a JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Groups = tuple[tuple[str, ...], ...]
"""Names of facts; those of one group are of use only together."""

FACT_GROUPS: Groups = (
    ("numbers", "target"),
    ("letters", "length", "words"),
    ("choices", "length", "words"),
    ("gym", "entry"),
    ("options",),
    ("accepted_answers",),
    ("all_numbers",),
    ("rounded",),
)
"""The facts of the built-in tasks. A question keeps those that it has, whichever of these tasks
grades it."""

PACKED = "facts"
"""The key of verl's `extra_info` that holds all facts as JSON text, for tasks that take any: in
parquet all rows have the same names and types."""


def facts_of(known: object, groups: Groups | None = FACT_GROUPS) -> dict[str, Any] | None:
    """The facts in a mapping or its JSON; None if there are none.

    Of the `groups` those that are all there, `nums` taken for `numbers`; groups None: all of the
    mapping, but for nulls.

    >>> facts_of('{"nums": [3, 5], "target": 8, "seed": 1}')
    {'numbers': [3, 5], 'target': 8}
    >>> facts_of({"seed": 1, "target": None}, None)
    {'seed': 1}
    """
    if isinstance(known, str):
        try:
            known = json.loads(known)
        except (ValueError, RecursionError):
            return None  # metadata of another kind
    if not isinstance(known, Mapping):
        return None
    if groups is None:
        return without_nulls(known) or None
    given = {name: value for name, value in known.items() if value is not None}
    named = {"numbers": given.get("nums")} | given
    whole = [group for group in groups if all(named.get(name) is not None for name in group)]
    return {name: named[name] for group in whole for name in group} or None


def without_nulls(value: Any) -> Any:
    """A value without the nulls in its mappings: parquet has one for each name that any row has."""
    if isinstance(value, Mapping):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def names_in(groups: Groups) -> list[str]:
    """The columns that facts of these groups may stand in: their names, each once, and `nums`."""
    return list(dict.fromkeys(["nums", *(name for group in groups for name in group)]))
