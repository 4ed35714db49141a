"""Rewards: what reinforcement learning would pay for each trace, and for the trace spoilt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from skill_factory.checks.codes import C
from skill_factory.checks.findings import Hit, Report
from skill_factory.checks.traces import Trace
from skill_factory.core import trace_tags as tags
from skill_factory.errors import PluginError, TaskError
from skill_factory.rewards import compute_score
from skill_factory.tasks import JUDGED_AT_ONCE, Gold, Task, gold_of, is_sound, own_facts, task_of


def mutants(text: str, wrong: str) -> dict[str, str]:
    """A trace spoilt in three ways, by name; a reward that is any good gives each of them 0.0.

    The final answer is `wrong`; or all answers after the thinking are gone; or everything after the
    thinking stands before its end.
    """
    thinking, end, after = text.rpartition("</think>")
    before, opening, answer = after.rpartition("<answer>")
    _, closing, rest = answer.partition("</answer>")
    return {
        "wrong": f"{thinking}{end}{before}{opening}\n{wrong}\n{closing}{rest}",
        "removed": f"{thinking}{end}{_ANSWERS.sub('', after)}",
        "moved": f"{thinking}{after}\n{end}",
    }


_ANSWERS = re.compile("<answer>.*?</answer>", re.DOTALL)


class RewardReplay:
    """Replays the rewards of traces. `task`: that of all questions; None: what the traces say.

    Traces of one question that end in the same answer earn the same, so only the first of them is
    replayed.
    """

    def __init__(self, task: Task | None) -> None:
        self._task = task
        self._answers: dict[str, str] = {}
        self._seen: dict[tuple[str, ...], Hit | None] = {}
        self._skipped = 0

    def hits(self, traces: Iterable[Trace]) -> Iterator[tuple[Trace, Hit]]:
        """What is wrong with the rewards of sound traces."""
        keys = [(trace, self._key(trace)) for trace in traces]
        first = {key: trace for trace, key in reversed(keys) if key and key not in self._seen}
        if any(map(self._is_slow, first.values())):
            with ThreadPoolExecutor(JUDGED_AT_ONCE) as pool:
                found = dict(zip(first, pool.map(self._replay, first.values()), strict=True))
        else:
            found = {key: self._replay(trace) for key, trace in first.items()}
        self._seen |= found
        for trace, key in keys:
            if key is None:
                self._skipped += 1
            elif (hit := self._seen[key]) is not None:
                yield trace, hit

    def tell(self, report: Report) -> None:
        """Add what only all traces together show."""
        if self._skipped:
            report.tell(
                C.NOT_REPLAYED,
                f"the rewards of {self._skipped:,} traces were not replayed: "
                "no gold answer and task stand beside them",
            )

    def _key(self, trace: Trace) -> tuple[str, ...] | None:
        """What the rewards of a trace depend on; None: it is a chat that says no gold answer."""
        unsaid = trace.ground_truth is None or (trace.data_source is None and self._task is None)
        if trace.origin is None and unsaid:
            return None
        facts = json.dumps(trace.extra_info, sort_keys=True, default=str)
        answer = tags.final_answer(trace.text)
        return (
            str(trace.data_source),
            repr(trace.ground_truth),
            facts,
            str(answer),
            str(trace.right),
        )

    def _is_slow(self, trace: Trace) -> bool:
        try:
            return (self._task or task_of(trace.data_source or "")).slow
        except TaskError:
            return False

    def _replay(self, trace: Trace) -> Hit | None:
        """What is wrong with a trace's reward; None: nothing."""
        if trace.ground_truth is None or (trace.data_source is None and self._task is None):
            return Hit(C.NO_REWARD, "", "the input did not say the task and the gold answer")
        try:
            task = self._task or task_of(str(trace.data_source))
        except TaskError as error:
            return Hit(C.NO_REWARD, "", str(error))
        try:
            return _hit(trace, task)
        except PluginError as error:
            raise PluginError(
                f"{error}; trace {trace.id}, question: {trace.question!r:.200}"
            ) from None


def _hit(trace: Trace, task: Task) -> Hit | None:
    facts = trace.extra_info if trace.origin else own_facts(task, trace.extra_info) or {}
    gold = gold_of(task, trace.ground_truth, facts)
    problem = task.fault(*gold) if isinstance(gold, Gold) else gold.replace("_", " ")
    if problem or not isinstance(gold, Gold):
        return Hit(C.NO_REWARD, "", f"against the gold answer: {problem}")
    if not is_sound(task, *gold):
        return Hit(C.UNSOUND_GOLD, "", gold.text)
    answer = tags.final_answer(trace.text) or ""
    beside = f"{answer}, where {gold.text} is right"
    earned = _earned(trace.text, task, gold)
    if trace.right is None and earned != 1.0:
        return Hit(C.WRONG_ANSWER, "final answer", beside)
    if trace.right is not None and earned != float(trace.right):
        return Hit(C.REWARD if trace.right else C.REWARD_OF_WRONG, "final answer", beside)
    for how, text in mutants(trace.text, task.wrong(answer, *gold)).items():
        if _earned(text, task, gold) != 0.0:
            return Hit(C.REWARD_OF_MUTANT, "final answer", f"{how}: {tags.final_answer(text)}")
    return None


def _earned(text: str, task: Task, gold: Gold) -> object:
    return compute_score(task.name, text, gold.text, gold.facts)
