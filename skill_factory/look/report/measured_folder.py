"""What a report says of a measured folder: what a model answered, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from skill_factory.checks.audit import Confusion
from skill_factory.core.arrays import Ints, view
from skill_factory.core.columns import Column
from skill_factory.look.measured import NOT_GRADED, MeasuredFolder, Response
from skill_factory.look.report.contents import (
    Account,
    Bin,
    Histogram,
    LabelRow,
    Mean,
    Report,
)
from skill_factory.look.report.contents import Figure as TopFigure
from skill_factory.look.report.figures import comparison_of, figures_of
from skill_factory.look.report.options import Options
from skill_factory.look.report.question_sample import rank
from skill_factory.look.report.sample import Sample
from skill_factory.look.report.sft_folder import accounts_of
from skill_factory.look.report.sizes import histogram
from skill_factory.measure.comparison import Comparison, Series
from skill_factory.measure.figures import Group, Measured, groups_of, measure_of
from skill_factory.measure.layout import percent_of, shown
from skill_factory.measure.measures import MAIN, Rows, Unit
from skill_factory.stages.grade import Outcome

_AT_ONCE = 40
"""Responses to one question that are on a page."""

_AROUND = 400
"""Bytes that stand around a response's text in a page."""


def of_measured(folder: MeasuredFolder, options: Options) -> Report:
    """What is to be said of a measured folder."""
    report = Report(folder.path.resolve().name, "Responses", str(folder.path))
    found = comparison_of(folder.groups)
    report.measured = figures_of(found)
    _describe(report, folder, found)
    last = _last_rows(folder.measures, found)
    report.pass_rates = _accuracies(last)
    table = pa.concat_tables([rows for _, rows in last])
    report.labels = _grades(table)
    report.confusion = _confusion(table)
    report.sizes = histogram(
        view(table["characters"]).astype(np.int64), "responses", "characters in a response"
    )
    report.sample = _sample(report, folder, options)
    return report


def _last_rows(measures: pa.Table, found: Comparison) -> list[tuple[Group, pa.Table]]:
    """The rows of measures of the last step of each model and set."""
    last = {one.points[-1].group for one in found.series}
    return [(group, rows) for group, rows in groups_of(measures) if group in last]


# -- how it was made ------------------------------------------------------------------------------


def _describe(report: Report, folder: MeasuredFolder, found: Comparison) -> None:
    manifest, groups = folder.manifest, folder.groups
    report.facts = {name: value for name, value in _facts(manifest, groups).items() if value}
    asked = manifest.get("evaluate")
    report.settings = (
        {f"evaluate.{name}": value for name, value in asked.items()}
        if isinstance(asked, Mapping)
        else {f"measure.{name}": value for name, value in manifest.get("settings", {}).items()}
    )
    report.accounts = _accounts(manifest)
    responses = folder.measures.num_rows
    questions = len(folder.measures[Column.QUESTION_ID].unique())
    report.lead = f"{responses:,} responses to {questions:,} questions."
    shown_last = [one for one in found.series if len(one.points) > 1]
    if shown_last:
        steps = len(shown_last[0].points)
        report.lead += f" The figures are of the last of {steps:,} steps, the charts of all."
    report.figures = _top(found.series)
    report.numbers = dict(_numbers(found.series))


def _facts(manifest: Mapping[str, Any], groups: Sequence[Measured]) -> dict[str, str]:
    asked = manifest.get("evaluate") or {}
    sampling = [
        f"{name.replace('_', ' ')} {asked[name]}"
        for name in ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens")
        if asked.get(name) is not None
    ]
    budget = asked.get("force_budget")
    steps = [one.group.step for one in groups if one.group.step is not None]
    files = [PurePath(name).name for name in manifest.get("input", {}).get("files", ())]
    return {
        "Model": _listed(one.group.model or "" for one in groups),
        "Steps": f"{min(steps):,} to {max(steps):,}" if len(set(steps)) > 1 else "",
        "Questions": _listed(one.group.question_set for one in groups),
        "Samples": f"{max(one.samples for one in groups):,} a question",
        "Asked with": (asked.get("prompt_variant") or "the bare question") if asked else "",
        "Sampling": ", ".join(sampling),
        "Budget forcing": " to ".join(f"{one:,} tokens" for one in budget) if budget else "",
        "Files": ", ".join(files[:4]) + (f" and {len(files) - 4:,} more" if len(files) > 4 else ""),
        "Made with": f"SkillFactory {manifest.get('versions', {}).get('skill_factory', '')}".strip(),
        "Questions' digest": str(manifest.get("questions") or ""),
    }


