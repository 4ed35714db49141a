"""What was lost under a reason of a ledger, one by one, as lines for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.ledger import Account, account_table
from skill_factory.core.terminal import Line, Piece, Style
from skill_factory.errors import InputError, OptionError
from skill_factory.look.folders import ChatFiles, RunView, SftFolder
from skill_factory.look.lost_before import lost_before
from skill_factory.look.text_lines import heading_and_text, marked, marks_of
from skill_factory.runs.folder import STAGES, Stage
from skill_factory.stages.create.losses import Group, Loss, lost

LOSSES = 10
"""How many are shown, unless told otherwise."""

Accounts = Mapping[str, Mapping[str, Any]]


class Reasoned(NamedTuple):
    """Losses of one stage, kind and reason, and how many the ledger counts."""

    stage: Stage
    kind: str
    reason: str
    size: int


def accounts_of(folder: ChatFiles | RunView) -> dict[Stage, Accounts]:
    """The accounts of what was made, by stage. Raises `InputError` for files that have none."""
    if isinstance(folder, RunView):
        return {stage: found for stage in STAGES if (found := folder.accounts(stage))}
    if not isinstance(folder, SftFolder):
        raise InputError(f"{folder.path}: has no ledger; name an SFT folder or a run's")
    return {Stage.CREATE: folder.manifest["ledger"]}


def reason_lines(folder: ChatFiles | RunView) -> Iterator[Line]:
    """All reasons with their counts, stage by stage."""
    for stage, accounts in accounts_of(folder).items():
        yield [Piece(stage.value, Style.BOLD)]
        found = {kind: _account(one) for kind, one in accounts.items() if "read" in one}
        for line in account_table(found).split("\n"):
            yield [Piece(line)]
        yield ()
    yield [Piece("`--lost REASON` shows what was lost under one.", Style.GREY)]


def _account(said: Mapping[str, Any]) -> Account:
    account = Account(said["read"], said["kept"])
    account.losses.update(said["losses"])
    return account


def lost_lines(
    folder: ChatFiles | RunView, reason: str, number: int | None, grep: str | None = None
) -> Iterator[Line]:
    """The first losses under a reason (`number` None: a few), of those that hold `grep`.

    Raises `OptionError` for a reason that the ledgers have not, and `InputError` if what was lost
    is not there any more, or is not what it was.
    """
    accounts = accounts_of(folder)
    chosen = [one for one in _reasons(accounts) if one.reason.rpartition(": ")[2] == reason
              or one.reason == reason]  # fmt: skip
    if not chosen:
        there = list(dict.fromkeys(one.reason for one in _reasons(accounts)))
        raise OptionError(
            f"--lost {reason}: nothing was lost for it; the reasons are "
            f"{', '.join(there) or 'none'}{did_you_mean(reason, there)}"
        )
    # Before anything is printed: what is not there, or not what it was, is one line.
    groups = {stage: _groups(folder, stage) for stage in dict.fromkeys(one.stage for one in chosen)}
    for one in chosen:
        yield [Piece(f"{one.stage}: {one.size:,} {one.kind}: {one.reason}", Style.BOLD)]
    yield ()
    limit, mark, shown = LOSSES if number is None else number, marks_of(grep), Counter[Reasoned]()
    for stage, lost_there in groups.items():
        those = [one for one in chosen if one.stage is stage]
        for one, loss in _losses(folder.path, lost_there, those, limit, (grep or "").lower()):
            shown[one] += 1
            for line in _lines_of(one, loss):
                yield marked(line, mark)
            yield ()
    for one in chosen:
        more = "; more with -n" if shown[one] == limit < one.size else ""
        summary = f"{one.stage}: {shown[one]:,} of {one.size:,} {one.kind}: {one.reason}{more}"
        yield [Piece(summary, Style.GREY)]


def _reasons(accounts: Mapping[Stage, Accounts]) -> Iterator[Reasoned]:
    for stage, kinds in accounts.items():
        for kind, account in kinds.items():
            for reason, count in account.get("losses", {}).items():
                yield Reasoned(stage, kind, reason, count)


def _losses(
    path: Path, lost_there: Generator[Group], wanted: list[Reasoned], limit: int, text: str
) -> Iterator[tuple[Reasoned, Loss]]:
    """Of each kind and reason the first losses, up to `limit`, that hold a text. Raises
    `InputError` if there are not as many in all as the ledger counts."""
    by_name = {(one.kind, one.reason): one for one in wanted}
    found, shown = Counter[Reasoned](), Counter[Reasoned]()
    with closing(lost_there) as groups:
        for group in groups:
            one = by_name.get((group.kind, group.reason))
            if one is None or shown[one] == limit:
                continue
            found[one] += group.size
            some = group.losses(group.size if text else limit - shown[one])
            holding = [loss for loss in some if text in f"{loss.question}\n{loss.text}".lower()]
            for loss in holding[: limit - shown[one]]:
                shown[one] += 1
                yield one, loss
            if all(shown[one] == limit or found[one] == one.size for one in wanted):
                return
    for one in wanted:
        if shown[one] < limit and found[one] != one.size:
            raise InputError(
                f"{path}: {one.size:,} {one.kind} were lost for {one.reason}, and "
                f"{found[one]:,} are in its input, so that is not what it was"
            )


def _groups(folder: ChatFiles | RunView, stage: Stage) -> Generator[Group]:
    if stage is not Stage.CREATE:
        assert isinstance(folder, RunView)
        return lost_before(folder, stage)
    sft = folder.sft if isinstance(folder, RunView) else folder
    if not isinstance(sft, SftFolder):
        raise InputError(f"{folder.path}: its SFT folder is not there; make it again")
    return lost(sft.config(), sft.same_input().source, sft.phrases)


def _lines_of(one: Reasoned, loss: Loss) -> Iterator[Line]:
    place = [f"row {loss.row}"]
    place += [] if loss.response is None else [f"response {loss.response}"]
    place += [] if loss.reflection is None else [f"reflection {loss.reflection}"]
    place += [loss.variant] if loss.variant else []
    place = [f"trace {loss.trace}", *place] if loss.trace else place
    yield [Piece(one.reason, Style.BOLD), Piece(f"  {', '.join(place)}", Style.GREY)]
    yield from heading_and_text("question", Style.BOLD, loss.question or "")
    if one.kind not in ("attempts", "reflections"):
        return
    truth = "" if loss.correct is None else (", right" if loss.correct else ", wrong")
    style = {True: Style.GREEN, False: Style.RED, None: Style.YELLOW}[loss.correct]
    attempt = loss.attempt if one.kind == "reflections" else loss.text
    yield from heading_and_text(f"attempt{truth}", style, attempt or "")
    if one.kind == "reflections":
        yield from heading_and_text("reflection", Style.YELLOW, loss.text or "")
