"""Which questions, attempts and reflections are valid, and why the others are not.

Texts are checked column by column: each item gets a code, which is that of the first reason against
it, or KEPT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skill_factory.core import trace_tags as tags
from skill_factory.core.arrays import Mask, strings, view
from skill_factory.core.ledger import Reason

KEPT = -1
_REASONS = list(Reason)
_CODE = {reason: code for code, reason in enumerate(_REASONS)}
Codes = npt.NDArray[np.int8]


def first_reasons(size: int, *faults: tuple[Reason, Mask]) -> Codes:
    """For each item the code of the first reason that holds, or KEPT."""
    out = np.full(size, KEPT, np.int8)
    for reason, mask in reversed(faults):
        out[mask] = _CODE[reason]
    return out


def count_reasons(codes: Codes, losses: Counter[str]) -> int:
    """Count the losses by reason; how many were kept."""
    found, counts = np.unique(codes, return_counts=True)
    losses.update({_REASONS[c]: int(n) for c, n in zip(found, counts, strict=True) if c != KEPT})
    return int((codes == KEPT).sum())


def code_of(reason: Reason) -> int:
    """The code that stands for a reason."""
    return _CODE[reason]


def reason_of(code: int) -> Reason:
    """The reason that a code stands for."""
    return _REASONS[code]


def validate_questions(question: pa.Array) -> Codes:
    """Why nothing can be made of questions, whatever was answered."""
    return first_reasons(len(question), *question_faults(question))


def question_faults(question: pa.Array) -> tuple[tuple[Reason, Mask], ...]:
    """Each reason against questions, and which of them it holds for."""
    return (
        (Reason.NO_QUESTION, _blank(question)),
        (Reason.QUESTION_NOT_UNICODE, not_unicode(question)),
        (Reason.QUESTION_HOLDS_CHAT_TOKEN, holds(question, *tags.CHAT_TOKENS)),
    )


def validate_attempts(
    text: pa.Array,
    answer: pa.Array,
    variant: pa.Array,
    decided: Mask,
    chosen: Sequence[str] | None,
) -> Codes:
    """Why attempts cannot be used, whatever their reflections say. `answer` is the extracted one,
    `decided`: known to be right or wrong, `chosen` the prompt variants to use (None: all)."""
    return first_reasons(
        len(text),
        (Reason.PROMPT_VARIANT_NOT_CHOSEN, _not_chosen(variant, chosen)),
        (Reason.UNDECIDED, ~decided),
        (Reason.BLANK, _blank(text)),
        (Reason.NO_ANSWER, _blank(answer)),
        (Reason.NOT_UNICODE, not_unicode(text) | not_unicode(answer) | not_unicode(variant)),
        (Reason.HOLDS_MARKUP, _breaks_attempt(text)),
        (Reason.HOLDS_MARKUP, holds(answer, tags.ANY_TAG, *tags.CHAT_TOKENS)),
    )


def validate_reflections(
    texts: pa.Array, orphaned: Mask, truth: Mask, without: Sequence[str]
) -> Codes:
    """Why reflections cannot be used. `orphaned`: their attempt cannot be, `truth`: it is correct,
    `without`: texts that must not be in one, in any case."""
    several = holds(texts, tags.SEVERAL_VERDICTS)
    right = holds(texts, tags.verdict_re2(tags.Verdict.CORRECT))
    wrong = holds(texts, tags.verdict_re2(tags.Verdict.INCORRECT))
    filtered = np.zeros(len(texts), bool)
    for word in without:
        filtered |= view(pc.match_substring(texts, word, ignore_case=True))
    return first_reasons(
        len(texts),
        (Reason.ATTEMPT_SET_ASIDE, orphaned),
        (Reason.BLANK, _blank(texts)),
        (Reason.NOT_UNICODE, not_unicode(texts)),
        (Reason.HOLDS_MARKUP, holds(texts, tags.FOREIGN_IN_REFLECTION, *tags.CHAT_TOKENS)),
        (Reason.SEVERAL_VERDICTS, several),
        (Reason.NO_VERDICT, ~(right | wrong)),
        (Reason.WRONG_VERDICT, right != truth),
        (Reason.FILTERED_TEXT, filtered),
    )


def _breaks_attempt(texts: pa.Array) -> Mask:
    out = holds(texts, tags.FOREIGN_IN_ATTEMPT, *tags.CHAT_TOKENS)
    counts = view(pc.count_substring_regex(texts, tags.ANSWER_TAG))
    pair = holds(texts, r"<answer>(?s:.*)</answer>")
    # One pair is what a good attempt has, and two columns see it; the few others are looked at one
    # by one.
    for i in np.flatnonzero((counts != 0) & ~((counts == 2) & pair)):
        out[i] |= not tags.answers_are_pairs(
            texts[i].as_buffer().to_pybytes().decode(errors="replace")
        )
    return out


def _not_chosen(variant: pa.Array, chosen: Sequence[str] | None) -> Mask:
    if chosen is None:
        return np.zeros(len(variant), bool)
    return ~view(pc.is_in(variant, strings(chosen)))


def holds(texts: pa.Array, *patterns: str) -> Mask:
    """Which texts have a match of one of the RE2 patterns."""
    out = np.zeros(len(texts), bool)
    for pattern in patterns:
        out |= view(pc.match_substring_regex(texts, pattern))
    return out


def stripped(texts: pa.Array) -> pa.Array:
    """Without white space at their ends: questions that differ in no more are one question."""
    if not holds(texts, rf"\A[{tags.SPACE_RE2}]", rf"[{tags.SPACE_RE2}]\z").any():
        return texts
    ends = rf"\A[{tags.SPACE_RE2}]+|[{tags.SPACE_RE2}]+\z"
    return pc.replace_substring_regex(texts, ends, "")


def _blank(texts: pa.Array) -> Mask:
    return ~holds(texts, f"[^{tags.SPACE_RE2}]")


def not_unicode(texts: pa.Array) -> Mask:
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
