"""Leakage: questions that also stand in other sets, as those of evaluations or of training.

Near copies are found as the decontamination of open models finds them: by Tulu 3's rule for the
share of a question's words that lie in shared runs (arXiv 2411.15124, section 3.2), with the words
and the length of runs of GPT-3's check (arXiv 2005.14165, appendix C), as lm-evaluation-harness has
them. What is ours is said at the constants.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from skill_factory.checks.codes import C
from skill_factory.checks.findings import Hit
from skill_factory.checks.traces import Trace, facts_in, gold_in, read_traces, task_in
from skill_factory.core.copies import fetched
from skill_factory.core.places import remote_path
from skill_factory.core.sources.find_source import read_some
from skill_factory.core.sources.local_files import DATA_SUFFIX
from skill_factory.core.sources.values import question_text
from skill_factory.core.whole_files import verified_manifest
from skill_factory.errors import InputError, TaskError
from skill_factory.tasks import Gold, gold_of, own_facts, task_of
from skill_factory.tasks.text import normal

GRAM = 13
"""Words of a run that two questions share. GPT-3's check takes this many at most, and 8 at least
for sets of shorter questions; Tulu 3's takes 8 tokens. Ours: always 13, and a question of fewer
words is only compared as a whole."""

COMMON = 2
"""A run in more questions than this, of either set, is a template and says nothing. Ours: GPT-3's
check lets runs go that are in more than 10 documents, of far more."""

OVERLAP = 0.5
"""More than this share of the words of the other set's question must lie in runs that it shares
with one of ours, as Tulu 3's rule has it. Ours: words in templates alone do not count."""

_PUNCTUATION = re.compile(r"[\W_]+")

_QUESTION_COLUMNS = ("question", "prompt", "problem", "conversations", "messages", "input", "text")


@dataclass(frozen=True)
class Asked:
    """A question of any set: its words, and what its task knows it by."""

    text: str
    task: str | None
    gold: Any
    facts: dict[str, Any]

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its words as GPT-3's check has them: lower case, between white space, without
        punctuation."""
        words = (_PUNCTUATION.sub("", word) for word in self.plain.split())
        return tuple(word for word in words if word)

    @cached_property
    def plain(self) -> str:
        """Its normalised text."""
        return normal(self.text)

    @cached_property
    def key(self) -> str | None:
        """What its task knows it by, however it is worded: Countdown's numbers and target, letters,
        or a stem with choices in any order; None: only by its words."""
        return _task_key(self) or _choice_key(self.text, self.facts)


def _task_key(asked: Asked) -> str | None:
    try:
        task = task_of(asked.task) if asked.task else None
    except TaskError:
        task = None
    if task is None or not task.has_key:
        return None
    facts = own_facts(task, asked.facts) or {}
    gold = gold_of(task, asked.gold, facts)
    known = task.key(*gold) if isinstance(gold, Gold) else None
    return None if known is None else f"{task.name}: {known}"


_SHORT_STEM = 3
"""Words; below, the question stands after its choices."""

_CHOICE = re.compile(r"^\s*[(\[]?([A-Za-z])[)\].:]\s+(\S.*)$", re.M)


def _choice_key(text: str, facts: dict[str, Any]) -> str | None:
    """A question's stem and its choices in any order; None: it has none.

    >>> one = _choice_key("Which is big?\\nA. a cat\\nB. a whale", {})
    >>> one == _choice_key("which is big\\n(a) A whale\\n(b) a cat", {})
    True
    """
    lines = list(_CHOICE.finditer(text))
    letters = "".join(line[1].upper() for line in lines)
    if len(lines) > 1 and "ABCDEFGHIJKLMNOPQRSTUVWXYZ".startswith(letters):
        stem, choices = text[: lines[0].start()], [line[2] for line in lines]
        stem = stem if len(stem.split()) >= _SHORT_STEM else stem + text[lines[-1].end() :]
    elif choices := _listed(facts.get("options")):
        stem = text
    else:
        return None
    return json.dumps(["choice", normal(stem), *sorted(map(normal, choices))])


def _listed(found: Any) -> list[str]:
    if isinstance(found, dict):
        found = found.get("text") or list(found.values())
    return [str(one) for one in found] if isinstance(found, list) and len(found) > 1 else []


class Against:
    """The questions of some sets, and how those of traces overlap with them."""

    def __init__(self, names: Iterable[str], task: str | None) -> None:
        self._task = task
        self._texts: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._words: dict[str, tuple[str, Asked]] = {}
        for name in names:
            for asked in _questions(name, task):
                self._texts.setdefault(asked.plain, name)
                if asked.key is not None:
                    self._keys.setdefault(asked.key, name)
                elif len(asked.words) >= GRAM:
                    self._words.setdefault(asked.plain, (name, asked))
        self._traces: dict[str, tuple[Asked, list[str]]] = {}
        self._keyed: dict[str, str | None] = {}

    def hits(self, trace: Trace) -> Iterator[Hit]:
        """Whether a trace's question is in one of the sets."""
        plain = normal(trace.question)
        if plain in self._texts:
            yield Hit(C.SHARED, "question", f"in {self._texts[plain]}: {trace.question}")
            return
        if plain in self._traces:
            self._traces[plain][1].append(trace.id)
            return
        if plain not in self._keyed:
            source = trace.data_source or self._task
            asked = Asked(trace.question, source, trace.ground_truth, trace.extra_info)
            self._keyed[plain] = asked.key
            if asked.key is None and len(asked.words) >= GRAM and self._words:
                self._traces[plain] = (asked, [trace.id])
        key = self._keyed[plain]
        if key is not None and key in self._keys:
            yield Hit(C.SHARED, "question", f"in {self._keys[key]}, as {key}: {trace.question}")

    def near_copies(self) -> Iterator[tuple[str, Hit]]:
        """Ids of traces whose question is nearly one of the sets', by runs of 13 words."""
        ours, theirs = list(self._traces.values()), list(self._words.values())
        common = _common(asked for asked, _ in ours) | _common(asked for _, asked in theirs)
        places: dict[int, list[int]] = {}
        for place, (_, asked) in enumerate(theirs):
            for gram in set(_grams(asked)) - common:
                places.setdefault(gram, []).append(place)
        for asked, ids in ours:
            grams = set(_grams(asked)) - common
            shared = {place for gram in grams for place in places.get(gram, ())}
            for place in sorted(shared):
                name, other = theirs[place]
                if (share := _overlap(other, grams, common)) > OVERLAP:
                    text = f"{share:.0%} of one in {name}: {other.text}"
                    yield from ((one, Hit(C.NEAR_COPY, "question", text)) for one in ids)
                    break


