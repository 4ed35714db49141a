"""Write a log of inspect_ai: `python make_inspect.py OUT` in an environment with inspect-ai
(0.3.285)."""

from __future__ import annotations

import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match
from inspect_ai.solver import generate
from scripted import QUESTIONS, RESPONSES


def main(out: str) -> None:
    samples = [Sample(input=question, target=gold) for question, gold in QUESTIONS.items()]
    texts = [RESPONSES[question][sample] for sample in range(2) for question in QUESTIONS]
    outputs = [
        ModelOutput.from_content(
            "mockllm/model", text, stop_reason="max_tokens" if text.endswith("more") else "stop"
        )
        for text in texts
    ]
    for output in outputs:  # else it counts them, with a vocabulary from the network
        words = len(output.completion.split())
        output.usage = ModelUsage(input_tokens=8, output_tokens=words, total_tokens=8 + words)
    (log,) = eval(
        Task(name="sums", dataset=MemoryDataset(samples), solver=generate(), scorer=match()),
        model=get_model("mockllm/model", custom_outputs=outputs),
        epochs=2,
        max_samples=1,
        max_connections=1,
        log_dir=out,
        display="none",
    )
    assert log.status == "success", log.error


if __name__ == "__main__":
    main(sys.argv[1])
