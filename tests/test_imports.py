"""Imports: they go down only, from room to room; what is imported is declared, and the reverse."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from conftest import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OWN = {"skill_factory", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}

# Run in environments of their own.
ELSEWHERE = ("tests/trainers/", "tests/data/foreign/", "tests/browser/")

# Used without an import of ours.
BY_OTHERS = {
    "pandas": "pyarrow makes its data frames: to_pandas() of the Python API",
}


def plain(name: str) -> str:
    """A distribution's name without its version, as an index has it."""
    return re.split(r"[^\w.-]", name)[0].replace("_", "-").lower()


def imported(folder: Path) -> Iterator[tuple[str, Path]]:
    """The top-level modules that the files of a folder import, wherever in them, but for Python's
    own and ours."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in {name.partition(".")[0] for name in names}:
                if name not in sys.stdlib_module_names and name not in OWN:
                    yield name, path


def undeclared(folder: Path, declared: set[str]) -> set[str]:
    """The imports that no declared distribution has, each with a file."""
    having = packages_distributions()
    return {
        f"{path.relative_to(ROOT)}: {name}"
        for name, path in imported(folder)
        if not {plain(dist) for dist in having.get(name, [name])} & declared
    }


def test_what_the_package_imports_is_declared() -> None:
    listed = [*PROJECT["dependencies"]]
    for extra in EXTRAS.keys() - {"dev"}:
        listed += EXTRAS[extra]
    assert undeclared(ROOT / "skill_factory", set(map(plain, listed))) == set()


def test_what_the_tests_import_is_declared() -> None:
    listed = [*PROJECT["dependencies"], *(name for extra in EXTRAS.values() for name in extra)]
    found = undeclared(ROOT / "tests", set(map(plain, listed)))
    assert {one for one in found if not one.startswith(ELSEWHERE)} == set()


def test_what_is_declared_is_imported() -> None:
    having = packages_distributions()
    used = {
        plain(dist)
        for name, _ in imported(ROOT / "skill_factory")
        for dist in having.get(name, [name])
    }
    declared = set(map(plain, PROJECT["dependencies"]))
    assert declared - used <= BY_OTHERS.keys()


def test_imports_go_down_only(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--cache-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout
