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

import asyncio
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from tqdm import tqdm

from skill_factory import __version__
from skill_factory.asking import batch_files
from skill_factory.asking.collect import NEW, Ask, Tally, collect
from skill_factory.asking.estimates import Estimate, estimate, longest
from skill_factory.asking.journal import Journal, journal_to_read
from skill_factory.asking.progress import Progress
from skill_factory.asking.prompts import PromptBank, load_prompts
from skill_factory.core.batches import DAMAGED
from skill_factory.core.files import new_file, read_whole, resolved
from skill_factory.core.files import sha256 as file_digest
from skill_factory.core.ledger import Account, account_table
from skill_factory.core.tables import ANNOTATED, ATTEMPTS, GRADED, QUESTIONS, check_own
from skill_factory.core.tags import final_answer, read_verdict
from skill_factory.errors import InputError, OptionError, OutputError, TaskError
from skill_factory.models import Completion, Identified, Model, ModelError, Refusal, Sampling
from skill_factory.models.servers import OpenAIModel
from skill_factory.runs.folder import STAGES, Done, RunFolder, Stage, public_address
from skill_factory.runs.settings import (
    make_model,
    only_model,
    pace,
    see_create,
    see_enough,
    settled,
    stamp,
)
from skill_factory.stages import grade as grading
from skill_factory.stages import reflect as reflecting
from skill_factory.stages import sample as attempting
from skill_factory.stages.create import pipeline
from skill_factory.stages.first_answers import FirstAnswers, first_attempts, first_reflections
from skill_factory.stages.questions.making import make_questions
from skill_factory.stages.settings import QuestionsConfig, RunConfig
from skill_factory.tasks import graded, task_of

_SCHEMAS = {
    Stage.QUESTIONS: QUESTIONS,
    Stage.SAMPLE: ATTEMPTS,
    Stage.GRADE: GRADED,
    Stage.REFLECT: ANNOTATED,
}


Say = Callable[[str], None]


class Known(NamedTuple):
    """A model that is not asked: only what the journal knows it by."""

    identity: str


