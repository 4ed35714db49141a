"""The servers that a run starts itself: which, for whom, and when."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from skill_factory.runs.context import AskingContext, Say
from skill_factory.runs.folder import JournalFolder
from skill_factory.serving.servers import OwnServers, Serving
from skill_factory.stages.settings import ModelConfig


def own_servers(config: ModelConfig, folder: JournalFolder, say: Say) -> OwnServers | None:
    """The servers that are to be started for a model, none of them yet; None: there are none."""
    if not config.serve:
        return None
    assert config.name
    serving = Serving(
        serve=config.serve,
        model=config.name,
        replicas=config.replicas,
        arguments=config.serve_args,
        startup=config.serve_timeout,
        silence=config.timeout,
    )
    return OwnServers(serving, folder.root, say)


def start_servers(context: AskingContext) -> None:
    """Start the model's servers, unless that is done, or there are none to start. Raises
    `ModelError` for one that does not come up."""
    if isinstance(context.addresses, OwnServers):
        context.addresses.start()


def ended_with(context: AskingContext) -> AbstractContextManager[object]:
    """Ends the servers that were started with the block."""
    servers = context.addresses
    return servers if isinstance(servers, OwnServers) else nullcontext()
