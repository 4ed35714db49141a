"""Index: what of the annotated rows can stand in a trace, and why the rest cannot.

A batch is judged column by column: each row, attempt and reflection gets a code, which is that of
the first reason against it, or KEPT.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_128, xxh3_128_digest

from skill_factory.core import markup
from skill_factory.core.annotated import list_depth
from skill_factory.core.arrays import (
    Ints,
    Mask,
    bounds,
    digests,
    given,
    numbers,
    offsets,
    strings,
    view,
)
from skill_factory.core.columns import Columns
from skill_factory.core.ledger import Ledger, Reason
from skill_factory.core.sources import Batch
from skill_factory.core.tables import USABLE
from skill_factory.errors import InputError, TaskError
from skill_factory.tasks import data_source_of, gold_of, kept_facts, own_facts, task_of
from skill_factory.tasks.facts import FACT_GROUPS, facts_of
from skill_factory.tasks.golds import NoGold


@dataclass(frozen=True)
class Choice:
    """What of the input may be used. `variants` None: all prompt variants. `without`: reflections
    that contain one of these texts, in any case, are dropped. `task`: what task all questions are;
    None: what the input says."""

    variants: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    task: str | None = None


class Indexed(NamedTuple):
    """What `index` found in one batch.

    `usable` has the schema `USABLE` and is sorted by the first half of `question_id`. `digest` sums
    the 128-bit digests of all attempts: added up over all batches it names the content of the
    input, whatever the order of its rows. `asked` has 64 bits of the digest of each question that
    has an attempt, each once; `variants` counts the attempts of each prompt variant, and `tasks`
    the valid ones of each task (None: the input does not say it, or not the gold answer).
    """

    usable: pa.RecordBatch
    ledger: Ledger
    digest: int
    asked: npt.NDArray[np.uint64]
    variants: Counter[str | None]
    tasks: Counter[str | None]


def index(source: Batch, columns: Columns, choice: Choice) -> Indexed:
    """Judge a batch of annotated rows.

    Raises `InputError` for a row with several responses whose reflections are one flat list:
    nothing says whose they are.
    """
    ledger = Ledger()
    found = _attempts(source, columns, ledger)
    wanted = _wanted(source, columns, choice.task)
    ids = _attempt_ids(found)
    attempts = judge_attempts(
        found.text, found.answer, found.variant, given(found.correct), choice.variants
    )
    truth = view(found.correct)[found.owner]
    reflections = judge_reflections(
        found.reflections, attempts[found.owner] != KEPT, truth, choice.without
    )
    valid = reflections == KEPT
    counts = np.bincount(found.owner[valid], minlength=len(attempts))
    attempts[(attempts == KEPT) & (counts == 0)] = _CODE[Reason.NO_VALID_REFLECTION]
    ledger.attempts.read = len(attempts)
    count_reasons(attempts, ledger.attempts.losses)
    ledger.reflections.read = len(reflections)
    count_reasons(reflections, ledger.reflections.losses)
    usable = _usable(
        found, wanted, source.row, ids, np.flatnonzero(attempts == KEPT), valid, counts
    )
    return Indexed(
        usable,
        ledger,
        _sum(ids),
        np.unique(found.question_ids.view(">u8")[:, 0]).astype(np.uint64),
        _variants(found.variant),
        _tasks(usable),
    )


class _Attempts(NamedTuple):
    """All attempts of a batch, one item each; reflection i is about attempt `owner[i]`, in whose
    list it stands at `number[i]`; an attempt has `told` of them."""

    row: Ints
    response: Ints
    question: pa.Array
    question_ids: npt.NDArray[np.uint8]
    variant: pa.Array
    text: pa.Array
    correct: pa.Array
    answer: pa.Array
    reflections: pa.Array
    told: Ints
    owner: Ints
    number: Ints


def _attempts(source: Batch, columns: Columns, ledger: Ledger) -> _Attempts:
    """Rows as attempts; rows that give none go to the ledger."""
    batch = source.table
    question, variant = _stripped(batch.column(columns.question)), batch.column(columns.variant)
    response = _as_lists(batch.column(columns.response))
    correct = _as_lists(batch.column(columns.correctness))
    answer = _as_lists(batch.column(columns.extracted_answer))
    reflection = batch.column(columns.reflection)
    nested = list_depth(reflection.type) == 2
    per_row = _as_lists(reflection)
    rows = _judge(
        batch.num_rows,
        *_question_faults(question),
        (Reason.NO_RESPONSE, response.lengths == 0),
        (Reason.LISTS_DIFFER_IN_LENGTH, _differ(response, correct)),
        (Reason.LISTS_DIFFER_IN_LENGTH, _differ(response, answer)),
        (Reason.LISTS_DIFFER_IN_LENGTH, _differ(response, per_row) & nested),
    )
    ledger.rows.read = batch.num_rows
    ledger.rows.kept = count_reasons(rows, ledger.rows.losses)
    kept = np.flatnonzero(rows == KEPT)
    if not nested and (several := kept[response.lengths[kept] > 1]).size:
        first = int(several[0])
        raise InputError(
            f"{source.where}: row {source.file_row + first} has {int(response.lengths[first])} "
            f"responses, but column {columns.reflection!r} is one flat list: make it a list of "
            "lists, one list for each response."
        )

    row, place = _expand(kept, response.lengths[kept])
    lists = _as_lists(per_row.values) if nested else per_row
    at = per_row.starts[row] + place if nested else row
    listed = per_row.given[row] if nested else np.ones(len(row), bool)
    told = _at(lists.lengths, at, listed)
    owner, number = _expand(np.arange(len(row)), told)
    known, which = _question_ids(question)
    return _Attempts(
        row + source.row,
        place,
        _take(question, row),
        known[which[row]],
        _take(variant, row),
        _take(response.values, response.starts[row] + place),
        _take(correct.values, correct.starts[row] + place, correct.given[row]),
        _take(answer.values, answer.starts[row] + place, answer.given[row]),
        _take(lists.values, _at(lists.starts, at, listed)[owner] + number),
        told,
        owner,
        number,
    )


class _Wanted(NamedTuple):
    """What a reward needs, an item a row: task, gold answer, facts as JSON; null: not known."""

    task: pa.Array
    gold: pa.Array
    facts: pa.Array


def _wanted(source: Batch, columns: Columns, task: str | None) -> _Wanted:
    """What the input has of it."""
    batch, there = source.table, set(source.table.schema.names)
    nothing = pa.nulls(batch.num_rows, pa.string())
    if task is None and columns.task in there:
        named = _or_nothing(batch.column(columns.task))
    else:
        named = (
            nothing
            if task is None
            else strings([data_source_of(task)]).take(numbers(np.zeros(len(nothing), int)))
        )
    gold = _or_nothing(batch.column(columns.gold)) if columns.gold in there else nothing
    facts = _facts(batch.column(columns.facts)) if columns.facts in there else nothing
    return _with_golds(_Wanted(named, gold, facts))


def _with_golds(wanted: _Wanted) -> _Wanted:
    """The gold answers as graders take them, each that is different read once."""
    if not len(wanted.gold):
        return wanted
    encoded = [column.dictionary_encode() for column in wanted]
    values = [[None, *column.dictionary.to_pylist()] for column in encoded]
    sizes = tuple(map(len, values))
    places = [view(column.indices, missing=-1) + 1 for column in encoded]
    different, which = np.unique(np.ravel_multi_index(places, sizes), return_inverse=True)
    rows = zip(*(place.tolist() for place in np.unravel_index(different, sizes)), strict=True)
    read = [_gold_of(*(values[i][place] for i, place in enumerate(row))) for row in rows]
    golds, facts = (_texts(column, which) for column in zip(*read, strict=True))
    return _Wanted(wanted.task, golds, facts)


def _texts(texts: Sequence[str | None], at: Ints) -> pa.Array:
    """The texts at these places."""
    missing = np.array([text is None for text in texts])
    return strings([text or "" for text in texts]).take(numbers(at, missing=missing[at]))


def _gold_of(
    name: str | None, gold: str | None, facts: str | None
) -> tuple[str | None, str | None]:
    """A gold answer and the facts with what it told besides; as they are where no task is known."""
    try:
        task = task_of(name) if name is not None else None
    except TaskError:
        task = None
    if facts is not None and kept_facts() != FACT_GROUPS:  # others may be among them
        own = own_facts(task, facts)
        facts = None if own is None else json.dumps(own)
    if task is None:
        return gold, facts
    known = json.loads(facts or "{}")
    found = gold_of(task, gold, known)
    if isinstance(found, NoGold):
        return None, facts
    return found.text, facts if found.facts == known else json.dumps(found.facts)


def _or_nothing(texts: pa.Array) -> pa.Array:
    """The texts, null for those that are no valid UTF-8."""
    bad = _not_unicode(texts)
    return texts.take(numbers(np.arange(len(texts)), missing=bad)) if bad.any() else texts


def _facts(column: pa.Array) -> pa.Array:
    """Of each row's JSON object the facts that graders read, as JSON; null without."""
    known, groups = dict[str, int](), kept_facts()
    at = np.full(len(column), -1)
    found = np.flatnonzero(_may_hold_facts(column) & ~_not_unicode(column))
    texts = column.take(numbers(found)).dictionary_encode()
    facts_by = [facts_of(text, groups) for text in texts.dictionary.to_pylist()]
    for row, which in zip(found.tolist(), texts.indices.to_pylist(), strict=True):
        if (facts := facts_by[which]) is not None:
            at[row] = known.setdefault(json.dumps(facts), len(known))
    return strings(list(known)).take(numbers(np.maximum(at, 0), missing=at < 0))


def _may_hold_facts(texts: pa.Array) -> Mask:
    """Whether the names of a whole group of facts are in a text."""
    if kept_facts() != FACT_GROUPS:  # too many names to look for, or any
        return given(texts)
    out = np.zeros(len(texts), bool)
    for group in FACT_GROUPS:
        patterns = ['"num(?:ber)?s"' if name == "numbers" else f'"{name}"' for name in group]
        out |= np.logical_and.reduce([_holds(texts, pattern) for pattern in patterns])
    return out


def _tasks(usable: pa.RecordBatch) -> Counter[str | None]:
    """The valid attempts by task, None where the task or the gold answer is not known."""
    task, gold = usable.column("data_source"), usable.column("ground_truth")
    known = task.take(numbers(np.arange(len(task)), missing=~given(gold)))
    return Counter({v["values"]: v["counts"] for v in pc.value_counts(known).to_pylist()})


def _usable(
    found: _Attempts,
    wanted: _Wanted,
    first_row: int,
    ids: npt.NDArray[np.uint8],
    kept: Ints,
    valid: Mask,
    counts: Ints,
) -> pa.RecordBatch:
    """The kept attempts with their valid reflections, `counts` of them, sorted by question."""
    kept = kept[np.argsort(found.question_ids.view(">u8")[kept, 0], kind="stable")]
    before = bounds(counts)[:-1]
    shown = np.flatnonzero(valid)[np.add(*_expand(before[kept], counts[kept]))]
    ends = numbers(bounds(counts[kept]).astype(np.int32))
    return pa.RecordBatch.from_arrays(
        [
            digests(found.question_ids[kept]),
            digests(ids[kept]),
            numbers(found.row[kept]),
            numbers(found.response[kept].astype(np.int32)),
            _take(found.question, kept),
            _take(found.variant, kept),
            _take(found.correct, kept),
            _take(found.text, kept),
            _take(found.answer, kept),
            pa.ListArray.from_arrays(ends, _take(found.reflections, shown)),
            pa.ListArray.from_arrays(ends, numbers(found.number[shown].astype(np.int32))),
            *(column.take(numbers(found.row[kept] - first_row)) for column in wanted),
        ],
        schema=USABLE,
    )


