"""YAML, parsed once: what it says, and the nodes that know the lines."""

from __future__ import annotations

from typing import Any

import yaml

UNREADABLE = (yaml.YAMLError, ValueError, RecursionError)
"""What `parse` raises for a text that is no YAML, holds impossible values or contains itself."""


def parse(text: str) -> tuple[Any, yaml.Node | None]:
    """The content of a YAML text and its node tree; both None if there is nothing in it."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), node
    finally:
        loader.dispose()
