#!/usr/bin/env bash
# Tests with a real model: SmolLM2-135M, in this process and behind llama.cpp's server. Arguments go to pytest.
# They have a virtual environment of their own under $TRAINERS (~/.cache/skill-factory), made once: llama.cpp is built then,
# which takes about ten minutes.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd -- "$here/../.."
place=${TRAINERS:-${XDG_CACHE_HOME:-$HOME/.cache}/skill-factory}/local
if ! cmp -s "$here/local.txt" "$place/made-from.txt"; then
    echo "Making the environment $place" >&2
    rm -rf "$place"
    mkdir -p "$(dirname -- "$place")"
    "${PYTHON:-python3}" -m venv "$place"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/local.txt"
    cp "$here/local.txt" "$place/made-from.txt"
fi
"$place/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
exec "$place/bin/python" -m pytest -o addopts=-q "$here" tests/models/test_local.py "$@"
