"""How long rewards take, beside a bare search for the answer's tags in the same texts.

    python tests/benchmarks/rewards.py

4,096 completions of 2,000 characters, in CPU seconds; and the slowest of some hostile ones.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial

from skill_factory.rewards import compute_score, compute_score_batch

COUNT = 4096
FACTS = {"numbers": [3, 3, 5, 7], "target": 24}
THOUGHT = "Let me see: 3 + 5 = 8. <answer>3 + 5</answer> That is 8, so on. "
KINDS = {
    "equation": "(3 + 5) * 3 = 24",
    "steps": "Step 1: 3 + 5 = 8\nStep 2: 8 * 3 = 24",
    "LaTeX": r"\frac{(3 + 5) \times 3}{1}",
}


def seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def all_of(search: Callable[[str], list[str]], texts: list[str]) -> list[list[str]]:
    return [search(text) for text in texts]


def main() -> None:
    for kind, answer in KINDS.items():
        tail = f"</think>\n\n<answer>\n{answer}\n</answer>"
        text = (THOUGHT * 40)[: 2000 - len(tail)] + tail
        texts = [text for _ in range(COUNT)]
        columns = (["countdown_4arg"] * COUNT, texts, [""] * COUNT, [FACTS] * COUNT)
        ours = seconds(partial(compute_score_batch, *columns))
        search = re.compile("<answer>(.*?)</answer>", re.DOTALL).findall
        bare = seconds(partial(all_of, search, texts))
        print(f"{kind:10} {ours:.3f} s for {COUNT:,}, {ours / bare:.1f} x a search for the tags")
    for name, text in {"tags": "<answer>" * 125_000, "parentheses": "(" * 20_000}.items():
        hostile = f"<answer>{text}</answer>"
        once = seconds(partial(compute_score, "countdown", hostile, "", FACTS))
        print(f"{name:10} {once * 1000:.1f} ms for one hostile completion")


if __name__ == "__main__":
    main()
