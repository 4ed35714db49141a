"""The attempts of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from skill_factory.asking.journal import Journal
from skill_factory.asking.requests import Ask
from skill_factory.core.tables import QUESTIONS
from skill_factory.core.trace_tags import final_answer
from skill_factory.errors import TaskError
from skill_factory.models import Completion, Identified, Sampling
from skill_factory.runs import asking_stage as asking
from skill_factory.runs.asking_stage import Round, model_settings
from skill_factory.runs.context import Context
from skill_factory.runs.folder import Stage
from skill_factory.runs.stage import Made, as_dicts
from skill_factory.stages import grade as grading
from skill_factory.stages import sample as attempting
from skill_factory.stages.first_answers import first_attempts
from skill_factory.tasks import graded, task_of


class SampleStage:
    """Makes attempts.parquet. Raises `OptionError` for prompt variants that there are not."""

    stage = Stage.SAMPLE

    def __init__(self, context: Context) -> None:
        self._context = context
        self.plan()

    def settings(self) -> Any:
        """As `StageOfRun` has it: the prompts that are asked belong to it."""
        config, variants = self._context.config.sample, self._context.bank.variants
        prompts = {name: asdict(variants[name]) for name in config.prompt_variants}
        named = config.model_dump(exclude={"prompts"})
        return [named, prompts, model_settings(self._context)]

    def make(self) -> Made:
        """As `StageOfRun` has it. Raises `TaskError` before anything is asked if the questions
        cannot be graded."""
        self.validate_graders()
        return asking.make(self._context, self.plan())

    def plan(self, questions: Path | None = None) -> SamplePlan:
        """What is asked; `questions` None: of the run's."""
        source = questions or self._context.folder.input_of(self.stage)
        return SamplePlan(self._context, source)

    def tell_unasked_variants(self) -> None:
        """Tell which prompt variants of the user's file are not asked."""
        config = self._context.config.sample
        if rest := [name for name in self._context.bank.own if name not in config.prompt_variants]:
            self._context.say(
                f"Note: {config.prompts} has prompt variants that are not asked: "
                f"{', '.join(rest)}; to ask them, name them in sample.prompt_variants "
                "(--prompt-variants)"
            )

    def validate_graders(self) -> None:
        """Raise `TaskError` if the questions cannot be graded."""
        rows = attempting.read_rows(self._context.folder.input_of(self.stage), QUESTIONS)
        validate_graders(rows, self._context.config.grade.task)


def validate_graders(rows: Iterable[Mapping[str, Any]], named: str | None = None) -> None:
    """Raise `TaskError` if a task can grade none of its questions; `named` None: it is each one's
    own."""
    faults: dict[str, str | None] = {}
    for row in rows:
        name = named or row["task_source"]
        if name not in faults or faults[name]:
            task, facts = task_of(name), json.loads(row["metadata"] or "{}")
            faults[name] = task.fault(row["answer"], facts)
            if not faults[name]:
                graded(task, "no answer", row["answer"], facts)  # its library is there
    for name, fault in faults.items():
        if fault:
            raise TaskError(f"{name} can grade none of its questions: {fault}")


class SamplePlan:
    """As `asking.Plan` has it."""

    stage = Stage.SAMPLE
    called = "right"
    first_alone = True
    """What does not fit the model's context is known before the rest is asked."""
    skip_too_long = False
    at_most = False
    one_by_one = False
    continues = False

    def __init__(self, context: Context, questions: Path) -> None:
        self._context, self._questions = context, questions
        config = context.config
        self.sampling: Sampling = config.sample.sampling
        self.first_answers = first_attempts(
            config.sample.thinking, config.grade.keep_cut_off, context.say
        )
        self._wanted = attempting.sample_spec(
            context.bank,
            config.sample.prompt_variants,
            config.sample.samples,
            config.model.grammar,
        )

    def asks(self) -> Iterator[Ask]:
        return attempting.asks(self._questions, self._wanted)

    def rounds(self, model: Identified, journal: Journal) -> Iterator[Round]:
        """One: all of it."""
        questions = pq.read_metadata(self._questions).num_rows
        total = questions * len(self._wanted.variants) * self._wanted.samples
        yield Round("sample", self.asks(), total)

    def is_good(self, ask: Ask, answer: Completion) -> bool:
        outcome = grading.grade_answer(
            ask.about, final_answer(answer.text), self._context.config.grade.task
        )
        return outcome is grading.Outcome.RIGHT and answer.finish_reason != "length"

    def write(self, model: Identified, journal: Journal) -> Made:
        """As `asking.Plan` has it. Raises `InputError` if there is no answer at all."""
        path, thinking = self._context.folder.path(self.stage), self._context.config.sample.thinking
        account, with_thinking = attempting.write_attempts(
            path, self.asks(), thinking, model, self.sampling, journal
        )
        if with_thinking:
            self.first_answers.tell_thinking()
        self._context.tell_made(self.stage, {"samples": account})
        whole = not account.losses[attempting.MISSING]
        return Made(as_dicts({"samples": account}), whole, model.identity)
