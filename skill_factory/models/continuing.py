"""Whether a model goes on with an answer that is begun, or closes it and begins another."""

from __future__ import annotations

import asyncio

from skill_factory.models import (
    Completion,
    Messages,
    Model,
    ModelError,
    RefusedError,
    Sampling,
    Trouble,
)

_ASKED: Messages = [{"role": "user", "content": "Say a."}]
_BEGUN = ("", "a", "a a")
"""In any vocabulary a letter is a token, at the beginning and after a space."""
_TRIES = 4

_CURE = (
    "vLLM, SGLang and llama.cpp's server continue an answer (continue_final_message); where the "
    "model's chat template is in the way, name its tokenizer with --chat-template"
)


async def validate_continues(model: Model) -> None:
    """As `check_continues`; raises `ModelError` too if there is no answer."""
    try:
        await check_continues(model)
    except Trouble as trouble:
        raise ModelError(
            f"the server did not say whether it continues an answer ({trouble}): run the same "
            "command again"
        ) from None


async def check_continues(model: Model) -> None:
    """Ask for a token of three prompts: without an answer, with one begun, with it a word longer.

    A model that goes on with an answer has so many tokens more to read as the answer has. If there
    are others, they close the turn and begin another, or the chat template puts them before the
    answer. Raises `ModelError` for a model that does not go on, or does not count tokens, and
    `Trouble` if there is no answer.
    """
    try:
        none, one, two = [await _tokens(model, begun) for begun in _BEGUN]
    except RefusedError as error:
        raise ModelError(f"the model does not continue an answer: {error}; {_CURE}") from None
    around = one - none - (two - one)
    if around:
        raise ModelError(
            "the model does not continue an answer as it was begun: its prompt has "
            f"{around:+d} tokens besides; {_CURE}"
        )


async def _tokens(model: Model, begun: str) -> int:
    """The tokens of a prompt with an answer begun; raises `ModelError` if they are not counted."""
    messages = [*_ASKED, {"role": "assistant", "content": begun}] if begun else _ASKED
    said = await _answer(model, messages)
    if said.prompt_tokens is None or said.completion_tokens is None:
        raise ModelError("the server does not count tokens, and a budget is one of tokens")
    return said.prompt_tokens


async def _answer(model: Model, messages: Messages) -> Completion:
    for tried in range(_TRIES):
        try:
            return (await model.complete(messages, Sampling(max_tokens=1), 1))[0]
        except Trouble as trouble:
            last = trouble
            await asyncio.sleep(2**tried / 4)
    raise last
