#!/usr/bin/env bash
# Algorithm 1 of the paper.
#   bash examples/paper.sh -i DATASET -o FOLDER [OPTIONS]
# Without -i and -o: the bundled data, into ./outputs/paper.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
exec bash "$here/reflection.sh" -i "$here/data/smollm2_arithmetic_reflections.parquet" \
    --config "$here/../configs/paper.yaml" -o ./outputs/paper "$@"
