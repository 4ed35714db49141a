"""Examples of what was lost, for each reason of a ledger."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing

from skill_factory.errors import SkillFactoryError
from skill_factory.look.folders import RunView, SftFolder
from skill_factory.look.lost_before import lost_before
from skill_factory.look.report.contents import Account, Example
from skill_factory.runs.folder import Stage
from skill_factory.stages.create.losses import Group, Loss, lost

_EXAMPLES = 3
_LONGEST = 700
"""Characters of each text of an example."""

Examples = Mapping[tuple[str, str], list[Example]]
"""Examples by account and reason."""


def add_examples(
    accounts: Iterable[Account], folder: SftFolder | RunView, stage: Stage
) -> tuple[list[Account], str | None]:
    """The accounts of a stage with examples of their losses, and why there are none, if so: the
    input is gone or changed, or code of the user's own is needed."""
    listed = list(accounts)
    wanted = {
        (one.name, loss.reason): min(_EXAMPLES, loss.count) for one in listed for loss in one.losses
    }
    if not wanted:
        return listed, None
    try:
        with closing(_groups(folder, stage)) as groups:
            found = _first_of_each(groups, wanted)
    except SkillFactoryError as error:
        return listed, str(error)
    return [_with_examples(one, found) for one in listed], None


def _groups(folder: SftFolder | RunView, stage: Stage) -> Generator[Group]:
    if isinstance(folder, RunView):
        return lost_before(folder, stage)
    return lost(folder.config(), folder.input().source, folder.phrases)


def _first_of_each(groups: Iterable[Group], wanted: Mapping[tuple[str, str], int]) -> Examples:
    """The first examples of each account and reason; what comes after the last one is not read."""
    found: dict[tuple[str, str], list[Example]] = {name: [] for name in wanted}
    open_names = {name for name, count in wanted.items() if count}
    for group in groups:
        name = (group.kind, group.reason)
        if name in open_names:
            found[name] += map(_example, group.losses(wanted[name] - len(found[name])))
            if len(found[name]) >= wanted[name]:
                open_names.discard(name)
                if not open_names:
                    break
    return found


def _with_examples(account: Account, found: Examples) -> Account:
    losses = [
        loss._replace(examples=found.get((account.name, loss.reason), ()))
        for loss in account.losses
    ]
    return account._replace(losses=losses)


def _example(loss: Loss) -> Example:
    parts = [
        f"row {loss.row:,}",
        None if loss.response is None else f"response {loss.response}",
        None if loss.reflection is None else f"reflection {loss.reflection}",
        loss.variant,
        {True: "right", False: "wrong", None: None}[loss.correct],
    ]
    texts = [
        f"{name}: {text[:_LONGEST]}"
        for name, text in (("Question", loss.question), ("Attempt", loss.attempt))
        if text
    ]
    if loss.text is not None:
        name = "Attempt" if loss.reflection is None else "Reflection"
        texts.append(f"{name}: {loss.text[:_LONGEST]}")
    return Example(", ".join(filter(None, parts)), "\n\n".join(texts) or "(no text)")