class Run:
    """A run's folder with the settings it goes on with. `say` takes what there is to tell, in
    lines. Raises `PromptError` for its prompt file, `InputError` for a folder of another kind."""

    def __init__(self, folder: Path, config: RunConfig, say: Say) -> None:
        self.folder = RunFolder(folder)
        self.config = settled(config)
        self.say = say
        prompts = self.config.sample.prompts
        self.bank: PromptBank = load_prompts(Path(prompts) if prompts else None)
        self._wanted_attempts()
        see_create(config, folder)
        self.first_answers = {
            Stage.SAMPLE: first_attempts(config.sample.thinking, config.grade.keep_cut_off, say),
            Stage.REFLECT: first_reflections(
                config.reflect.thinking, config.create.drop_reflections_containing, say
            ),
        }

    # -- the stages in their order ----------------------------------------------------------------

    def go(
        self, first: Stage = Stage.QUESTIONS, last: Stage = Stage.CREATE, anew: bool = False
    ) -> None:
        """Make the stages from `first` to `last`, but for those that are made; `anew`: `first` in
        any case."""
        chosen = STAGES[STAGES.index(first) : STAGES.index(last) + 1]
        if last is Stage.CREATE:
            see_enough(self.config)
        with self.folder.alone(self.config), _tables():
            self._see_input(first)
            for stage in chosen:
                if stage in (Stage.SAMPLE, Stage.REFLECT):
                    self._name_model()
                asked = self._retry and self._has_refused(stage)
                if self.is_made(stage) and not asked and not (anew and stage is first):
                    self.say(f"{stage}: {self.folder.path(stage)} is up to date")
                else:
                    self.make(stage)

    def preview(self, first: Stage, last: Stage) -> None:
        """Say what would be asked and what it would take; nothing is written and nobody asked."""
        with _tables():
            self._show(first, last)

    def _show(self, first: Stage, last: Stage) -> None:
        if last is Stage.CREATE:
            see_enough(self.config)
        self._see_input(first)
        if first in (Stage.GRADE, Stage.CREATE):
            self.say(f"{first} asks nobody")
            return
        if first is Stage.REFLECT:
            attempts = reflecting.choose(self.folder.path(Stage.GRADE), self.wanted)
            asks = reflecting.everything(attempts, self.wanted).asks
            self._preview(Stage.REFLECT, asks, self.config.reflect.sampling, 2)
            return
        with tempfile.TemporaryDirectory(prefix="skill-factory-") as work:
            questions = self.folder.path(Stage.QUESTIONS)
            if first is Stage.QUESTIONS and not self.is_made(first):
                questions = Path(work) / questions.name
                made = make_questions(self._asked())
                self._tell(Stage.QUESTIONS, {"questions": made.account}, made.notes)
                pq.write_table(made.table, questions)
            about = self._preview(
                Stage.SAMPLE,
                self.asks(questions),
                self.config.sample.sampling,
                len(self._variants()),
            )
        if last in (Stage.REFLECT, Stage.CREATE):
            ask = self.wanted.ask("(the question)", "(an attempt)", True, 1)
            most = (about.samples + about.had) * self.wanted.reflections
            self.say(f"{_spelt(ask)}\nreflect: at most {most:,} samples to ask for")

    def _preview(
        self, stage: Stage, asks: Iterator[Ask], sampling: Sampling, shown: int
    ) -> Estimate:
        """Show the first prompts of a stage, and what all of them take."""
        listed = list(itertools.islice(asks, shown))
        for ask in listed:
            self.say(_spelt(ask))
        asked = self.config.model
        where = (
            asked.local or f"{public_address(asked.base_url)} {asked.name or '(its only model)'}"
        )
        self.say(f"{stage}: would ask {where}")
        model = self._known_model()
        there = model is not None and self.folder.journal.is_file()
        with journal_to_read(self.folder.journal) if there else nullcontext() as journal:
            about = estimate(itertools.chain(listed, asks), model, sampling, journal, self._retry)
        self.say(f"{stage}: {self._told(about)}")
        return about

    def _known_model(self) -> Identified | None:
        """The model, if its identity is known without asking; what it was in this run before."""
        config = self.config.model
        if config.local or config.name or config.identity:
            return make_model(config)
        name = self._name_before()
        return Known(f"{public_address(config.base_url)} {name}") if name else None

    def _name_model(self, ask: bool = True) -> None:
        """Find out which model it is, where the settings leave that to the server; one that does
        not answer, or that we do not `ask`, is taken to have the model that it had before."""
        config = self.config.model
        if config.local or config.name or config.identity:
            return
        name = self._name_before()
        try:
            name = asyncio.run(only_model(config)) if ask else name
        except ModelError as error:
            if name:
                self.say(f"Note: {error}; taken to be the model that was asked before, {name}")
        self._call_it(name)

    def _call_it(self, name: str | None) -> None:
        """Take a name for the model's, and keep it."""
        if name and not self.config.model.identity:
            model = self.config.model.model_copy(update={"name": name})
            self.config = self.config.model_copy(update={"model": model})
            self.folder.keep(self.config)

    def _name_before(self) -> str | None:
        """The name of the model that was asked at this address before."""
        address = f"{public_address(self.config.model.base_url)} "
        for stage in (Stage.SAMPLE, Stage.REFLECT):
            known = self.folder.done[stage].identity if stage in self.folder.done else None
            if known and known.startswith(address):
                return known.removeprefix(address)
        return None

    def make(self, stage: Stage) -> None:
        """Make one stage's table."""
        start = time.monotonic()
        work: dict[Stage, Callable[[], Done]] = {
            Stage.QUESTIONS: self._questions,
            Stage.SAMPLE: self._sample,
            Stage.GRADE: self._grade,
            Stage.REFLECT: self._reflect,
            Stage.CREATE: self._create,
        }
        done = work[stage]()
        done.seconds = round(time.monotonic() - start, 3)
        self.folder.note(stage, done)

    def is_made(self, stage: Stage) -> bool:
        """Whether a stage's file is there, whole, and made from what it would be made from now."""
        done, path = self.folder.done.get(stage), self.folder.path(stage)
        same = (
            done is not None
            and done.whole
            and path.is_file()
            and done.key == self._key(stage)
            and done.file == file_digest(path)
        )
        return same and (stage is not Stage.CREATE or _is_whole(self.folder.sft))

    @property
    def _retry(self) -> bool:
        return self.config.model.retry_refused

    def _has_refused(self, stage: Stage) -> bool:
        """Whether a stage lacks samples because the server refused them."""
        accounts = self.folder.done[stage].accounts if stage in self.folder.done else {}
        losses = (account.get("losses") for account in accounts.values())
        return any(set(Refusal) & lost.keys() for lost in losses if isinstance(lost, dict))

    def _key(self, stage: Stage) -> str:
        """A digest of all that a stage's file is made from."""
        place = STAGES.index(stage)
        source = self.folder.path(STAGES[place - 1]) if place else None
        before = file_digest(source) if source and source.is_file() else None
        return _digest([__version__, self._settings(stage), before])

    def _settings(self, stage: Stage) -> Any:
        config = self.config
        match stage:
            case Stage.QUESTIONS:
                asked = config.questions
                source = asked.source if asked and asked.kind == "dataset" else None
                return asked and [asked.model_dump(mode="json"), stamp(source)]
            case Stage.SAMPLE:
                prompts = {name: asdict(self.bank.variants[name]) for name in self._variants()}
                named = config.sample.model_dump(mode="json", exclude={"prompts"})
                return [named, prompts, self._model_settings()]
            case Stage.GRADE:
                leaks = sorted(self.hints)
                return [config.grade.model_dump(mode="json", exclude={"workers"}), leaks]
            case Stage.REFLECT:
                named, prompt = config.reflect.model_dump(mode="json"), asdict(self.bank.reflection)
                chosen = [config.create.prompt_variants, config.create.drop_reflections_containing]
                return [named, prompt, chosen, self._model_settings()]
            case Stage.CREATE:
                named = config.create.model_dump(
                    mode="json", exclude={"workers", "overwrite", "private", "push"}
                )
                phrases = config.create.phrases
                return [named, phrases and file_digest(Path(phrases))]

    def _model_settings(self) -> list[Any]:
        config = self.config.model
        names = {"name", "local", "identity", "grammar"}
        address = None if config.identity else public_address(config.base_url)
        return [config.model_dump(include=names), address, stamp(config.local)]

    def _see_input(self, stage: Stage) -> None:
        """See that what a stage is made from is there; note if it is older than the settings."""
        if stage is Stage.QUESTIONS:
            return
        before = STAGES[STAGES.index(stage) - 1]
        if not self.folder.path(before).is_file():
            raise InputError(
                f"{self.folder.path(before)}: is missing; the stage `{before}` makes it"
            )
        with _tables():
            check_own(self.folder.path(before), _SCHEMAS[before], before)
        if before in self.folder.done and not self.is_made(before):
            self.say(
                f"Note: {self.folder.path(before)} was made with other settings, or lacks "
                f"something; `run --from {before}` makes it anew"
            )

    # -- questions --------------------------------------------------------------------------------

    def _questions(self) -> Done:
        path = self.folder.path(Stage.QUESTIONS)
        made = make_questions(self._asked())
        with new_file(path) as part:
            pq.write_table(made.table, part, compression="zstd")
        self._tell(Stage.QUESTIONS, {"questions": made.account}, made.notes)
        return self._made(Stage.QUESTIONS, _dicts(questions=made.account))

    def _made(
        self,
        stage: Stage,
        accounts: dict[str, dict[str, object]],
        whole: bool = True,
        identity: str | None = None,
    ) -> Done:
        """What the manifest says of a stage that was just made."""
        settings, file = _digest(self._settings(stage)), file_digest(self.folder.path(stage))
        return Done(self._key(stage), settings, file, whole, identity, accounts)

    def _asked(self) -> QuestionsConfig:
        if self.config.questions is None:
            raise OptionError(
                "there are no questions: name them under the key `questions` of the config, or "
                "begin with an annotated dataset: `skill-factory create`"
            )
        return self.config.questions

    # -- attempts ---------------------------------------------------------------------------------

    def _variants(self) -> tuple[str, ...]:
        return self.config.sample.prompt_variants

    @property
    def hints(self) -> frozenset[str]:
        """The prompt variants that show the gold answer."""
        return frozenset(name for name, prompt in self.bank.variants.items() if prompt.hint)

    def asks(self, questions: Path | None = None) -> Iterator[Ask]:
        """All that is asked for attempts; `questions` None: of the run's."""
        source = questions or self.folder.path(Stage.QUESTIONS)
        return attempting.asks(source, self._wanted_attempts())

    def _wanted_attempts(self) -> attempting.Wanted:
        """What is asked of every question; raises `OptionError` for unknown prompt variants."""
        config = self.config
        return attempting.wanted(
            self.bank, self._variants(), config.sample.samples, config.model.grammar
        )

    def _sample(self) -> Done:
        self._see_graders()
        known, sampling = self._known_model(), self.config.sample.sampling
        if known is not None and not self._lacks(self.asks(), known, sampling):
            self.say("sample: all of it is in the journal")
            return self._write_attempts(known)

        async def work(model: Model, journal: Journal) -> Tally:
            about = estimate(self.asks(), model, sampling, journal, self._retry)
            self.say(f"sample: {self._told(about)}")
            first = [ask for ask in [longest(self.asks())] if ask]
            total = about.samples + about.had + about.refused
            answers = self.first_answers[Stage.SAMPLE]
            with Progress("sample", total, self._is_right, "right") as shown:
                # Alone and first: what does not fit the model's context is known before the rest.
                ahead = await self._collect(first, model, sampling, journal, answers)
                tally = await self._collect(self.asks(), model, sampling, journal, answers, shown)
            return _joined(ahead, tally)

        tally, identity = self._ask(work)
        self._tell_tally("sample", tally)
        return self._write_attempts(Known(identity))

    def _lacks(self, asks: Iterable[Ask], model: Identified, sampling: Sampling) -> bool:
        """Whether the journal lacks any sample."""
        if not self.folder.journal.is_file():
            return True
        with Journal(self.folder.journal) as journal:
            return estimate(asks, model, sampling, journal, self._retry).samples > 0

    def _write_attempts(self, model: Identified) -> Done:
        path, sampling = self.folder.path(Stage.SAMPLE), self.config.sample.sampling
        with Journal(self.folder.journal) as journal:
            account, with_thinking = attempting.write_attempts(
                path, self.asks(), self.config.sample.thinking, model, sampling, journal
            )
        if with_thinking:
            self.first_answers[Stage.SAMPLE].tell_thinking()
        self._tell(Stage.SAMPLE, {"samples": account})
        if not account.kept:
            raise InputError(f"{path}: there is no answer in it; nothing to go on with")
        whole = not account.losses[attempting.MISSING]
        return self._made(Stage.SAMPLE, _dicts(samples=account), whole, model.identity)

    def _see_graders(self) -> None:
        """See that the questions can be graded, before anything is asked; raises `TaskError`."""
        faults: dict[str, str | None] = {}
        for row in attempting.read_rows(self.folder.path(Stage.QUESTIONS), QUESTIONS):
            name = self.config.grade.task or row["task_source"]
            if name not in faults or faults[name]:
                task, facts = task_of(name), json.loads(row["metadata"] or "{}")
                faults[name] = task.fault(row["answer"], facts)
                if not faults[name]:
                    graded(task, "no answer", row["answer"], facts)  # its library is there
        for name, fault in faults.items():
            if fault:
                raise TaskError(f"{name} can grade none of its questions: {fault}")

    def _is_right(self, ask: Ask, answer: Completion) -> bool:
        said = final_answer(answer.text)
        outcome = grading.grade_answer(ask.about, said, self.config.grade.task)
        return outcome is grading.Outcome.RIGHT and answer.finish_reason != "length"

    # -- grades -----------------------------------------------------------------------------------

    def _grade(self) -> Done:
        config, path = self.config.grade, self.folder.path(Stage.GRADE)
        total = pq.read_metadata(self.folder.path(Stage.SAMPLE)).num_rows
        bar = tqdm(desc="grade", unit=" attempts", total=total, disable=None, leave=False)
        with bar:

            def progress(rows: int, so_far: Any) -> None:
                bar.update(rows)
                bar.set_postfix_str(f"right {100 * so_far['right'] / so_far.total():.0f} %")

            counts = grading.grade_file(
                self.folder.path(Stage.SAMPLE),
                path,
                hints=self.hints,
                words=config.hint_words,
                task=config.task,
                keep_cut_off=config.keep_cut_off,
                workers=config.workers or min(8, os.cpu_count() or 1),
                progress=progress,
            )
        account = Account(counts.total(), counts["right"] + counts["wrong"])
        for outcome, count in counts.items():
            if outcome not in ("right", "wrong"):
                account.lose(outcome, count)
        self._tell(Stage.GRADE, {"attempts": account})
        self.say(f"right {counts['right']:,}, wrong {counts['wrong']:,}")
        grades = {"right": counts["right"], "wrong": counts["wrong"]}
        return self._made(Stage.GRADE, _dicts(attempts=account) | {"grades": dict(grades)})

    # -- reflections ------------------------------------------------------------------------------

    @property
    def wanted(self) -> reflecting.Wanted:
        """What is asked about attempts."""
        config = self.config
        return reflecting.Wanted(
            self.bank.reflection,
            config.reflect.reflections,
            config.reflect.until_valid,
            config.reflect.all_questions,
            config.create.prompt_variants,
            config.create.drop_reflections_containing,
            config.model.grammar,
            config.reflect.thinking,
        )

    def _reflect(self) -> Done:
        known, sampling = self._known_model(), self.config.reflect.sampling
        attempts = reflecting.choose(self.folder.path(Stage.GRADE), self.wanted)
        self._tell(Stage.REFLECT, {"attempts to reflect on": attempts.account()})
        if known is not None and not self._lacking_reflections(attempts, known):
            self.say("reflect: all of it is in the journal")
            return self._write_annotated(known, attempts)

        async def work(model: Model, journal: Journal) -> Tally:
            asked = reflecting.everything(attempts, self.wanted).asks
            about = estimate(asked, model, sampling, journal, self._retry)
            if self.wanted.until_valid:  # one at a time, so each with its prompt
                about.prompt_tokens *= self.wanted.reflections
                about.requests = about.samples
            self.say(f"reflect: {'at most ' if self.wanted.until_valid else ''}{self._told(about)}")
            total, answers = Tally(), self.first_answers[Stage.REFLECT]
            rounds = reflecting.rounds(attempts, self.wanted, model, sampling, journal)
            for number, (asks, samples) in enumerate(rounds, start=1):
                name = f"reflect {number}" if self.wanted.until_valid else "reflect"
                with Progress(name, samples, _is_true, "true verdicts") as shown:
                    tally = await self._collect(
                        asks, model, sampling, journal, answers, shown, skip=True
                    )
                if self.wanted.until_valid:  # what the rounds before brought was not there before
                    tally.had = max(0, tally.had - samples // number * (number - 1))
                total.add(tally)
            return total

        tally, identity = self._ask(work)
        self._tell_tally("reflect", tally)
        return self._write_annotated(Known(identity), attempts)

    def _lacking_reflections(self, attempts: reflecting.Attempts, model: Identified) -> bool:
        """Whether the journal lacks any reflection."""
        sampling = self.config.reflect.sampling
        with Journal(self.folder.journal) as journal:
            rounds = reflecting.rounds(attempts, self.wanted, model, sampling, journal)
            return any(
                estimate(asks, model, sampling, journal, self._retry).samples for asks, _ in rounds
            )

    def _write_annotated(self, model: Identified, attempts: reflecting.Attempts) -> Done:
        path, sampling = self.folder.path(Stage.REFLECT), self.config.reflect.sampling
        with Journal(self.folder.journal) as journal:
            made = reflecting.write_annotated(path, attempts, self.wanted, model, sampling, journal)
        if made.with_thinking:
            self.first_answers[Stage.REFLECT].tell_thinking()
        self._tell(Stage.REFLECT, {"reflections": made.reflections})
        whole = not made.reflections.losses[attempting.MISSING]
        accounts = _dicts(attempts=made.attempts, reflections=made.reflections)
        return self._made(Stage.REFLECT, accounts, whole, model.identity)

    def regrade(self) -> None:
        """Grade what was answered again; where it was reflected on, the annotated table follows,
        with the reflections that the journal has. The model is not asked."""
        with self.folder.alone(self.config), _tables():
            self._name_model(ask=False)
            self._see_input(Stage.GRADE)
            self._see_graders()
            self.make(Stage.GRADE)
            before = self.folder.done.get(Stage.REFLECT)
            if before is None or before.identity is None:
                return
            if before.settings != _digest(self._settings(Stage.REFLECT)):
                self.say(
                    f"Note: {self.folder.path(Stage.REFLECT)} is left as it is, as it was made "
                    f"with other settings; `skill-factory reflect {self.folder}` makes it anew"
                )
                return
            self._see_journal()
            attempts = reflecting.choose(self.folder.path(Stage.GRADE), self.wanted)
            self.folder.note(Stage.REFLECT, self._write_annotated(Known(before.identity), attempts))
            if not self.folder.done[Stage.REFLECT].whole:
                self.say(f"`skill-factory reflect {self.folder}` asks for what is missing")

    def _see_journal(self) -> None:
        if not self.folder.journal.is_file():
            raise InputError(
                f"{self.folder.journal}: is missing, and with it what the model said; bring it back"
            )

    # -- step 2 -----------------------------------------------------------------------------------

    def _create(self) -> Done:
        source, folder = self.folder.path(Stage.REFLECT), self.folder.sft
        if folder.is_symlink():  # what it leads to may be anybody's
            raise OutputError(f"{folder}: is a link, and is not written through; remove it")
        model = self.config.create.model or self.config.model.name or self.config.model.local
        config = self.config.create.model_copy(
            update={
                "input_dataset": str(source),
                "output_dataset": str(resolved(folder)),
                "overwrite": True,
                "model": model,
            }
        )
        if (folder / "manifest.json").is_file() and not _is_whole(folder):
            shutil.rmtree(folder)  # what is left of an SFT folder of this run
        made = pipeline.create(config)
        self.say(f"\n{made.told()}\n\nSFT dataset: {folder}")
        return self._made(Stage.CREATE, made.ledger.as_dict())

    # -- asking -----------------------------------------------------------------------------------

    def _ask(self, work: Callable[[Model, Journal], Awaitable[Tally]]) -> tuple[Tally, str]:
        """Ask the model what `work` asks; what became of it, and the model's identity."""

        async def asking() -> tuple[Tally, str]:
            model = make_model(self.config.model)
            if isinstance(model, OpenAIModel):
                model.note = lambda text: self.say(f"Note: {text}")
            try:
                await model.preflight()
                if isinstance(model, OpenAIModel):
                    self._call_it(model.model)
                with Journal(self.folder.journal) as journal:
                    return await work(model, journal), model.identity
            finally:
                await model.close()

        return asyncio.run(asking())

    async def _collect(
        self,
        asks: Iterable[Ask],
        model: Model,
        sampling: Sampling,
        journal: Journal,
        first: FirstAnswers,
        shown: Progress | None = None,
        skip: bool = False,
    ) -> Tally:
        """Ask for what the journal lacks; `skip`: count what is too long for the model."""

        def answered(ask: Ask, answers: list[Completion]) -> None:
            heard = first.hear(ask, answers)
            if shown:
                shown.answered(ask, heard)

        return await collect(
            asks,
            model,
            sampling,
            journal,
            settings=pace(self.config.model, skip),
            progress=shown.show if shown else None,
            answered=answered,
        )

    def _told(self, about: Estimate) -> str:
        """What asking will take, and why what was asked before is asked again."""
        model = self.config.model
        lines = [about.told(model.prompt_price, model.completion_price)]
        for reason, count in about.reasons.items():
            if reason != NEW:
                lines.append(f"  {count:,} of them because {reason}")
            if "the model" in reason:
                lines.append(
                    "  If it is the same model at another address, stop, and name it as it was "
                    f"known with --identity: {self._identity_before()!r}"
                )
        return "\n".join(lines)

    def _identity_before(self) -> str | None:
        known = [self.folder.done[s].identity for s in STAGES if s in self.folder.done]
        return next((identity for identity in known if identity), None)

    def _tell_tally(self, stage: str, tally: Tally) -> None:
        cost = f", cost {tally.cost:,.2f}" if tally.cost is not None else ""
        self.say(
            f"{stage}: {tally.had:,} had already, {tally.answered:,} answered, "
            f"{tally.failed:,} failed; {tally.prompt_tokens:,} prompt and "
            f"{tally.completion_tokens:,} completion tokens in {tally.seconds:,.0f} s{cost}"
        )
        for reason, count in tally.reasons.most_common():
            self.say(f"  asked because {reason}: {count:,}")
        for trouble, count in tally.troubles.most_common():
            self.say(f"  sent again because of {trouble}: {count:,}")
        refused = tally.refused.total()
        if tally.failed > refused:
            self.say(
                f"Note: {tally.failed - refused:,} samples failed and are asked for by the next "
                f"run; the last: {tally.last_failure}"
            )
        for reason, count in tally.refused.most_common():
            self.say(f"  {reason}: {count:,}")
        if refused:
            self.say(
                f"Note: {refused:,} samples were refused, and are asked for again with "
                f"--retry-refused only; the last: {tally.last_refusal}"
            )
        if tally.skipped:
            self.say(f"Note: {tally.skipped:,} samples are left out, as they were refused before")

    # -- asking by files --------------------------------------------------------------------------

    def write_requests(self, stage: Stage, path: Path) -> batch_files.Written:
        """Write what a stage would ask as a file for a batch service."""
        if self.config.model.local:
            raise OptionError("--write-requests is for servers, not for a model in this process")
        with (
            self.folder.alone(self.config),
            _tables(),
            Journal(self.folder.journal) as journal,
        ):
            self._name_model()
            model = make_model(self.config.model)
            assert isinstance(model, OpenAIModel)
            self._see_input(Stage.QUESTIONS if stage is Stage.SAMPLE else stage)
            if stage is Stage.SAMPLE:
                if not self.is_made(Stage.QUESTIONS):
                    self.make(Stage.QUESTIONS)
                self._see_graders()
                asks, sampling = self.asks(), self.config.sample.sampling
            else:
                sampling = self.config.reflect.sampling
                attempts = reflecting.choose(self.folder.path(Stage.GRADE), self.wanted)
                asks = self._first_round(attempts, model, sampling, journal)
            return batch_files.write_requests(
                path, asks, model, sampling, journal, retry=self._retry
            )

    def _first_round(
        self,
        attempts: reflecting.Attempts,
        model: Identified,
        sampling: Sampling,
        journal: Journal,
    ) -> Iterator[Ask]:
        """The first round of reflections of which the journal lacks something."""

        def rounds() -> Iterator[reflecting.Round]:
            return reflecting.rounds(attempts, self.wanted, model, sampling, journal)

        for number, (asks, _) in enumerate(rounds()):
            if estimate(asks, model, sampling, journal, self._retry).samples:
                return next(itertools.islice(rounds(), number, None)).asks
        return iter(())

    def read_responses(self, stage: Stage, path: Path) -> None:
        """Take a batch service's answers, and make the stage's table of what there is."""
        model = make_model(self.config.model)
        with self.folder.alone(self.config), _tables():
            self._see_input(stage)
            self._see_journal()
            with Journal(self.folder.journal) as journal:
                self.say(batch_files.read_responses(path, journal).told())
            if stage is Stage.SAMPLE:
                self.folder.note(stage, self._write_attempts(model))
            else:
                attempts = reflecting.choose(self.folder.path(Stage.GRADE), self.wanted)
                self.folder.note(stage, self._write_annotated(model, attempts))

    def _tell(self, stage: Stage, accounts: dict[str, Account], notes: Iterable[str] = ()) -> None:
        self.say(f"\n{stage}: {self.folder.path(stage)}\n{account_table(accounts)}")
        for note in notes:
            self.say(f"Note: {note}")


def _joined(ahead: Tally, rest: Tally) -> Tally:
    """The tally of the first prompt, which was asked alone, with that of all of them."""
    if ahead.failed:  # asked again with the rest, and counted there
        ahead.asked, ahead.failed = ahead.answered, 0
        ahead.reasons.clear()
        ahead.refused.clear()
    ahead.had = -ahead.answered  # the rest found these in the journal
    ahead.skipped = 0
    ahead.add(rest)
    return ahead


def _is_true(ask: Ask, answer: Completion) -> bool:
    """Whether a reflection's verdict is true of its attempt."""
    said = read_verdict(answer.text)
    return said is not None and (said.verdict == "Correct") == ask.about


def _dicts(**accounts: Account) -> dict[str, dict[str, object]]:
    return {name: account.as_dict() for name, account in accounts.items()}


def _spelt(ask: Ask) -> str:
    """A prompt for a person."""
    lines = [f"--- {' '.join(ask.name)}"]
    lines += [f"[{message['role']}]\n{message['content']}" for message in ask.messages]
    return "\n".join(lines)


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _is_whole(folder: Path) -> bool:
    try:
        read_whole(folder)
    except InputError:
        return False
    return True


@contextmanager
def _tables() -> Iterator[None]:
    """What Arrow says of a table that is damaged, in one line."""
    try:
        yield
    except (*DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not Arrow's
        said = str(error).strip().split("\n")[0]
        raise InputError(
            f"a table of this run is damaged ({said}); make it anew with `run --from`"
        ) from None
