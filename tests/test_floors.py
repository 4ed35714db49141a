"""Imports go down only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import ROOT

FLOORS = [
    {"errors", "arrays", "columns", "yaml_files", "redaction"},
    {"terminal"},
    {"commands", "tables", "markup", "ledger", "store", "tokens", "prompts", "models", "tasks"},
    {"values", "replies", "thinking"},
    {"annotated", "servers"},
    {"draws", "phrases", "json_files", "pools", "card", "engines", "journal", "llama"},
    {"formats", "sources", "rewards", "hub", "grading", "sampling"},
    {"questions", "attempts", "indexing", "weaving", "checks", "batch_files", "estimates"},
    {"config", "reflecting", "progress", "first_answers", "export"},
    {"pipeline", "run_folder", "local"},
    {"run_settings"},
    {"runs", "sft_data_creation", "hand_off", "question_commands"},
    {"run_commands"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PACKAGE = ROOT / "skill_factory"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    """A module of skill_factory, or the folder it lies in: a room of several files."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


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


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_floors_below(path: Path) -> None:
    room = room_of(path)
    below = {name for names in FLOORS[: FLOOR_OF[room]] for name in names}
    assert imported_rooms(path.read_text(encoding="utf-8")) - {room} <= below


def test_every_floor_is_lived_in() -> None:
    assert set(map(room_of, FILES)) == set(FLOOR_OF)
