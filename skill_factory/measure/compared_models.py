"""The models of a comparison: measured folders, or files that are measured now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.core.sources.batches import DAMAGED
from skill_factory.core.tables import MEASURES
from skill_factory.errors import InputError, first_line
from skill_factory.measure.figures import (
    ByQuestion,
    Group,
    Measured,
    by_question,
    groups_of,
    measured,
)
from skill_factory.measure.files import rules_of
from skill_factory.measure.reading import ResponseFiles
from skill_factory.measure.settings import CompareSettings
from skill_factory.measure.write import MEASURES_FILE, RESPONSES_FILE, measure_responses


@dataclass(frozen=True)
class AnsweredSet:
    """A model's answers to a set of questions: the steps it was measured at, the last one's rows of
    measures, and where they are in the folder's tables."""

    steps: tuple[Measured, ...]
    rows: pa.Table
    places: tuple[int, ...]
    sums: ByQuestion

    @property
    def last(self) -> Measured:
        return self.steps[-1]


@dataclass(frozen=True)
class ComparedModel:
    """A column: its title, its sets by name, and the table of its responses."""

    title: str
    sets: dict[str, AnsweredSet]
    responses: Path


def models_of(paths: Sequence[Path], work: Path, settings: CompareSettings) -> list[ComparedModel]:
    """The models that some paths have; what is no measured folder is measured in the folder
    `work`. Raises as `measure_files` does."""
    found = [
        model
        for place, path in enumerate(paths)
        for model in _models(path, _measured_folder(path, work / str(place), settings), settings)
    ]
    return _same_sets(_titled_apart(found))


def _measured_folder(path: Path, work: Path, settings: CompareSettings) -> Path:
    if (path / MEASURES_FILE).is_file():
        return path
    reading = ResponseFiles(settings)
    files = reading.files((path,))
    work.mkdir()
    measure_responses(reading.batches(files), work, rules_of(settings))
    return work


def _models(path: Path, folder: Path, settings: CompareSettings) -> Iterator[ComparedModel]:
    """The models of a folder, each with its sets."""
    table = measures_table(folder / MEASURES_FILE)
    table = table.append_column("place", pa.array(range(table.num_rows), pa.int64()))
    found: dict[str | None, dict[str, list[tuple[Group, pa.Table]]]] = {}
    for group, rows in groups_of(table):
        found.setdefault(group.model, {}).setdefault(group.question_set, []).append((group, rows))
    name = path.resolve().name
    for model, sets in found.items():
        title = name if len(found) == 1 or model is None else f"{name}: {model}"
        made = {one: _set(groups, settings) for one, groups in sets.items()}
        yield ComparedModel(title, made, folder / RESPONSES_FILE)


def _set(groups: list[tuple[Group, pa.Table]], settings: CompareSettings) -> AnsweredSet:
    rows = groups[-1][1]
    return AnsweredSet(
        steps=tuple(measured(one, part, settings.draws, settings.seed) for one, part in groups),
        rows=rows,
        places=tuple(rows["place"].to_pylist()),
        sums=by_question(rows),
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


def _same_sets(models: list[ComparedModel]) -> list[ComparedModel]:
    """Where every model has a single set, it is the same one, whatever its files are called."""
    if any(len(model.sets) != 1 for model in models):
        return models
    name = next(iter(models[0].sets))
    return [replace(one, sets={name: next(iter(one.sets.values()))}) for one in models]
