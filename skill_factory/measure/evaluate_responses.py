"""What is asked of each question of an evaluation, and what the journal has of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from skill_factory.asking.journal import Journal
from skill_factory.asking.prompts import Prompt, PromptBank
from skill_factory.asking.requests import Ask
from skill_factory.core.columns import Column
from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.ledger import Account
from skill_factory.core.tables import RESPONSES
from skill_factory.core.trace_tags import END_THINK, THINK, final_answer
from skill_factory.errors import OptionError
from skill_factory.measure.evaluate_questions import read_questions
from skill_factory.measure.evaluate_settings import EvaluateSettings
from skill_factory.measure.forcing import (
    Forcing,
    Response,
    continuations,
    first_response,
    joined,
)
from skill_factory.models import Completion, Identified, Sampling
from skill_factory.models.thinking import read as read_thinking
from skill_factory.stages.first_answers import ENOUGH
from skill_factory.stages.sample import BATCH_ROWS, grammar_body, read_asks, short_digest

BARE = Prompt((("user", "{question}"),))
"""A question as SFT data puts it: the user's turn, and nothing else."""

_CHUNK = 64
"""Asks that are looked up in the journal together."""


@dataclass(frozen=True)
class EvaluateSpec:
    """What is asked of every question: `samples` responses to a `prompt`, the `variant` of that
    name. `grammar` is how the server takes a prompt's grammar. `forcing` None: responses end where
    the model ends them."""

    variant: str
    prompt: Prompt
    samples: int
    grammar: str
    sampling: Sampling
    forcing: Forcing | None = None


def evaluate_spec(settings: EvaluateSettings, bank: PromptBank, grammar: str) -> EvaluateSpec:
    """What is asked. Raises `OptionError` for a prompt variant that there is not, or that shows the
    gold answer."""
    name, sampling, forcing = settings.prompt_variant, settings.sampling, None
    if name is not None and name not in bank.variants:
        raise OptionError(
            f"no prompt variant {name!r}; the variants are {', '.join(bank.variants)}"
            f"{did_you_mean(name, bank.variants)}"
        )
    prompt = BARE if name is None else bank.variants[name]
    if prompt.hint:
        raise OptionError(f"prompt_variant: {name} shows the gold answer")
    if settings.force_budget and prompt.grammar:
        raise OptionError(f"force_budget: the grammar of {name} would begin anew where it goes on")
    if settings.force_budget:
        first, second = settings.force_budget
        forcing = Forcing(first, second, settings.force_with, settings.force_times)
        sampling = replace(sampling, max_tokens=first)
    return EvaluateSpec(name or "bare", prompt, settings.samples, grammar, sampling, forcing)


def asks(questions: Path, spec: EvaluateSpec) -> Iterator[Ask]:
    """All that is asked at first; each is `about` a row of the table of questions."""
    for row in read_questions(questions):
        question = row[Column.QUESTION]
        yield Ask(
            spec.prompt.fill(question=question),
            spec.samples,
            ("evaluate", row[Column.QUESTION_SET], short_digest(question), spec.variant),
            grammar_body(spec.prompt, spec.grammar),
            row,
        )


@dataclass
class Sampled:
    """The responses to an ask by the number of their sample; why others are missing."""

    ask: Ask
    responses: dict[int, Response]
    lost: Counter[str] = field(default_factory=Counter)


class Source(NamedTuple):
    """Where answers are: a journal, with what tells them apart in it."""

    spec: EvaluateSpec
    model: Identified
    journal: Journal

    def read(self, asked: list[Ask]) -> Iterator[Any]:
        """What the journal has of some asks."""
        return read_asks(asked, self.model, self.spec.sampling, self.journal)


def read_responses(asked: Iterable[Ask], source: Source, rounds: int) -> Iterator[Sampled]:
    """The responses to all that is asked, after so many rounds of continuing them. A sample whose
    continuation is missing is missing."""
    rest = iter(asked)
    while chunk := list(islice(rest, _CHUNK)):
        states = [_first(found, source.spec.forcing) for found in source.read(chunk)]
        for number in range(1, rounds + 1):
            _go_on(states, source, number)
        yield from states


