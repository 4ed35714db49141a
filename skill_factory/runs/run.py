"""A run: all stages in one folder, each taken up where it was.

    questions.parquet   what is asked
    journal.sqlite      all that the model said
    attempts.parquet    its answers
    graded.parquet      right or wrong
    annotated.parquet   with its reflections on them: the input of step 2
    sft/                the SFT folder
    config.yaml         the settings, defaults too
    manifest.json       of each stage: what it was made from, what became of everything

A stage whose settings and input are those it was last made with is not made again, and one that
asks a model asks only for what the journal lacks. So the same command, however often it is stopped,
comes to the same end.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from skill_factory.core.tables import ANNOTATED, ATTEMPTS, GRADED, QUESTIONS, validate_table
from skill_factory.core.whole_files import sha256 as file_digest
from skill_factory.errors import InputError
from skill_factory.models.addresses import Addresses
from skill_factory.runs import asking_stage as asking
from skill_factory.runs import summary
from skill_factory.runs.context import Context, Say, prompts_of
from skill_factory.runs.create_stage import CreateStage
from skill_factory.runs.folder import STAGES, Record, RunFolder, Stage, one_line_for_damaged_tables
from skill_factory.runs.grade_stage import GradeStage
from skill_factory.runs.model_identity import Known, assume_name, find_name
from skill_factory.runs.own_servers import ended_with, own_servers
from skill_factory.runs.questions_stage import QuestionsStage
from skill_factory.runs.reflect_stage import ReflectStage
from skill_factory.runs.sample_stage import SampleStage
from skill_factory.runs.settings import resolve, validate_attempts, validate_create
from skill_factory.runs.stage import Made, StageOfRun
from skill_factory.runs.up_to_date import State, States
from skill_factory.runs.watcher import Watcher
from skill_factory.stages.settings import RunConfig

_SCHEMAS = {
    Stage.QUESTIONS: QUESTIONS,
    Stage.SAMPLE: ATTEMPTS,
    Stage.GRADE: GRADED,
    Stage.REFLECT: ANNOTATED,
}
_ASKING = (Stage.SAMPLE, Stage.REFLECT)


class _Stages(NamedTuple):
    """The stages, in their order; all of them go by one context."""

    questions: QuestionsStage
    sample: SampleStage
    grade: GradeStage
    reflect: ReflectStage
    create: CreateStage

    @property
    def by_name(self) -> dict[Stage, StageOfRun]:
        return dict(zip(Stage, self, strict=True))


def _stages_of(context: Context) -> _Stages:
    return _Stages(
        QuestionsStage(context),
        SampleStage(context),
        GradeStage(context),
        ReflectStage(context),
        CreateStage(context),
    )


class Run:
    """A run's folder with the settings it goes on with. `say` takes what there is to tell, in
    lines, and `watcher` hears how it goes (None: nobody does). `addresses` None: the settings say
    where the servers are. Raises `PromptError` for its prompt
    file, `OptionError` for settings that do not go together, `InputError` for a folder of another
    kind."""

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        say: Say,
        watcher: Watcher | None = None,
        addresses: Addresses | None = None,
    ) -> None:
        self.folder = RunFolder(folder)
        resolved = resolve(config)
        addresses = addresses or own_servers(resolved.model, self.folder, say)
        self._context = Context(
            self.folder, resolved, prompts_of(resolved), say, watcher or Watcher(), addresses
        )
        self._stages = _stages_of(self._context)
        self._states = States(self.folder, self._stages.by_name)
        validate_create(config, folder)

    @property
    def config(self) -> RunConfig:
        """The settings, with the model's name once it is known."""
        return self._context.config

    def go(
        self, first: Stage = Stage.QUESTIONS, last: Stage = Stage.CREATE, anew: bool = False
    ) -> None:
        """Make the stages from `first` to `last`, but for those that are made; `anew`: `first` in
        any case. Raises `AskedBeforeError` before answers are asked for anew without leave."""
        if last is Stage.CREATE:
            validate_attempts(self.config)
        with self.folder.locked(self.config), ended_with(self._context):
            self._validate_input(first)
            for stage in STAGES[STAGES.index(first) : STAGES.index(last) + 1]:
                if stage in _ASKING:
                    find_name(self._context)
                if stage is Stage.SAMPLE:
                    self._stages.sample.tell_unasked_variants()
                if self._is_up_to_date(stage) and not (anew and stage is first):
                    made = self.folder.sft if stage is Stage.CREATE else self.folder.path(stage)
                    self._context.say(f"{stage}: {made} is up to date")
                else:
                    self._make(stage)
                self._context.watcher.ends(stage)

    def regrade(self) -> None:
        """Grade what was answered again; where it was reflected on, the annotated table follows,
        with the reflections that the journal has. The model is not asked."""
        with self.folder.locked(self.config):
            self._recall_model()
            self._validate_input(Stage.GRADE)
            self._stages.sample.validate_graders()
            self._make(Stage.GRADE)
            self._follow_grades()

    def _follow_grades(self) -> None:
        """Make the annotated table anew from what the journal has, if there is one."""
        before = self.folder.records.get(Stage.REFLECT)
        if before is None or before.identity is None:
            return
        again = f"`skill-factory reflect {self.folder}`"
        if before.settings != self._states.settings_of(Stage.REFLECT):
            self._context.say(
                f"Note: {self.folder.path(Stage.REFLECT)} is left as it is, as it was made "
                f"with other settings; {again} makes it anew"
            )
            return
        plan, model = self._plan(Stage.REFLECT), Known(before.identity)
        self._note(
            Stage.REFLECT,
            lambda: asking.write_again(self._context, plan, model),
        )
        if not self.folder.records[Stage.REFLECT].whole:
            self._context.say(f"{again} asks for what is missing")

    # -- asking by files --------------------------------------------------------------------------

    def write_requests(self, stage: Stage, path: Path) -> None:
        """Write what a stage would ask as a file for a batch service, and tell how much it is.
        Raises `AskedBeforeError`, as `go`."""
        with self.folder.locked(self.config):
            find_name(self._context)
            self._validate_input(Stage.QUESTIONS if stage is Stage.SAMPLE else stage)
            if stage is Stage.SAMPLE:
                self._stages.sample.tell_unasked_variants()
                if self._states.of(Stage.QUESTIONS) is not State.MADE:
                    self._make(Stage.QUESTIONS)
                self._stages.sample.validate_graders()
            written = asking.write_requests(self._context, self._plan(stage), path)
            self._context.say(f"{path}: {summary.of_written(written)}")

    def read_responses(self, stage: Stage, path: Path) -> None:
        """Take a batch service's answers, and make the stage's table of what there is."""
        with self.folder.locked(self.config):
            self._recall_model()
            self._validate_input(stage)
            asking.require_journal(self._context)
            self._note(stage, lambda: asking.read_responses(self._context, self._plan(stage), path))

    def _plan(self, stage: Stage) -> asking.Plan:
        return self._stages.sample.plan() if stage is Stage.SAMPLE else self._stages.reflect.plan()

    # -- what it would do -------------------------------------------------------------------------

    def preview(self, first: Stage, last: Stage) -> None:
        """Tell what would be asked and what it would take; nothing is written and nobody asked."""
        if last is Stage.CREATE:
            validate_attempts(self.config)
        with one_line_for_damaged_tables():
            self._validate_input(first)
            reflects = STAGES.index(last) >= STAGES.index(Stage.REFLECT)
            if first in (Stage.GRADE, Stage.CREATE):
                self._context.say(f"{first}: asks nobody")
            if first is Stage.QUESTIONS and last is Stage.QUESTIONS:
                self._preview_questions()
            elif first in (Stage.QUESTIONS, Stage.SAMPLE):
                self._preview_sample(first, reflects)
            elif first is not Stage.CREATE and reflects:
                self._preview_reflect()

    def _preview_questions(self) -> None:
        with tempfile.TemporaryDirectory(prefix="skill-factory-") as work:
            self._stages.questions.preview(Path(work) / "questions.parquet")

    def _preview_sample(self, first: Stage, reflects: bool) -> None:
        with tempfile.TemporaryDirectory(prefix="skill-factory-") as work:
            questions = self.folder.path(Stage.QUESTIONS)
            if first is Stage.QUESTIONS and self._states.of(first) is not State.MADE:
                questions = Path(work) / questions.name
                self._stages.questions.preview(questions)
            self._stages.sample.tell_unasked_variants()
            shown = len(self.config.sample.prompt_variants)
            about = asking.preview(self._context, self._stages.sample.plan(questions), shown)
        if not reflects:
            return
        if all(self._states.of(stage) is State.MADE for stage in (Stage.SAMPLE, Stage.GRADE)):
            self._preview_reflect()
            return
        prompt, most = self._stages.reflect.example()
        self._context.say(f"{prompt}\nreflect: at most {about.total * most:,} samples to ask for")

    def _preview_reflect(self) -> None:
        if not self.folder.path(Stage.GRADE).is_file():
            self._context.say("reflect: what it asks depends on the grades")
            return
        plan = self._stages.reflect.plan()
        plan.tell_attempts()
        asking.preview(self._context, plan, 2)

    # -- what is made, and what is not -------------------------------------------------------------

    def _make(self, stage: Stage) -> None:
        """Make a stage's file."""
        self._note(stage, self._stages.by_name[stage].make)

    def _note(self, stage: Stage, make: Callable[[], Made]) -> None:
        """Make a stage's file, and keep in the manifest what it was made from."""
        self._context.watcher.begins(stage)
        start = time.monotonic()
        made = make()
        record = Record(
            self._states.key_of(stage),
            self._states.settings_of(stage),
            file_digest(self.folder.path(stage)),
            made.whole,
            made.identity,
            made.accounts,
            round(time.monotonic() - start, 3),
        )
        self.folder.note(stage, record)

    def _is_up_to_date(self, stage: Stage) -> bool:
        """Whether there is nothing to do for a stage."""
        asked = self.config.model.retry_refused and self._states.has_refused(stage)
        return self._states.of(stage) is State.MADE and not asked

    def _validate_input(self, stage: Stage) -> None:
        """Raise `InputError` if what a stage is made from is not there, or is no table of ours;
        tell if it is not what would be made now."""
        before = stage.before
        if before is None:
            return
        path = self.folder.path(before)
        if not path.is_file():
            raise InputError(f"{path}: is missing; the stage `{before}` makes it")
        with one_line_for_damaged_tables():
            validate_table(path, _SCHEMAS[before], before)
        assumed = self._context.copy()
        assume_name(assumed)
        if note := States(self.folder, _stages_of(assumed).by_name).note(before):
            self._context.say(f"Note: {note}")

    def _recall_model(self) -> None:
        """Take the model to be the one that was asked before, and keep its name."""
        assume_name(self._context)
        self.folder.keep(self.config)
