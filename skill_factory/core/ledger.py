"""The ledger: what came in, what went out, and the named reason for every difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from skill_factory.errors import LedgerError


class Reason(StrEnum):
    """Why a row, attempt, reflection, question or trace did not make it.

    Where several apply, the first of its group counts.
    """

    # rows
    NO_QUESTION = "no_question"
    QUESTION_NOT_UNICODE = "question_not_unicode"
    QUESTION_HOLDS_CHAT_TOKEN = "question_holds_chat_token"
    NO_RESPONSE = "no_response"
    LISTS_DIFFER_IN_LENGTH = "lists_differ_in_length"
    # rows and their attempts, questions, traces
    EXCLUDED = "excluded"
    # attempts; blank, not Unicode and holding markup are reasons for reflections too
    PROMPT_VARIANT_NOT_CHOSEN = "prompt_variant_not_chosen"
    UNDECIDED = "undecided"
    BLANK = "blank"
    NO_ANSWER = "no_answer"
    NOT_UNICODE = "not_unicode"
    HOLDS_MARKUP = "holds_markup"
    NO_VALID_REFLECTION = "no_valid_reflection"
    DUPLICATE = "duplicate"
    # reflections
    ATTEMPT_SET_ASIDE = "attempt_set_aside"
    NO_VERDICT = "no_verdict"
    SEVERAL_VERDICTS = "several_verdicts"
    WRONG_VERDICT = "wrong_verdict"
    FILTERED_TEXT = "filtered_text"
    # questions and traces: what a format did not find
    NO_VALID_ATTEMPT = "no_valid_attempt"
    NO_CORRECT_ATTEMPT = "no_correct_attempt"
    TOO_FEW_ATTEMPTS = "too_few_attempts"
    NO_INCORRECT_ATTEMPT = "no_incorrect_attempt"
    ONE_CORRECT_ATTEMPT = "one_correct_attempt"
    TOO_FEW_VARIANTS = "too_few_prompt_variants"
    TOO_MANY_TOKENS = "too_many_tokens"
    NOT_IN_SUBSAMPLE = "not_in_subsample"
    # valid attempts and reflections that stayed in the pool
    QUESTION_SET_ASIDE = "question_set_aside"
    NOT_DRAWN = "not_drawn"


@dataclass
class Account:
    """`read == kept + sum(losses)` once all is counted."""

    read: int = 0
    kept: int = 0
    losses: Counter[str] = field(default_factory=Counter)

    def lose(self, reason: str, count: int = 1) -> None:
        """Count a loss; a count of 0 leaves no trace."""
        if count:
            self.losses[reason] += count

    def as_dict(self) -> dict[str, object]:
        """For a manifest, losses in order of their names."""
        losses = {str(why): count for why, count in sorted(self.losses.items())}
        return {"read": self.read, "kept": self.kept, "losses": losses}


@dataclass
class Ledger:
    """One account for each kind of thing; all counts are of things, not of bytes.

    A row is kept when it gives attempts. An attempt, a reflection and a question are kept when they
    are in a written trace. A trace is read for every slot a format has for a question, and kept
    when it is written.
    """

    rows: Account = field(default_factory=Account)
    attempts: Account = field(default_factory=Account)
    reflections: Account = field(default_factory=Account)
    questions: Account = field(default_factory=Account)
    traces: Account = field(default_factory=Account)

    def add(self, other: Ledger) -> None:
        """Add the counts of another part of the same run."""
        for kind in fields(self):
            mine, theirs = getattr(self, kind.name), getattr(other, kind.name)
            mine.read += theirs.read
            mine.kept += theirs.kept
            mine.losses.update(theirs.losses)

    def check(self) -> None:
        """Raise `LedgerError` unless every account adds up."""
        for kind in fields(self):
            account = getattr(self, kind.name)
            negative = min([account.kept, *account.losses.values()]) < 0
            if negative or account.read != account.kept + account.losses.total():
                raise LedgerError(
                    f"{kind.name}: {account.read} read, but {account.kept} kept "
                    f"and {dict(account.losses)} lost"
                )

    def as_dict(self) -> dict[str, dict[str, object]]:
        """For the manifest: accounts by name, losses in order of their names."""
        out: dict[str, dict[str, object]] = {}
        for kind in fields(self):
            out[kind.name] = getattr(self, kind.name).as_dict()
        return out

    def table(self) -> str:
        """For a person: one line an account, its losses below it, the largest first."""
        return account_table({kind.name: getattr(self, kind.name) for kind in fields(self)})


def account_table(accounts: Mapping[str, Account]) -> str:
    """Accounts for a person: one line each, its losses below it, the largest first."""
    lines = [f"{'':34}{'read':>12}{'kept':>12}{'lost':>12}"]
    for name, account in accounts.items():
        lost = account.losses.total()
        lines.append(f"{name:34}{account.read:12,}{account.kept:12,}{lost:12,}")
        for reason, count in sorted(account.losses.items(), key=lambda item: (-item[1], item[0])):
            lines.append(f"  {reason:56}{count:12,}")
    return "\n".join(lines)
