"""What a run needs of a stage: what its file is made from, and how it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from skill_factory.core.ledger import Account
from skill_factory.runs.folder import Stage


class Made(NamedTuple):
    """What came of making a stage's file: accounts for the manifest; whether it is `whole`, nothing
    missing; the `identity` of the model that was asked, None: none was."""

    accounts: dict[str, dict[str, object]]
    whole: bool = True
    identity: str | None = None


class StageOfRun(Protocol):
    """A stage in a run's folder. Its input is there, and a table of ours, when it is made."""

    @property
    def stage(self) -> Stage: ...

    def settings(self) -> Any:
        """All that its file is made from, but for its input, as a value of JSON. Another one means
        that the file is to be made anew."""
        ...

    def make(self) -> Made:
        """Make its file, and tell what came of it."""
        ...


def as_dicts(accounts: Mapping[str, Account]) -> dict[str, dict[str, object]]:
    """Accounts as a manifest has them."""
    return {name: account.as_dict() for name, account in accounts.items()}
