#!/usr/bin/env bash
# Ablation "no reflections".
#   bash examples/no_reflections.sh -i DATASET -o FOLDER [OPTIONS]
# Without -i and -o: the bundled data, into ./outputs/no_reflections.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
exec bash "$here/reflection.sh" -i "$here/data/smollm2_arithmetic_reflections.parquet" \
    --config "$here/../configs/no_reflections.yaml" -o ./outputs/no_reflections "$@"
