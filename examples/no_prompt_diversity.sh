#!/usr/bin/env bash
# Ablation "no prompt diversity": attempts of the variant `original` only.
#   bash examples/no_prompt_diversity.sh -i DATASET -o FOLDER [OPTIONS]
# Without -i and -o: the bundled data, into ./outputs/no_prompt_diversity, which needs --attempts 2.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
exec bash "$here/reflection.sh" -i "$here/data/smollm2_arithmetic_reflections.parquet" \
    --config "$here/../configs/no_prompt_diversity.yaml" -o ./outputs/no_prompt_diversity "$@"
