"""How well answers are graded, beside the graders that others use.

    python tests/benchmarks/grading.py ROWS.jsonl --golds GOLDS.jsonl --pairs 20000

A row has `data_source`, `gold`, `facts`, `answer` and `right`; a line of the golds has `set` and
`gold`. Beside our graders: math-verify called as verl 0.9 calls it, on the answer as it stands and
in a box; TinyZero's rule for Countdown; and reasoning-gym's scorer for it. None of those three can
leave an answer undecided, so what they do not accept is wrong.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

from skill_factory.tasks import gold_of, task_of
from skill_factory.tasks.golds import NoGold

Grader = Callable[[str, str, Mapping[str, Any]], bool | None]


class Row(NamedTuple):
    """An answer and whether it is right."""

    task: str
    source: str
    gold: str
    facts: Mapping[str, Any]
    answer: str
    right: bool


def rows_of(path: Path) -> list[Row]:
    """The rows of a file."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        task = task_of(row["data_source"])
        gold = gold_of(task, row["gold"], row.get("facts") or {})
        if isinstance(gold, NoGold):
            raise SystemExit(f"no gold answer in {line}: {gold}")
        rows.append(Row(task.name, row["data_source"], *gold, row["answer"], row["right"]))
    return rows


# -- the others ------------------------------------------------------------------------------------


@lru_cache
def _metric() -> Callable[..., Any]:
    from math_verify.metric import math_metric
    from math_verify.parser import ExprExtractionConfig, LatexExtractionConfig

    metric: Callable[..., Any] = math_metric(
        gold_extraction_target=(LatexExtractionConfig(),),
        pred_extraction_target=(ExprExtractionConfig(), LatexExtractionConfig()),
    )
    return metric


def math_verify(answer: str, gold: str, facts: Mapping[str, Any], box: str = "{}") -> bool:
    """verl's `reward_score/math_verify.py`: the gold answer in a box, the output as it is."""
    from math_verify.errors import TimeoutException

    try:
        score, _ = _metric()([rf"\boxed{{{gold}}}"], [box.replace("{}", answer)])
    except (Exception, TimeoutException):
        return False
    return bool(score)


def tinyzero(answer: str, gold: str, facts: Mapping[str, Any]) -> bool:
    """TinyZero's rule, restated: the last line's last pair of tags holds the equation.

    It has only digits, + - * / ( ) . and spaces, uses each number exactly once, and its value by
    `eval` is within 0.00001 of the target. Powers are not tried here, as they may never end.
    """
    last = f"<answer>{answer}</answer>".split("\n")[-1]
    pairs = re.findall(r"<answer>(.*?)</answer>", last)
    equation = pairs[-1].strip() if pairs else ""
    used = sorted(int(number) for number in re.findall(r"\d+", equation))
    numbers = facts.get("numbers") or facts.get("nums") or []
    if not re.fullmatch(r"[\d+\-*/().\s]+", equation) or "**" in equation:
        return False
    try:
        warnings.simplefilter("ignore", SyntaxWarning)  # "2(3 + 4)" calls a number
        value = eval(equation, {"__builtins__": None}, {})
        return used == sorted(map(int, numbers)) and abs(value - facts["target"]) < 1e-5
    except Exception:
        return False


def gym(answer: str, gold: str, facts: Mapping[str, Any]) -> bool:
    """reasoning-gym's scorer for its own Countdown, which gives 1.0 to what is right."""
    from reasoning_gym import get_score_answer_fn

    numbers = facts.get("numbers") or facts.get("nums") or []
    entry = {"metadata": {"numbers": list(numbers), "target": facts.get("target")}}
    return bool(get_score_answer_fn("countdown")(answer, entry) == 1.0)


OTHERS: dict[str, dict[str, Grader]] = {
    "mathematics": {
        "math-verify, as verl": math_verify,
        "the same, boxed": partial(math_verify, box=r"\boxed{{}}"),
    },
    "countdown": {"TinyZero": tinyzero, "reasoning-gym": gym},
}


# -- the table -------------------------------------------------------------------------------------


def verdicts(grader: Grader, rows: list[Row]) -> tuple[Counter[tuple[bool, bool | None]], float]:
    """How often what is right or not was graded so, and the seconds it took the second time."""
    for _ in range(2):  # what is only slow at first is not what a training run waits for
        start = time.perf_counter()
        counts = Counter((row.right, grader(row.answer, row.gold, row.facts)) for row in rows)
        seconds = time.perf_counter() - start
    return counts, seconds


