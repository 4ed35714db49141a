"""The responses of a measured folder that are on a page: some questions, with their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from skill_factory.core.arrays import Ints, view
from skill_factory.core.columns import Column
from skill_factory.look.measured import MeasuredFolder, Response
from skill_factory.look.report.contents import Report
from skill_factory.look.report.options import Options
from skill_factory.look.report.question_sample import rank
from skill_factory.look.report.sample import Sample
from skill_factory.measure.measures import Rows

_AT_ONCE = 40
"""Responses to one question that are on a page."""

_AROUND = 400
"""Bytes that stand around a response's text in a page."""


def sample_of(report: Report, folder: MeasuredFolder, options: Options) -> dict[str, Any]:
    """Some questions with what was answered to them, drawn by the seed."""
    ids = folder.measures[Column.QUESTION_ID].combine_chunks().dictionary_encode()
    which = np.asarray(ids.indices)
    drawn = _drawn(folder.measures, ids.dictionary.to_pylist(), which, options)
    responses = {one.number: one for one in folder.read(drawn.tolist())}
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
