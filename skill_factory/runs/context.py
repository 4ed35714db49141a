"""What the stages of a run share: its folder, its settings, its prompts, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from skill_factory.asking.prompts import PromptBank, load_prompts
from skill_factory.core.ledger import Account, account_table
from skill_factory.models.addresses import Addresses
from skill_factory.runs.folder import JournalFolder, ModelSettings, RunFolder, Stage
from skill_factory.runs.watcher import Watcher
from skill_factory.stages.settings import RunConfig

Say = Callable[[str], None]
"""Takes what there is to tell, in lines."""


class AskingContext(Protocol):
    """What asking needs: a folder with a journal, settings with a model's, and who hears of it."""

    @property
    def folder(self) -> JournalFolder: ...

    @property
    def config(self) -> ModelSettings: ...

    @property
    def say(self) -> Say: ...

    @property
    def watcher(self) -> Watcher: ...

    @property
    def addresses(self) -> Addresses | None:
        """Where the model's servers are; None: where the settings say."""
        ...

    @property
    def noted(self) -> set[str]:
        """What was said of servers, and is said once."""
        ...

    def name_model(self, name: str, identity: str | None = None) -> None:
        """Take a name for the model's, and what the journal knows it by (None: as it is)."""
        ...


@dataclass
class Context:
    """A run's folder, the settings it goes on with, and its prompts."""

    folder: RunFolder
    config: RunConfig
    bank: PromptBank
    say: Say
    watcher: Watcher = field(default_factory=Watcher)
    addresses: Addresses | None = None
    noted: set[str] = field(default_factory=set)

    @property
    def hints(self) -> frozenset[str]:
        """The prompt variants that show the gold answer."""
        return frozenset(name for name, prompt in self.bank.variants.items() if prompt.hint)

    def name_model(self, name: str, identity: str | None = None) -> None:
        """As `AskingContext` has it."""
        changes = {"name": name, "identity": identity or self.config.model.identity}
        model = self.config.model.model_copy(update=changes)
        self.config = self.config.model_copy(update={"model": model})

    def copy(self) -> Context:
        """Another one, whose settings may differ from then on."""
        return replace(self)

    def tell_made(
        self, stage: Stage, accounts: dict[str, Account], notes: Iterable[str] = ()
    ) -> None:
        """Tell which file a stage has made, and what became of everything."""
        self.say(f"\n{stage}: {self.folder.path(stage)}\n{account_table(accounts)}")
        for note in notes:
            self.say(f"Note: {note}")


def prompts_of(config: RunConfig) -> PromptBank:
    """The prompts that a config names; raises `PromptError`."""
    return load_prompts(Path(config.sample.prompts) if config.sample.prompts else None)
