"""What a report says of an SFT folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.checks.audit import Audit, audit_of_input
from skill_factory.core.arrays import Ints, strings, view
from skill_factory.core.columns import Column
from skill_factory.core.trace_tags import Verdict
from skill_factory.errors import InputError
from skill_factory.look.folders import RunView, SftFolder, Trace
from skill_factory.look.report.attempt_counts import QUESTION_NUMBERS
from skill_factory.look.report.contents import Account, Figure, Loss, Pattern, Report
from skill_factory.look.report.losses import add_examples
from skill_factory.look.report.options import Options
from skill_factory.look.report.origins import Origins
from skill_factory.look.report.plan_counts import PLAN_COLUMNS, count_phrases, label_rows
from skill_factory.look.report.question_sample import rank
from skill_factory.look.report.read_input import InputRead, read_attempts
from skill_factory.look.report.reasons import meaning_of
from skill_factory.look.report.sample import Sample
from skill_factory.look.report.sizes import histogram
from skill_factory.runs.folder import Stage
from skill_factory.stages.create.mix import Mix, funnel, mix_of

Audited = Callable[[Audit | str], None]


def of_sft(folder: SftFolder, options: Options, audited: Audited | None = None) -> Report:
    """What is to be said of an SFT folder. `audited` takes the audit of its input, or why there is
    none, as soon as that is read; None: nobody waits for it."""
    report = Report(folder.path.resolve().name, "SFT dataset", str(folder.path))
    plan = pa.Table.from_batches(folder.plan_batches(PLAN_COLUMNS))
    describe_manifest(report, folder.manifest)
    mix = mix_of(plan)
    report.labels = label_rows(mix)
    report.patterns = [Pattern(*one) for one in mix.patterns.most_common()]
    report.phrases = count_phrases(plan, folder.manifest["phrases"])
    report.sizes = histogram(_characters(folder), "traces", "characters in a trace")
    read, run = _read_input(folder, report, options)
    if audited is not None:
        name, none = folder.manifest["input"]["name"], "it is not there"
        audited(audit_of_input(read.audit, name, folder.manifest) if read else none)
    if read:
        add_attempts(report, read, set(pc.unique(plan[Column.QUESTION_ID]).to_pylist()))
    _add_numbers(report, folder.manifest["ledger"], mix, read)
    add_sample(report, folder, plan, read, options, run)
    if read:
        report.accounts, problem = add_examples(report.accounts, folder, Stage.CREATE)
        if problem:
            report.notes.append(f"Examples of what was lost are left out: {problem}.")
    return report


# -- how it was made -------------------------------------------------------------------------------


def describe_manifest(report: Report, manifest: Mapping[str, Any]) -> None:
    """What an SFT folder was made from, with which settings, and what became of everything."""
    source, settings = manifest["input"], manifest["settings"]
    report.settings = {f"create.{name}": value for name, value in settings.items()}
    counts = manifest["counts"]
    report.lead = (
        f"{counts['traces']:,} traces over {counts['questions']:,} questions, "
        "made of a model's own attempts and reflections."
    )
    commit = f" at {source['revision']}" if source.get("revision") else ""
    facts = {
        "Model": source.get("model") or "",
        "Input": f"{PurePath(source['name']).name}{commit}, {source['rows']:,} rows",
        "Formats": ", ".join(settings["formats"]),
        "Longest trace": f"{settings['attempts']} attempts",
        "Seed": str(settings["seed"]),
        "Made with": f"SkillFactory {manifest['versions']['skill_factory']}",
        "Input digest": str(source["digest"]),
        "Output digest": str(manifest["output"]["digest"]),
    }
    report.facts = {name: value for name, value in facts.items() if value}
    report.accounts = accounts_of(manifest["ledger"])


def accounts_of(ledger: Mapping[str, Mapping[str, Any]]) -> list[Account]:
    """The accounts of a manifest, the largest losses first."""
    return [
        Account(name, one["read"], one["kept"], _losses(one["losses"]))
        for name, one in ledger.items()
        if "kept" in one  # a stage's record may say other things besides
    ]


def _losses(losses: Mapping[str, int]) -> list[Loss]:
    ordered = sorted(losses.items(), key=lambda item: (-item[1], item[0]))
    return [Loss(reason, count, meaning_of(reason)) for reason, count in ordered]


# -- numbers ---------------------------------------------------------------------------------------


def _characters(folder: SftFolder) -> Ints:
    sizes = [view(pc.utf8_length(batch.text)) for batch in folder.chats.batches()]
    return np.concatenate(sizes).astype(np.int64) if sizes else np.zeros(0, np.int64)


def _read_input(
    folder: SftFolder, report: Report, options: Options
) -> tuple[InputRead | None, RunView | None]:
    """The input, and the run that made it; None, and a note, if it is not there any more."""
    try:
        source, columns, run = folder.same_input()
        task = folder.settings.get("task")
        return read_attempts(source.batches(columns), columns, options, task), run
    except InputError as error:
        report.notes.append(
            f"What depends on the input is left out: pass rates, prompt variants, verdicts, and "
            f"attempts that no trace has. {error}."
        )
        return None, None


def add_attempts(report: Report, read: InputRead, used: set[str]) -> None:
    """What is to be said of the attempts; `used` are the questions that are in a trace."""
    counts = read.counts
    report.variants = counts.by_variant()
    report.confusion = counts.confusion
    report.pass_rates = counts.pass_rates(used)
    right, decided, true, judged = (
        sum(sums)
        for sums in zip(
            *((v.right, v.right + v.wrong, v.true, v.reflections) for v in report.variants),
            strict=True,
        )
    )
    report.numbers |= {
        "Right attempts": _share(right, decided),
        "True verdicts": _share(true, judged),
    }
    for verdict in Verdict:
        f1 = counts.confusion.f1(verdict is Verdict.CORRECT)
        report.numbers |= {} if f1 is None else {f"F1 of {verdict}": f1}


def _add_numbers(
    report: Report, ledger: Mapping[str, Any], mix: Mix, read: InputRead | None
) -> None:
    traces, questions, attempts = ledger["traces"], ledger["questions"], mix.attempts()
    at_first = sum(count for letters, count in mix.patterns.items() if len(letters) == 1)
    begin_right = sum(count for letters, count in mix.patterns.items() if letters[:1] == "R")
    report.figures = [
        Figure("traces", f"{traces['kept']:,}", f"of {traces['read']:,} planned"),
        Figure("questions", f"{questions['kept']:,}", f"of {questions['read']:,} asked"),
        Figure("attempts a trace", f"{_share(attempts, mix.traces):.2f}", "on average"),
        Figure("end at the first attempt", f"{_share(at_first, mix.traces):.0%}", "of the traces"),
    ]
    report.numbers |= {
        "Traces": traces["kept"],
        "Questions in traces": _share(questions["kept"], questions["read"]),
        "Attempts a trace": _share(attempts, mix.traces),
        "Right attempts in traces": _share(mix.attempts("R"), attempts),
        "Traces that begin right": _share(begin_right, mix.traces),
    }
    right = sum(variant.right for variant in report.variants) if read else None
    report.funnel = funnel(ledger, right)


def _share(part: int, of: int) -> float:
    return part / of if of else 0.0


# -- the sample ------------------------------------------------------------------------------------


def add_sample(
    report: Report,
    folder: SftFolder | None,
    plan: pa.Table | None,
    read: InputRead | None,
    options: Options,
    run: RunView | None,
) -> None:
    """Add the questions of the sample with their attempts and traces, in the order of their ranks.
    `folder` and `plan` None: there are no traces yet; `run` None: no run of ours made the input."""
    sample, rows = Sample(options.room), read.rows if read else []
    by_question = {key: list(some) for key, some in groupby(rows, lambda row: row["question_id"])}
    ids = plan[Column.QUESTION_ID] if plan else pa.chunked_array([], pa.string())
    order = list(by_question) or _ranked(ids, options)
    traces = _traces_of(folder, ids, order) if folder else {}
    origins = Origins(rows, folder.phrases if folder else None, run)
    if origins.problem:
        report.notes.append(f"Not all requests are known. {origins.problem}.")
    for key in order:
        if sample.full:
            break
        _add_question(sample, key, by_question.get(key, []), traces.get(key, []), origins, read)
    asked = len(read.counts.questions) if read else len(pc.unique(ids))
    report.sample = sample.value(len(ids), asked, options.seed)
    if sample.too_long:
        report.notes.append(
            f"{sample.too_long:,} texts of the sample are too long for a page, and are left out."
        )


def _traces_of(
    folder: SftFolder, ids: pa.ChunkedArray, questions: Sequence[str]
) -> dict[str, list[Trace]]:
    """The traces of some questions."""
    numbers = np.flatnonzero(view(pc.is_in(ids, strings(questions)))).tolist()
    traces: dict[str, list[Trace]] = {}
    for trace in folder.read(numbers):
        assert trace.plan is not None
        traces.setdefault(trace.plan[Column.QUESTION_ID], []).append(trace)
    return traces


def _ranked(ids: pa.ChunkedArray, options: Options) -> list[str]:
    """Questions in the order of their ranks: so many as may have room with five traces each."""
    names = pc.unique(ids).to_pylist()
    first = np.array([int(name[:16], 16) for name in names], np.uint64)
    order = np.argsort(rank(first, options.seed))
    return [names[at] for at in order[: options.room // _LEAST]]


_LEAST = 500
"""Bytes that a question takes at least."""


def _add_question(
    sample: Sample,
    key: str,
    rows: Sequence[Mapping[str, Any]],
    traces: Sequence[Trace],
    origins: Origins,
    read: InputRead | None,
) -> None:
    text = rows[0]["question"] if rows else traces[0].question if traces else ""
    counts = map(int, read.counts.questions[key]) if read else ()
    place = sample.question(key, text, dict(zip(QUESTION_NUMBERS, counts, strict=False)))
    if place is None:
        return
    for trace in traces:
        sample.trace(place, trace, origins.variants(trace), origins.of_spans(trace))
    for row in rows:
        where = row["row"], row["response"]
        told = [origins.of_text(*where, at) for at in range(len(row["reflections"]))]
        sample.attempt(place, row, origins.of_text(*where), told)
