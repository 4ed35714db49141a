"""All that a run asked and was answered, as one table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.asking.journal import Journal, journal_to_read
from skill_factory.asking.keys_on_disk import CountsByKey
from skill_factory.asking.prompts import load_prompts
from skill_factory.asking.requests import Ask
from skill_factory.core.whole_files import new_file, resolved
from skill_factory.errors import InputError
from skill_factory.look.folders import RunView, is_run
from skill_factory.look.unanswered import context_of
from skill_factory.measure import evaluate_responses as responses
from skill_factory.measure.evaluate_folder import EvaluationContext, EvaluationFolder, is_evaluation
from skill_factory.measure.evaluate_settings import EvaluateConfig
from skill_factory.models import Identified, Sampling
from skill_factory.runs.config import load_settings
from skill_factory.runs.context import AskingContext
from skill_factory.runs.folder import Stage, one_line_for_damaged_tables
from skill_factory.runs.merging import journal_at
from skill_factory.runs.model_identity import Known, known_model
from skill_factory.runs.reflect_stage import ReflectPlan
from skill_factory.runs.sample_stage import SamplePlan

_CHUNK = 256
"""Asks that are looked up together."""

_ROWS = 4096
"""Rows that are written together."""

_MESSAGE = pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])

ANSWERS = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("prompt_variant", pa.string()),
        pa.field("messages", pa.list_(_MESSAGE), nullable=False),
        pa.field("sampling", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("reasoning", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("answered_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("key", pa.string(), nullable=False),
    ]
)
"""One row a sample. `stage` is sample, reflect or evaluate; `prompt_variant` null: there is one
prompt. `sampling` is JSON, as a request has it for sample 0. `text` and `reasoning` are as the
server gave them. Tokens are null where it does not count, `seconds` is 0 where that is not known.
`key` names prompt, model and sampling in the journal, in hex."""


class Exported(NamedTuple):
    """The samples that were written, and those of the journal that the run would not ask for as its
    settings are now."""

    written: int
    others: int


class _Asked(NamedTuple):
    """All that is asked in a stage."""

    stage: str
    asks: Iterable[Ask]
    model: Identified
    sampling: Sampling


def export_journal(folder: Path, target: Path) -> Exported:
    """Write the journal of a run, or of an evaluation, as a table of `ANSWERS`, whole or not.

    A prompt that is asked twice stands there once. Raises `InputError` for another folder, and if
    another process has the journal.
    """
    path = journal_at(folder)
    written = 0
    with (
        one_line_for_damaged_tables(),
        journal_to_read(path) as journal,
        CountsByKey() as seen,
        new_file(resolved(target)) as part,
        pq.ParquetWriter(part, ANSWERS, compression="zstd") as out,
    ):
        rows = (row for one in _asked(folder, journal) for row in _rows(one, journal, seen))
        while chunk := list(islice(rows, _ROWS)):
            out.write_table(pa.Table.from_pylist(chunk, ANSWERS))
            written += len(chunk)
        return Exported(written, journal.count() - written)


def _asked(folder: Path, journal: Journal) -> Iterator[_Asked]:
    if is_evaluation(folder):
        yield from _of_evaluation(folder, journal)
    elif is_run(folder):
        yield from _of_run(RunView(folder))
    else:
        raise InputError(f"{folder}: is no run's folder")


def _of_run(run: RunView) -> Iterator[_Asked]:
    context = context_of(run)
    if (questions := run.table(Stage.QUESTIONS)) is None:
        raise InputError(f"{run.folder.path(Stage.QUESTIONS)}: is missing")
    plans: list[SamplePlan | ReflectPlan] = [SamplePlan(context, questions)]
    if run.table(Stage.GRADE) is not None:
        plans.append(ReflectPlan(context))
    for plan in plans:
        record = run.folder.records.get(plan.stage)
        model = Known(record.identity) if record and record.identity else _known(context)
        yield _Asked(plan.stage, plan.asks(), model, plan.sampling)


def _known(context: AskingContext) -> Identified:
    """The model that a run which has not ended asks."""
    if (model := known_model(context)) is None:
        raise InputError(f"{context.folder.settings}: does not say which model was asked")
    return model


def _of_evaluation(path: Path, journal: Journal) -> Iterator[_Asked]:
    folder = EvaluationFolder(path)
    config = load_settings(EvaluateConfig, folder.settings, {}, trusted=False)
    settings = config.evaluate
    bank = load_prompts(Path(settings.prompts) if settings.prompts else None)
    spec = responses.evaluate_spec(settings, bank, config.model.grammar)
    if not folder.questions.is_file():
        raise InputError(f"{folder.questions}: is missing")
    model = _known(EvaluationContext(folder, config, lambda text: None))
    source = responses.Source(spec, model, journal)
    yield _Asked("evaluate", responses.asks(folder.questions, spec), model, spec.sampling)
    for number in range(1, spec.forcing.rounds + 1 if spec.forcing else 1):
        first = responses.asks(folder.questions, spec)
        again = responses.continuing_asks(first, source, number)
        yield _Asked("evaluate", again, model, spec.sampling)


def _rows(asked: _Asked, journal: Journal, seen: CountsByKey) -> Iterator[dict[str, Any]]:
    rest = iter(asked.asks)
    while chunk := list(islice(rest, _CHUNK)):
        keys = [ask.key(asked.model, asked.sampling) for ask in chunk]
        raised = seen.raise_to([(key, ask.count) for key, ask in zip(keys, chunk, strict=True)])
        before = dict(zip(reversed(keys), reversed(raised.before), strict=True))  # each key's first
        there, times = journal.read_all(raised.now), journal.answered_at(keys)
        by_key = dict(zip(keys, chunk, strict=True))
        for key, ask in by_key.items():
            common = _common(asked, ask) | {"key": key.hex()}
            for idx, completion in there[key]:
                if idx >= before[key]:
                    at = round(times[key, idx] * 1e6)
                    yield common | completion._asdict() | {"sample": idx, "answered_at": at}


def _common(asked: _Asked, ask: Ask) -> dict[str, Any]:
    """What the samples of an ask have in common."""
    return {
        "stage": asked.stage,
        "prompt_variant": None if asked.stage == Stage.REFLECT else ask.name[-1],
        "messages": ask.messages,
        "sampling": json.dumps(ask.drawn(asked.sampling).settings, ensure_ascii=False),
        "model": asked.model.identity,
    }
