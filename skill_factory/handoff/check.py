"""What can be wrong with an SFT folder: files, traces, rewards, a trainer's limits.

A check of a user's own is named `module:name` or `file.py:name`, or installed under the entry point
group `skill_factory.checks` (docs/extending.md).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from skill_factory.core import markup
from skill_factory.core import trace_tags as tags
from skill_factory.core.arrays import Ints
from skill_factory.core.token_counts import TokenCounter
from skill_factory.core.whole_files import verified_manifest
from skill_factory.errors import InputError, OptionError, PluginError, TaskError
from skill_factory.plugins import Door, check_unchanged, guarded, is_reference, takes
from skill_factory.rewards import compute_score
from skill_factory.tasks import (
    JUDGED_AT_ONCE,
    Gold,
    Task,
    gold_of,
    is_sound,
    load_task,
    task_of,
)

BATCH_ROWS = 1024


class Trace(NamedTuple):
    """A row of the dataset, with what its plan says a reward needs.

    `turns` are pairs of role and content. `right`: whether the answer that ends it is correct, by
    the input's word. `data_source` and `ground_truth` are None where the input did not say.
    """

    id: str
    label: str
    turns: list[tuple[str | None, str | None]]
    right: bool
    data_source: str | None
    ground_truth: str | None
    extra_info: dict[str, Any]

    @property
    def question(self) -> str:
        """The user's turn."""
        return self.turns[0][1] or ""

    @property
    def text(self) -> str:
        """The assistant's turn."""
        return self.turns[-1][1] or ""


class Check(NamedTuple):
    """A check of a user's own: its `name`, and `faults(trace)`, which gives the faults of a trace,
    each a line of text; none for a good one. `about` is a line for a person.

    It is asked about traces in which no other fault was found.
    """

    name: str
    faults: Callable[[Trace], Iterable[str]]
    about: str = ""


@dataclass
class Report:
    """What was found: for each fault the traces that have it, and what a person should read."""

    traces: int = 0
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)

    def summary(self, names: int) -> str:
        """All of it as lines of text, with up to so many trace ids for each fault."""
        lines = [f"{self.traces:,} traces"]
        for fault, ids in self.faults.items():
            lines.append(f"Fault: {fault}: {len(ids):,}")
            lines += [f"  {name}" for name in ids[:names]]
            if len(ids) > names:
                lines.append(f"  and {len(ids) - names:,} more (`check --verbose` names them all)")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def check(
    folder: Path,
    *,
    task: str | None = None,
    rewards: bool = True,
    counter: TokenCounter | None = None,
    cutoff_len: int | None = None,
    checks: Iterable[str] = (),
) -> Report:
    """Look at every trace of an SFT folder.

    The files are what the manifest says; the turns are such that no trainer drops them; each trace
    can be read back; with `rewards`, it earns 1.0 and each of its `mutants` 0.0; with a
    `counter`, no text holds one of its special tokens and, with `cutoff_len`, none is longer.
    `task` overrides what the folder says; `checks` are the user's own (`load_check`). Raises
    `InputError` for what is no whole SFT folder, `TaskError` for an unknown `task`, and
    `OptionError` for an unknown check; `PluginError` for a task or check from outside that cannot
    be loaded, or raises.
    """
    verified_manifest(folder)
    named = load_task(task) if task else None
    own = [load_check(name) for name in checks]
    report, lengths = Report(), _Lengths(counter, cutoff_len)
    total = pq.ParquetFile(folder / "plan.parquet").metadata.num_rows
    bar = tqdm(desc="check", unit=" traces", total=total, disable=None, leave=False)
    with bar, ThreadPoolExecutor(JUDGED_AT_ONCE) as pool:
        for traces in read_traces(folder):
            report.traces += len(traces)
            sound = []
            for trace in traces:
                faults = [*_turn_faults(trace), *_text_faults(trace)]
                if not faults:
                    faults = [fault for check in own for fault in check.faults(trace)]
                for fault in faults:
                    report.faults[fault].append(trace.id)
                if not faults:
                    sound.append(trace)
            lengths.add(sound, report)
            earned = pool.map(partial(_reward_fault, named=named), sound) if rewards else []
            for trace, lack in zip(sound, earned, strict=False):
                if lack:
                    report.faults[lack].append(trace.id)
            bar.update(len(traces))
    lengths.tell(report)
    return report