def _sum(ids: npt.NDArray[np.uint8]) -> int:
    """The sum of 128-bit numbers, by quarters: those cannot overflow."""
    total = 0
    for quarter in ids.view(">u4").sum(axis=0, dtype=np.uint64):
        total = (total << 32) + int(quarter)
    return total


def _variants(variant: pa.Array) -> Counter[str | None]:
    if _not_unicode(variant).any():  # those attempts are lost, and a name must be printed
        return Counter()
    return Counter({v["values"]: v["counts"] for v in pc.value_counts(variant).to_pylist()})


# -- judging --------------------------------------------------------------------------------------

KEPT = -1
_REASONS = list(Reason)
_CODE = {reason: code for code, reason in enumerate(_REASONS)}
Judged = npt.NDArray[np.int8]


def _judge(size: int, *faults: tuple[Reason, Mask]) -> Judged:
    """For each thing the code of the first reason that holds, or KEPT."""
    out = np.full(size, KEPT, np.int8)
    for reason, mask in reversed(faults):
        out[mask] = _CODE[reason]
    return out


def count_reasons(judged: Judged, losses: Counter[str]) -> int:
    """Count the losses by reason; how many were kept."""
    codes, counts = np.unique(judged, return_counts=True)
    losses.update({_REASONS[c]: int(n) for c, n in zip(codes, counts, strict=True) if c != KEPT})
    return int((judged == KEPT).sum())


def code_of(reason: Reason) -> int:
    """What stands for a reason among the codes of what was judged."""
    return _CODE[reason]


def judge_questions(question: pa.Array) -> Judged:
    """Why nothing can be made of questions, whatever was answered."""
    return _judge(len(question), *_question_faults(question))


