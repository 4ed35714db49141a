"""What the ledger's reasons mean, in words."""

from __future__ import annotations

from skill_factory.core.ledger import Reason

_MEANINGS = {
    Reason.NO_QUESTION: "the question is null, empty or white space, or not one user turn",
    Reason.QUESTION_NOT_UNICODE: "the question is not valid UTF-8",
    Reason.QUESTION_HOLDS_CHAT_TOKEN: "the question holds a chat token",
    Reason.NO_RESPONSE: "the row has no response",
    Reason.LISTS_DIFFER_IN_LENGTH: "the row's lists are not parallel",
    Reason.PROMPT_VARIANT_NOT_CHOSEN: "not one of the chosen prompt variants",
    Reason.UNDECIDED: "neither right nor wrong: correctness is null",
    Reason.BLANK: "the text is null, empty or white space",
    Reason.NO_ANSWER: "no answer was extracted",
    Reason.NOT_UNICODE: "the text is not valid UTF-8",
    Reason.HOLDS_MARKUP: "it holds a chat token, or a tag of ours where it would break the trace",
    Reason.NO_VALID_REFLECTION: "the attempt lost all its reflections",
    Reason.DUPLICATE: "it says, reflections included, what another attempt says",
    Reason.ATTEMPT_SET_ASIDE: "its attempt was lost",
    Reason.NO_VERDICT: "the reflection has no verdict",
    Reason.SEVERAL_VERDICTS: "the reflection has more than one verdict",
    Reason.WRONG_VERDICT: "the verdict is not the truth about the attempt",
    Reason.FILTERED_TEXT: "it contains a text that was to be dropped",
    Reason.NO_VALID_ATTEMPT: "the question has no valid attempt",
    Reason.NO_CORRECT_ATTEMPT: "the question has no valid right attempt",
    Reason.TOO_FEW_ATTEMPTS: "fewer valid attempts than a trace needs",
    Reason.NO_INCORRECT_ATTEMPT: "the format needs a wrong attempt, and there is none",
    Reason.ONE_CORRECT_ATTEMPT: "the format needs two right attempts, and there is one",
    Reason.TOO_FEW_VARIANTS: "fewer prompt variants than the trace needs",
    Reason.TOO_MANY_TOKENS: "longer than the limit of tokens",
    Reason.NOT_IN_SUBSAMPLE: "left out by the subsample",
    Reason.QUESTION_SET_ASIDE: "valid, but its question gave no trace",
    Reason.NOT_DRAWN: "valid, but no trace drew it",
}


def meaning_of(reason: str) -> str:
    """What a reason means, also one with a format before it; empty: no reason of ours."""
    name = reason.rpartition(": ")[2]
    return _MEANINGS[Reason(name)] if name in set(Reason) else ""
