"""YAML, parsed once: what it says, and the nodes that know the lines."""

from __future__ import annotations

import re
from typing import Any

import yaml

UNREADABLE = (yaml.YAMLError, ValueError, RecursionError)
"""What `parse` raises for a text that is no YAML, holds impossible values or contains itself."""

NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""What no file's name and no file in UTF-8 can hold."""

MOST = 10_000_000
"""Bytes, about, that a file may come to with each alias written out: a few lines of aliases of
aliases stand for more than fits into memory."""

_A_VALUE = 100
"""Bytes, about, of a value besides its text."""


def parse(text: str) -> tuple[Any, yaml.Node | None]:
    """The content of a YAML text and its node tree; both None if there is nothing in it."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        _size(node, {})
        return loader.construct_document(node), node
    finally:
        loader.dispose()


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """About how many bytes a node comes to, its aliases written out; `sizes` has those of nodes by
    their id, 0 while they are counted. Raises `ValueError` for more than `MOST`, or no end."""
    name = id(node)
    if name not in sizes:
        sizes[name] = 0
        own = _A_VALUE + _text_size(node)
        sizes[name] = own + sum(_size(below, sizes) for below in _below(node))
    if not sizes[name]:
        raise ValueError("an alias stands inside what it is an alias of")
    if sizes[name] > MOST:
        raise ValueError("it is too large, with its aliases written out")
    return sizes[name]


def _text_size(node: yaml.Node) -> int:
    if not isinstance(node, yaml.ScalarNode):
        return 0
    if NO_TEXT.search(node.value):
        line = node.start_mark.line + 1
        raise ValueError(f"line {line}: holds NUL or half a surrogate pair")
    return len(node.value)


def _below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []
