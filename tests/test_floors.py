"""Imports go down only."""

from __future__ import annotations

import ast

import pytest
from conftest import ROOT

FLOORS = [
    {"errors", "arrays", "columns", "yaml_files"},
    {"tables", "markup", "ledger", "store"},
    {"phrases", "json_files", "pools", "card", "engines"},
    {"formats", "sources"},
    {"indexing", "weaving", "config"},
    {"pipeline"},
    {"sft_data_creation"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ROOMS = sorted(path for path in (ROOT / "skill_factory").glob("*.py") if path.stem != "__init__")


def imported_rooms(source: str) -> set[str]:
    """The rooms of skill_factory that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "skill_factory":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("skill_factory."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {name[1] for name in names if name[0] == "skill_factory" and len(name) > 1}
    return found - {"__version__"}


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.stem)
def test_a_room_imports_only_from_floors_below(path: object) -> None:
    from pathlib import Path

    assert isinstance(path, Path)
    below = {room for rooms in FLOORS[: FLOOR_OF[path.stem]] for room in rooms}
    assert imported_rooms(path.read_text(encoding="utf-8")) <= below


def test_every_floor_is_lived_in() -> None:
    assert {path.stem for path in ROOMS} == set(FLOOR_OF)
