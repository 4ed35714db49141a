"""Rewards for reinforcement learning: 1.0 for a right final answer, else 0.0.

For verl, name this file and `compute_score` (or, where it has the reward manager `batch`,
`compute_score_batch`); it may be named by path, whether or not this package is installed. For TRL,
import `answer_reward`. `data_source` names the task, see `skill_factory.tasks`.

The final answer is the text of the last `<answer>` pair after the last `</think>`, or of the whole
text where there is none: an answer before that tag earns nothing, but a completion without the tag,
cut off in its thinking perhaps, is read whole. What a model writes never raises. A task that does
not exist does, and a gold answer that is missing (`TaskError`): a training run on them would be for
nothing. A gold answer that its task can do nothing with earns nobody anything; it is logged once.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import repeat
from pathlib import Path
from typing import Any

try:
    import skill_factory  # noqa: F401
except ModuleNotFoundError:  # loaded by its path alone
    sys.path.append(str(Path(__file__).resolve().parents[1]))
from skill_factory.errors import TaskError
from skill_factory.markup import final_answer
from skill_factory.tasks import Grade, Task, graded, task_of

JUDGES = 4
"""Answers of a batch that are judged at a time, for tasks whose graders are processes."""

Score = float | dict[str, float]


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    task: str | None = None,
    details: bool = False,
    **_: Any,
) -> Score:
    """The reward of one completion; the signature of verl's single-sample reward functions
    (https://verl.readthedocs.io/en/latest/preparation/reward_function.html).

    `ground_truth` is the gold answer (of a list the one in it; a mapping is taken for facts),
    `extra_info` holds the question's facts: Countdown reads `numbers` and `target` there, and
    without them takes the gold expression's own. `task` overrides
    what `data_source` says. With `details`, a dict of `score`, `answered` and `undecided` (all 0.0
    or 1.0), which verl logs.

    >>> compute_score("countdown_3arg", "<think>..</think> <answer>3 * 8</answer>", "8 * 3")
    1.0
    """
    grade = _grade(task_of(task or data_source), solution_str, ground_truth, extra_info)
    return _score(grade, details)


def compute_score_batch(
    data_sources: Iterable[str],
    solution_strs: Sequence[str],
    ground_truths: Iterable[Any],
    extra_infos: Iterable[Mapping[str, Any] | None] | None = None,
    *,
    task: str | None = None,
    details: bool = False,
    **_: Any,
) -> list[Score]:
    """The rewards of a batch of completions, in its order; as `compute_score` for each. The
    signature of verl's `batch` reward manager (verl 0.4 to 0.7.0)."""
    of = [task_of(task or str(source)) for source in data_sources]
    every = (of, solution_strs, ground_truths, repeat(None) if extra_infos is None else extra_infos)
    if any(one.slow for one in of):
        with ThreadPoolExecutor(JUDGES) as pool:
            grades = list(pool.map(_grade, *every))
    else:
        grades = list(map(_grade, *every))
    return list(map(partial(_score, details=details), grades))


def answer_reward(
    prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
) -> list[float]:
    """The rewards of a batch for TRL's `GRPOTrainer`.

    The dataset's columns say what is right: `data_source`, the gold answer as `ground_truth` or
    `answer` (or inside verl's `reward_model`), and the facts as `extra_info`, or `numbers` and
    `target`. Raises `TaskError` if `data_source` or the gold answers are missing. A completion is
    text, or messages of which the last is read.
    """
    sources = columns.get("data_source")
    golds = columns.get("ground_truth") or columns.get("answer")
    if golds is None and columns.get("reward_model"):
        golds = [model["ground_truth"] for model in columns["reward_model"]]
    if sources is None or golds is None:
        raise TaskError(
            "the dataset needs the columns data_source, and ground_truth, answer or reward_model"
        )
    own = {name: columns[name] for name in ("numbers", "target") if columns.get(name) is not None}
    extra = columns.get("extra_info") or [None] * len(completions)
    facts = [
        (known or {}) | {name: values[i] for name, values in own.items()}
        for i, known in enumerate(extra)
    ]
    texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
    scores = compute_score_batch(sources, texts, golds, facts)
    return [score for score in scores if isinstance(score, float)]


def _grade(task: Task, completion: str, gold: Any, facts: Mapping[str, Any] | None) -> Grade | None:
    """The grade of a completion; None if it has no final answer."""
    known, wanted = _gold(gold, facts)
    answer = final_answer(completion)
    if answer is None:
        return None
    grade = graded(task, answer, known, wanted)
    if grade is Grade.UNDECIDED and (problem := task.fault(known, wanted)):
        _log_once(
            f"a gold answer of {task.name} cannot be graded against, {problem}: {known!r:.80}"
        )
    return grade


def _gold(gold: Any, facts: Mapping[str, Any] | None) -> tuple[str, Mapping[str, Any]]:
    """The gold answer as text, and the facts; raises `TaskError` for what is neither."""
    if hasattr(gold, "tolist"):  # a NumPy array or scalar
        gold = gold.tolist()
    if isinstance(gold, list | tuple) and len(gold) == 1:
        (gold,) = gold
    if isinstance(gold, Mapping):
        return "", {**(facts or {}), **gold}
    if gold is None or isinstance(gold, list | tuple | bool):
        raise TaskError(f"ground_truth {gold!r:.80} is no gold answer: expected text or a number")
    return str(gold), facts or {}


@lru_cache(maxsize=64)
def _log_once(words: str) -> None:
    logging.getLogger(__name__).warning(words)


def _score(grade: Grade | None, details: bool) -> Score:
    score = float(grade is Grade.RIGHT)
    if not details:
        return score
    return {
        "score": score,
        "answered": float(grade is not None),
        "undecided": float(grade is Grade.UNDECIDED),
    }
