"""Asking a model for what a stage lacks: what `sample` and `reflect` have in common."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from skill_factory.asking import batch_files
from skill_factory.asking.collect import collect
from skill_factory.asking.estimates import Estimate, estimate, longest
from skill_factory.asking.interrupts import Interrupted, run_async
from skill_factory.asking.journal import Journal, journal_to_read
from skill_factory.asking.progress import Progress
from skill_factory.asking.requests import Ask
from skill_factory.asking.tally import Tally
from skill_factory.core.redaction import public_address
from skill_factory.errors import AskedBeforeError, InputError, OptionError
from skill_factory.models import Completion, Identified, Model, Sampling
from skill_factory.models.servers import OpenAIModel
from skill_factory.runs import summary
from skill_factory.runs.context import AskingContext
from skill_factory.runs.fingerprint import files_at
from skill_factory.runs.model_choice import make_model, make_pace, make_server
from skill_factory.runs.model_identity import Known, identity_of, keep_name, known_model
from skill_factory.runs.own_servers import start_servers
from skill_factory.runs.server_look import tell_servers, validate_listed
from skill_factory.runs.stage import Made


class Round(NamedTuple):
    """Asks that are to be answered before the next round is looked at. `name` is for people,
    `total` the number of samples, those in the journal too."""

    name: str
    asks: Iterator[Ask]
    total: int


class Hearer(Protocol):
    """Hears answers as they come."""

    def add(self, ask: Ask, completions: list[Completion]) -> list[Completion]:
        """Take in the answers to a prompt; gives them as the stage's table will have them."""
        ...


class Asking(Protocol):
    """What is asked."""

    @property
    def stage(self) -> str:
        """What this asking is called, for people."""
        ...

    @property
    def sampling(self) -> Sampling:
        """How answers are drawn."""
        ...

    @property
    def first_answers(self) -> Hearer:
        """What hears the first answers."""
        ...

    @property
    def called(self) -> str:
        """What a good answer is called, in many."""
        ...

    @property
    def first_alone(self) -> bool:
        """Whether the longest prompt is to be answered before the others are asked; then there is
        one round."""
        ...

    @property
    def skip_too_long(self) -> bool:
        """Whether prompts that do not fit the model's context are counted, and end nothing."""
        ...

    @property
    def at_most(self) -> bool:
        """Whether `asks` may be more than will be asked."""
        ...

    @property
    def continues(self) -> bool:
        """Whether answers that are begun are continued."""
        ...

    @property
    def one_by_one(self) -> bool:
        """Whether each sample has a request to itself, so that its tokens are counted exactly."""
        ...

    def asks(self) -> Iterator[Ask]:
        """All that may be asked."""
        ...

    def rounds(self, model: Identified, journal: Journal) -> Iterator[Round]:
        """What is asked, round after round: each depends on the answers to the one before."""
        ...

    def is_good(self, ask: Ask, answer: Completion) -> bool:
        """Whether an answer is good; shown while the stage goes on."""
        ...


class Plan(Asking, Protocol):
    """What a stage asks, and what it makes of the answers."""

    def write(self, model: Identified, journal: Journal) -> Made:
        """Make the stage's table of what the journal has, and tell what came of it."""
        ...


def model_settings(context: AskingContext) -> list[Any]:
    """The settings of the model that a stage's table depends on."""
    config = context.config.model
    settings = config.model_dump(include={"name", "local", "identity", "grammar"})
    alone = {f"{public_address(url)} {config.name}": url for url in config.base_url or ()}
    address = None if config.identity else next(iter(config.base_url or ()), "")
    if config.identity in alone:  # one of several servers, which was asked alone
        settings["identity"], address = None, alone[config.identity]
    return [settings, address and public_address(address), files_at(config.local)]


def make(context: AskingContext, plan: Plan) -> Made:
    """Ask for what the journal lacks, and make the stage's table. Raises as `ask`."""
    model = ask(context, plan)
    with Journal(context.folder.journal) as journal:
        return plan.write(model, journal)


