#!/usr/bin/env bash
# Make an SFT dataset from a reflection-annotated dataset.
#
#   bash examples/reflection.sh                                   the bundled dataset, into ./outputs/reflection
#   bash examples/reflection.sh -i DATASET -o FOLDER [OPTIONS]    OPTIONS as in `skill-factory create --help`
#
# Uses the Python of an active virtual environment, or the one named by PYTHON, if SkillFactory's requirements are
# installed there; else it installs them once into .venv, beside examples/.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

# Whether a Python has all requirements, in the versions asked for.
ready() {
    "$1" - "$root/requirements.txt" >/dev/null 2>&1 <<'CHECK'
import sys
from importlib.metadata import version
from packaging.requirements import Requirement

lines = [line for line in open(sys.argv[1]).read().splitlines() if line and line[0] != "#"]
sys.exit(not all(r.specifier.contains(version(r.name)) for r in map(Requirement, lines)))
CHECK
}

python=${PYTHON:-python3}
if ! ready "$python"; then
    python=$root/.venv/bin/python
    if ! ready "$python"; then
        base=${PYTHON:-python3}
        if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            echo "Error: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python" >&2
            exit 1
        fi
        echo "Installing the requirements into $root/.venv (once)" >&2
        "$base" -m venv "$root/.venv"
        "$python" -m pip install --quiet --disable-pip-version-check -r "$root/requirements.txt" >&2
    fi
fi

# What no argument and no config names is the bundled dataset and its folder.
input=(-i "$root/examples/data/smollm2_arithmetic_reflections.parquet")
output=(-o ./outputs/reflection)
for argument in "$@"; do
    case $argument in
        -c* | --config | --config=*) input=() output=() ;;
        -i* | --input-dataset | --input-dataset=* | --input_reflection_dataset_name*) input=() ;;
        -o* | --output-dataset | --output-dataset=* | --output_dataset_name*) output=() ;;
    esac
done
exec "$python" -m skill_factory.sft_data_creation ${input[@]+"${input[@]}"} ${output[@]+"${output[@]}"} "$@"