def _listed(names: Iterator[str]) -> str:
    return ", ".join(filter(None, dict.fromkeys(names)))


def _accounts(manifest: Mapping[str, Any]) -> list[Account]:
    """What became of all that was asked, or of all that the files have."""
    if samples := manifest.get("samples"):
        return accounts_of({"samples": samples})
    said = manifest.get("input", {})
    read = said.get("responses", 0)
    there = {"read": read, "kept": read - sum(said.get("not_graded", {}).values())}
    graded = {"responses": there | {"losses": said.get("not_graded", {})}}
    failed = said.get("failed") or {}
    asked = read + sum(failed.values())
    return accounts_of(
        graded | ({"requests": {"read": asked, "kept": read, "losses": failed}} if failed else {})
    )


# -- numbers --------------------------------------------------------------------------------------

_TOP = ("accuracy", "attempts", "explicit_reflections", "true_verdicts")


def _top(series: Sequence[Series]) -> list[TopFigure]:
    """The numbers at the top: those of one model and set, or how much there is."""
    if len(series) > 1:
        points = [point for one in series for point in one.points]
        return [
            TopFigure("sets of questions", f"{len({one.question_set for one in series}):,}"),
            TopFigure("models", f"{len({one.column for one in series}):,}"),
            TopFigure("steps", f"{len({point.group.step for point in points}):,}"),
            TopFigure("responses", f"{sum(point.responses for point in points):,}"),
        ]
    last = series[0].points[-1]
    found = []
    for name in _TOP:
        figure, measure = last.figures.get(name), measure_of(name)
        if figure is not None and figure.value is not None:
            text = shown(figure.value, measure.unit) + percent_of(measure.unit)
            ends = [None if e is None else shown(e, measure.unit) for e in (figure.low, figure.high)]
            found.append(TopFigure(measure.title, text, "" if ends[0] is None else f"{ends[0]} to {ends[1]}"))
    return found


def _numbers(series: Sequence[Series]) -> Iterator[tuple[str, float]]:
    """The main figures by name, for a comparison of two reports."""
    for one in series:
        for name in MAIN:
            figure, measure = one.points[-1].figures.get(name), measure_of(name)
            if figure is not None and figure.value is not None:
                title = measure.title[0].upper() + measure.title[1:]
                more = f", {one.question_set}" if len(series) > 1 else ""
                whole = measure.unit in (Unit.SHARE, Unit.SCORE)
                yield title + more, figure.value if whole else Mean(figure.value)


def _accuracies(last: Sequence[tuple[Group, pa.Table]]) -> Histogram | None:
    """Questions by the share of right ones among their decided responses, for each set."""
    names = list(dict.fromkeys(group.question_set for group, _ in last))
    counts = np.zeros((11, len(names)), np.int64)
    for group, rows in last:
        right = Rows(rows).right(Column.GRADE)
        coded = rows[Column.QUESTION_ID].combine_chunks().dictionary_encode()
        decided, which = ~np.isnan(right), np.asarray(coded.indices)
        hits = np.bincount(which[decided], right[decided], len(coded.dictionary)).astype(np.int64)
        of = np.bincount(which[decided], minlength=len(coded.dictionary))
        at = 10 * hits[of > 0] // of[of > 0]
        counts[:, names.index(group.question_set)] += np.bincount(at, minlength=11)
    if not counts.any():
        return None
    bins = [*(f"{10 * at}-{10 * at + 9}%" for at in range(10)), "100%"]
    listed = [Bin(bin, tuple(map(int, row))) for bin, row in zip(bins, counts, strict=True)]
    return Histogram("questions", "accuracy", tuple(names), listed)


