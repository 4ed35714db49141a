"""Draw the mean reward of each step of GRPO, as grpo.py logs it.

python curves.py OUTPUT.svg RUN...

A RUN is a folder of grpo.py's. Runs whose names differ in the number at their end alone, their
seeds, have one colour, and a thick line for their mean.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt


def main(output: str, *runs: str) -> None:
    seeds: dict[str, list[list[float]]] = defaultdict(list)
    for run in map(Path, runs):
        log = json.loads((run / "rewards.json").read_text("utf-8"))
        name = re.sub(r"-\d+$", "", run.name)
        seeds[name].append([step["reward"] for step in log])
    plt.rcParams["svg.hashsalt"] = "skill-factory"  # the same drawing has the same bytes
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for colour, (name, several) in zip(plt.cm.tab10.colors, seeds.items(), strict=False):
        for rewards in several:
            axes.plot(range(1, len(rewards) + 1), rewards, color=colour, alpha=0.35, linewidth=1)
        means = [sum(step) / len(step) for step in zip(*several, strict=False)]
        label = name if len(several) == 1 else f"{name}, mean of {len(several)} seeds"
        axes.plot(range(1, len(means) + 1), means, color=colour, linewidth=2.5, label=label)
    axes.set(xlabel="GRPO step", ylabel="mean reward", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(output, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
