"""What a reading of an answer is made of: a tree of nodes."""

from __future__ import annotations

from typing import NamedTuple


class Node(NamedTuple):
    """A part of an answer: what it is, its own text, and what it is made of.

    | kind | text | parts |
    |---|---|---|
    | number | a fraction or a decimal, as `Fraction` reads it | |
    | based | digits_base | |
    | ratio | how it was written | the terms |
    | words | words in lower case | |
    | choice | the letter | what follows the letter |
    | expression | LaTeX | |
    | relation | LaTeX, joined by AND, by OR or, where that is not said, by EITHER | |
    | equation | LaTeX | both sides |
    | named | the name as LaTeX | the value |
    | record | | named values, of different names |
    | chain | = or ~ | what is said to be equal |
    | quantity | the unit, as `unit_of` names it | the value |
    | family | the condition | the value |
    | list | or, where words have it between them | values, in no order |
    | group | the brackets | values, in order unless the brackets are {} |
    | matrix | | groups, a row each |
    | opaque | what cannot be read | |
    """

    kind: str
    text: str = ""
    parts: tuple[Node, ...] = ()


def node_of(raw: list[object]) -> Node:
    """A node from the lists that JSON makes of one."""
    kind, text, parts = raw
    assert isinstance(parts, list)
    return Node(str(kind), str(text), tuple(map(node_of, parts)))
