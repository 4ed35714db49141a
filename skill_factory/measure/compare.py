"""Compare models: each one's figures, and their differences to the first one's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from skill_factory.measure.bootstrap import Sums, paired_intervals
from skill_factory.measure.compared_models import AnsweredSet, ComparedModel, models_of
from skill_factory.measure.comparison import Cell, ComparedRow, Comparison, Difference, Series
from skill_factory.measure.examples import examples_of
from skill_factory.measure.figures import Figure, in_order, measure_of, or_none
from skill_factory.measure.measures import is_main
from skill_factory.measure.question_sums import ByQuestion
from skill_factory.measure.settings import CompareSettings

PAPER = Path(__file__).with_name("paper.yaml")
"""The paper's figures: by the name of a task, columns of figures by measure."""


def compare(paths: Sequence[Path], settings: CompareSettings) -> Comparison:
    """Compare what each path has with what the first one has.

    A path is a folder that `measure` or `evaluate` made, or files that `measure` takes. Of a model
    with several steps the last is shown, and all are in `series`. With `merge_seeds`, folders whose
    names differ in the number at their end alone are a column: figures are counted over all their
    responses, and examples are of the first. Raises as `measure_files` does, and `InputError` for
    seeds that share no step.
    """
    with tempfile.TemporaryDirectory() as work:
        models = models_of(paths, Path(work), settings)
        paper = _paper(settings.paper)
        return Comparison(
            columns=(*(model.title for model in models), *paper),
            rows=tuple(_rows(models, paper, settings)),
            series=tuple(
                Series(model.title, name, one.steps)
                for model in models
                for name, one in model.sets.items()
            ),
            examples=tuple(examples_of(models, _most_examples(settings))),
            notes=tuple(_notes(models)),
        )


def printed(found: Comparison, settings: CompareSettings) -> Comparison:
    """What is printed of a comparison; a page has more."""
    short = found if settings.measures == "all" else found.main()
    return short if settings.examples else replace(short, examples=())


_ON_A_PAGE = 5


def _most_examples(settings: CompareSettings) -> int:
    if settings.examples is None:
        return _ON_A_PAGE if settings.is_page else 0
    return settings.examples


# -- rows -----------------------------------------------------------------------------------------


def _rows(
    models: list[ComparedModel], paper: dict[str, dict[str, float]], settings: CompareSettings
) -> Iterator[ComparedRow]:
    names = dict.fromkeys(name for model in models for name in model.sets)
    for question_set in names:
        sets = [model.sets.get(question_set) for model in models]
        differences = [_differences(sets[0], one, settings) for one in sets]
        for name in _figures_of(sets, settings.measures == "all" or settings.is_page):
            cells = [
                _cell(one, name, difference)
                for one, difference in zip(sets, differences, strict=True)
            ]
            beside = [_paper_cell(column.get(name)) for column in paper.values()]
            yield ComparedRow(question_set, measure_of(name), (*cells, *beside))


def _cell(one: AnsweredSet | None, name: str, differences: dict[str, Difference]) -> Cell | None:
    if one is None or name not in one.last.figures:
        return None
    return Cell(one.last.figures[name], differences.get(name))


def _figures_of(sets: list[AnsweredSet | None], all_of_them: bool) -> list[str]:
    """The names of the figures that some model has."""
    names = in_order(
        name
        for one in sets
        if one is not None
        for name, figure in one.last.figures.items()
        if figure.value is not None
    )
    return [name for name in names if all_of_them or is_main(name)]


class _Shared(NamedTuple):
    """The rows of the questions that two sets share, in the same order, and their figures."""

    first: Sums
    other: Sums
    names: list[str]


def _differences(
    first: AnsweredSet | None, other: AnsweredSet | None, settings: CompareSettings
) -> dict[str, Difference]:
    """The differences of all figures that both have."""
    if first is None or other is None or first is other:
        return {}
    shared = _shared(first.sums, other.sums)
    if not len(shared.first.above):
        return {}
    between = paired_intervals(shared.first, shared.other, settings.draws, settings.seed)
    values = shared.other.ratios() - shared.first.ratios()
    questions = ((shared.first.below > 0) & (shared.other.below > 0)).sum(0)
    return {
        name: Difference(or_none(value), or_none(low), or_none(high), int(count))
        for name, value, low, high, count in zip(
            shared.names, values, *between, questions, strict=True
        )
    }


def _shared(first: ByQuestion, other: ByQuestion) -> _Shared:
    places = {name: place for place, name in enumerate(other.ids)}
    pairs = [(at, places[name]) for at, name in enumerate(first.ids) if name in places]
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    names = [name for name in first.names if name in other.names]

    def chosen(one: ByQuestion, at: int) -> Sums:
        columns = [one.names.index(name) for name in names]
        return Sums(*(part[rows[:, at]][:, columns] for part in one.sums))

    return _Shared(chosen(first, 0), chosen(other, 1), names)


def _paper(name: str | None) -> dict[str, dict[str, float]]:
    """The paper's columns by title: figures by measure."""
    if name is None:
        return {}
    found: dict[str, dict[str, dict[str, float]]] = yaml.safe_load(PAPER.read_text("utf-8"))
    return found[name]


def _paper_cell(value: float | None) -> Cell | None:
    return None if value is None else Cell(Figure(value, None, None, 0, 0))


def _notes(models: list[ComparedModel]) -> Iterator[str]:
    for model in models:
        for name, one in model.sets.items():
            if model.seeds > 1 and (accuracies := list(_accuracies(one.seeds))):
                yield f"{model.title}, {name}: accuracy % of each is {', '.join(accuracies)}"
            if len(one.steps) > 1:
                step = one.last.group.step
                yield f"{model.title}, {name}: step {step} is shown, the last of {len(one.steps)}"
            if model is not models[0] and (first := models[0].sets.get(name)):
                both = len(set(first.sums.ids) & set(one.sums.ids))
                if both < max(len(first.sums.ids), len(one.sums.ids)):
                    yield (
                        f"{model.title}, {name}: differences are of the {both:,} questions that it "
                        f"shares with {models[0].title}"
                    )


def _accuracies(seeds: Sequence[tuple[str, ByQuestion]]) -> Iterator[str]:
    """Each seed's name and accuracy; none of responses that are not graded."""
    for title, one in seeds:
        value = one.sums.ratios()[one.names.index("accuracy")]
        if not np.isnan(value):
            yield f"{100 * value:.1f} ({title})"
