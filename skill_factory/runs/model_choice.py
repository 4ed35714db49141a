"""Which model a run asks, at which servers, and how hard."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from skill_factory.asking.pace import Pace
from skill_factory.core.redaction import public_address
from skill_factory.errors import OptionError
from skill_factory.models import Messages, Model
from skill_factory.models.addresses import Addresses, FileAddresses, FixedAddresses
from skill_factory.models.continuing import check_continues
from skill_factory.models.server_pool import ServerPool
from skill_factory.models.servers import OpenAIModel
from skill_factory.runs.context import AskingContext
from skill_factory.runs.settings import NOBODYS_ADDRESS
from skill_factory.serving.servers import OwnServers
from skill_factory.stages.settings import ModelConfig

LOCAL_REQUESTS = 32
"""Requests at a time for a model in this process: enough for it to choose from."""


def make_model(context: AskingContext, *, continues: bool = False) -> Model:
    """The model that the settings name; raises `ModelError` if it cannot be one. `continues`: of
    several servers only those that go on with an answer that is begun."""
    config = context.config.model
    if config.local:
        from skill_factory.models.local import LocalModel

        return LocalModel(config.local, context=config.context)
    addresses = several(context)
    if addresses is None:
        return make_server(config)
    own_key = addresses.key if isinstance(addresses, OwnServers) else None
    return ServerPool(
        addresses,
        partial(make_server, config, own_key=own_key),
        model=config.name,
        identity=config.identity,
        patience=config.patience,
        note=partial(note_once, context),
        validate=check_continues if continues else None,
    )


def several(context: AskingContext) -> Addresses | None:
    """Where the servers are; None: there is one, or none."""
    config = context.config.model
    if context.addresses is not None:
        return context.addresses
    if config.base_urls:
        return FileAddresses(Path(config.base_urls))
    urls = config.base_url or ()
    return FixedAddresses(urls) if len(urls) > 1 else None


def note_once(context: AskingContext, text: str) -> None:
    """Tell what is odd about a server, unless it was told before."""
    if text not in context.noted:
        context.noted.add(text)
        context.say(f"Note: {text}")


def make_server(
    config: ModelConfig, address: str | None = None, own_key: str | None = None
) -> OpenAIModel:
    """The model behind a server, by default the first that a config names; `own_key` is that of one
    that the run has started. Raises `OptionError` for a model in this process."""
    if config.local:
        raise OptionError("--write-requests is for servers, not for a model in this process")
    return OpenAIModel(
        address or first_address(config),
        config.name,
        api_key_env=config.api_key_env,
        own_key=own_key,
        timeout=config.timeout,
        identity=config.identity,
        template=_template(config.chat_template) if config.chat_template else None,
    )


def first_address(config: ModelConfig) -> str:
    """The address of the only server, or of the first."""
    return config.base_url[0] if config.base_url else NOBODYS_ADDRESS


@lru_cache(maxsize=1)
def _template(name: str) -> Callable[[Messages], str]:
    """A tokenizer's chat template; it takes a while to load."""
    from skill_factory.models.chat_template import ChatTemplate

    return ChatTemplate(name)


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


def where(context: AskingContext) -> str:
    """The model, for people."""
    config = context.config.model
    if config.local:
        return f"{config.local}, in this process"
    addresses = several(context)
    if addresses is None:
        return f"{public_address(first_address(config))} {config.name or '(its only model)'}"
    return f"{config.name or 'the only model'} at {addresses}"
