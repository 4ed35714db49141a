"""What a report says of a measured folder: what a model answered, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa

from skill_factory.core.arrays import view
from skill_factory.core.columns import Column
from skill_factory.look.measured import MeasuredFolder
from skill_factory.look.report.contents import Account, Report
from skill_factory.look.report.figures import comparison_of, figures_of
from skill_factory.look.report.options import Options
from skill_factory.look.report.response_numbers import (
    accuracies,
    confusion,
    grades,
    main_numbers,
    top_figures,
)
from skill_factory.look.report.response_sample import sample_of
from skill_factory.look.report.sft_folder import accounts_of
from skill_factory.look.report.sizes import histogram
from skill_factory.measure.comparison import Comparison
from skill_factory.measure.figures import Group, Measured, groups_of


def of_measured(folder: MeasuredFolder, options: Options) -> Report:
    """What is to be said of a measured folder."""
    report = Report(folder.path.resolve().name, "Responses", str(folder.path))
    found = comparison_of(folder.groups)
    report.measured = figures_of(found)
    _describe(report, folder, found)
    last = _last_rows(folder.measures, found)
    report.pass_rates = accuracies(last)
    table = pa.concat_tables([rows for _, rows in last])
    report.labels = grades(table)
    report.confusion = confusion(table)
    report.sizes = histogram(
        view(table["characters"]).astype(np.int64), "responses", "characters in a response"
    )
    report.sample = sample_of(report, folder, options)
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
    report.figures = top_figures(found.series)
    report.numbers = dict(main_numbers(found.series))


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
    more = f" and {len(files) - 4:,} more" if len(files) > 4 else ""
    version = manifest.get("versions", {}).get("skill_factory")
    return {
        "Model": _listed(one.group.model or "" for one in groups),
        "Steps": f"{min(steps):,} to {max(steps):,}" if len(set(steps)) > 1 else "",
        "Questions": _listed(one.group.question_set for one in groups),
        "Samples": f"{max(one.samples for one in groups):,} a question",
        "Asked with": (asked.get("prompt_variant") or "the bare question") if asked else "",
        "Sampling": ", ".join(sampling),
        "Budget forcing": " to ".join(f"{one:,} tokens" for one in budget) if budget else "",
        "Files": ", ".join(files[:4]) + more,
        "Made with": f"SkillFactory {version}" if version else "",
        "Questions' digest": str(manifest.get("questions") or ""),
    }


def _listed(names: Iterable[str]) -> str:
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
