"""Whether a run's servers are there, and have the model: asked of them before anything else is."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from skill_factory.asking.interrupts import run_async
from skill_factory.core.redaction import public_address
from skill_factory.models import ModelError, Trouble
from skill_factory.models.servers import START_IT, OpenAIModel
from skill_factory.runs.context import AskingContext
from skill_factory.runs.model_choice import first_address, several, where

_LOOK = 10.0
"""Seconds that a look at a server may take."""

_SHOWN = 8
"""Models, and servers, that a message names."""


class Seen(NamedTuple):
    """What a look at a server has shown: whether it `answers`, which models it `lists`, and what
    is wrong, for people; empty: nothing."""

    answers: bool
    lists: list[str]
    fault: str = ""


def look(context: AskingContext) -> dict[str, Seen]:
    """Look whether the servers answer, by address. They are sent no key: this may be done on the
    word of a run's own config.yaml."""
    addresses = several(context)
    urls = addresses.current() if addresses else [first_address(context.config.model)]
    return run_async(_look_at(urls))


async def _look_at(urls: list[str]) -> dict[str, Seen]:
    seen = await asyncio.gather(*map(_look, urls))
    return {public_address(url): one for url, one in zip(urls, seen, strict=True)}


async def _look(url: str) -> Seen:
    try:
        model = OpenAIModel(url, None, api_key_env="", timeout=_LOOK)
    except ModelError as error:
        return Seen(False, [], str(error))
    try:
        return Seen(True, await model.listed())
    except (Trouble, ModelError) as error:
        return Seen(error.status is not None, [], str(error))
    finally:
        await model.close()


def validate_listed(context: AskingContext) -> None:
    """Raise `ModelError` if servers list their models and the one that is to be asked is nowhere
    among them."""
    config = context.config.model
    if config.local or not config.name:
        return
    lists = {address: seen.lists for address, seen in look(context).items() if seen.lists}
    if lists and not any(config.name in names for names in lists.values()):
        address, names = next(iter(lists.items()))
        raise ModelError(
            f"{address}: no model {config.name!r} there; the server has "
            f"{', '.join(map(repr, names[:_SHOWN]))}"
        )


def tell_servers(context: AskingContext, stage: str) -> None:
    """Tell which model would be asked, and whether servers answer; the only model that they have is
    taken to be the one."""
    config = context.config.model
    if config.local or config.serve:
        context.say(f"{stage}: would ask {where(context)}")
        return
    seen = look(context)
    names = {name for one in seen.values() for name in one.lists}
    if not (config.name or config.identity) and len(names) == 1:
        context.name_model(names.pop())
    there = sum(one.answers for one in seen.values())
    if several(context) is None:
        answers = "; a server answers there" if there else ""
    else:
        answers = f"; {there} of {len(seen)} servers answer"
    context.say(f"{stage}: would ask {where(context)}{answers}")
    for address, one in list(seen.items())[:_SHOWN]:
        _tell_fault(context, address, one)


def _tell_fault(context: AskingContext, address: str, seen: Seen) -> None:
    """Tell what is wrong with a server."""
    config, alone = context.config.model, several(context) is None
    if not seen.answers:
        there = "there" if alone else f"at {address}"
        cure = f": {START_IT}" if alone else ""
        context.say(f"Note: no server answers {there} ({seen.fault}){cure}")
    elif seen.fault:
        context.say(f"Note: {seen.fault}")
    elif config.name and seen.lists and config.name not in seen.lists:
        who = "it" if alone else address
        context.say(f"Note: {who} lists {', '.join(seen.lists[:_SHOWN])}, not {config.name}")