def ask(
    context: AskingContext, plan: Asking, before: Callable[[], None] = lambda: None
) -> Identified:
    """Ask for what the journal lacks; the model whose answers it has. `before` is called if
    anything is to be asked, just before.

    Raises `AskedBeforeError` before anything is asked if answers that the journal has would be
    asked for anew, and `KeyboardInterrupt` after Ctrl-C.
    """
    model = known_model(context)
    about = _estimated(context, plan, model)
    if model and not about.samples:
        context.say(f"{plan.stage}: {summary.of_nothing_to_ask(about)}")
        return model
    _validate_anew(context, plan.stage, about, plan.at_most)
    before()
    return _ask(context, plan, about)


def preview(context: AskingContext, plan: Asking, shown: int) -> Estimate:
    """Tell the first prompts of a stage, `shown` of them, whether a server answers, and what asking
    will take. Nobody is asked."""
    listed = list(itertools.islice(plan.asks(), shown))
    for ask in listed:
        context.say(summary.of_prompt(ask))
    tell_servers(context, plan.stage)
    about = _estimated(context, plan, known_model(context))
    if about.samples:
        context.say(f"{plan.stage}: {_estimate_line(context, plan, about)}")
    else:
        context.say(f"{plan.stage}: {summary.of_nothing_to_ask(about)}")
    if about.anew and not context.config.model.ask_again:
        context.say(f"Note: {_asked_before(context, about, plan.at_most)}")
    return about


def _estimated(context: AskingContext, plan: Asking, model: Identified | None) -> Estimate:
    """What asking will take; no samples to ask for if all of it is in the journal."""
    path, retry = context.folder.journal, context.config.model.retry_refused
    there = model is not None and path.is_file()
    with journal_to_read(path) if there else nullcontext() as journal:
        about = estimate(
            plan.asks(),
            model,
            plan.sampling,
            journal,
            retry=retry,
            one_by_one=plan.at_most or plan.one_by_one,
        )
        if model and journal and plan.at_most and _has_all(plan, model, journal, retry):
            return Estimate(had=about.had, refused=about.refused)
        return about


def _has_all(plan: Asking, model: Identified, journal: Journal, retry: bool) -> bool:
    """Whether the journal has all that is asked, round after round."""
    return not any(
        estimate(one.asks, model, plan.sampling, journal, retry=retry).samples
        for one in plan.rounds(model, journal)
    )


def _estimate_line(context: AskingContext, plan: Asking, about: Estimate) -> str:
    most = "at most " if plan.at_most else ""
    return f"{most}{summary.of_estimate(about, context.config.model)}"


def _validate_anew(
    context: AskingContext, stage: str, about: Estimate, at_most: bool = False
) -> None:
    """Raise `AskedBeforeError` if what was answered before would be asked anew without leave; a
    `ModelError` if it is a model that is not there."""
    if about.anew and not context.config.model.ask_again:
        validate_listed(context)
        said = _asked_before(context, about, at_most)
        raise AskedBeforeError(f"{stage}: {said}")


def _asked_before(context: AskingContext, about: Estimate, at_most: bool) -> str:
    known = (identity_of(context.folder, digest) for digest, _ in about.models.most_common())
    return summary.of_asked_before(about, next(filter(None, known), None), at_most)


# -- for real -------------------------------------------------------------------------------------


def _ask(context: AskingContext, plan: Asking, about: Estimate) -> Known:
    """Ask, and tell what has become of it; the model that was asked."""
    start_servers(context)
    model = make_model(context, continues=plan.continues)
    if isinstance(model, OpenAIModel):
        model.note = lambda text: context.say(f"Note: {text}")

    async def asking() -> Tally:
        try:
            await model.preflight()
            if isinstance(model, OpenAIModel):
                keep_name(context, model.model)
            context.say(f"{plan.stage}: {_estimate_line(context, plan, about)}")
            with Journal(context.folder.journal) as journal:
                return await _collect(context, plan, model, journal)
        finally:
            await model.close()

    try:
        tally = run_async(asking())
    except Interrupted as stop:
        _tell_tally(context, f"{plan.stage}: stopped", stop.tally)
        raise KeyboardInterrupt from None
    _tell_tally(context, str(plan.stage), tally)
    return Known(model.identity)