def _first(found: Any, forcing: Forcing | None) -> Sampled:
    begin = first_response if forcing else whole_response
    state = Sampled(found.ask, {idx: begin(said) for idx, said in found.samples})
    state.lost[found.why] += found.ask.count - len(found.samples)
    return state


def _go_on(states: list[Sampled], source: Source, number: int) -> None:
    """Continue responses with what the journal has."""
    assert source.spec.forcing
    wanted = [
        (state, one)
        for state in states
        for one in continuations(state.ask, state.responses, source.spec.forcing, number)
    ]
    found = source.read([one.ask for _, one in wanted])
    for (state, one), answers in zip(wanted, found, strict=True):
        said = dict(answers.samples)
        for place, idx in enumerate(one.samples):
            if place in said:
                before = state.responses[idx]
                state.responses[idx] = joined(before, one.beginning, said[place])
            else:
                del state.responses[idx]
                state.lost[answers.why] += 1


def continuing_asks(asked: Iterable[Ask], source: Source, number: int) -> Iterator[Ask]:
    """What is asked in round `number`, from 1, of continuing."""
    assert source.spec.forcing
    for state in read_responses(asked, source, number - 1):
        for one in continuations(state.ask, state.responses, source.spec.forcing, number):
            yield one.ask


def whole_response(said: Completion) -> Response:
    """A response with its thinking in it, as the model wrote it; a server may have given that
    apart."""
    text, thinking = said.text, said.reasoning.strip()
    if thinking:
        end = f"\n{END_THINK}\n\n{text}" if text.strip() else ""
        text = f"{THINK}\n{thinking}{end}"
    return Response(text, said.finish_reason, said.completion_tokens)


class FirstResponses:
    """Looks at the first responses as they come (`runs.asking_stage.Hearer`), and says once how
    many of them cannot be right as they are: cut off, unless that is as it should be (`forced`), or
    without an answer."""

    def __init__(self, forced: bool, say: Callable[[str], None]) -> None:
        self._forced, self._say = forced, say
        self._seen, self._lost = 0, Counter[str]()

    def add(self, ask: Ask, completions: list[Completion]) -> list[Completion]:
        """Take in the responses to a question; they are kept as they are."""
        for said in completions if self._seen < ENOUGH and not self._forced else ():
            self._seen += 1
            cut_off, answer = said.finish_reason == "length", final_answer(said.text)
            self._lost["were cut off (max_tokens)"] += cut_off
            self._lost["have no answer in <answer> tags"] += not cut_off and answer is None
            if self._seen == ENOUGH and (lost := +self._lost):
                told = ", ".join(f"{count} {why}" for why, count in lost.most_common())
                self._say(f"Note: of the first {ENOUGH} responses {told}")
        return completions


# -- the table ------------------------------------------------------------------------------------


@dataclass
class Counts:
    """What became of the samples, and how often a text was put into how many of them."""

    samples: Account = field(default_factory=Account)
    forced: Counter[int] = field(default_factory=Counter)


def response_batches(
    asked: Iterable[Ask], source: Source, label: str, counts: Counts
) -> Iterator[pa.RecordBatch]:
    """The responses as `tables.RESPONSES`, not graded; fills in `counts`."""
    rounds = source.spec.forcing.rounds if source.spec.forcing else 0
    rows = _rows(read_responses(asked, source, rounds), label, counts)
    while chunk := list(islice(rows, BATCH_ROWS)):
        yield pa.RecordBatch.from_pylist(chunk, RESPONSES)


def _rows(found: Iterable[Sampled], label: str, counts: Counts) -> Iterator[dict[str, Any]]:
    for state in found:
        counts.samples.read += state.ask.count
        counts.samples.kept += len(state.responses)
        for why, lost in state.lost.items():
            counts.samples.lose(why, lost)
        for idx, response in sorted(state.responses.items()):
            counts.forced[response.forced] += 1
            unfinished = read_thinking(response.text).unfinished
            yield state.ask.about | {
                Column.MODEL: label,
                Column.SAMPLE: idx,
                Column.RESPONSE: response.text,
                Column.FINISH_REASON: "length" if unfinished else response.finish_reason,
                Column.COMPLETION_TOKENS: response.tokens,
            }