def _grades(rows: pa.Table) -> list[LabelRow]:
    """Responses by grade and number of attempts."""
    keys = rows.select([Column.GRADE, "attempts"]).group_by([Column.GRADE, "attempts"])
    found: dict[str, dict[int, int]] = {}
    for row in keys.aggregate([([], "count_all")]).sort_by("attempts").to_pylist():
        found.setdefault(row[Column.GRADE] or NOT_GRADED, {})[row["attempts"]] = row["count_all"]
    order = [*Outcome, NOT_GRADED]
    return [
        LabelRow(grade, sum(lengths.values()), lengths)
        for grade, lengths in sorted(found.items(), key=lambda item: order.index(item[0]))
    ]


def _confusion(rows: pa.Table) -> Confusion | None:
    """The verdicts on decided attempts."""
    found = Confusion()
    for says, verdict in enumerate(("incorrect", "correct")):
        for truth, grade in enumerate((Outcome.WRONG, Outcome.RIGHT)):
            found.cells[truth, says] = view(rows[f"{verdict}_on_{grade}"]).sum()
    return found if found.reflections else None


# -- the sample -----------------------------------------------------------------------------------


def _sample(report: Report, folder: MeasuredFolder, options: Options) -> dict[str, Any]:
    """Some questions with what was answered to them, drawn by the seed."""
    ids = folder.measures[Column.QUESTION_ID].combine_chunks().dictionary_encode()
    which = np.asarray(ids.indices)
    drawn = _drawn(folder.measures, ids.dictionary.to_pylist(), which, options)
    responses = {one.number: one for one in folder.read(drawn.tolist()) if isinstance(one, Response)}
    sample, counts = Sample(options.room), _counts(folder.measures, which)
    names = ids.dictionary
    for number in drawn.tolist():
        if sample.full:
            break
        one, at = responses[number], int(which[number])
        place = sample.question(
            names[at].as_py(), one.question, dict(zip(_COUNTED, counts[at], strict=True)), one.gold
        )
        if place is not None:
            sample.trace(place, one, groups=_groups(one))
    if sample.too_long:
        report.notes.append(
            f"{sample.too_long:,} texts of the sample are too long for a page, and are left out."
        )
    return sample.value(folder.count, len(names), options.seed)


_COUNTED = ("right", "wrong", "undecided")


def _counts(measures: pa.Table, which: npt.NDArray[np.int32]) -> list[list[int]]:
    """Of each question its responses that are right, wrong or cut off, and the others."""
    right, size = Rows(measures).right(Column.GRADE), int(which.max()) + 1
    kinds = (right == 1, right == 0, np.isnan(right))
    listed: list[list[int]] = np.column_stack(
        [np.bincount(which[kind], minlength=size) for kind in kinds]
    ).tolist()
    return listed


def _drawn(
    measures: pa.Table, ids: Sequence[str], which: npt.NDArray[np.int32], options: Options
) -> Ints:
    """The numbers of responses that may have room, question by question; of each question the first
    samples, at all steps."""
    ranks = rank(np.array([int(name[:16], 16) for name in ids], np.uint64), options.seed)[which]
    steps = view(measures[Column.STEP], missing=-1)
    samples = view(measures[Column.SAMPLE])
    order = np.lexsort((np.arange(len(which)), steps, samples, ranks))
    starts = np.flatnonzero(np.diff(ranks[order], prepend=ranks[order][:1] + np.uint64(1)))
    within = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    order = order[within < _AT_ONCE]
    room = np.cumsum(view(measures["characters"])[order].astype(np.int64) + _AROUND)
    order = order[: max(1, int(np.searchsorted(room, options.room, "right")))]
    return order[np.lexsort((samples[order], steps[order], ranks[order]))]


def _groups(one: Response) -> dict[str, str]:
    """What the page's filters go by, besides the grade."""
    groups = {"set": one.question_set, "model": one.model, "step": one.step}
    return {name: str(value) for name, value in groups.items() if value is not None}
