#!/usr/bin/env bash
# Does priming help? The whole way with a very small real model: questions, attempts, reflections, SFT data, SFT, GRPO, and
# four models measured on questions that none of them has seen, with ablations. docs/proof.md tells what came of it.
#
#   bash examples/laptop/proof.sh [minimal|short|full|gpu] [OUTPUT] [NAME=VALUE]...
#
# minimal: some minutes, and shows only that the parts fit. short: one seed, on two cores. full: a night, three seeds.
# gpu: one GPU of 80 GB, three seeds side by side. What is done is not done again. full and gpu also measure harder sums,
# and what is left of priming without its reflections, without its order, or with one attempt a trace.
set -euo pipefail
form=${1:-short} out=${2:-outputs/laptop}
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
python=$(realpath -s -- "$(command -v "${PYTHON:-python3}")")
low=10 high=39 tokens_at_once=32768 together=1 attempts=2 reflections=3 longest=3 batch=8 sft_lr=1e-4 lr=2e-6 ablations="" harder=0
case $form in
minimal) seeds=0 sft=6 rl=6 test=4 epochs=1 steps=1 prompts=2 group=2 samples=1 tokens=48 low=3
    attempts=1 longest=2 ;;
short) seeds=0 sft=40 rl=200 test=60 epochs=2 steps=3 prompts=2 group=8 samples=2 tokens=320 batch=4
    reflections=2 ;;
full) seeds="0 1 2" sft=150 rl=200 test=100 epochs=3 steps=12 prompts=4 group=8 samples=2 tokens=320
    ablations="no_reflection random 0C" harder=100 ;;
gpu) seeds="0 1 2" sft=500 rl=328 test=300 epochs=2 steps=12 prompts=32 group=8 samples=4 tokens=320
    low=3 high=49 tokens_at_once=300000 together=3 attempts=4 batch=16 sft_lr=2e-5 lr=5e-6
    ablations="no_reflection random 0C" harder=300 ;;
*) echo "unknown form: $form; choose minimal, short, full or gpu" >&2; exit 2 ;;
esac
for setting in "${@:3}"; do declare "$setting"; done
export HF_HUB_OFFLINE=1 TQDM_MININTERVAL=10
# glibc would give large blocks back at once, and take them anew page by page: a fifth of the time of training on CPUs.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000
mkdir -p "$out/eval"
cd -- "$out"

skill_factory() { "$python" -m skill_factory "$@"; }
once() { # FILE COMMAND...: the command that makes FILE, unless it is there
    [ -e "$1" ] || { printf '%(%T)T + %s\n' -1 "${*:2}" >&2; "${@:2}"; }
}
pids=()
beside() { # COMMAND...: beside the others, so many at a time as this machine bears
    while [ "$(jobs -rp | wc -l)" -ge "$together" ]; do wait -n; done
    "$@" &
    pids+=($!)
}
join() { for pid in "${pids[@]}"; do wait "$pid"; done; pids=(); }

# Questions: sums that the model does in a third of its attempts; three parts that share none.
once drawn.jsonl skill_factory questions addition --low "$low" --high "$high" --count $(((high - low + 1) ** 2)) -o drawn.jsonl
"$python" "$here/one_order.py" drawn.jsonl > all.jsonl
sed -n "1,${sft}p" all.jsonl > sft.jsonl
sed -n "$((sft + 1)),$((sft + rl))p" all.jsonl > rl.jsonl
sed -n "$((sft + rl + 1)),$((sft + rl + test))p" all.jsonl > test.jsonl
sets=(test.jsonl)
if [ "$harder" != 0 ]; then # larger numbers than any in training
    once far.jsonl skill_factory questions addition --low $((high + 1)) --high 99 --count 2000 -o far.jsonl
    "$python" "$here/one_order.py" far.jsonl | sed -n "1,${harder}p" > harder.jsonl
    sets+=(harder.jsonl)
fi

