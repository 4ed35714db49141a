"""An evaluation: a model is asked questions, and what it answers is graded and measured.

    questions.parquet   what is asked, with the names of the sets
    journal.sqlite      all that the model said
    config.yaml         the settings, defaults too
    responses.parquet, measures.parquet, summary.json, manifest.json
                        what `measure` makes of any responses

What the journal has is not asked again, so the same command, however often it is stopped, comes to
the same end.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from skill_factory.asking.asks_on_disk import AsksOnDisk
from skill_factory.asking.journal import Journal
from skill_factory.asking.prompts import load_prompts
from skill_factory.asking.requests import Ask
from skill_factory.core.ledger import account_table
from skill_factory.core.trace_tags import final_answer
from skill_factory.core.whole_files import sha256 as file_digest
from skill_factory.errors import InputError, OptionError
from skill_factory.measure import evaluate_responses as responses
from skill_factory.measure.evaluate_folder import EvaluationContext, EvaluationFolder
from skill_factory.measure.evaluate_questions import (
    are_made,
    choose_questions,
    read_questions,
    write_questions,
)
from skill_factory.measure.evaluate_settings import EvaluateConfig
from skill_factory.measure.figures import Measured
from skill_factory.measure.rules import MeasureRules, phrases_of
from skill_factory.measure.write import measure_responses
from skill_factory.models import Completion, Identified, Sampling
from skill_factory.models.addresses import Addresses
from skill_factory.runs import asking_stage as asking
from skill_factory.runs import summary
from skill_factory.runs.context import Say
from skill_factory.runs.folder import one_line_for_damaged_tables
from skill_factory.runs.model_choice import make_model
from skill_factory.runs.model_identity import assume_name, find_name, require_continuing
from skill_factory.runs.own_servers import ended_with, own_servers
from skill_factory.runs.sample_stage import validate_graders
from skill_factory.runs.settings import resolve_model
from skill_factory.stages.grade import Outcome, grade_answer
from skill_factory.tasks.judging import cores


@dataclass
class _Round:
    """As `asking.Asking` has it: one round of asking, of which all is known before it begins."""

    stage: str
    sampling: Sampling
    all_asks: Callable[[], Iterable[Ask]]
    first_answers: responses.FirstResponses
    one_by_one: bool = False
    first_alone: bool = False
    continues: bool = False
    called = "right"
    skip_too_long = False
    at_most = False

    def asks(self) -> Iterator[Ask]:
        return iter(self.all_asks())

    def rounds(self, model: Identified, journal: Journal) -> Iterator[asking.Round]:
        """One."""
        yield asking.Round(self.stage, self.asks(), sum(ask.count for ask in self.asks()))

    def is_good(self, ask: Ask, answer: Completion) -> bool:
        if ask.about is None or answer.finish_reason == "length":
            return False
        return grade_answer(ask.about, final_answer(answer.text), None) is Outcome.RIGHT


class Evaluation:
    """An evaluation's folder with the settings it goes on with. `say` takes what there is to tell,
    in lines. `addresses` None: the settings say where the servers are. Raises `OptionError` for
    settings that do not go together, `PromptError` for its prompt file, `InputError` for a folder
    of another kind."""

    def __init__(
        self,
        folder: Path,
        config: EvaluateConfig,
        say: Say,
        addresses: Addresses | None = None,
    ) -> None:
        settings = config.evaluate
        self.folder = EvaluationFolder(folder)
        resolved = _resolved(config)
        addresses = addresses or own_servers(resolved.model, self.folder, say)
        self._context = EvaluationContext(self.folder, resolved, say, addresses=addresses)
        self._continues = False  # it is not known yet
        self._first_responses = responses.FirstResponses(settings.force_budget is not None, say)
        self._rules = MeasureRules(phrases=_phrases(settings.sft_folders), workers=cores())
        bank = load_prompts(Path(settings.prompts) if settings.prompts else None)
        self._spec = responses.evaluate_spec(settings, bank, config.model.grammar)
        if config.model.local and settings.force_budget:
            second = settings.force_budget.second
            if second >= config.model.context:
                raise OptionError(
                    f"force_budget: {second} tokens and the question do not fit a context of "
                    f"{config.model.context}: raise --context"
                )

    @property
    def config(self) -> EvaluateConfig:
        """The settings, with the model's name once it is known."""
        return self._context.config

    def go(self) -> list[Measured]:
        """Ask for what the journal lacks, and measure all that there is. Raises `AskedBeforeError`
        before answers are asked for anew without leave, `ModelError` before anything is asked if a
        response is to be continued and cannot be."""
        with self.folder.locked(self.config), ended_with(self._context):
            find_name(self._context)
            self._make_questions()
            model = self._ask()
            return self._measure(model)

    def _make_questions(self) -> None:
        """Make the file of questions, unless it is there; raises `TaskError` if they cannot be
        graded."""
        path, settings = self.folder.questions, self.config.evaluate
        if are_made(path, settings):
            self._context.say(f"questions: {path} is up to date")
        else:
            chosen = choose_questions(settings)
            write_questions(path, chosen.table, settings)
            self._context.say(f"questions: {path}\n{chosen.summary()}")
        validate_graders(read_questions(path))

    # -- asking -----------------------------------------------------------------------------------

    def _ask(self) -> Identified:
        """Ask, and continue what is to be continued; the model."""
        first = self._first_round(self.folder.questions)
        model = asking.ask(self._context, first, self._require_continuing)
        rounds = self._spec.forcing.rounds if self._spec.forcing else 0
        for number in range(1, rounds + 1):
            with AsksOnDisk() as asked:
                with Journal(self.folder.journal) as journal:
                    source = responses.Source(self._spec, model, journal)
                    asked.write(responses.continuing_asks(first.asks(), source, number))
                if asked.count:
                    one = self._round(f"budget forcing {number}", asked.read)
                    asking.ask(self._context, one, self._require_continuing)
        return model

    def _require_continuing(self) -> None:
        """Raise `ModelError` if responses are to be continued, and the model does not do so."""
        if self._spec.forcing and not self._continues:
            require_continuing(self._context)
            self._continues = True

    def _first_round(self, questions: Path) -> _Round:
        return self._round("evaluate", partial(responses.asks, questions, self._spec), True)

    def _round(
        self, stage: str, all_asks: Callable[[], Iterable[Ask]], first_alone: bool = False
    ) -> _Round:
        exact = self._spec.forcing is not None  # budgets are of tokens, counted for each sample
        return _Round(
            stage, self._spec.sampling, all_asks, self._first_responses, exact, first_alone, exact
        )

    # -- what it would do, and asking by files ----------------------------------------------------

    def preview(self, shown: int = 2) -> None:
        """Tell what would be asked and what it would take; nothing is written and nobody asked."""
        with one_line_for_damaged_tables(), tempfile.TemporaryDirectory() as work:
            questions = self.folder.questions
            if not are_made(questions, self.config.evaluate):
                chosen = choose_questions(self.config.evaluate)
                questions = Path(work) / questions.name
                write_questions(questions, chosen.table, self.config.evaluate)
                self._context.say(f"questions:\n{chosen.summary()}")
            about = asking.preview(self._context, self._first_round(questions), shown)
        if self._spec.forcing:
            forcing = self._spec.forcing
            self._context.say(
                f"budget forcing: at most {about.total * forcing.rounds:,} samples more, each up "
                f"to {forcing.second:,} tokens in all"
            )

    def write_requests(self, path: Path) -> None:
        """Write what is to be asked as a file for a batch service. Raises `AskedBeforeError`."""
        self._validate_by_files()
        with self.folder.locked(self.config):
            find_name(self._context)
            self._make_questions()
            first = self._first_round(self.folder.questions)
            written = asking.write_requests(self._context, first, path)
            self._context.say(f"{path}: {summary.of_written(written)}")

    def read_responses(self, path: Path) -> list[Measured]:
        """Take a batch service's answers, and measure what there is."""
        self._validate_by_files()
        with self.folder.locked(self.config):
            assume_name(self._context)
            self.folder.keep(self.config)
            if not self.folder.questions.is_file():
                raise InputError(f"{self.folder.questions}: is missing; --write-requests makes it")
            asking.take_responses(self._context, path)
            return self._measure(make_model(self._context))

    def _validate_by_files(self) -> None:
        if self._spec.forcing:
            raise OptionError(
                "force_budget: what is asked depends on the answers, so it is not asked by files"
            )

    # -- measuring --------------------------------------------------------------------------------

    def _measure(self, model: Identified) -> list[Measured]:
        """Grade and measure the responses that the journal has, and tell what became of all that
        was asked. Raises `InputError` if there is none."""
        counts, asked = responses.Counts(), responses.asks(self.folder.questions, self._spec)
        with Journal(self.folder.journal) as journal:
            source = responses.Source(self._spec, model, journal)
            batches = responses.response_batches(asked, source, self._label(model), counts)
            manifest = partial(self._about, model, counts)
            found = measure_responses(batches, self.folder.root, self._rules, manifest=manifest)
        self._context.say(
            f"\nevaluate: {self.folder}\n{account_table({'samples': counts.samples})}"
        )
        if self._spec.forcing:
            self._context.say(_told_of_forcing(counts.forced))
        return found

    def _about(self, model: Identified, counts: responses.Counts) -> dict[str, Any]:
        """What the manifest says of who was asked what, and of what became of it."""
        return {
            "evaluate": self.config.evaluate.model_dump(),
            "model": model.identity,
            "questions": file_digest(self.folder.questions),
            "samples": counts.samples.as_dict(),
            "forced": {str(times): count for times, count in sorted(counts.forced.items())},
        }

    def _label(self, model: Identified) -> str:
        """What the model is called in tables."""
        config = self.config
        local = config.model.local and Path(config.model.local).stem
        return config.evaluate.label or config.model.name or local or model.identity


def _resolved(config: EvaluateConfig) -> EvaluateConfig:
    return config.model_copy(update={"model": resolve_model(config.model)})


def _phrases(folders: tuple[Path, ...]) -> frozenset[str]:
    """The phrases that are looked for: those of the training data, which may have none."""
    try:
        return phrases_of(folders)
    except OptionError:
        return frozenset()


def _told_of_forcing(forced: Counter[int]) -> str:
    """How often a text was put into the responses."""
    parts = [f"{count:,} responses {times} times" for times, count in sorted(forced.items())]
    return f"budget forcing: put into {', '.join(parts)}"