def read_traces(folder: Path) -> Iterator[list[Trace]]:
    """The traces of an SFT folder beside their plan, some at a time.

    Raises `InputError` if the two do not tell of the same traces.
    """
    wanted = ["trace_id", "steps", "answer_of", "data_source", "ground_truth", "extra_info"]
    plans = chain.from_iterable(_rows(folder / "plan.parquet", wanted))
    for path in sorted(folder.glob("sft_train/*.parquet")):
        for rows in _rows(path):
            pairs = list(zip(rows, plans, strict=False))
            if [row["trace_id"] for row in rows] != [plan["trace_id"] for _, plan in pairs]:
                raise InputError(f"{path}: plan.parquet does not tell of these traces")
            yield [_trace(row, plan) for row, plan in pairs]
    if next(plans, None) is not None:
        raise InputError(f"{folder}: plan.parquet tells of more traces than there are")


def _rows(path: Path, columns: list[str] | None = None) -> Iterator[list[dict[str, Any]]]:
    """The rows of a parquet file; raises `InputError` for a column that is not there."""
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        if absent := [name for name in columns or [] if name not in file.schema_arrow.names]:
            raise InputError(f"{path}: has no column {absent[0]!r}; make the folder again")
        for batch in file.iter_batches(BATCH_ROWS, columns=columns):
            yield batch.to_pylist()


def _trace(row: dict[str, Any], plan: dict[str, Any]) -> Trace:
    turns = row["conversations"] if "conversations" in row else row["messages"]
    return Trace(
        row["trace_id"],
        row["sft_template_type_idx"],
        [(turn["role"], turn["content"]) for turn in turns or []],
        plan["steps"][plan["answer_of"]]["correct"],
        plan["data_source"],
        plan["ground_truth"],
        json.loads(plan["extra_info"] or "{}"),
    )


# -- turns and texts ------------------------------------------------------------------------------


def _turn_faults(trace: Trace) -> Iterator[str]:
    """What makes LLaMA-Factory 0.9.5 drop a row, train on nothing, or stop (measured)."""
    if [role for role, _ in trace.turns] != ["user", "assistant"]:
        yield "turns are not one user turn and then one assistant turn"
    elif not all(text and text.strip() for _, text in trace.turns):
        yield "a turn is empty"


def _text_faults(trace: Trace) -> Iterator[str]:
    if any(_CHAT_TOKEN.search(text or "") for _, text in trace.turns):
        yield "a chat-template token in a text"
    if len(trace.turns) == 2 and markup.read(trace.text).trace is None:
        yield "the trace cannot be read back"


_CHAT_TOKEN = re.compile("|".join(tags.CHAT_TOKENS))


# -- rewards --------------------------------------------------------------------------------------


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


def _reward_fault(trace: Trace, named: Task | None) -> str | None:
    """What is wrong with a trace's reward; None: nothing."""
    if trace.ground_truth is None or (trace.data_source is None and named is None):
        return (
            "no reward can be replayed, as the input did not say the task and the gold answer "
            "(--task, --answer-column of `create`; or --no-rewards)"
        )
    try:
        task = named or task_of(str(trace.data_source))
    except TaskError as error:
        return f"no reward can be replayed: {error}"
    try:
        return _fault_of_reward(trace, task)
    except PluginError as error:
        raise PluginError(f"{error}; trace {trace.id}, question: {trace.question!r:.200}") from None


