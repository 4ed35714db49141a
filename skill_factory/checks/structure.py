"""Structure: turns, blocks, tags and chat tokens; of single traces, and of woven batches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.checks.codes import C
from skill_factory.checks.findings import Code, Hit, Severity, excerpt
from skill_factory.checks.traces import Read, Trace
from skill_factory.checks.words import places
from skill_factory.core import trace_tags as tags
from skill_factory.core.arrays import Mask, strings, view
from skill_factory.core.columns import Column
from skill_factory.core.markup import Broken, Part, Problem
from skill_factory.core.sources.validate import holds
from skill_factory.errors import FaultError

_CODES = {
    Broken.THINKING: C.THINKING,
    Broken.BLOCKS: C.BLOCKS,
    Broken.ANSWER: C.FINAL_ANSWER,
    Broken.TAGS: C.TAG_INSIDE,
    Broken.LAYOUT: C.LAYOUT,
}
_CHAT_TOKEN = re.compile("|".join(tags.CHAT_TOKENS))


def has_chat_token(traces: Sequence[Trace]) -> list[bool]:
    """Which traces hold a chat token in a text."""
    texts = [text or "" for trace in traces for _, text in trace.turns]
    found = holds(strings(texts), *tags.CHAT_TOKENS)
    ends = np.cumsum([0, *(len(trace.turns) for trace in traces)])
    return [bool(found[a:b].any()) for a, b in pairwise(ends.tolist())]


def hits(read: Read, chat_token: bool) -> Iterator[Hit]:
    """What is wrong with a trace's turns, blocks and answer.

    Turns are such that LLaMA-Factory 0.9.5 drops no row, trains on something, and does not stop
    (measured). A chat may begin with a system turn where there is no plan.
    """
    trace = read.trace
    roles = [role for role, _ in trace.turns]
    if trace.origin is None and roles[:1] == ["system"]:
        del roles[0]
    if roles != ["user", "assistant"]:
        yield Hit(C.TURNS, "turns", ", ".join(map(str, roles)) or "none")
    elif not all(text and text.strip() for _, text in trace.turns):
        yield Hit(C.EMPTY_TURN, "turns", "")
    if chat_token:
        yield from _chat_tokens(trace)
    if roles != ["user", "assistant"]:
        return
    for problem in _worst(read.parts.problems):
        yield Hit(_CODES[problem.rule], f"character {problem.at}", _shown(problem, trace.text))
    yield from _second_answer(read)
    yield from _other_answer(read)
    for number, reflection in enumerate(read.parts.reflections, 1):
        if reflection.verdict is None:
            yield Hit(C.NO_VERDICT, f"reflection {number}", reflection.part.text[-200:])


def _chat_tokens(trace: Trace) -> Iterator[Hit]:
    for role, text in trace.turns:
        if token := _CHAT_TOKEN.search(text or ""):
            yield Hit(C.CHAT_TOKEN, f"{role} turn", _around(text or "", token.start()))


def _worst(problems: Sequence[Problem]) -> list[Problem]:
    """The problems without those of the layout, if there are others: these explain them."""
    return [one for one in problems if one.rule is not Broken.LAYOUT] or list(problems)


def _shown(problem: Problem, text: str) -> str:
    return f"{problem.what}: {excerpt(_around(text, problem.at), 60)}"


def _around(text: str, at: int) -> str:
    return text[max(0, at - 20) : at + 60]


def _second_answer(read: Read) -> Iterator[Hit]:
    """An answer after the thinking besides the final one, but for an attempt that is given
    again."""
    again = read.parts.restated
    if again and tags.ANSWER in again.text and not _is_attempt(again, read):
        yield Hit(C.FINAL_ANSWER, "after the thinking", again.text)


def _is_attempt(part: Part, read: Read) -> bool:
    return any(part.text == attempt.text for attempt in read.parts.attempts)


def _other_answer(read: Read) -> Iterator[Hit]:
    """Whether the final answer is the one of its attempt: that of the plan, else the one that is
    given again, else the last. An answer that stands in the attempt's own is taken for it, as
    datasets shorten them (`x = 5` to `5`)."""
    parts, origin = read.parts, read.trace.origin
    if parts.answer is None or not parts.attempts:
        return
    source = parts.attempts[-1]
    if origin is not None and origin.answer_of < len(parts.attempts):
        source = parts.attempts[origin.answer_of]
    elif parts.restated is not None and _is_attempt(parts.restated, read):
        source = parts.restated
    own, final = tags.final_answer(source.text), parts.answer.text.strip()
    if own is not None and not _within(final, own) and not _within(own, final):
        yield Hit(C.OTHER_ANSWER, "final answer", f"{final} after an attempt that says {own}")


def _within(one: str, other: str) -> bool:
    """Whether a text stands in another, not as a part of a longer word or number."""
    short, long = ("".join(text.split()) for text in (one, other))
    return short == long or any(places(short, long))


# -- what was just woven --------------------------------------------------------------------------


def refuse_faults(batch: pa.RecordBatch) -> None:
    """Raise `FaultError` for a woven batch (`tables.SFT`) in which a trace has an error.

    All traces are looked at, column by column: empty turns, blocks and answers that
    are missing. The first of each label is read back. Chat tokens are looked for in these alone:
    texts and phrases that hold one were set aside before, and what is written between them is
    white space, which no token has.
    """
    texts = batch.column(0).values.field("content")
    for code, mask in _column_faults(texts):
        if mask.any():
            raise _refusal(batch, int(mask.argmax()) // 2, Hit(code, "", ""))
    labels = batch.column(Column.LABEL).to_pylist()
    first = [labels.index(label) for label in dict.fromkeys(labels)]
    woven = [_woven(labels[at], *texts[2 * at : 2 * at + 2].to_pylist()) for at in first]
    for at, trace, token in zip(first, woven, has_chat_token(woven), strict=True):
        for hit in hits(Read(trace), token):
            if hit.code.severity is Severity.ERROR:
                raise _refusal(batch, at, hit)


def _woven(label: str, question: str, text: str) -> Trace:
    return Trace("", label, [("user", question), ("assistant", text)], None, None, None, {})


_FEWEST_BLOCKS = 2
"""The thinking and one attempt."""


def _column_faults(texts: pa.Array) -> Iterator[tuple[Code, Mask]]:
    """Codes, and for which turns each holds: a question and its trace after the other."""
    is_trace = np.arange(len(texts)) % 2 == 1
    yield C.EMPTY_TURN, ~holds(texts, f"[^{tags.SPACE_RE2}]")
    yield C.THINKING, is_trace & ~view(pc.starts_with(texts, tags.THINK))
    # By expression: Arrow's search for plain text is 15 times slower (pyarrow 26).
    ends = view(pc.count_substring_regex(texts, "</(?:think|sample|reflect)>"))
    yield C.BLOCKS, is_trace & (ends < _FEWEST_BLOCKS)
    yield C.FINAL_ANSWER, is_trace & ~view(pc.ends_with(texts, tags.END_ANSWER))


def _refusal(batch: pa.RecordBatch, at: int, hit: Hit) -> FaultError:
    shown = f": {excerpt(hit.text, 60)}" if hit.text else ""
    return FaultError(
        f"trace {batch.column(Column.TRACE_ID)[at]}: {hit.code}: {hit.code.about}{shown}. "
        f"{hit.code.advice.capitalize()}; or say --no-check"
    )
