#!/usr/bin/env bash
# An SFT dataset made on a Ray cluster: `skill-factory create`, submitted as a job. Shows its output, and ends as it ends.
#
#     RAY_ADDRESS=http://head:8265 bash examples/ray/submit.sh -i /shared/annotated -o /shared/sft
#
# RAY_ADDRESS is the cluster's dashboard. Arguments are those of `create`; paths are absolute, and all nodes see them.
# All nodes have the same Python with `pip install 'skill-factory[ray]'`, most simply from their image.
set -euo pipefail
exec ray job submit --address "${RAY_ADDRESS:-http://127.0.0.1:8265}" -- \
    python -m skill_factory create --engine ray "$@"
