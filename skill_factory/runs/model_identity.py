"""What a run's journal knows its model by: the name, and what it was known by before."""

from __future__ import annotations

from typing import NamedTuple

from skill_factory.asking.interrupts import run_async
from skill_factory.asking.requests import digest
from skill_factory.core.redaction import public_address
from skill_factory.models import Identified, ModelError
from skill_factory.models.continuing import validate_continues
from skill_factory.models.server_pool import ServerPool
from skill_factory.models.servers import OpenAIModel
from skill_factory.runs.context import AskingContext
from skill_factory.runs.folder import JournalFolder
from skill_factory.runs.model_choice import (
    first_address,
    make_model,
    note_once,
    several,
)
from skill_factory.runs.own_servers import start_servers
from skill_factory.stages.settings import ModelConfig


class Known(NamedTuple):
    """A model that is not asked: only what the journal knows it by."""

    identity: str


def is_named(config: ModelConfig) -> bool:
    """Whether the settings say which model it is, and do not leave that to the server."""
    return bool(config.local or config.name or config.identity)


def known_model(context: AskingContext) -> Identified | None:
    """The model, if its identity is known without asking; else what it was in this run before."""
    settle_identity(context)
    config = context.config.model
    if config.identity:
        return Known(config.identity)
    if is_named(config):
        return make_model(context)
    name = name_before(context)
    if name is None:
        return None
    return Known(_remembered(context, name) or f"{_addresses(context)[0]} {name}")


def name_before(context: AskingContext) -> str | None:
    """The name of the model that was asked at this address before, or at several servers."""
    before = context.folder.configured
    if before.name and _was_there(context):
        return before.name
    starts = tuple(f"{address} " for address in _addresses(context))
    names = [
        identity.removeprefix(start)
        for identity in context.folder.identities()
        for start in starts
        if identity.startswith(start)
    ]
    return names[0] if names else None


def _was_there(context: AskingContext) -> bool:
    """Whether the folder's model was, as it seems, at the servers that are asked now."""
    before = context.folder.configured
    if several(context) and before.several:
        return True
    if before.in_file or before.served:
        return True
    return not set(before.addresses).isdisjoint(_addresses(context))


def _addresses(context: AskingContext) -> list[str]:
    """Where the servers are just now, without what may be secret in it."""
    addresses = several(context)
    urls = addresses.current() if addresses else [first_address(context.config.model)]
    return list(map(public_address, urls))


def assume_name(context: AskingContext) -> None:
    """Take the model to be the one that was asked before, where the settings leave open which."""
    if not is_named(context.config.model) and (name := name_before(context)):
        context.name_model(name)
    settle_identity(context)


def find_name(context: AskingContext) -> None:
    """Ask the servers which model they have, where the settings leave that open, and keep it. A
    server that does not answer is taken to have the model that it had before; if there was none,
    that is still open, and several are waited for."""
    if is_named(context.config.model):
        _keep_settled(context)
        return
    name = name_before(context)
    try:
        name = run_async(_only_model(context, waits=name is None))
    except ModelError as error:
        if name:
            note_once(context, f"{error}; taken to be the model that was asked before, {name}")
        elif several(context):
            raise
    keep_name(context, name)


def keep_name(context: AskingContext, name: str | None) -> None:
    """Take a name for the model's, and keep it in the run's folder."""
    if name and not context.config.model.identity:
        context.name_model(name)
        context.folder.keep(context.config)
        _keep_settled(context)


def require_continuing(context: AskingContext) -> None:
    """Raise `ModelError` if the model does not go on with an answer that is begun."""
    start_servers(context)
    keep_name(context, run_async(_continuing_model(context)))


async def _continuing_model(context: AskingContext) -> str | None:
    """The name of the model, once it is seen that it continues an answer."""
    model = make_model(context, continues=True)
    try:
        await model.preflight()
        if not isinstance(model, ServerPool):  # which has seen to it
            await validate_continues(model)
        return model.model if isinstance(model, OpenAIModel) else None
    finally:
        await model.close()


async def _only_model(context: AskingContext, waits: bool) -> str | None:
    """The name of the only model that the servers have; raises `ModelError`."""
    model = make_model(context)
    try:
        if isinstance(model, ServerPool):
            await model.find_model(waits)
        else:
            await model.preflight()
        return model.model if isinstance(model, ServerPool | OpenAIModel) else None
    finally:
        await model.close()


def _keep_settled(context: AskingContext) -> None:
    before = context.config
    settle_identity(context)
    if context.config is not before:
        context.folder.keep(context.config)


# -- several servers ------------------------------------------------------------------------------


def settle_identity(context: AskingContext) -> None:
    """Have an identity for a model that is at several servers: the journal knows the model then,
    and not an address. It stays the model's where one of them is asked alone."""
    config = context.config.model
    if config.local or config.identity or not config.name:
        return
    identity = _remembered(context, config.name)
    if identity is None:
        return
    context.name_model(config.name, identity)
    if not several(context) and identity != f"{_addresses(context)[0]} {config.name}":
        note_once(context, f"the journal knows {config.name} as {identity!r} (--identity)")


def _remembered(context: AskingContext, name: str) -> str | None:
    """What the journal knows a model by that is, or was, at several servers; None: by its address
    and name. One of several may have been asked alone before: nothing is asked again because of the
    address in front of the name. One that the run serves itself may have been asked anywhere."""
    before = context.folder.configured
    if before.identity and before.name == name and (several(context) or _was_there(context)):
        return before.identity
    if several(context) is None:
        return None
    alone = {f"{address} {name}" for address in _addresses(context)}
    served = context.config.model.serve is not None
    return next(
        (
            known
            for known in context.folder.identities()
            if known in alone or (served and known.endswith(f" {name}"))
        ),
        name,
    )


# -- what it was ----------------------------------------------------------------------------------


def identity_of(folder: JournalFolder, digested: bytes) -> str | None:
    """The identity that a journal knew a model by, given its digest; None: not known."""
    return next((known for known in folder.identities() if digest(known) == digested), None)
