"""Three-valued verdicts, and how several become one."""

from __future__ import annotations

from collections.abc import Iterable

Verdict = bool | None


def every(verdicts: Iterable[Verdict]) -> Verdict:
    """True if all are, False if one is, else None."""
    result: Verdict = True
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is None:
            result = None
    return result


def some(verdicts: Iterable[Verdict]) -> Verdict:
    """True if one is, False if all are, else None."""
    found = every(None if verdict is None else not verdict for verdict in verdicts)
    return None if found is None else not found


def unless(verdict: Verdict, better: Verdict) -> Verdict:
    """A verdict where what is False is only undecided, since by other rules it would be True."""
    return None if verdict is False and better is not False else verdict


def matching(table: list[list[Verdict]]) -> Verdict:
    """Whether the rows' things can be paired with the columns', each once."""
    free = set(range(len(table)))
    verdict: Verdict = True
    for row in table:
        found = next((place for place in free if row[place]), None)
        if found is not None:
            free.discard(found)
        elif all(value is False for value in row):
            return False
        else:
            verdict = None
    return verdict
