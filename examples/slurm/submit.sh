#!/usr/bin/env bash
# A run at several vLLM servers of one model, on a cluster with Slurm.
#
#   servers.sbatch   an array of servers, a GPU each, which write their addresses to a file
#   run.sbatch       the run, on a few CPU cores beside them, which reads that file
#
# Put your cluster's names here. Activate the virtual environment that has skill-factory and vLLM.
# Then, in a folder that all nodes see:
#
#   bash examples/slurm/submit.sh configs/small.yaml outputs/small
#
# The run begins with the first server that answers, and goes on with more or fewer as tasks of the
# array start, end or are preempted. It ends the array when it is done. Whatever stops it, the same
# command goes on from there: no answer is asked for twice.
set -euo pipefail

partition=${PARTITION:-gpu}
cpu_partition=${CPU_PARTITION:-$partition}
account=${ACCOUNT:-my-account}
servers=${SERVERS:-4}                            # tasks of the array
export MODEL=${MODEL:-Qwen/Qwen2.5-1.5B-Instruct}

export CONFIG=${1:?a config, as configs/small.yaml} OUTPUT=${2:?the folder of the run}
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

export ADDRESSES="$PWD/servers-$(date +%Y%m%d-%H%M%S)-$$.txt"
touch "$ADDRESSES"
SERVERS_JOB=$(sbatch --parsable --partition="$partition" --account="$account" \
    --array="0-$((servers - 1))" "$here/servers.sbatch")
export SERVERS_JOB
run=$(sbatch --parsable --partition="$cpu_partition" --account="$account" "$here/run.sbatch")
echo "servers: job $SERVERS_JOB, their addresses: $ADDRESSES"
echo "run: job $run, its output: skill-factory-$run.log"
