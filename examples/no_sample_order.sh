#!/usr/bin/env bash
# Ablation "no sample order": any attempt may come last.
#   bash examples/no_sample_order.sh -i DATASET -o FOLDER [OPTIONS]
# Without -i and -o: the bundled data, into ./outputs/no_sample_order.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
exec bash "$here/reflection.sh" -i "$here/data/smollm2_arithmetic_reflections.parquet" \
    --config "$here/../configs/no_sample_order.yaml" -o ./outputs/no_sample_order "$@"
