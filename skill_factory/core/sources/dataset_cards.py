"""What the card of a dataset says: its configs and its license."""

from __future__ import annotations

from typing import Any

from skill_factory.core.places import Place, read_text
from skill_factory.core.yaml_files import UNREADABLE, parse


def configs_of(folder: Place) -> list[str]:
    """The configs that the card of a dataset folder names; none without a card or a header."""
    configs = card_header(folder).get("configs")
    return [str(c.get("config_name")) for c in configs or [] if isinstance(c, dict)]


def card_header(folder: Place) -> dict[str, Any]:
    """The header of a dataset folder's card; empty without one."""
    card = folder / "README.md"
    text = read_text(card) if card.is_file() else ""
    try:
        header = parse(text.split("---")[1])[0] if text.startswith("---") else None
    except (*UNREADABLE, IndexError):
        return {}
    return header if isinstance(header, dict) else {}


def license_of(header: Any) -> str | None:
    """The license that a card's header names; the first of several."""
    named = header.get("license") if header else None
    named = named[0] if isinstance(named, list) and named else named
    return named if isinstance(named, str) else None
