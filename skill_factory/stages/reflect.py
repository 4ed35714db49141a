"""Reflections: what is asked about each attempt that can be used, and the annotated table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from xxhash import xxh3_64_intdigest

from skill_factory.asking.journal import Journal
from skill_factory.asking.prompts import Prompt
from skill_factory.asking.requests import Ask
from skill_factory.core.arrays import Ints, Mask, bounds, numbers, strings, view
from skill_factory.core.columns import Column
from skill_factory.core.ledger import Account, Reason
from skill_factory.core.sources.validate import (
    KEPT,
    Codes,
    code_of,
    count_reasons,
    validate_attempts,
    validate_questions,
    validate_reflections,
)
from skill_factory.core.tables import ANNOTATED, GRADED, with_schema
from skill_factory.core.whole_files import new_file
from skill_factory.models import Completion, Identified, Sampling
from skill_factory.models.thinking import Thinking, handle_thinking
from skill_factory.stages.grade import Outcome
from skill_factory.stages.sample import BATCH_ROWS, MISSING, grammar_body, short_digest

CUT_OFF = "cut_off"
"""Reason of reflections that a length limit ended: what came of them is not whole."""


@dataclass(frozen=True)
class ReflectSpec:
    """What is asked about attempts: `reflections` on each, one after the other until one is valid
    if `until_valid`. `grammar` is how the server takes a prompt's grammar. `thinking` says what
    becomes of the reflections' own.

    Only attempts that `create` could use are asked about: those of the prompt variants `chosen`
    (None: of all) at questions that some attempt got right; with `all_questions`, at all. A
    reflection with one of the texts `without` in it is not valid.
    """

    prompt: Prompt
    reflections: int
    until_valid: bool = False
    all_questions: bool = False
    chosen: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    grammar: str = "llama.cpp"
    thinking: Thinking = "drop"

    def ask(self, question: str, attempt: str, right: bool, count: int) -> Ask:
        """What is asked about one attempt, which is `right` or not."""
        return Ask(
            self.prompt.fill(question=question, attempt=attempt),
            count,
            ("reflect", short_digest(question), short_digest(attempt)),
            grammar_body(self.prompt, self.grammar),
            right,
        )


class GradedBatch(NamedTuple):
    """Rows of a graded table, and for each the code of why it is not asked about, or KEPT."""

    table: pa.RecordBatch
    codes: Codes

    @property
    def asked(self) -> Ints:
        """The rows that are asked about."""
        return np.flatnonzero(self.codes == KEPT)

    @property
    def right(self) -> Mask:
        """Whose answer is right."""
        return _is(self.table, Outcome.RIGHT)


@dataclass(frozen=True)
class GradedAttempts:
    """The attempts of a graded table, and which of them are asked about."""

    path: Path
    codes: tuple[Codes, ...]

    def batches(self) -> Iterator[GradedBatch]:
        """All of them, in order; a batch in memory at a time."""
        with pq.ParquetFile(self.path) as file:
            tables = (with_schema(batch, GRADED) for batch in file.iter_batches(BATCH_ROWS))
            yield from map(GradedBatch, tables, self.codes)

    def account(self) -> Account:
        """How many are asked about, and why the others are not."""
        account = Account()
        for codes in self.codes:
            account.read += len(codes)
            account.kept += count_reasons(codes, account.losses)
        return account


def choose_attempts(path: Path, spec: ReflectSpec) -> GradedAttempts:
    """See which attempts of a graded table are asked about."""
    codes_of: list[Codes] = []
    questions_of: list[_QuestionRuns] = []
    solved = [np.empty(0, np.uint64)]
    names = [
        Column.QUESTION,
        Column.RESPONSE,
        Column.EXTRACTED_ANSWER,
        Column.VARIANT,
        Column.GRADE,
    ]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=names):
            codes = _validate(batch, spec.chosen)
            questions = _digests(batch.column(Column.QUESTION))
            solved.append(np.unique(questions[(codes == KEPT) & _is(batch, Outcome.RIGHT)]))
            codes_of.append(codes)
            questions_of.append(_runs_of(questions))
    if not spec.all_questions:
        useful = np.unique(np.concatenate(solved))
        for codes, runs in zip(codes_of, questions_of, strict=True):
            without = np.repeat(~np.isin(runs.digests, useful), runs.lengths)
            codes[(codes == KEPT) & without] = code_of(Reason.NO_CORRECT_ATTEMPT)
    return GradedAttempts(path, tuple(codes_of))


_Digests = npt.NDArray[np.uint64]


class _QuestionRuns(NamedTuple):
    """The questions of neighbouring rows, each once, with how many rows there are of it: there are
    many more attempts than questions."""

    digests: _Digests
    lengths: npt.NDArray[np.uint16]


def _digests(questions: pa.Array) -> _Digests:
    """64 bits for each question: of a million questions, two have the same ones with a probability
    of 1 in 40 million."""
    encoded = questions.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    digests = np.array([xxh3_64_intdigest(text.encode()) for text in texts], np.uint64)
    found: _Digests = digests[view(encoded.indices)]
    return found


def _runs_of(digests: _Digests) -> _QuestionRuns:
    starts = np.flatnonzero(np.concatenate([[True], digests[1:] != digests[:-1]]))
    lengths = np.diff(np.concatenate([starts, [len(digests)]]))
    return _QuestionRuns(digests[starts], lengths.astype(np.uint16))


def _validate(batch: pa.RecordBatch, chosen: Sequence[str] | None) -> Codes:
    decided = _is(batch, Outcome.RIGHT) | _is(batch, Outcome.WRONG)
    codes = validate_attempts(
        batch.column(Column.RESPONSE),
        batch.column(Column.EXTRACTED_ANSWER),
        batch.column(Column.VARIANT),
        decided,
        chosen,
    )
    questions = validate_questions(batch.column(Column.QUESTION))
    return np.where(questions == KEPT, codes, questions)


def _is(batch: pa.RecordBatch, outcome: Outcome) -> Mask:
    return view(pc.equal(batch.column(Column.GRADE), pa.scalar(outcome.value)))


class Round(NamedTuple):
    """Asks that are to be answered before the next round is looked at; `samples` in all."""

    asks: Iterator[Ask]
    samples: int


def rounds(
    attempts: GradedAttempts,
    spec: ReflectSpec,
    model: Identified,
    sampling: Sampling,
    journal: Journal,
) -> Iterator[Round]:
    """All that is asked; with `until_valid` round after round, about those attempts that have no
    valid reflection yet."""
    if not spec.until_valid:
        yield all_reflections(attempts, spec)
        return
    for count in range(1, spec.reflections + 1):
        rows = [
            _pending(
                batch,
                read_reflections(batch, spec, count - 1, model, sampling, journal),
                count - 1,
            ).astype(np.uint16)  # of a batch: a fourth of the memory
            for batch in attempts.batches()
        ]
        yield _round(attempts, spec, rows, count)


def _pending(batch: GradedBatch, found: Reflections, before: int) -> Ints:
    """The rows that have none of their first `before` reflections valid, and lack none of them: if
    one failed, so would the next."""
    had = np.bincount(found.owner, minlength=len(batch.codes))
    there = np.flatnonzero((batch.codes == KEPT) & (had >= before))
    return np.setdiff1d(there, found.owner[found.valid])


def all_reflections(attempts: GradedAttempts, spec: ReflectSpec) -> Round:
    """All reflections on all attempts that are asked about."""
    asks = (
        ask
        for batch in attempts.batches()
        for ask in _asks_of(batch, batch.asked, spec, spec.reflections)
    )
    kept = sum(int(np.count_nonzero(codes == KEPT)) for codes in attempts.codes)
    return Round(asks, spec.reflections * kept)


def _round(
    attempts: GradedAttempts, spec: ReflectSpec, rows: list[npt.NDArray[np.uint16]], count: int
) -> Round:
    asks = (
        ask
        for batch, chosen in zip(attempts.batches(), rows, strict=True)
        for ask in _asks_of(batch, chosen.astype(np.int64), spec, count)
    )
    return Round(asks, count * sum(map(len, rows)))


def _asks_of(batch: GradedBatch, rows: Ints, spec: ReflectSpec, count: int) -> Iterator[Ask]:
    """What is asked about some rows of a batch: attempts are shown without their thinking, so that
    the same is asked whether that is kept or dropped."""
    names = [Column.QUESTION, Column.TEXT_ALONE, Column.RESPONSE]
    questions, text_alone, responses = batch.table.select(names).take(numbers(rows)).columns
    shown = pc.coalesce(text_alone, responses).to_pylist()
    right = batch.right[rows].tolist()
    return map(partial(spec.ask, count=count), questions.to_pylist(), shown, right)


class Reflections(NamedTuple):
    """Reflections in a journal on the attempts of a batch, in order of attempts and samples: item
    i is about row `owner[i]`. `codes` say why they cannot be used, if they were not `cut` off.
    `refused` says of rows why the server will not reflect on them, `with_thinking` how many have
    thinking."""

    owner: Ints
    sample: list[int]
    completions: list[Completion]
    codes: Codes
    cut: Mask
    refused: dict[int, str]
    with_thinking: int

    @property
    def valid(self) -> Mask:
        valid: Mask = (self.codes == KEPT) & ~self.cut
        return valid


def read_reflections(
    batch: GradedBatch,
    spec: ReflectSpec,
    count: int,
    model: Identified,
    sampling: Sampling,
    journal: Journal,
) -> Reflections:
    """The first `count` reflections on each attempt that is asked about."""
    rows = batch.asked.tolist() if count else []
    asks = _asks_of(batch, batch.asked, spec, count) if count else iter(())
    keys = [ask.key(model, sampling) for ask in asks]
    there, refused = journal.read_all(dict.fromkeys(keys, count)), journal.refused(keys)
    found = [
        (row, idx, completion)
        for row, key in zip(rows, keys, strict=True)
        for idx, completion in there[key]
    ]
    owner = np.array([row for row, _, _ in found], np.int64)
    handled = [handle_thinking(completion, spec.thinking) for _, _, completion in found]
    completions = [one.completion for one in handled]
    thinking = sum(one.text_alone is not None for one in handled)
    codes = validate_reflections(
        strings([completion.text for completion in completions]),
        np.zeros(len(found), bool),
        batch.right[owner],
        spec.without,
    )
    cut = np.array([completion.finish_reason == "length" for completion in completions], bool)
    reasons = {
        row: refused[key].reason for row, key in zip(rows, keys, strict=True) if key in refused
    }
    samples = [idx for _, idx, _ in found]
    return Reflections(owner, samples, completions, codes, cut, reasons, thinking)


@dataclass
class ReflectResult:
    """What is in an annotated table: of all attempts those that were asked about, of the
    reflections those that are valid, and how many have thinking."""

    attempts: Account
    reflections: Account
    with_thinking: int = 0


def write_annotated(
    target: Path,
    attempts: GradedAttempts,
    spec: ReflectSpec,
    model: Identified,
    sampling: Sampling,
    journal: Journal,
) -> ReflectResult:
    """Write all attempts with the reflections that the journal has, whole or not.

    Reflections that were cut off are left out, and with `until_valid` all that come after the
    first valid one.
    """
    made = ReflectResult(attempts.account(), Account())
    with new_file(target) as part, pq.ParquetWriter(part, ANNOTATED, compression="zstd") as out:
        for batch in attempts.batches():
            found = read_reflections(batch, spec, spec.reflections, model, sampling, journal)
            needed = needed_of(found) if spec.until_valid else np.ones(len(found.owner), bool)
            made.with_thinking += found.with_thinking
            _count(made.reflections, batch, found, needed, spec)
            out.write_batch(_annotated(batch, found, needed & ~found.cut))
    return made


def needed_of(found: Reflections) -> Mask:
    """Which reflections come before or are the first valid one on their attempt."""
    out, done = np.ones(len(found.owner), bool), -1
    for i, (row, valid) in enumerate(zip(found.owner.tolist(), found.valid, strict=True)):
        out[i] = row != done
        done = row if valid else done
    return out


def _count(
    account: Account, batch: GradedBatch, found: Reflections, needed: Mask, spec: ReflectSpec
) -> None:
    satisfied = set(found.owner[found.valid].tolist()) if spec.until_valid else set[int]()
    had = np.bincount(found.owner, minlength=len(batch.codes))
    account.read += int(needed.sum())
    for row in batch.asked.tolist():
        if row not in satisfied:
            lacking = spec.reflections - int(had[row])
            account.read += lacking
            account.lose(found.refused.get(row, MISSING), lacking)
    account.kept += int((needed & found.valid).sum())
    account.lose(CUT_OFF, int((needed & found.cut).sum()))
    count_reasons(found.codes[needed & ~found.cut], account.losses)


def _annotated(batch: GradedBatch, found: Reflections, shown: Mask) -> pa.RecordBatch:
    """A batch of the annotated table."""
    table, size = batch.table, batch.table.num_rows
    ones = numbers(np.arange(size + 1, dtype=np.int32))
    kept = np.flatnonzero(shown)
    ends = bounds(np.bincount(found.owner[kept], minlength=size)).astype(np.int32)
    texts = strings([found.completions[i].text for i in kept])
    places = numbers(np.array([found.sample[i] for i in kept], np.int32))
    decided = batch.right | _is(table, Outcome.WRONG)
    correct = pa.array(batch.right.tolist(), pa.bool_(), mask=~decided)
    columns: dict[str, Any] = {name: table.column(name) for name in table.schema.names} | {
        Column.RESPONSES: pa.ListArray.from_arrays(ones, table.column(Column.RESPONSE)),
        Column.CORRECTNESS: pa.ListArray.from_arrays(ones, correct),
        Column.EXTRACTED_ANSWERS: pa.ListArray.from_arrays(
            ones, table.column(Column.EXTRACTED_ANSWER)
        ),
        Column.REFLECTION: pa.ListArray.from_arrays(numbers(ends), texts),
        Column.REFLECTION_SAMPLES: pa.ListArray.from_arrays(numbers(ends), places),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in ANNOTATED.names], schema=ANNOTATED)
