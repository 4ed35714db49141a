"""The models of a comparison: measured folders, or files that are measured now."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.core.sources.batches import DAMAGED
from skill_factory.core.tables import MEASURES
from skill_factory.errors import InputError, first_line
from skill_factory.measure.figures import Group, Measured, groups_of, measured
from skill_factory.measure.files import rules_of
from skill_factory.measure.question_sums import ByQuestion, added, by_question
from skill_factory.measure.reading import ResponseFiles
from skill_factory.measure.settings import CompareSettings
from skill_factory.measure.write import MEASURES_FILE, RESPONSES_FILE, measure_responses


@dataclass(frozen=True)
class AnsweredSet:
    """A model's answers to a set of questions: the steps it was measured at, the last one's rows of
    measures, the table of responses, and where in it they are. Of merged seeds, these are the first
    one's; `seeds` has the name and the sums of each."""

    steps: tuple[Measured, ...]
    rows: pa.Table
    responses: Path
    places: tuple[int, ...]
    sums: ByQuestion
    seeds: tuple[tuple[str, ByQuestion], ...]

    @property
    def last(self) -> Measured:
        return self.steps[-1]


@dataclass(frozen=True)
class ComparedModel:
    """A column: its title, of how many seeds it is, and its sets by name."""

    title: str
    seeds: int
    sets: dict[str, AnsweredSet]


_Steps = dict[int | None, tuple[Group, pa.Table]]
"""The rows of measures of each step."""


@dataclass(frozen=True)
class _Answers:
    """What a folder has of a model, for each set of questions."""

    title: str
    sets: dict[str, _Steps]
    responses: Path


def models_of(paths: Sequence[Path], work: Path, settings: CompareSettings) -> list[ComparedModel]:
    """The models that some paths have; what is no measured folder is measured in the folder
    `work`. Raises as `measure_files` does, and `InputError` for seeds that share no step."""
    found = _same_sets(
        [
            model
            for place, path in enumerate(paths)
            for model in _answers(path, _measured_folder(path, work / str(place), settings))
        ]
    )
    groups = _seeds(found) if settings.merge_seeds else [[one] for one in found]
    return _titled_apart([_model(one, settings) for one in groups])


def _measured_folder(path: Path, work: Path, settings: CompareSettings) -> Path:
    if (path / MEASURES_FILE).is_file():
        return path
    reading = ResponseFiles(settings)
    files = reading.files((path,))
    work.mkdir()
    measure_responses(reading.batches(files), work, rules_of(settings))
    return work


def _answers(path: Path, folder: Path) -> Iterator[_Answers]:
    """The models of a folder, each with its sets."""
    table = measures_table(folder / MEASURES_FILE)
    table = table.append_column("place", pa.array(range(table.num_rows), pa.int64()))
    found: dict[str | None, dict[str, _Steps]] = {}
    for group, rows in groups_of(table):
        steps = found.setdefault(group.model, {}).setdefault(group.question_set, {})
        steps[group.step] = group, rows
    name = path.resolve().name
    for model, sets in found.items():
        title = name if len(found) == 1 or model is None else f"{name}: {model}"
        yield _Answers(title, sets, folder / RESPONSES_FILE)


def _seeds(models: list[_Answers]) -> list[list[_Answers]]:
    """Models whose names differ in the number at their end alone, together."""
    found: dict[str, list[_Answers]] = {}
    for model in models:
        found.setdefault(_without_seed(model.title), []).append(model)
    return list(found.values())


def _without_seed(title: str) -> str:
    """A name without the number at its end, what joins it, and the ending of a file.

    >>> _without_seed("sft-grpo-0"), _without_seed("run_seed12.jsonl"), _without_seed("2026")
    ('sft-grpo', 'run_seed', '2026')
    """
    return re.sub(r"[-_. ]*[0-9]+(\.[a-z]+)?$", "", title) or title


def _model(seeds: list[_Answers], settings: CompareSettings) -> ComparedModel:
    """A column for a model, or for the seeds of one."""
    title, count = seeds[0].title, len(seeds)
    if count > 1:
        title = f"{_without_seed(title)} ({count} seeds)"
    sets = {}
    for name in dict.fromkeys(name for one in seeds for name in one.sets):
        sets[name] = _set(name, [one for one in seeds if name in one.sets], settings)
    return ComparedModel(title, count, sets)


def _set(name: str, seeds: list[_Answers], settings: CompareSettings) -> AnsweredSet:
    """What seeds answered to a set of questions, at the steps that all have."""
    titles = [one.title for one in seeds]
    first, *others = [one.sets[name] for one in seeds]
    steps = [step for step in first if all(step in other for other in others)]
    if not steps:
        raise InputError(f"{name}: these seeds have no step in common: {', '.join(titles)}")
    shown = []
    for step in steps:
        group, rows = first[step]
        each = [by_question([seed[step][1]]) for seed in (first, *others)]
        whole = added(each)
        shown.append(measured(group, whole, settings.draws, settings.seed))
    return AnsweredSet(
        steps=tuple(shown),
        rows=rows,
        responses=seeds[0].responses,
        places=tuple(rows["place"].to_pylist()),
        sums=whole,
        seeds=tuple(zip(titles, each, strict=True)),
    )


def measures_table(path: Path) -> pa.Table:
    """A folder's `tables.MEASURES`; raises `InputError` for another kind of file."""
    try:
        table = pq.read_table(path)
    except (*DAMAGED, OSError) as error:
        raise InputError(f"{path}: cannot be read: {first_line(error)}") from None
    missing = [name for name in MEASURES.names if name not in table.column_names]
    if missing or not table.num_rows:
        what = f"has no column {missing[0]!r}" if missing else "has no rows"
        raise InputError(f"{path}: {what}; measure its responses.parquet again")
    return table


def _titled_apart(models: list[ComparedModel]) -> list[ComparedModel]:
    """Models with the same title are numbered."""
    seen: dict[str, int] = {}
    out = []
    for model in models:
        seen[model.title] = count = seen.get(model.title, 0) + 1
        title = model.title if count == 1 else f"{model.title} ({count})"
        out.append(replace(model, title=title))
    return out


def _same_sets(models: list[_Answers]) -> list[_Answers]:
    """Where every model has a single set, it is the same one, whatever its files are called."""
    if any(len(model.sets) != 1 for model in models):
        return models
    name = next(iter(models[0].sets))
    return [replace(one, sets={name: next(iter(one.sets.values()))}) for one in models]