def _tell_tally(context: AskingContext, heading: str, tally: Tally) -> None:
    first, *rest = summary.of_tally(tally)
    for line in (f"{heading}: {first}", *rest):
        context.say(line)


async def _collect(context: AskingContext, plan: Asking, model: Model, journal: Journal) -> Tally:
    """Ask round after round; what became of all of them. Raises `Interrupted` after Ctrl-C."""
    total = Tally()
    for asks in plan.rounds(model, journal):
        try:
            total.add(await _collect_round(context, plan, asks, model, journal))
        except Interrupted as stop:
            total.add(stop.tally)
            raise Interrupted(total) from None
    return total


async def _collect_round(
    context: AskingContext, plan: Asking, asked: Round, model: Model, journal: Journal
) -> Tally:
    with Progress(asked.name, asked.total, plan.is_good, plan.called) as shown:

        def answered(ask: Ask, answers: list[Completion]) -> None:
            shown.answered(ask, plan.first_answers.add(ask, answers))
            context.watcher.answered(plan.stage, ask, answers)

        def progress(tally: Tally) -> None:
            shown.show(tally)
            context.watcher.asks(asked.name, asked.total, tally, shown.line(tally))

        def stopping(in_flight: int) -> None:
            context.say(
                f"{plan.stage}: stopping: nothing more is asked; requests in flight that are "
                f"waited for: {in_flight:,} (Ctrl-C again: stop now)"
            )

        return await collect(
            _longest_first(plan) if plan.first_alone else asked.asks,
            model,
            plan.sampling,
            journal,
            settings=make_pace(context.config.model, plan.skip_too_long),
            progress=progress,
            answered=answered,
            stopping=stopping,
            first_alone=plan.first_alone,
            one_by_one=plan.one_by_one,
        )


def _longest_first(plan: Asking) -> Iterator[Ask]:
    """All that is asked, with the longest prompt at the beginning."""
    first = longest(plan.asks())
    if first is None:
        return
    yield first
    rest = plan.asks()
    for ask in rest:
        if ask.messages == first.messages:
            break
        yield ask
    yield from rest


# -- by files -------------------------------------------------------------------------------------


def write_requests(context: AskingContext, plan: Asking, path: Path) -> batch_files.Written:
    """Write what is to be asked next as a file for a batch service: the first round of which the
    journal lacks something. Raises `AskedBeforeError`, as `make`."""
    model, retry = make_server(context.config.model), context.config.model.retry_refused
    if model.template:
        raise OptionError("--write-requests asks for chat completions: leave out --chat-template")
    with Journal(context.folder.journal) as journal:
        for number, one in enumerate(plan.rounds(model, journal)):
            about = estimate(one.asks, model, plan.sampling, journal, retry=retry)
            if about.samples:
                _validate_anew(context, plan.stage, about)
                again = next(itertools.islice(plan.rounds(model, journal), number, None))
                return batch_files.write_requests(
                    path, again.asks, model, plan.sampling, journal, retry=retry
                )
        about = estimate(plan.asks(), model, plan.sampling, journal, retry=retry)
        batch_files.write_requests(path, [], model, plan.sampling, journal)
    return batch_files.Written(had=about.had, refused=about.refused)


def read_responses(context: AskingContext, plan: Plan, path: Path) -> Made:
    """Take a batch service's answers, and make the stage's table of what there is."""
    take_responses(context, path)
    with Journal(context.folder.journal) as journal:
        return plan.write(make_model(context), journal)


def take_responses(context: AskingContext, path: Path) -> None:
    """Take a batch service's answers into the journal, and tell what became of them."""
    require_journal(context)
    with Journal(context.folder.journal) as journal:
        context.say(batch_files.read_responses(path, journal).summary())


def write_again(context: AskingContext, plan: Plan, model: Identified) -> Made:
    """Make the stage's table anew of what the journal has."""
    require_journal(context)
    with Journal(context.folder.journal) as journal:
        return plan.write(model, journal)


def require_journal(context: AskingContext) -> None:
    """Raise `InputError` if the journal is not there."""
    if not context.folder.journal.is_file():
        raise InputError(
            f"{context.folder.journal}: is missing, and with it what the model said; bring it back"
        )