def print_table(rows: list[Row]) -> None:
    """One line a grader of each task."""
    print(f"{'task':12} {'grader':22} {'rows':>5} {'right: wrong':>13} {'undecided':>10}", end=" ")
    print(f"{'wrong: right':>13} {'a second':>9}")
    by_task = defaultdict(list)
    for row in rows:
        by_task[row.task].append(row)
    for task, mine in by_task.items():
        ours = task_of(mine[0].source).grade
        for name, grader in {"ours": ours, **OTHERS.get(task, {})}.items():
            counts, seconds = verdicts(grader, mine)
            missed, undecided = counts[True, False], counts[True, None]
            print(
                f"{task:12} {name:22} {len(mine):5} {missed:13} {undecided:10} "
                f"{counts[False, True]:13} {len(mine) / seconds:9,.0f}"
            )


# -- gold answers in what stands around them -----------------------------------------------------


def undollared(gold: str) -> str:
    """A gold answer without the dollars around it, if they are all it has."""
    inner = gold[1:-1]
    return inner if gold.startswith("$") and gold.endswith("$") and "$" not in inner else gold


def wrapped(gold: str) -> dict[str, str]:
    """A gold answer as models write it; one with dollars inside keeps them, and gets no more."""
    inner = undollared(gold)
    dollared = inner if "$" in inner else f"${inner}$"
    return {
        "bare": gold,
        "$..$": dollared,
        "$$..$$": inner if "$" in inner else f"$${inner}$$",
        r"\[..\]": inner if "$" in inner else rf"\[{inner}\]",
        "**..**": f"**{inner}**",
        "**$..$**": f"**{dollared}**",
        "sentence": f"The answer is {dollared}.",
        "plain sentence": f"The answer is {inner}.",
        "boxed": rf"\boxed{{{inner}}}",
    }


def golds_of(path: Path) -> dict[str, list[str]]:
    """The different gold answers of each set; of a list, its first."""
    sets: dict[str, dict[str, None]] = defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        gold = row["gold"][0] if isinstance(row["gold"], list) else row["gold"]
        text = str(int(gold)) if isinstance(gold, float) and gold.is_integer() else str(gold)
        sets[row["set"]][text] = None
    return {name: list(golds) for name, golds in sets.items()}


def print_wrappings(sets: dict[str, list[str]], show: bool) -> None:
    """How many gold answers are right against themselves in each wrapping."""
    golds = [gold for mine in sets.values() for gold in mine]
    for name, grader in {
        "ours": task_of("math").grade,
        "math-verify, as verl": math_verify,
    }.items():
        for kind in wrapped(""):
            failed = [gold for gold in golds if not grader(wrapped(gold)[kind], gold, {})]
            share = 1 - len(failed) / len(golds)
            print(f"{name:22} {kind:15} {share:7.2%} of {len(golds):,} right")
            if show and failed and name == "ours":
                print(*(f"    {gold}" for gold in failed), sep="\n")


def print_pairs(sets: dict[str, list[str]], count: int) -> None:
    """The different gold answers of one set that are taken for the same."""
    grade = task_of("math").grade
    draw = random.Random(0)
    counts: Counter[bool | None] = Counter()
    for name, golds in sets.items():
        pairs = list(permutations(golds, 2))
        for gold, answer in draw.sample(pairs, min(count, len(pairs))):
            verdict = grade(answer, gold, {})
            counts[verdict] += 1
            if verdict:
                print(f"    {name}: {gold} is {answer}")
    print(f"{counts.total():,} pairs: {counts[True]} right, {counts[None]:,} undecided")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("rows", type=Path, nargs="?", help="answers, and whether they are right")
    parser.add_argument("--golds", type=Path, help="gold answers, to wrap and to pair")
    parser.add_argument("--pairs", type=int, default=2_000, help="pairs of gold answers a set")
    parser.add_argument("--show", action="store_true", help="print gold answers that are not right")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # math-verify warns of every answer that it cannot read
    if arguments.rows:
        print_table(rows_of(arguments.rows))
    if arguments.golds:
        sets = golds_of(arguments.golds)
        print_wrappings(sets, arguments.show)
        print_pairs(sets, arguments.pairs)


if __name__ == "__main__":
    main()
