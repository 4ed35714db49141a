"""What a run asked for and has nothing whole of: samples that are missing, refused or cut off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice

import numpy as np

from skill_factory.asking.journal import Journal, journal_to_read
from skill_factory.asking.requests import Ask
from skill_factory.core.columns import Column
from skill_factory.errors import InputError
from skill_factory.look.folders import RunView
from skill_factory.runs.config import load_run
from skill_factory.runs.context import Context, prompts_of
from skill_factory.runs.folder import Stage
from skill_factory.runs.model_identity import Known
from skill_factory.runs.reflect_stage import reflect_spec
from skill_factory.runs.sample_stage import SamplePlan
from skill_factory.stages import reflect as reflecting
from skill_factory.stages.create.losses import Group, Loss
from skill_factory.stages.sample import MISSING

_CHUNK = 1024


def context_of(run: RunView) -> Context:
    """The settings and prompts that a run was last asked with. Raises `InputError` if they are not
    there."""
    if not run.folder.settings.is_file():
        raise InputError(f"{run.folder.settings}: is missing; bring it back")
    config = load_run(run.folder.settings, {}, trusted=False)
    return Context(run.folder, config, prompts_of(config), lambda text: None)


@contextmanager
def _journal(run: RunView) -> Iterator[Journal]:
    """A run's journal; raises `InputError` if it is not there, or a run has it."""
    if not run.folder.journal.is_file():
        raise InputError(f"{run.folder.journal}: is missing, and with it what the model said")
    with journal_to_read(run.folder.journal) as journal:
        yield journal


def _model(run: RunView, stage: Stage) -> Known:
    return Known(run.folder.records[stage].identity or "")


def unanswered_samples(run: RunView) -> Generator[Group]:
    """Attempts that there are not: of each only the question and the prompt variant are known, and
    `row` is the question's."""
    context, model = context_of(run), _model(run, Stage.SAMPLE)
    plan = SamplePlan(context, run.folder.input_of(Stage.SAMPLE))
    asks = enumerate(plan.asks())
    variants = max(1, len(context.config.sample.prompt_variants))
    with _journal(run) as journal:
        while chunk := list(islice(asks, _CHUNK)):
            keys = [ask.key(model, plan.sampling) for _, ask in chunk]
            most = max(ask.count for _, ask in chunk)
            there, refused = journal.read_all(dict.fromkeys(keys, most)), journal.refused(keys)
            lacking = defaultdict[str, list[Loss]](list)
            for key, (number, ask) in zip(keys, chunk, strict=True):
                reason = refused[key].reason if key in refused else MISSING
                had = sum(sample[0] < ask.count for sample in there[key])
                loss = _asked(ask, number // variants)
                lacking[reason] += [loss] * (ask.count - had)
            for reason, losses in lacking.items():
                yield _group("samples", reason, losses)


def _asked(ask: Ask, row: int) -> Loss:
    question = ask.about[Column.QUESTION] if isinstance(ask.about, dict) else None
    return Loss(row, question, ask.name[-1])


def unanswered_reflections(run: RunView) -> Generator[Group]:
    """Reflections that there are not, or that a length limit ended; `row` is one of the graded
    table."""
    context, model = context_of(run), _model(run, Stage.REFLECT)
    spec, sampling = reflect_spec(context), context.config.reflect.sampling
    attempts = reflecting.choose_attempts(run.folder.input_of(Stage.REFLECT), spec)
    first = 0
    with _journal(run) as journal:
        for batch in attempts.batches():
            found = reflecting.read_reflections(
                batch, spec, spec.reflections, model, sampling, journal
            )
            losses = _Batch(first, batch, found, spec)
            yield _group("reflections", reflecting.CUT_OFF, losses.cut_off())
            for reason, lacking in losses.lacking().items():
                yield _group("reflections", reason, lacking)
            first += batch.table.num_rows


class _Batch:
    """The losses among reflections on a batch of attempts, the first of them row `first`."""

    def __init__(
        self,
        first: int,
        batch: reflecting.GradedBatch,
        found: reflecting.Reflections,
        spec: reflecting.ReflectSpec,
    ) -> None:
        self._first, self._batch, self._found, self._spec = first, batch, found, spec

    def cut_off(self) -> list[Loss]:
        """Those that a length limit ended."""
        found, spec = self._found, self._spec
        needed = reflecting.needed_of(found) if spec.until_valid else np.ones_like(found.cut)
        places = np.flatnonzero(needed & found.cut).tolist()
        return [
            self._loss(int(found.owner[place]), found.sample[place], found.completions[place].text)
            for place in places
        ]

    def lacking(self) -> dict[str, list[Loss]]:
        """Those that there are not, by the reason."""
        found, out = self._found, defaultdict[str, list[Loss]](list)
        satisfied = set(found.owner[found.valid].tolist()) if self._spec.until_valid else set()
        had = np.bincount(found.owner, minlength=len(self._batch.codes))
        for row in self._batch.asked.tolist():
            count = 0 if row in satisfied else self._spec.reflections - int(had[row])
            if count:
                out[found.refused.get(row, MISSING)] += [self._loss(row, None, None)] * count
        return out

    def _loss(self, row: int, sample: int | None, text: str | None) -> Loss:
        said = self._batch.table.slice(row, 1).to_pylist()[0]
        return Loss(
            self._first + row,
            said[Column.QUESTION],
            said[Column.VARIANT],
            reflection=sample,
            text=text,
            correct=bool(self._batch.right[row]),
            attempt=said[Column.RESPONSE],
        )


def _group(kind: str, reason: str, losses: list[Loss]) -> Group:
    return Group(kind, reason, len(losses), partial(_first, losses))


def _first(losses: list[Loss], n: int) -> list[Loss]:
    return losses[:n]