def _fault_of_reward(trace: Trace, task: Task) -> str | None:
    gold = gold_of(task, trace.ground_truth, trace.extra_info)
    problem = task.fault(*gold) if isinstance(gold, Gold) else gold.replace("_", " ")
    if problem or not isinstance(gold, Gold):
        return f"no reward can be replayed against the gold answer: {problem}"
    if not is_sound(task, *gold):
        return "the gold answer is not right against itself"
    if _earned(trace.text, task, gold) != float(trace.right):
        return "the reward is not 1.0" if trace.right else "the reward of a wrong answer is not 0.0"
    said = tags.final_answer(trace.text) or ""
    for how, text in mutants(trace.text, task.wrong(said, *gold)).items():
        if _earned(text, task, gold) != 0.0:
            return f"the reward is not 0.0 with the final answer {how}"
    return None


def _earned(text: str, task: Task, gold: Gold) -> object:
    return compute_score(task.name, text, gold.text, gold.facts)


# -- from outside ---------------------------------------------------------------------------------


def _admitted(found: Check, where: str) -> Check:
    """A check from outside that raises nothing but `PluginError`s; raises one for a wrong shape."""
    if not (isinstance(found.name, str) and re.fullmatch(r"[\w-]+", found.name)):
        raise PluginError(f"{where}: name: expected letters, digits, _ and -, found {found.name!r}")
    if not takes(found.faults, 1):
        raise PluginError(f"{where}: faults: expected a function of (trace), not {found.faults!r}")
    if not isinstance(found.about, str):
        raise PluginError(f"{where}: about: expected text, found {found.about!r:.80}")

    def faults(trace: Trace) -> list[str]:
        look = guarded(
            lambda: list(found.faults(trace)), where, "faults", _lines, f"trace {trace.id}"
        )
        return look()

    return found._replace(faults=faults)


def _lines(found: list[Any]) -> str | None:
    return None if all(isinstance(fault, str) and fault.strip() for fault in found) else "texts"


_DOOR: Door[Check] = Door("check", Check, _admitted, lambda name: False)


def load_check(word: str) -> Check:
    """The check that a user names: installed, or code, `module:name` or `file.py:name`. Raises
    `OptionError` if there is none, `PluginError` for one that cannot be loaded, or whose file was
    changed after it was."""
    if is_reference(word):
        found = _DOOR.load(word)
        check_unchanged(_DOOR.references[found.name], "check")
        return found
    installed = _DOOR.installed(word)
    if installed is not None:
        return installed
    names = ", ".join(_DOOR.everything_installed()) or "none"
    raise OptionError(
        f"unknown check {word!r}; installed are: {names}; one of your own is named file.py:NAME"
    )


# -- lengths --------------------------------------------------------------------------------------


class _Lengths:
    """Counts tokens as a trainer would; does nothing without a counter."""

    def __init__(self, counter: TokenCounter | None, cutoff_len: int | None) -> None:
        self.counter = counter
        self.cutoff_len = cutoff_len
        self.found: list[Ints] = []

    def add(self, traces: list[Trace], report: Report) -> None:
        if self.counter is None:
            return
        lengths = self.counter.count([t.question for t in traces], [t.text for t in traces])
        self.found.append(lengths)
        if traces and not self.counter.keeps(traces[0].question, traces[0].text):
            report.faults[
                "the tokenizer's chat template changes the trace, so what trains with it (TRL, "
                "Axolotl; LLaMA-Factory has its own) does not learn it"
            ].append(traces[0].id)
        for trace, length in zip(traces, lengths, strict=True):
            if self.cutoff_len is not None and length > self.cutoff_len:
                report.faults[
                    f"more than {self.cutoff_len:,} tokens, so a trainer would cut the answer off"
                ].append(trace.id)
            if token := self.counter.special_in(f"{trace.question}\n{trace.text}"):
                report.faults[f"the tokenizer's special token {token} in a text"].append(trace.id)

    def tell(self, report: Report) -> None:
        lengths = np.concatenate([np.zeros(0, np.int64), *self.found])
        if len(lengths):
            middle, most = int(np.median(lengths)), int(lengths.max())
            report.notes.append(
                f"tokens a trace: {middle:,} in the middle, {most:,} at most; "
                f"cutoff_len must be {most:,} or more"
            )
