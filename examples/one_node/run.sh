#!/usr/bin/env bash
# The paper's Countdown run on one node with 8 GPUs: vLLM is started on each of them, asked, and ended with the run.
#
#   pip install . vllm
#   bash examples/one_node/run.sh [CONFIG] [MODEL] [OPTIONS]
#
# CONFIG: a run's config, by default configs/countdown.yaml. MODEL: a path, or a model on the Hub. OPTIONS are those of
# `skill-factory run`: for a model that needs several GPUs, --replicas 2 --serve-args '--tensor-parallel-size 4'.
# Whatever stops it, the same command goes on from there. docs/servers.md has the details.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
config=${1:-$here/../../configs/countdown.yaml} model=${2:-Qwen/Qwen2.5-1.5B-Instruct}
exec skill-factory run "$config" --serve vllm --model "$model" "${@:3}"
