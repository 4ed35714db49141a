"""Prompts as a tokenizer's chat template writes them, for servers that complete prompts."""

from __future__ import annotations

from skill_factory.core.token_counts import load_tokenizer
from skill_factory.errors import InputError
from skill_factory.models import Messages, ModelError, turn_of


class ChatTemplate:
    """Makes prompts of messages, with the template of a tokenizer: `name` is a folder, or a model
    on the Hub.

    Raises `OptionError` if transformers is not installed, `InputError` if there is no tokenizer, or
    no chat template in it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._tokenizer = load_tokenizer(name, "a chat template")
        if not self._tokenizer.chat_template:
            raise InputError(f"{name}: the tokenizer there has no chat template")
        first = self._tokenizer.bos_token
        ids = self._tokenizer("a")["input_ids"]
        # A server puts it before a prompt by itself, as the tokenizer does.
        self._first = first if first and ids[:1] == [self._tokenizer.bos_token_id] else ""

    def __call__(self, messages: Messages) -> str:
        """The prompt, up to where the answer goes on. Raises `ModelError` for messages that the
        template refuses."""
        turn = turn_of(messages)
        try:
            text: str = self._tokenizer.apply_chat_template(
                turn.before, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # whatever a template raises
            raise ModelError(
                f"{self.name}: its chat template refuses the messages ({error})"
            ) from None
        return f"{text.removeprefix(self._first)}{turn.begun}"
