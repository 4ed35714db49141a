#!/usr/bin/env bash
# Everything a change must pass: linter, formatter, type checker, tests. Arguments go to pytest; `-m slow` runs the slow
# tests, which are left out without it.
# Installs what it needs into .venv (or $VENV) first.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
venv=${VENV:-.venv}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
"$venv/bin/mypy"
exec "$venv/bin/python" -m pytest --numprocesses logical --dist loadfile "$@"
