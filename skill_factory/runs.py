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
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from tqdm import tqdm

from skill_factory import __version__, batch_files, grading, pipeline, reflecting
from skill_factory import attempts as attempting
from skill_factory.config import CreateConfig, ModelConfig, RunConfig
from skill_factory.errors import InputError, OptionError
from skill_factory.estimates import Estimate, estimate, longest
from skill_factory.journal import Journal
from skill_factory.ledger import Account, account_table
from skill_factory.markup import final_answer, read_verdict
from skill_factory.models import Completion, Identified, Model, OpenAIModel, Sampling
from skill_factory.progress import Progress
from skill_factory.prompts import PromptBank, load_prompts
from skill_factory.questions.making import make_questions
from skill_factory.questions.settings import QuestionsConfig
from skill_factory.run_folder import STAGES, Done, RunFolder, Stage
from skill_factory.sampling import Ask, Pace, Tally, collect
from skill_factory.store import new_file, resolved
from skill_factory.store import sha256 as file_digest
from skill_factory.tables import QUESTIONS
from skill_factory.tasks import graded, task_of

LOCAL_REQUESTS = 32
"""Requests at a time for a model in this process: enough for it to choose from."""


Say = Callable[[str], None]


class Known(NamedTuple):
    """A model that is not asked: only what the journal knows it by."""

    identity: str