def _question_faults(question: pa.Array) -> tuple[tuple[Reason, Mask], ...]:
    return (
        (Reason.NO_QUESTION, _blank(question)),
        (Reason.QUESTION_NOT_UNICODE, _not_unicode(question)),
        (Reason.QUESTION_HOLDS_CHAT_TOKEN, _holds(question, *markup.CHAT_TOKENS)),
    )


def judge_attempts(
    text: pa.Array,
    answer: pa.Array,
    variant: pa.Array,
    decided: Mask,
    chosen: Sequence[str] | None,
) -> Judged:
    """Why attempts cannot be used, whatever their reflections say. `answer` is the extracted one,
    `decided`: known to be right or wrong, `chosen` the prompt variants to use (None: all)."""
    return _judge(
        len(text),
        (Reason.PROMPT_VARIANT_NOT_CHOSEN, _not_chosen(variant, chosen)),
        (Reason.UNDECIDED, ~decided),
        (Reason.BLANK, _blank(text)),
        (Reason.NO_ANSWER, _blank(answer)),
        (Reason.NOT_UNICODE, _not_unicode(text) | _not_unicode(answer) | _not_unicode(variant)),
        (Reason.HOLDS_MARKUP, _breaks_attempt(text)),
        (Reason.HOLDS_MARKUP, _holds(answer, markup.ANY_TAG, *markup.CHAT_TOKENS)),
    )


def judge_reflections(
    texts: pa.Array, orphaned: Mask, truth: Mask, without: Sequence[str]
) -> Judged:
    """Why reflections cannot be used. `orphaned`: their attempt cannot be, `truth`: it is correct,
    `without`: texts that must not be in one, in any case."""
    several = _holds(texts, f"(?s){markup.VERDICT_TAG}.*{markup.VERDICT_TAG}.*{markup.VERDICT_TAG}")
    right = _holds(texts, markup.verdict_re2(markup.Verdict.CORRECT))
    wrong = _holds(texts, markup.verdict_re2(markup.Verdict.INCORRECT))
    filtered = np.zeros(len(texts), bool)
    for word in without:
        filtered |= view(pc.match_substring(texts, word, ignore_case=True))
    return _judge(
        len(texts),
        (Reason.ATTEMPT_SET_ASIDE, orphaned),
        (Reason.BLANK, _blank(texts)),
        (Reason.NOT_UNICODE, _not_unicode(texts)),
        (Reason.HOLDS_MARKUP, _holds(texts, markup.FOREIGN_IN_REFLECTION, *markup.CHAT_TOKENS)),
        (Reason.SEVERAL_VERDICTS, several),
        (Reason.NO_VERDICT, ~(right | wrong)),
        (Reason.WRONG_VERDICT, right != truth),
        (Reason.FILTERED_TEXT, filtered),
    )


def _breaks_attempt(texts: pa.Array) -> Mask:
    out = _holds(texts, markup.FOREIGN_IN_ATTEMPT, *markup.CHAT_TOKENS)
    tags = view(pc.count_substring_regex(texts, markup.ANSWER_TAG))
    pair = _holds(texts, r"<answer>(?s:.*)</answer>")
    # One pair is what a good attempt has, and two columns see it; the few others are looked at one
    # by one.
    for i in np.flatnonzero((tags != 0) & ~((tags == 2) & pair)):
        out[i] |= not markup.answers_are_pairs(
            texts[i].as_buffer().to_pybytes().decode(errors="replace")
        )
    return out


def _not_chosen(variant: pa.Array, chosen: Sequence[str] | None) -> Mask:
    if chosen is None:
        return np.zeros(len(variant), bool)
    return ~view(pc.is_in(variant, strings(chosen)))


def _holds(texts: pa.Array, *patterns: str) -> Mask:
    out = np.zeros(len(texts), bool)
    for pattern in patterns:
        out |= view(pc.match_substring_regex(texts, pattern))
    return out


def _stripped(texts: pa.Array) -> pa.Array:
    """Without white space at their ends: questions that differ in no more are one question."""
    if not _holds(texts, rf"\A[{markup.SPACE_RE2}]", rf"[{markup.SPACE_RE2}]\z").any():
        return texts
    ends = rf"\A[{markup.SPACE_RE2}]+|[{markup.SPACE_RE2}]+\z"
    return pc.replace_substring_regex(texts, ends, "")


def _blank(texts: pa.Array) -> Mask:
    return ~_holds(texts, f"[^{markup.SPACE_RE2}]")