# SFT data. The prompts' grammars let every answer be read, and know nothing of what is right.
bank=$here/../../configs/quickstart_prompts.yaml
sampling="temperature: 0.7, top_p: 0.95, top_k: 40, repetition_penalty: null, max_tokens: 64, seed: 0"
cat > run.yaml << END
questions: {source: sft.jsonl, task: addition}
model: {base_url: "http://localhost/v1", name: smollm2}
sample: {prompts: $bank, samples: $attempts, $sampling}
reflect: {reflections: $reflections, $sampling}
create: {formats: ["*C_full"], attempts: $longest, layout: messages}
END
once base/model.safetensors "$python" "$here/model.py" base
answers() { # MODEL STAGE COMMAND...: ask by files, which answer.py answers
    once "$2.jsonl" skill_factory "${@:3}" --write-requests "$2.jsonl"
    once "$2.answers.jsonl" "$python" "$here/answer.py" "$1" "$2.jsonl" "$2.answers.jsonl" "$tokens_at_once"
    skill_factory "${@:3}" --read-responses "$2.answers.jsonl"
}
if [ ! -e run/sft/manifest.json ]; then
    answers base sample sample -c run.yaml -o run
    skill_factory grade run
    answers base reflect reflect -c run.yaml run
    skill_factory run run.yaml -o run
fi

# Training. A base model is shown worked examples, as it answers in no tags of its own; the others get the bare question.
"$python" - "$bank" > examples.yaml << 'END'
import sys, yaml
bank = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
original = {"messages": bank["variants"]["original"]["messages"]}  # without its grammar
yaml.safe_dump({"variants": {"original": original}, "reflection": bank["reflection"]}, sys.stdout)
END
train_sft() { # TRACES TO SEED
    once "$2/model.safetensors" "$python" "$here/sft.py" base "$1" "$2" --epochs "$epochs" --batch "$batch" --lr "$sft_lr" --seed "$3"
}
grpo() { # FROM TO SEED [OPTION]...
    once "$2/model.safetensors" "$python" "$here/grpo.py" "$1" rl/train.parquet "$2" --steps "$steps" --prompts-a-step "$prompts" \
        --group "$group" --tokens "$tokens" --lr "$lr" --seed "$3" "${@:4}"
}
once rl/train.parquet skill_factory export verl -i rl.jsonl -o rl --task addition --exclude-sft run/sft --val-size 1
for seed in $seeds; do
    beside grpo base "base-grpo-$seed" "$seed" --prompts examples.yaml original
    beside train_sft run/sft "sft-$seed" "$seed"
done
for format in $ablations; do
    once "$format/manifest.json" skill_factory create -i run/annotated.parquet -o "$format" --formats "$format" \
        --attempts "$longest" --layout messages
    beside train_sft "$format" "sft-$format" 0
done
join
primed=()
for name in $seeds $ablations; do
    beside grpo "sft-$name" "sft-grpo-$name" "$([[ $name == [0-9] ]] && echo "$name" || echo 0)"
    primed+=("sft-$name" "sft-grpo-$name")
done
join

# All models on the questions that were kept.
measure() { # MODEL
    local asked=(evaluate "${sets[@]}" --task addition --samples "$samples" --model "$1" --exclude-sft run/sft --temperature 0.7
        --top-p 1 --top-k 0 --repetition-penalty none --max-tokens "$tokens" --base-url http://localhost/v1 -o "eval/$1")
    case $1 in base*) asked+=(--prompts examples.yaml --prompt-variant original) ;; esac
    [ -e "eval/$1/summary.json" ] || answers "$1" "eval/$1" "${asked[@]}"
}
models=(base)
for seed in $seeds; do models+=("base-grpo-$seed"); done
models+=("${primed[@]}")
for model in "${models[@]}"; do beside measure "$model"; done
join
skill_factory compare "${models[@]/#/eval/}" --merge-seeds | tee compare.txt

# How accuracy, skills and lengths went over the steps of GRPO.
runs=()
for model in "${models[@]}"; do
    if [[ $model == *-grpo-* ]]; then
        once "grpo/$model/manifest.json" skill_factory measure "$model/completions" --questions rl.jsonl -o "grpo/$model"
        runs+=("$model")
    fi
done
skill_factory compare "${runs[@]/#/grpo/}" --merge-seeds -o grpo.html > /dev/null
"$python" "$here/curves.py" grpo.svg "${runs[@]}"
