"""Figures about the whole dataset: tables for a person, and what in them is to be looked at."""

from __future__ import annotations

from collections.abc import Iterator

from skill_factory.checks.audit import Audit, Confusion
from skill_factory.checks.balance import Balance
from skill_factory.checks.codes import C
from skill_factory.checks.findings import Report
from skill_factory.checks.wording import FEW_TRACES

CHANCE = 0.55
"""Below this balanced accuracy verdicts are no better than chance, which is 0.5."""

ONE_SIDED = 0.3
"""So much more of one kind of attempts the filter for true verdicts may lose."""

AT_ONCE = 0.5
"""More traces of a single attempt than this share teach to stop at once."""

ONE_VERDICT = 0.95
"""More of one verdict than this share teaches to say it always."""

OTHER_DIFFICULTY = 0.1
"""By so much pass rates may differ."""

_FEW_VERDICTS = 50


def tell_audit(audit: Audit, report: Report) -> None:
    """Add the audit to a report, and what it shows."""
    report.data["audit"] = audit.as_json()
    report.tables["Verdicts of the input against the truth"] = "\n".join(_audit_lines(audit))
    both = min(int(audit.all.cells[t].sum()) for t in (0, 1))
    accuracy = audit.all.balanced_accuracy
    if both >= _FEW_VERDICTS and accuracy is not None and accuracy < CHANCE:
        report.tell(C.BY_CHANCE, f"balanced accuracy {accuracy:.2f}, where 0.50 is chance")
    wrong, right = (audit.lost_share(of_right) for of_right in (False, True))
    if wrong is not None and right is not None and abs(wrong - right) > ONE_SIDED:
        report.tell(C.ONE_SIDED, f"{right:.0%} of right attempts, {wrong:.0%} of wrong ones")


def tell_balance(balance: Balance, audit: Audit | None, report: Report) -> None:
    """Add the balance to a report, and what it shows; beside the whole input where there is an
    audit."""
    report.data["balance"] = balance.as_json()
    lines = list(_balance_lines(balance))
    if audit is not None:
        lines += list(_questions(balance, audit, report))
    if lines:
        report.tables["Balance"] = "\n".join(lines)
    if balance.traces < FEW_TRACES:
        return
    at_once, incorrect = balance.at_once or 0.0, balance.incorrect
    if at_once > AT_ONCE:
        report.tell(C.AT_ONCE, f"{at_once:.0%} of the traces")
    elif balance.wrong_before and set(balance.wrong_before) == {0}:
        report.tell(C.NO_RETRY, f"{balance.traces:,} traces")
    if incorrect is not None and not 1 - ONE_VERDICT <= incorrect <= ONE_VERDICT:
        word = "Incorrect" if incorrect > 0.5 else "Correct"
        report.tell(C.ONE_VERDICT, f"{max(incorrect, 1 - incorrect):.0%} of them say {word}")


def _questions(balance: Balance, audit: Audit, report: Report) -> Iterator[str]:
    """The questions in the traces beside all of the input."""
    every, used = len(audit.questions), len(balance.questions)
    rate, of_used = audit.pass_rate(), audit.pass_rate(balance.questions)
    report.data["balance"] |= {
        "questions_of_input": every,
        "pass_rate": of_used,
        "pass_rate_of_input": rate,
    }
    yield f"  questions in traces: {used:,} of {every:,}"
    if every > used:
        report.tell(C.UNUSED, f"{every - used:,} of {every:,} questions are in no trace")
    if rate is None or of_used is None:
        return
    yield f"  their pass rate: {of_used:.0%}; of all questions: {rate:.0%}"
    if abs(rate - of_used) > OTHER_DIFFICULTY:
        harder = "harder" if of_used < rate else "easier"
        of_all = f"pass rate {of_used:.0%}, of all {rate:.0%}"
        report.tell(C.EASIER, f"the questions in the traces are {harder}: {of_all}")


def _balance_lines(balance: Balance) -> Iterator[str]:
    if balance.at_once is not None:
        yield f"  traces that end at the first attempt: {balance.at_once:.0%}"
    if balance.wrong_before:
        counts = sorted(balance.wrong_before.items())
        yield "  wrong attempts before the one that answers: " + ", ".join(
            f"{number} in {count:,}" for number, count in counts
        )
    if balance.incorrect is not None:
        yield f"  verdicts that say Incorrect: {balance.incorrect:.0%}"


_RATES = ("recall", "F1")
_HEAD = ("reflections", "Correct: precision", *_RATES, "Incorrect: precision", *_RATES)


def _audit_lines(audit: Audit) -> Iterator[str]:
    rows = {"all": audit.all}
    for what, groups in (("variant", audit.by_variant), ("task", audit.by_task)):
        if len(groups) > 1:
            rows |= {f"{what} {name}": one for name, one in sorted(groups.items(), key=str)}
    width = max(map(len, rows))
    yield "  " + "  ".join([" " * width, *_HEAD])
    for name, one in rows.items():
        cells = (text.rjust(len(head)) for text, head in zip(_row(one), _HEAD, strict=True))
        yield "  " + "  ".join([name.ljust(width), *cells])
    yield f"  verdicts on one attempt that agree: {_percent(audit.agreement)}"
    right, wrong = (_percent(audit.lost_share(of_right)) for of_right in (True, False))
    lost = "lost by the filter for true verdicts"
    yield f"  {lost}: {right} of right attempts, {wrong} of wrong ones"


def _row(one: Confusion) -> list[str]:
    rates = [rate(right) for right in (True, False) for rate in (one.precision, one.recall, one.f1)]
    return [f"{one.reflections:,}", *("-" if r is None else f"{r:.2f}" for r in rates)]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
