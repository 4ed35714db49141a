"""Which model a run asks, how hard, and what its journal knows it by."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from typing import NamedTuple

from skill_factory.asking.interrupts import run_async
from skill_factory.asking.pace import Pace
from skill_factory.asking.requests import digest
from skill_factory.core.redaction import public_address
from skill_factory.errors import OptionError
from skill_factory.models import Identified, Messages, Model, ModelError, Trouble
from skill_factory.models.continuing import validate_continues
from skill_factory.models.server_pool import ServerPool
from skill_factory.models.servers import OpenAIModel
from skill_factory.runs.context import AskingContext, Say
from skill_factory.runs.folder import JournalFolder
from skill_factory.serving.servers import OwnServers, Serving
from skill_factory.stages.settings import ModelConfig

LOCAL_REQUESTS = 32
"""Requests at a time for a model in this process: enough for it to choose from."""

_LOOK = 10.0
"""Seconds that a look at a server may take."""


class Known(NamedTuple):
    """A model that is not asked: only what the journal knows it by."""

    identity: str


def make_model(context: AskingContext) -> Model:
    """The model that is to be asked; its servers are started. Raises `ModelError` if it cannot be
    one, or if they cannot be started."""
    config = context.config.model
    if context.servers:
        return _served(context, context.servers)
    return _local(config) if config.local else make_server(config)


def _served(context: AskingContext, servers: OwnServers) -> ServerPool:
    """The model in servers of the run's own, which are started."""
    servers.start()
    config = context.config.model
    return ServerPool(
        servers,
        partial(_server, config, own_key=servers.key),
        model=config.name,
        identity=config.identity,
        patience=config.patience,
        note=lambda text: context.say(f"Note: {text}"),
    )


def identified(config: ModelConfig) -> Identified:
    """What the journal knows the model by that a config names; raises `ModelError` if it cannot be
    one, or if that is open."""
    if config.identity:
        return Known(config.identity)
    return _local(config) if config.local else make_server(config)


def make_server(config: ModelConfig) -> OpenAIModel:
    """The model behind the server that a config names; raises `OptionError` if it names none. One
    that is to be served is nowhere yet, and can only say what it would be sent."""
    if config.local:
        raise OptionError("--write-requests is for servers, not for a model in this process")
    return _server(config, config.base_url or ("http://localhost" if config.serve else ""))


def _local(config: ModelConfig) -> Model:
    """The model in this process."""
    from skill_factory.models.local import LocalModel

    assert config.local
    return LocalModel(config.local, context=config.context)


def _server(config: ModelConfig, address: str, own_key: str | None = None) -> OpenAIModel:
    return OpenAIModel(
        address,
        config.name,
        api_key_env=config.api_key_env,
        own_key=own_key,
        timeout=config.timeout,
        identity=config.identity,
        template=_template(config.chat_template) if config.chat_template else None,
    )


@lru_cache(maxsize=1)
def _template(name: str) -> Callable[[Messages], str]:
    """A tokenizer's chat template; it takes a while to load."""
    from skill_factory.models.chat_template import ChatTemplate

    return ChatTemplate(name)


# -- its servers ----------------------------------------------------------------------------------


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


def ended_with(context: AskingContext) -> AbstractContextManager[object]:
    """Ends the servers with the block, if any were started."""
    return context.servers or nullcontext()


def make_pace(config: ModelConfig, skip_too_long: bool) -> Pace:
    """How hard the model is asked."""
    return Pace(
        concurrency=min(config.concurrency, LOCAL_REQUESTS) if config.local else config.concurrency,
        patience=config.patience,
        tries=config.tries,
        skip_too_long=skip_too_long or config.skip_too_long,
        retry_refused=config.retry_refused,
        prompt_price=config.prompt_price,
        completion_price=config.completion_price,
    )


def where(config: ModelConfig) -> str:
    """The model, for people."""
    if config.local:
        return f"{config.local}, in this process"
    if config.serve:
        return f"{config.name}, in servers that are started for it"
    return f"{public_address(config.base_url)} {config.name or '(its only model)'}"


# -- its name -------------------------------------------------------------------------------------


def is_named(config: ModelConfig) -> bool:
    """Whether the settings say which model it is, and do not leave that to the server."""
    return bool(config.local or config.name or config.identity)