def _grams(asked: Asked) -> list[int]:
    words = asked.words
    return [hash(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)]


def _common(all_asked: Iterable[Asked]) -> set[int]:
    counts = Counter(gram for asked in all_asked for gram in set(_grams(asked)))
    return {gram for gram, count in counts.items() if count > COMMON}


def _overlap(asked: Asked, grams: set[int], common: set[int]) -> float:
    """Share of a question's words in shared runs, of those that are not in common runs alone."""
    own = _grams(asked)
    shared, other = set[int](), set[int]()
    for start, gram in enumerate(own):
        if gram not in common:
            (shared if gram in grams else other).update(range(start, start + GRAM))
    return len(shared) / max(1, len(shared | other))


# -- reading --------------------------------------------------------------------------------------


def _questions(name: str, task: str | None) -> Iterator[Asked]:
    """The questions of a set: an SFT folder, a folder of files, a file, a dataset on the Hub."""
    if (remote := remote_path(name)) is not None:
        with fetched(remote) as copy:
            yield from _questions(str(copy), task)
        return
    folder = Path(name).expanduser()
    if (folder / "sft_train").is_dir() and (folder / "manifest.json").is_file():
        verified_manifest(folder)
        for traces in read_traces(folder):
            yield from (
                Asked(one.question, one.data_source or task, one.ground_truth, one.extra_info)
                for one in traces
            )
        return
    found = False
    for source in _files(folder) if folder.is_dir() else [name]:
        for rows in read_some(source, None, None, None, 1024):
            for row in rows:
                yield _asked(row, source, task)
                found = True
    if not found:
        raise InputError(f"{name}: the dataset has no rows")


def _files(folder: Path) -> list[str]:
    """The data files of a folder, of all splits; the folder itself where `datasets` wrote it."""
    if (folder / "state.json").exists() or (folder / "dataset_dict.json").exists():
        return [str(folder)]
    files = [
        str(path)
        for path in sorted(folder.rglob("*"))
        if DATA_SUFFIX.search(path.name)
        and path.name not in {"manifest.json", "dataset_info.json", "dataset_infos.json"}
        and path.is_file()
    ]
    if not files:
        raise InputError(f"{folder}: no parquet, jsonl, json or csv file in this folder")
    return files


def _asked(row: dict[str, Any], source: str, task: str | None) -> Asked:
    column = next((name for name in _QUESTION_COLUMNS if row.get(name) is not None), None)
    if column is None:
        there = ", ".join(map(str, row)) or "none"
        raise InputError(
            f"{source}: no column of questions ({', '.join(_QUESTION_COLUMNS)}); columns: {there}"
        )
    facts = {name: row[name] for name in ("numbers", "nums", "target", "letters") if row.get(name)}
    choices = row.get("choices") or row.get("options")
    facts |= {"options": choices} if choices else {}
    return Asked(_text(row[column]), task_in(row) or task, gold_in(row), facts | facts_in(row))


def _text(found: Any) -> str:
    """The words of a question: text, or the first user turn of messages."""
    if isinstance(found, list):
        for turn in found:
            role = isinstance(turn, dict) and (turn.get("role") or turn.get("from"))
            if role in ("user", "human"):
                return str(turn.get("content") or turn.get("value") or "")
        return ""
    try:
        return question_text(found) or ""
    except ValueError:
        return ""
