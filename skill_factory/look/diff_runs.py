"""What differs between two runs: their settings, and how right and true the model was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from skill_factory.core import trace_tags as tags
from skill_factory.core.arrays import Ints, bounds, view
from skill_factory.core.columns import Column
from skill_factory.core.sources.chats import one_line_for_damaged
from skill_factory.core.sources.validate import holds
from skill_factory.core.yaml_files import UNREADABLE, parse
from skill_factory.errors import InputError
from skill_factory.look.diff import Change, SftDiff, changes_in, diff_sft, sft_of
from skill_factory.look.folders import RunView
from skill_factory.look.opening import open_folder
from skill_factory.runs.folder import Stage
from skill_factory.stages.grade import Outcome

TOP = 10
"""Questions and variants that are named, those with the largest change first."""


class Score(NamedTuple):
    """Of attempts how many are right, and of the verdicts on right and wrong ones how many are
    true."""

    attempts: int = 0
    right: int = 0
    verdicts: int = 0
    true: int = 0

    @property
    def accuracy(self) -> float | None:
        """Right ones of all attempts; None: there is none."""
        return self.right / self.attempts if self.attempts else None

    @property
    def truth(self) -> float | None:
        """True ones of all verdicts; None: there is none."""
        return self.true / self.verdicts if self.verdicts else None


class Moved(NamedTuple):
    """What has a score in both runs, and not the same."""

    name: str
    before: Score
    after: Score

    @property
    def size(self) -> tuple[float, float]:
        """How far accuracy and true verdicts have moved."""
        pairs = (
            (self.before.accuracy, self.after.accuracy),
            (self.before.truth, self.after.truth),
        )
        accuracy, truth = (abs((new or 0) - (old or 0)) for old, new in pairs)
        return accuracy, truth


@dataclass(frozen=True)
class RunDiff:
    """What differs between two runs. `settings` are those of config.yaml; `total` is each run's
    score, None: it has no grades yet. Of `questions` and `variants` those in both runs whose scores
    have moved, the furthest first; `only` counts the questions of just one. `sft` None: not both
    have an SFT folder."""

    settings: list[Change]
    total: tuple[Score | None, Score | None]
    questions: list[Moved]
    variants: list[Moved]
    only: tuple[int, int]
    sft: SftDiff | None

    @property
    def differ(self) -> bool:
        """Whether the two are not the same."""
        return bool(
            self.settings
            or self.total[0] != self.total[1]
            or self.questions
            or self.variants
            or any(self.only)
            or (self.sft and self.sft.differ)
        )


def diff(before: Path, after: Path) -> SftDiff | RunDiff:
    """Compare what two paths name: two runs, or else two SFT folders, which may lie in runs. Raises
    `InputError` for what is neither."""
    old, new = open_folder(before), open_folder(after)
    if isinstance(old, RunView) and isinstance(new, RunView):
        return diff_runs(old, new)
    return diff_sft(sft_of(before), sft_of(after))


def diff_runs(before: RunView, after: RunView) -> RunDiff:
    """Compare two runs, as far as they have come. Raises `InputError` for a table or a config.yaml
    that cannot be read."""
    old, new = _scores(before), _scores(after)
    both = before.sft and after.sft and diff_sft(sft_of(before.path), sft_of(after.path))
    return RunDiff(
        list(changes_in(_settings(before), _settings(after))),
        (old and old.total, new and new.total),
        _moved(old.questions, new.questions) if old and new else [],
        _moved(old.variants, new.variants) if old and new else [],
        _only(old, new),
        both or None,
    )


def _settings(run: RunView) -> Any:
    path = run.folder.settings
    try:
        return parse(path.read_text(encoding="utf-8"))[0]
    except FileNotFoundError:
        return {}
    except (OSError, *UNREADABLE, yaml.YAMLError):
        raise InputError(f"{path}: cannot be read; run the config again") from None


class _Scores(NamedTuple):
    """The scores of a run: of all, of each question, of each prompt variant."""

    total: Score
    questions: dict[str, Score]
    variants: dict[str, Score]


def _only(old: _Scores | None, new: _Scores | None) -> tuple[int, int]:
    ours, theirs = (scores.questions.keys() if scores else set[str]() for scores in (old, new))
    return len(ours - theirs), len(theirs - ours)


def _moved(old: dict[str, Score], new: dict[str, Score]) -> list[Moved]:
    found = [Moved(name, old[name], new[name]) for name in old.keys() & new.keys()]
    return sorted(
        (one for one in found if one.before != one.after),
        key=lambda one: (*(-size for size in one.size), one.name),
    )


# -- scores ---------------------------------------------------------------------------------------


def _scores(run: RunView) -> _Scores | None:
    """The scores of a run: with its verdicts, if it has come to them; None: nothing is graded."""
    path = run.table(Stage.REFLECT) or run.table(Stage.GRADE)
    if path is None:
        return None
    sums: tuple[Counter[tuple[str, int]], Counter[tuple[str, int]]] = (Counter(), Counter())
    with one_line_for_damaged(path), pq.ParquetFile(path) as file:
        there = file.schema_arrow.names
        names = [Column.QUESTION, Column.VARIANT, Column.GRADE]
        if lacking := [name for name in names if name not in there]:
            raise InputError(f"{path}: has no column {lacking[0]!r}; make it again")
        names += [Column.REFLECTION] if Column.REFLECTION in there else []
        for batch in file.iter_batches(columns=names):
            counts = _counts(batch)
            for column, sum_of in zip((Column.QUESTION, Column.VARIANT), sums, strict=True):
                _add(sum_of, batch.column(column), counts)
    questions, variants = map(_by_name, sums)
    return _Scores(Score(*map(sum, zip(*variants.values(), strict=True))), questions, variants)


def _counts(batch: pa.RecordBatch) -> list[Ints]:
    """For each attempt what `Score` counts."""
    right, wrong = (
        view(pc.equal(batch.column(Column.GRADE), pa.scalar(outcome.value)))
        for outcome in (Outcome.RIGHT, Outcome.WRONG)
    )
    ones, none = np.ones(len(right), np.int64), np.zeros(len(right), np.int64)
    if Column.REFLECTION not in batch.schema.names:
        return [ones, right.astype(np.int64), none, none]
    lists = batch.column(Column.REFLECTION)
    ends = bounds(view(pc.list_value_length(lists)))
    texts = lists.flatten()
    says_right, says_wrong = (
        holds(texts, tags.verdict_re2(verdict))
        for verdict in (tags.Verdict.CORRECT, tags.Verdict.INCORRECT)
    )
    owner = np.repeat(np.arange(len(right)), np.diff(ends))
    counted = (says_right ^ says_wrong) & (right | wrong)[owner]
    true = counted & (says_right == right[owner])
    verdicts, trues = (np.bincount(owner[mask], minlength=len(right)) for mask in (counted, true))
    return [ones, right.astype(np.int64), verdicts, trues]


def _add(sums: Counter[tuple[str, int]], names: pa.Array, counts: Iterable[Ints]) -> None:
    encoded = names.dictionary_encode()
    which = view(encoded.indices, missing=-1)
    for place, count in enumerate(counts):
        found = np.bincount(which[which >= 0], count[which >= 0], len(encoded.dictionary))
        for name, number in zip(encoded.dictionary.to_pylist(), found.tolist(), strict=True):
            sums[name, place] += int(number)


def _by_name(sums: Counter[tuple[str, int]]) -> dict[str, Score]:
    names = dict.fromkeys(name for name, _ in sums)
    return {name: Score(*(sums[name, place] for place in range(4))) for name in names}