def known_model(context: AskingContext) -> Identified | None:
    """The model, if its identity is known without asking; else what it was in this run before."""
    config = context.config.model
    if is_named(config):
        return identified(config)
    name = name_before(context)
    return Known(f"{public_address(config.base_url)} {name}") if name else None


def name_before(context: AskingContext) -> str | None:
    """The name of the model that was asked at this address before."""
    address = f"{public_address(context.config.model.base_url)} "
    names = [
        identity.removeprefix(address)
        for identity in context.folder.identities()
        if identity.startswith(address)
    ]
    return names[0] if names else None


def assume_name(context: AskingContext) -> None:
    """Take the model to be the one that was asked before, where the settings leave open which."""
    if not is_named(context.config.model) and (name := name_before(context)):
        context.name_model(name)


def find_name(context: AskingContext) -> None:
    """Ask the server which model it has, where the settings leave that open, and keep it. A server
    that does not answer is taken to have the model that it had before; if there was none, that is
    still open."""
    if is_named(context.config.model):
        return
    name = name_before(context)
    try:
        name = run_async(_only_model(context.config.model))
    except ModelError as error:
        if name:
            context.say(f"Note: {error}; taken to be the model that was asked before, {name}")
    if name:
        keep_name(context, name)


def keep_name(context: AskingContext, name: str | None) -> None:
    """Take a name for the model's, and keep it in the run's folder."""
    if name and not context.config.model.identity:
        context.name_model(name)
        context.folder.keep(context.config)


def require_continuing(context: AskingContext) -> None:
    """Raise `ModelError` if the model does not go on with an answer that is begun."""
    keep_name(context, run_async(_continuing_model(make_model(context))))


async def _continuing_model(model: Model) -> str | None:
    """The name of the model, once it is seen that it continues an answer."""
    try:
        await model.preflight()
        await validate_continues(model)
        return model.model if isinstance(model, OpenAIModel) else None
    finally:
        await model.close()


async def _only_model(config: ModelConfig) -> str | None:
    """The name of the only model that a server has; raises `ModelError`."""
    model = make_server(config)
    try:
        await model.preflight()
        return model.model
    finally:
        await model.close()


def settle_identity(config: ModelConfig, folder: JournalFolder) -> ModelConfig:
    """The settings with what the journal knows the model by, where servers come and go: then its
    name alone. A model of that name which was asked at an address before stays that one, and one
    that was served before is the same at an address: with servers of its own or without, a run
    asks nothing twice."""
    if config.identity or config.local or not config.name:
        return config
    name, before = config.name, list(folder.identities())
    if config.serve:
        same = [known for known in before if known == name or known.endswith(f" {name}")]
        return config.model_copy(update={"identity": next(iter(same), name)})
    return config.model_copy(update={"identity": name}) if name in before else config


# -- what it was ----------------------------------------------------------------------------------


def identity_of(folder: JournalFolder, digested: bytes) -> str | None:
    """The identity that a journal knew a model by, given its digest; None: not known."""
    return next((known for known in folder.identities() if digest(known) == digested), None)


# -- whether it is there --------------------------------------------------------------------------


class Seen(NamedTuple):
    """What a look at a server has shown: whether it `answers`, which models it `lists`, and what
    is wrong, for people; empty: nothing."""

    answers: bool
    lists: list[str]
    fault: str = ""


def look(config: ModelConfig) -> Seen:
    """Look whether a server answers. It is sent no key: this may be done on the word of a run's own
    config.yaml."""
    return run_async(_look(config))


def validate_listed(config: ModelConfig) -> None:
    """Raise `ModelError` if the server lists its models and the one that is to be asked is not
    among them."""
    lists = [] if config.local or config.serve else look(config).lists
    if config.name and lists and config.name not in lists:
        raise ModelError(
            f"{public_address(config.base_url)}: no model {config.name!r} there; the server has "
            f"{', '.join(map(repr, lists[:8]))}"
        )


async def _look(config: ModelConfig) -> Seen:
    model = OpenAIModel(config.base_url or "", None, api_key_env="", timeout=_LOOK)
    try:
        return Seen(True, await model.listed())
    except (Trouble, ModelError) as error:
        return Seen(error.status is not None, [], str(error))
    finally:
        await model.close()
