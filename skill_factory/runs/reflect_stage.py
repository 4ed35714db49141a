"""The reflections of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from skill_factory.asking.journal import Journal
from skill_factory.asking.requests import Ask
from skill_factory.core.trace_tags import read_verdict
from skill_factory.models import Completion, Identified, Sampling
from skill_factory.runs import asking_stage as asking
from skill_factory.runs import summary
from skill_factory.runs.asking_stage import Round, model_settings
from skill_factory.runs.context import Context
from skill_factory.runs.folder import Stage
from skill_factory.runs.stage import Made, as_dicts
from skill_factory.stages import reflect as reflecting
from skill_factory.stages.first_answers import first_reflections
from skill_factory.stages.sample import MISSING


class ReflectStage:
    """Makes annotated.parquet."""

    stage = Stage.REFLECT

    def __init__(self, context: Context) -> None:
        self._context = context

    def settings(self) -> Any:
        """As `StageOfRun` has it: the settings of `create` that say which attempts and reflections
        can be used belong to it."""
        config, prompt = self._context.config, asdict(self._context.bank.reflection)
        chosen = [config.create.prompt_variants, config.create.drop_reflections_containing]
        named = config.reflect.model_dump()
        return [named, prompt, chosen, model_settings(self._context)]

    def make(self) -> Made:
        """As `StageOfRun` has it."""
        plan = self.plan()
        plan.tell_attempts()
        return asking.make(self._context, plan)

    def plan(self) -> ReflectPlan:
        """What is asked about the graded attempts that there are."""
        return ReflectPlan(self._context)

    def example(self) -> tuple[str, int]:
        """A prompt for a person, and how many reflections an attempt gets at most."""
        wanted = reflect_spec(self._context)
        ask = wanted.ask("(the question)", "(an attempt)", True, 1)
        return summary.of_prompt(ask), wanted.reflections


def reflect_spec(context: Context) -> reflecting.ReflectSpec:
    """What is asked about attempts."""
    config = context.config
    return reflecting.ReflectSpec(
        context.bank.reflection,
        config.reflect.reflections,
        config.reflect.until_valid,
        config.reflect.all_questions,
        config.create.prompt_variants,
        config.create.drop_reflections_containing,
        config.model.grammar,
        config.reflect.thinking,
    )


class ReflectPlan:
    """As `asking.Plan` has it."""

    stage = Stage.REFLECT
    called = "true verdicts"
    first_alone = False
    skip_too_long = True
    one_by_one = False
    continues = False

    def __init__(self, context: Context) -> None:
        self._context = context
        config = context.config
        self.sampling: Sampling = config.reflect.sampling
        self.first_answers = first_reflections(
            config.reflect.thinking, config.create.drop_reflections_containing, context.say
        )
        self._wanted = reflect_spec(context)
        self.at_most = self._wanted.until_valid
        self._attempts = reflecting.choose_attempts(
            context.folder.input_of(self.stage), self._wanted
        )

    def tell_attempts(self) -> None:
        """Tell how many attempts can be reflected on, and why the others cannot."""
        account = self._attempts.account()
        lost = ", ".join(f"{reason} {count:,}" for reason, count in account.losses.most_common())
        why = f"; the others not: {lost}" if lost else ""
        self._context.say(
            f"\nreflect: {account.kept:,} of {account.read:,} attempts can be reflected on{why}"
        )

    def asks(self) -> Iterator[Ask]:
        return reflecting.all_reflections(self._attempts, self._wanted).asks

    def rounds(self, model: Identified, journal: Journal) -> Iterator[Round]:
        """One; with `until_valid` one for each further reflection."""
        rounds = reflecting.rounds(self._attempts, self._wanted, model, self.sampling, journal)
        for number, (asks, samples) in enumerate(rounds, start=1):
            yield Round(f"reflect {number}" if self.at_most else "reflect", asks, samples)

    def is_good(self, ask: Ask, answer: Completion) -> bool:
        said = read_verdict(answer.text)
        return said is not None and (said.verdict == "Correct") == ask.about

    def write(self, model: Identified, journal: Journal) -> Made:
        """As `asking.Plan` has it."""
        path = self._context.folder.path(self.stage)
        made = reflecting.write_annotated(
            path, self._attempts, self._wanted, model, self.sampling, journal
        )
        if made.with_thinking:
            self.first_answers.tell_thinking()
        self._context.tell_made(self.stage, {"reflections": made.reflections})
        accounts = as_dicts({"attempts": made.attempts, "reflections": made.reflections})
        return Made(accounts, not made.reflections.losses[MISSING], model.identity)
