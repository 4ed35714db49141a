#!/usr/bin/env bash
# The paper's training data, as its release makes it.
#   bash examples/release.sh -i DATASET -o FOLDER [OPTIONS]
# Without -i and -o: the bundled data, into ./outputs/release.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
exec bash "$here/reflection.sh" -i "$here/data/smollm2_arithmetic_reflections.parquet" \
    --config "$here/../configs/release.yaml" -o ./outputs/release "$@"