class Run:
    """A run's folder with the settings it goes on with. `say` takes what there is to tell, in
    lines. Raises `PromptError` for its prompt file, `InputError` for a folder of another kind."""

    def __init__(self, folder: Path, config: RunConfig, say: Say) -> None:
        self.folder = RunFolder(folder)
        self.config = config
        self.say = say
        prompts = config.sample.prompts
        self.bank: PromptBank = load_prompts(Path(prompts).expanduser() if prompts else None)
        _see_create(config.create, folder)

    # -- the stages in their order ----------------------------------------------------------------

    def go(
        self, first: Stage = Stage.QUESTIONS, last: Stage = Stage.CREATE, anew: bool = False
    ) -> None:
        """Make the stages from `first` to `last`, but for those that are made; `anew`: `first` in
        any case."""
        chosen = STAGES[STAGES.index(first) : STAGES.index(last) + 1]
        if first is not Stage.QUESTIONS:
            self._see_input(first)
        with self.folder.alone(self.config):
            for stage in chosen:
                if self.is_made(stage) and not (anew and stage is first):
                    self.say(f"{stage}: {self.folder.path(stage)} is up to date")
                else:
                    self.make(stage)

    def preview(self, first: Stage, last: Stage) -> None:
        """Say what would be asked and what it would take; nothing is written and nobody asked."""
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
        model = self._known_model()
        there = model is not None and self.folder.journal.is_file()
        with Journal(self.folder.journal) if there else nullcontext() as journal:
            about = estimate(itertools.chain(listed, asks), model, sampling, journal)
        self.say(f"{stage}: {self._told(about)}")
        return about

    def _known_model(self) -> Identified | None:
        """The model, if its identity is known without asking; what it was in this run before."""
        config = self.config.model
        if config.local or config.name or config.identity:
            return make_model(config)
        for stage in (Stage.SAMPLE, Stage.REFLECT):
            if stage in self.folder.done and self.folder.done[stage].identity:
                return Known(str(self.folder.done[stage].identity))
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
        return (
            done is not None
            and done.whole
            and path.is_file()
            and done.key == self._key(stage)
            and done.file == file_digest(path)
        )

    def _key(self, stage: Stage) -> str:
        """A digest of all that a stage's file is made from."""
        place = STAGES.index(stage)
        source = self.folder.path(STAGES[place - 1]) if place else None
        before = file_digest(source) if source and source.is_file() else None
        said = json.dumps([__version__, self._settings(stage), before], sort_keys=True)
        return sha256(said.encode()).hexdigest()

    def _settings(self, stage: Stage) -> Any:
        config = self.config
        match stage:
            case Stage.QUESTIONS:
                asked = config.questions
                return asked and [asked.model_dump(mode="json"), _stamp(asked.source)]
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
                return config.create.model_dump(
                    mode="json", exclude={"workers", "overwrite", "dry_run", "input_dataset"}
                )

    def _model_settings(self) -> dict[str, Any]:
        names = {"base_url", "name", "local", "identity", "grammar"}
        return self.config.model.model_dump(mode="json", include=names)

    def _see_input(self, stage: Stage) -> None:
        """See that what a stage is made from is there; note if it is older than the settings."""
        before = STAGES[STAGES.index(stage) - 1]
        if not self.folder.path(before).is_file():
            raise InputError(
                f"{self.folder.path(before)}: is missing; make it with `--from {before}`"
            )
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
        return Done(
            self._key(Stage.QUESTIONS), file_digest(path), accounts=_dicts(questions=made.account)
        )

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
        config = self.config
        wanted = attempting.wanted(
            self.bank, self._variants(), config.sample.samples, config.model.grammar
        )
        return attempting.asks(questions or self.folder.path(Stage.QUESTIONS), wanted)

    def _sample(self) -> Done:
        self._see_graders()
        known, sampling = self._known_model(), self.config.sample.sampling
        if known is not None and not self._lacking(self.asks(), known, sampling):
            self.say("sample: all of it is in the journal")
            return self._write_attempts(known)

        async def work(model: Model, journal: Journal) -> Tally:
            about = estimate(self.asks(), model, sampling, journal)
            self.say(f"sample: {self._told(about)}")
            first = [ask for ask in [longest(self.asks())] if ask]
            with Progress("sample", about.samples + about.had, self._is_right, "right") as shown:
                # Alone and first: what does not fit the model's context is known before the rest.
                ahead = await self._collect(first, model, sampling, journal)
                tally = await self._collect(self.asks(), model, sampling, journal, shown)
            ahead.add(tally)
            ahead.had -= sum(ask.count for ask in first)
            return ahead

        tally, identity = self._ask(work)
        self._tell_tally("sample", tally)
        return self._write_attempts(Known(identity))

    def _lacking(self, asks: Iterable[Ask], model: Identified, sampling: Sampling) -> int:
        """How many samples the journal lacks."""
        if not self.folder.journal.is_file():
            return estimate(asks, None, sampling, None).samples
        with Journal(self.folder.journal) as journal:
            return estimate(asks, model, sampling, journal).samples

    def _write_attempts(self, model: Identified) -> Done:
        path, sampling = self.folder.path(Stage.SAMPLE), self.config.sample.sampling
        with Journal(self.folder.journal) as journal:
            account = attempting.write_attempts(path, self.asks(), model, sampling, journal)
        self._tell(Stage.SAMPLE, {"samples": account})
        if not account.kept:
            raise InputError(f"{path}: there is no answer in it; nothing to go on with")
        whole = account.kept == account.read
        return Done(
            self._key(Stage.SAMPLE),
            file_digest(path),
            whole,
            model.identity,
            _dicts(samples=account),
        )

    def _see_graders(self) -> None:
        """See that the questions can be graded, before anything is asked; raises `TaskError`."""
        seen = set[str]()
        for row in attempting.read_rows(self.folder.path(Stage.QUESTIONS), QUESTIONS):
            name = self.config.grade.task or row["task_source"]
            if name not in seen:
                seen.add(name)
                facts = json.loads(row["metadata"] or "{}")
                graded(task_of(name), "no answer", row["answer"], facts)

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
        return Done(
            self._key(Stage.GRADE),
            file_digest(path),
            accounts=_dicts(attempts=account) | {"grades": dict(grades)},
        )

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
            about = self._told(estimate(asked, model, sampling, journal))
            self.say(f"reflect: {'at most ' if self.wanted.until_valid else ''}{about}")
            total = Tally()
            rounds = reflecting.rounds(attempts, self.wanted, model, sampling, journal)
            for number, (asks, samples) in enumerate(rounds, start=1):
                name = f"reflect {number}" if self.wanted.until_valid else "reflect"
                with Progress(name, samples, _is_true, "true verdicts") as shown:
                    tally = await self._collect(asks, model, sampling, journal, shown, skip=True)
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
            return any(estimate(asks, model, sampling, journal).samples for asks, _ in rounds)

    def _write_annotated(self, model: Identified, attempts: reflecting.Attempts) -> Done:
        path, sampling = self.folder.path(Stage.REFLECT), self.config.reflect.sampling
        with Journal(self.folder.journal) as journal:
            made = reflecting.write_annotated(path, attempts, self.wanted, model, sampling, journal)
        self._tell(Stage.REFLECT, {"reflections": made.reflections})
        whole = not made.reflections.losses[attempting.MISSING]
        accounts = _dicts(attempts=made.attempts, reflections=made.reflections)
        return Done(self._key(Stage.REFLECT), file_digest(path), whole, model.identity, accounts)

    def regrade(self) -> None:
        """Grade what was answered again; where it was reflected on, the annotated table follows,
        with the reflections that the journal has. The model is not asked."""
        self._see_input(Stage.GRADE)
        with self.folder.alone(self.config):
            self._see_graders()
            self.make(Stage.GRADE)
            before = self.folder.done.get(Stage.REFLECT)
            if before is None or before.identity is None:
                return
            attempts = reflecting.choose(self.folder.path(Stage.GRADE), self.wanted)
            self.folder.note(Stage.REFLECT, self._write_annotated(Known(before.identity), attempts))
            if not self.folder.done[Stage.REFLECT].whole:
                self.say(f"`skill-factory reflect {self.folder}` asks for what is missing")

    # -- step 2 -----------------------------------------------------------------------------------

    def _create(self) -> Done:
        source, folder = self.folder.path(Stage.REFLECT), self.folder.sft
        model = self.config.create.model or self.config.model.name or self.config.model.local
        config = self.config.create.model_copy(
            update={
                "input_dataset": str(source),
                "output_dataset": str(resolved(folder)),
                "overwrite": True,
                "model": model,
            }
        )
        made = pipeline.create(config)
        self.say(f"\n{made.told()}\n\nSFT dataset: {folder}")
        return Done(
            self._key(Stage.CREATE),
            file_digest(self.folder.path(Stage.CREATE)),
            accounts=made.ledger.as_dict(),
        )

    # -- asking -----------------------------------------------------------------------------------

    def _ask(self, work: Callable[[Model, Journal], Awaitable[Tally]]) -> tuple[Tally, str]:
        """Ask the model what `work` asks; what became of it, and the model's identity."""

        async def asking() -> tuple[Tally, str]:
            model = make_model(self.config.model)
            try:
                await model.preflight()
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
        shown: Progress | None = None,
        skip: bool = False,
    ) -> Tally:
        """Ask for what the journal lacks; `skip`: count what is too long for the model."""
        return await collect(
            asks,
            model,
            sampling,
            journal,
            settings=_pace(self.config.model, skip),
            progress=shown.show if shown else None,
            answered=shown.answered if shown else None,
        )

    def _told(self, about: Estimate) -> str:
        return about.told(self.config.model.prompt_price, self.config.model.completion_price)

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
        if tally.failed:
            self.say(
                f"Note: {tally.failed:,} samples failed and are asked for by the next run; "
                f"the last: {tally.last_failure}"
            )

    # -- asking by files --------------------------------------------------------------------------

    def write_requests(self, stage: Stage, path: Path) -> batch_files.Written:
        """Write what a stage would ask as a file for a batch service."""
        model = make_model(self.config.model)
        if not isinstance(model, OpenAIModel):
            raise OptionError("--write-requests is for servers, not for a model in this process")
        with self.folder.alone(self.config), Journal(self.folder.journal) as journal:
            if stage is Stage.SAMPLE:
                if not self.is_made(Stage.QUESTIONS):
                    self.make(Stage.QUESTIONS)
                self._see_graders()
                asks, sampling = self.asks(), self.config.sample.sampling
            else:
                sampling = self.config.reflect.sampling
                attempts = reflecting.choose(self.folder.path(Stage.GRADE), self.wanted)
                asks = self._first_round(attempts, model, sampling, journal)
            return batch_files.write_requests(path, asks, model, sampling, journal)

    def _first_round(
        self,
        attempts: reflecting.Attempts,
        model: Identified,
        sampling: Sampling,
        journal: Journal,
    ) -> Iterator[Ask]:
        """The first round of reflections of which the journal lacks something."""
        for asks, _ in reflecting.rounds(attempts, self.wanted, model, sampling, journal):
            listed = list(asks)
            if estimate(listed, model, sampling, journal).samples:
                return iter(listed)
        return iter(())

    def read_responses(self, stage: Stage, path: Path) -> batch_files.Taken:
        """Take a batch service's answers, and make the stage's table of what there is."""
        model = make_model(self.config.model)
        with self.folder.alone(self.config):
            with Journal(self.folder.journal) as journal:
                taken = batch_files.read_responses(path, journal)
            if stage is Stage.SAMPLE:
                self.folder.note(stage, self._write_attempts(model))
            else:
                attempts = reflecting.choose(self.folder.path(Stage.GRADE), self.wanted)
                self.folder.note(stage, self._write_annotated(model, attempts))
        return taken

    def _tell(self, stage: Stage, accounts: dict[str, Account], notes: Iterable[str] = ()) -> None:
        self.say(f"\n{stage}: {self.folder.path(stage)}\n{account_table(accounts)}")
        for note in notes:
            self.say(f"Note: {note}")


