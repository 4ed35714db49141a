"""Rewards for reinforcement learning: 1.0 for a right final answer, else 0.0.

For verl, name this file and `compute_score` (or, where it has the reward manager `batch`,
`compute_score_batch`); it may be named by path, whether or not this package is installed. For TRL,
import `answer_reward`. `data_source` names the task, see `skill_factory.tasks`. A task of your own
is known if its package is installed; code, `file.py:NAME` or `module:NAME`, goes into the keyword
`plugins` (for verl, `custom_reward_function.reward_kwargs.plugins`), or into a call of
`skill_factory.tasks.load_task` before the training.

The final answer is the text of the last `<answer>` pair after the last `</think>`, or of the whole
text where nothing says that it thinks. What is cut off inside a `<think>` earns nothing. What a
model writes never raises. A task that does not exist does (`TaskError`), and one of your own whose
code raises (`PluginError`): a training run on it would be for nothing. A gold answer that is
missing, or that its task can do nothing with, earns nobody anything; it is logged once, with its
row.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

try:
    import skill_factory  # noqa: F401
except ModuleNotFoundError:  # loaded by its path alone
    sys.path.append(str(Path(__file__).resolve().parents[1]))
from skill_factory.core.trace_tags import final_answer, is_thinking
from skill_factory.errors import PluginError, TaskError
from skill_factory.tasks import (
    JUDGED_AT_ONCE,
    TASKS,
    Facts,
    Grade,
    Task,
    graded,
    load_task,
    load_tasks,
    task_of,
)
from skill_factory.tasks.facts import PACKED, facts_of, names_in
from skill_factory.tasks.golds import NoGold, Several, read

Score = float | dict[str, float]


class _Rules(NamedTuple):
    """What is said of all completions, the keywords of `compute_score`."""

    task: str | None
    several: Several | None
    unfinished: bool
    facts: Facts


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Facts | None = None,
    *,
    task: str | None = None,
    details: bool = False,
    several_answers: str | None = None,
    all_numbers: bool = False,
    rounded: bool = False,
    unfinished_thinking: bool = False,
    plugins: str | Sequence[str] = (),
    **_: Any,
) -> Score:
    """The reward of one completion; the signature of verl's single-sample reward functions
    (https://verl.readthedocs.io/en/latest/preparation/reward_function.html).

    `ground_truth` is the gold answer as a dataset has it (`skill_factory.tasks.golds`): text, a
    number, a list; of a struct without a gold answer the facts are taken. `extra_info` holds the
    question's facts: Countdown reads `numbers` and `target` there, and without them takes the gold
    expression's own. `task` overrides what `data_source` says. With `details`, a dict of `score`,
    `answered` and `undecided` (all 0.0 or 1.0), which verl logs. `several_answers`: of a list of
    gold answers `any` is right, or `all` are asked for. `all_numbers`: Countdown must use every
    number. `rounded`: a rounded decimal is right for an exact gold answer. `unfinished_thinking`:
    an answer inside a `<think>` that was never closed counts too. `plugins`: tasks of your own,
    each as `/path/to/file.py:NAME` or `module:NAME`, which a `data_source` may then name.

    >>> compute_score("countdown_3arg", "<think>..</think> <answer>3 * 8</answer>", "8 * 3")
    1.0
    """
    (score,) = compute_score_batch(
        [data_source],
        [solution_str],
        [ground_truth],
        [extra_info],
        task=task,
        details=details,
        several_answers=several_answers,
        all_numbers=all_numbers,
        rounded=rounded,
        unfinished_thinking=unfinished_thinking,
        plugins=plugins,
    )
    return score


def compute_score_batch(
    data_sources: Iterable[str],
    solution_strs: Sequence[str],
    ground_truths: Iterable[Any],
    extra_infos: Iterable[Facts | None] | None = None,
    *,
    task: str | None = None,
    details: bool = False,
    several_answers: str | None = None,
    all_numbers: bool = False,
    rounded: bool = False,
    unfinished_thinking: bool = False,
    plugins: str | Sequence[str] = (),
    **_: Any,
) -> list[Score]:
    """The rewards of a batch of completions, in its order; as `compute_score` for each. The
    signature of verl's `batch` reward manager (verl 0.4 to 0.7.0). Raises `ValueError` where one
    list is longer than another."""
    asked = {"all_numbers": all_numbers, "rounded": rounded}
    rules = _Rules(
        task,
        _several(several_answers),
        unfinished_thinking,
        {name: True for name, wanted in asked.items() if wanted},
    )
    load_tasks(plugins)
    named = load_task(task) if task else None
    of = [named or task_of(str(source)) for source in data_sources]
    facts = [None] * len(of) if extra_infos is None else extra_infos
    rows = enumerate(zip(of, solution_strs, ground_truths, facts, strict=True))

    def work(row: tuple[int, tuple[Any, ...]]) -> Grade | None:
        return _grade(rules, row[0], *row[1])

    if len(of) > 1 and any(one.slow for one in of):
        with ThreadPoolExecutor(JUDGED_AT_ONCE) as pool:
            grades = list(pool.map(work, rows))
    else:
        grades = list(map(work, rows))
    return list(map(partial(_score, details=details), grades))


def _several(word: str | None) -> Several | None:
    try:
        return Several(word) if word else None
    except ValueError:
        raise TaskError(f"several_answers: expected {' or '.join(Several)}, not {word!r}") from None


def answer_reward(
    prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
) -> list[float]:
    """The rewards of a batch for TRL's `GRPOTrainer`.

    The dataset's columns say what is right: `data_source`, the gold answer as `ground_truth` or
    `answer` (or inside verl's `reward_model`), and the facts as `extra_info` or `metadata`, or in
    columns of their own names, as `nums` and `target`; Countdown needs no gold answer beside these.
    Raises `TaskError` if `data_source` or the gold answers are missing. A completion is text, or
    messages of which the last is read; one without text earns nothing.
    """
    sources, golds = columns.get("data_source"), _golds(columns)
    own = _fact_columns(columns, sources or [])
    if golds is None and "target" in own:
        golds = own["target"]
    if sources is None or golds is None:
        raise TaskError(
            "the dataset needs the columns data_source, and ground_truth, answer or reward_model"
        )
    nothing = [None] * len(completions)
    extra = columns.get("extra_info") or columns.get("metadata") or nothing
    facts = [
        _mapping(known) | {name: values[i] for name, values in own.items()}
        for i, known in enumerate(extra)
    ]
    scores = compute_score_batch(sources, list(map(_text, completions)), golds, facts)
    return [score for score in scores if isinstance(score, float)]


def _fact_columns(columns: Mapping[str, Any], sources: Iterable[Any]) -> dict[str, Any]:
    """The columns that stand for facts of the tasks, by their names."""
    tasks = {task.name: task for task in map(task_of, {str(source) for source in sources})}
    names = {name for task in tasks.values() for name in names_in(task.groups or ())}
    return {name: columns[name] for name in sorted(names) if columns.get(name) is not None}


def _mapping(known: Any) -> dict[str, Any]:
    """Facts that may be written as JSON; empty where there are none."""
    if isinstance(known, str):
        return facts_of(known, None) or {}
    return dict(known) if isinstance(known, Mapping) else {}


def _golds(columns: Mapping[str, Any]) -> Any:
    """The column of gold answers; None if there is none."""
    if columns.get("reward_model"):
        inside = [model.get("ground_truth") for model in columns["reward_model"]]
    else:
        inside = None
    return columns.get("ground_truth") or columns.get("answer") or inside


def _text(completion: Any) -> str:
    """The text of a completion: its own, or of its last message, which may be in parts; empty if it
    has none, as a tool call has."""
    if isinstance(completion, list):
        completion = completion[-1] if completion else ""
    content = completion.get("content") if isinstance(completion, Mapping) else completion
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _grade(
    rules: _Rules, row: int, task: Task, completion: str, gold: Any, facts: Facts | None
) -> Grade | None:
    """The grade of a completion; None if it has no final answer."""
    answer = final_answer(completion)
    if answer is None or (not rules.unfinished and is_thinking(completion)):
        return None
    found = read(gold, task.name, rules.several)
    # Without a gold answer the facts may still say what is right.
    text, told = ("", {}) if isinstance(found, NoGold) else found
    known = {**_read_by(task, facts or {}), **told, **rules.facts}
    try:
        grade = graded(task, answer, text, known)
    except PluginError as error:
        raise PluginError(f"{error}; row {(facts or {}).get('index', row)}") from None
    if grade is Grade.UNDECIDED and (problem := task.fault(text, known)):
        said = found.replace("_", " ") if isinstance(found, NoGold) else problem
        _log_once(task.name, gold, (facts or {}).get("index", row), said)
    return grade


def _read_by(task: Task, facts: Facts) -> Facts:
    """What of verl's `extra_info` a task is given: of one from outside, the facts that it reads.
    The built-in ones read by name."""
    if task.name in TASKS:
        return facts
    packed = facts.get(PACKED) if task.groups is None else None
    whole = facts_of(packed, None) if isinstance(packed, str) else None
    return whole or facts_of(facts, task.groups) or {}


_LOGGED: set[tuple[str, str]] = set()
_MOST_LOGGED = 1000


def _log_once(task: str, gold: Any, row: Any, problem: str) -> None:
    """Warn of a gold answer, the first time that it is met. `row`: its `index` in `extra_info`, or
    its place in the batch."""
    shown = f"{gold!r:.80}"
    if (task, shown) not in _LOGGED and len(_LOGGED) < _MOST_LOGGED:
        _LOGGED.add((task, shown))
        logging.getLogger(__name__).warning(
            f"row {row}: a gold answer of {task} cannot be graded against, {problem}: {shown}"
        )


def _score(grade: Grade | None, details: bool) -> Score:
    score = float(grade is Grade.RIGHT)
    if not details:
        return score
    return {
        "score": score,
        "answered": float(grade is not None),
        "undecided": float(grade is Grade.UNDECIDED),
    }