def _not_unicode(texts: pa.Array) -> Mask:
    """Texts that are no valid UTF-8: Parquet does not promise it, and JSON may escape half a
    surrogate pair."""
    out = np.zeros(len(texts), bool)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        for i, text in enumerate(texts):
            try:
                text.as_py()
            except UnicodeDecodeError:
                out[i] = True
    return out


# -- lists ----------------------------------------------------------------------------------------


class _Lists(NamedTuple):
    """A column of lists: row i has `lengths[i]` of the `values` from `starts[i]`; not `given` where
    the list is null."""

    values: pa.Array
    starts: Ints
    lengths: Ints
    given: Mask


def _as_lists(column: pa.Array) -> _Lists:
    """A list column, or a plain one as lists of one."""
    present = given(column)
    if list_depth(column.type) == 0:
        return _Lists(column, np.arange(len(column)), present.astype(np.int64), present)
    starts = offsets(column)[:-1].astype(np.int64)
    lengths = view(pc.list_value_length(column)).astype(np.int64)
    return _Lists(column.values, starts, lengths, present)


def _expand(owners: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Each owner as often as its length says, and the count from 0 within it."""
    ends = bounds(lengths)
    return np.repeat(owners, lengths), np.arange(ends[-1]) - np.repeat(ends[:-1], lengths)


def _take(values: pa.Array, at: Ints, present: Mask | None = None) -> pa.Array:
    """The values at these places, null where not `present`; a run of neighbours is not copied."""
    if present is not None and not present.all():
        return values.take(numbers(at, missing=~present))
    if len(at) and at[-1] - at[0] == len(at) - 1 and (np.diff(at) == 1).all():
        return values.slice(int(at[0]), len(at))
    return values.take(numbers(at))


def _differ(one: _Lists, other: _Lists) -> Mask:
    """Where another list is there, but not of the same length."""
    unequal: Mask = other.given & (one.lengths != other.lengths)
    return unequal


def _at(values: Ints, at: Ints, present: Mask) -> Ints:
    """The values at these places; 0 where not `present`."""
    out = np.zeros(len(at), np.int64)
    out[present] = values[at[present]]
    return out


# -- digests --------------------------------------------------------------------------------------


def _question_ids(question: pa.Array) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Digests of the different questions, and for each row which of them is its own."""
    encoded = question.dictionary_encode()
    texts = encoded.dictionary.cast(pa.binary())
    ids = b"".join(xxh3_128_digest(text.as_py()) for text in texts)
    indices = view(encoded.indices).astype(np.int64)
    return np.frombuffer(ids, np.uint8).reshape(-1, 16), indices


class _Bytes(NamedTuple):
    """The bytes of a string array, where its items begin in them, and their lengths (null: -1)."""

    data: memoryview
    starts: list[int]
    lengths: npt.NDArray[np.int32]


def _bytes(texts: pa.Array) -> _Bytes:
    if texts.null_count:  # there may be bytes beneath a null; taken again, there are none
        texts = texts.take(numbers(np.arange(len(texts))))
    data = texts.buffers()[2]
    starts = offsets(texts)
    lengths = np.where(given(texts), np.diff(starts), -1).astype("<i4")
    return _Bytes(memoryview(b"" if data is None else data), starts.tolist(), lengths)


def _attempt_ids(found: _Attempts) -> npt.NDArray[np.uint8]:
    """128-bit digests of all that an attempt says; equal only for attempts with equal content."""
    if not len(found.text):
        return np.zeros((0, 16), np.uint8)
    parts = [_bytes(part) for part in (found.variant, found.answer, found.text)]
    said = _bytes(found.reflections)
    sizes = said.lengths.tobytes()
    decided = view(found.correct.cast(pa.int8()), missing=-1).astype("<i4")
    heads = np.column_stack(
        [
            found.question_ids.view("<i4"),
            decided,
            found.told.astype("<i4"),
            *(part.lengths for part in parts),
        ]
    )
    head, width = heads.astype("<i4").tobytes(), heads.shape[1] * 4
    owned = bounds(found.told).tolist()
    out = []
    for i in range(len(found.text)):
        digest = xxh3_128(head[i * width : (i + 1) * width])
        for data, starts, _ in parts:
            digest.update(data[starts[i] : starts[i + 1]])
        a, b = owned[i], owned[i + 1]
        digest.update(sizes[4 * a : 4 * b])
        digest.update(said.data[said.starts[a] : said.starts[b]])
        out.append(digest.digest())
    return np.frombuffer(b"".join(out), np.uint8).reshape(-1, 16)
