"""What a report says of a run's folder, finished or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from skill_factory.core.columns import Column, Columns
from skill_factory.core.sources.batches import Batch
from skill_factory.core.tables import ANNOTATED
from skill_factory.look.folders import RunView
from skill_factory.look.report.contents import Account, Figure, Report
from skill_factory.look.report.losses import add_examples
from skill_factory.look.report.options import Options
from skill_factory.look.report.read_input import read_attempts
from skill_factory.look.report.sample import Sample
from skill_factory.look.report.sft_folder import (
    Audited,
    accounts_of,
    add_attempts,
    add_sample,
    of_sft,
)
from skill_factory.runs.folder import Stage
from skill_factory.stages.create.mix import Step

_SETTINGS = ("questions", "model", "sample", "grade", "reflect")


def of_run(run: RunView, options: Options, audited: Audited | None = None) -> Report:
    """What is to be said of a run: of its SFT folder, if it has come so far, and of its stages.
    `audited` is as `of_sft` has it."""
    report = of_sft(run.sft, options, audited) if run.sft else _unfinished(run, options)
    report.title, report.kind, report.place = run.path.resolve().name, "Run", str(run.path)
    config = _config(run)
    report.facts = _how_asked(config) | report.facts
    report.settings = {
        f"{stage}.{name}": value
        for stage in _SETTINGS
        for name, value in (config.get(stage) or {}).items()
    } | report.settings
    report.accounts = [*_accounts_before(run, report), *report.accounts]
    _add_tokens(report, run)
    return report


def _accounts_before(run: RunView, report: Report) -> Iterator[Account]:
    """The accounts of the stages before `create`."""
    for stage in Stage:
        if stage is not Stage.CREATE:
            accounts, problem = add_examples(accounts_of(run.accounts(stage)), run, stage)
            if problem:
                report.notes.append(f"Examples of what {stage} lost are left out: {problem}.")
            yield from (one._replace(name=f"{stage}: {one.name}") for one in accounts)


def _config(run: RunView) -> Mapping[str, Any]:
    """The settings that the run went on with last; empty: there are none."""
    path = run.folder.settings
    if not path.is_file():
        return {}
    found = yaml.safe_load(path.read_bytes())
    return found if isinstance(found, dict) else {}


def _how_asked(config: Mapping[str, Any]) -> dict[str, str]:
    """Model, prompts and sampling, in words."""
    model, sample = config.get("model") or {}, config.get("sample") or {}
    drawn = [
        f"{name.replace('_', ' ')} {sample[name]}"
        for name in ("temperature", "top_p", "top_k", "repetition_penalty")
        if sample.get(name) is not None
    ]
    variants = sample.get("prompt_variants") or []
    facts = {
        "Model": str(model.get("name") or model.get("local") or ""),
        "Prompts": ", ".join(map(str, variants)),
        "Sampling": ", ".join(
            [f"{sample['samples']} a prompt" if "samples" in sample else "", *drawn]
        ).strip(", "),
    }
    return {name: value for name, value in facts.items() if value}


def _unfinished(run: RunView, options: Options) -> Report:
    """A run without an SFT folder: its attempts, as far as they are."""
    report = Report("", "Run", "")
    report.lead = "This run has not made its traces yet."
    table = next(filter(None, map(run.table, (Stage.REFLECT, Stage.GRADE))), None)
    if table is None:
        stage = next(filter(run.table, (Stage.SAMPLE, Stage.QUESTIONS)), None)
        report.notes.append(
            f"So far it has {stage or 'nothing'}; more is shown once it has grades."
        )
        report.sample = Sample(0).value(0, 0, options.seed)
        return report
    read = read_attempts(_batches(table), Columns(), options)
    add_attempts(report, read, set())
    attempts = sum(variant.attempts for variant in report.variants)
    right = sum(variant.right for variant in report.variants)
    judged = sum(variant.reflections for variant in report.variants)
    true = sum(variant.true for variant in report.variants)
    questions = len(read.counts.questions)
    report.funnel = [
        Step("Questions", questions, None, "asked"),
        Step("Attempts", attempts, None),
        Step("Right attempts", right, attempts, "of the attempts"),
        Step("Reflections", judged, None),
        Step("True reflections", true, judged, "of the reflections"),
    ]
    report.figures = [
        Figure("questions", f"{questions:,}"),
        Figure("attempts", f"{attempts:,}", f"{right / max(1, attempts):.0%} right"),
        Figure("reflections", f"{judged:,}", f"{true / max(1, judged):.0%} judge truly"),
    ]
    add_sample(
        report, None, None, read, options, run if table.name == "annotated.parquet" else None
    )
    return report


def _batches(path: Path) -> Iterator[Batch]:
    """The attempts of a run, graded or annotated, as an annotated dataset has them."""
    row = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=2048):
            yield Batch(_annotated(batch), str(path), row, row)
            row += batch.num_rows


def _annotated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of graded attempts in the columns of annotated ones, without reflections."""
    if Column.REFLECTION in batch.schema.names:
        return batch
    grade = batch.column(Column.GRADE)
    decided = pc.is_in(grade, pa.array(["right", "wrong"]))
    correct = pc.if_else(decided, pc.equal(grade, "right"), None)
    columns: dict[str, pa.Array] = {
        Column.RESPONSES: batch.column(Column.RESPONSE),
        Column.CORRECTNESS: correct,
        Column.EXTRACTED_ANSWERS: batch.column(Column.EXTRACTED_ANSWER),
        Column.REFLECTION: pa.nulls(batch.num_rows, pa.list_(pa.string())),
    }
    kept = [name for name in ANNOTATED.names if name in batch.schema.names]
    return pa.RecordBatch.from_arrays(
        [*(batch.column(name) for name in kept), *columns.values()], names=[*kept, *columns]
    )


def _add_tokens(report: Report, run: RunView) -> None:
    """How many tokens the attempts of each prompt variant have, where the server counted them."""
    table = run.table(Stage.SAMPLE)
    if table is None or not report.variants:
        return
    columns = [Column.VARIANT, Column.COMPLETION_TOKENS]
    found = pq.read_table(table, columns=columns).group_by(Column.VARIANT)
    sums = {
        row[Column.VARIANT]: row[f"{Column.COMPLETION_TOKENS}_sum"]
        for row in found.aggregate([(Column.COMPLETION_TOKENS, "sum")]).to_pylist()
    }
    if all(sums.get(variant.name) for variant in report.variants):
        report.variants = [
            variant._replace(tokens=int(sums[variant.name])) for variant in report.variants
        ]
