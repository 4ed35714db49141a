"""Write lm-eval's samples: `python make_lm_eval.py OUT` in an environment with lm-eval (0.4.13)."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from scripted import QUESTIONS, RESPONSES


class Scripted(LM):
    """Answers each question with its samples in turn."""

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        asked: dict[str, int] = {}
        out = []
        for request in requests:
            question = request.args[0].removeprefix("Question: ").removesuffix("\nAnswer:")
            out.append(RESPONSES[question][asked.get(question, 0)])
            asked[question] = asked.get(question, 0) + 1
        return out

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        raise NotImplementedError


def main(out: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "sums.jsonl")
        rows = [{"question": question, "answer": gold} for question, gold in QUESTIONS.items()]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = {
            "task": "sums",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": "Question: {{question}}\nAnswer:",
            "doc_to_target": "{{answer}}",
            "repeats": 2,
            "generation_kwargs": {"until": ["\n\n\n"], "do_sample": True, "temperature": 1.0},
            "filter_list": [
                {"name": "first", "filter": [{"function": "take_first"}]},
                {
                    "name": "number",
                    "filter": [
                        {"function": "regex", "regex_pattern": "(\\d+)"},
                        {"function": "take_first"},
                    ],
                },
            ],
            "metric_list": [{"metric": "exact_match"}],
        }
        tracker = EvaluationTracker(output_path=out)
        found = lm_eval.simple_evaluate(
            model=Scripted(),
            tasks=[task],
            log_samples=True,
            evaluation_tracker=tracker,
        )
        samples = found.pop("samples")
        tracker.general_config_tracker.model_name_sanitized = "my-model"
        tracker.save_results_aggregated(results=found, samples=samples)
        for name, each in samples.items():
            tracker.save_results_samples(task_name=name, samples=each)


if __name__ == "__main__":
    main(sys.argv[1])