def _see_create(config: CreateConfig, folder: Path) -> None:
    """See that nothing in the settings of step 2 would have no effect in a run."""
    if config.input_dataset:
        raise OptionError("create.input_dataset: the input is the run's own annotated.parquet")
    if config.output_dataset and not config.repository:
        raise OptionError(
            f"create.output_dataset: the SFT folder of a run is {folder / 'sft'}; name a "
            "repository on the Hub to push it to, or leave it out"
        )


def make_model(config: ModelConfig) -> Model:
    """The model that a config names; raises `ModelError` if it cannot be one."""
    if config.local:
        from skill_factory.local import LocalModel

        return LocalModel(config.local, context=config.context)
    return OpenAIModel(
        config.base_url or os.environ.get("OPENAI_BASE_URL") or "http://localhost:8000/v1",
        config.name,
        api_key_env=config.api_key_env,
        timeout=config.timeout,
        identity=config.identity,
    )


def _pace(config: ModelConfig, skip: bool) -> Pace:
    return Pace(
        concurrency=min(config.concurrency, LOCAL_REQUESTS) if config.local else config.concurrency,
        patience=config.patience,
        tries=config.tries,
        skip_too_long=skip or config.skip_too_long,
        prompt_price=config.prompt_price,
        completion_price=config.completion_price,
    )


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


def _stamp(source: str) -> list[object]:
    """What tells that a local file of questions was changed; empty for what is no file."""
    path = Path(source).expanduser()
    if not path.is_file():
        return []
    return [path.stat().st_size, path.stat().st_mtime_ns]
