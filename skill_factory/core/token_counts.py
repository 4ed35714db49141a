"""How many tokens a trace has: with a trainer's cutoff, what is too long loses its answer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skill_factory.core.arrays import Ints
from skill_factory.core.redaction import redact_hub
from skill_factory.core.whole_files import looks_local
from skill_factory.errors import InputError, OptionError

_CHATML = ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n")
_QUESTION, _ANSWER = "\ue000asked\ue000", "\ue000said\ue000"


class TokenCounter:
    """Counts with a tokenizer: `name` is a folder, or a model on the Hub (extra `tokenizer`).

    A conversation counts as its chat template renders it, the trace taken as it is; ChatML where
    the tokenizer has no template. Raises `OptionError` if transformers is not installed, and
    `InputError` if there is no such tokenizer.
    """

    def __init__(self, name: str) -> None:
        self.tokenizer = load_tokenizer(name, "counting tokens")
        self._special = {
            str(token)
            for token in (*self.tokenizer.all_special_tokens, *_marked_special(self.tokenizer))
        }
        self._before, self._between, self._after = self._template()

    def count(self, questions: Sequence[str], answers: Sequence[str]) -> Ints:
        """Tokens of each conversation, prompt and answer with all the template puts around them."""
        prompts = [f"{self._before}{text}{self._between}" for text in questions]
        texts = [f"{text}{self._after}" for text in answers]
        return self._lengths(prompts) + self._lengths(texts)

    def keeps(self, question: str, answer: str) -> bool:
        """Whether the chat template renders an answer as it is: some drop what is in <think>."""
        if not self.tokenizer.chat_template:
            return True
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        rendered: str = self.tokenizer.apply_chat_template(turns, tokenize=False)
        return answer.strip() in rendered

    def prompt(self, question: str, system_prompt: str | None = None) -> int:
        """Tokens of a prompt, up to where the answer begins."""
        before = self._lengths([system_prompt])[0] + 16 if system_prompt else 0
        return int(before + self._lengths([f"{self._before}{question}{self._between}"])[0])

    def has(self, token: str) -> bool:
        """Whether the tokenizer has a token of its own for this."""
        return len(self.tokenizer(token, add_special_tokens=False)["input_ids"]) == 1

    def special_in(self, text: str) -> str | None:
        """A special token of the tokenizer that a text spells out; None: it has none."""
        return next((token for token in self._special if token in text), None)

    def _lengths(self, texts: list[str]) -> Ints:
        if not texts:
            return np.zeros(0, np.int64)
        found = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
        return np.array([len(ids) for ids in found["input_ids"]], np.int64)

    def _template(self) -> tuple[str, str, str]:
        """What stands before the question, between it and the answer, and after the answer."""
        if not self.tokenizer.chat_template:
            return _CHATML
        turns = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}]
        text = self.tokenizer.apply_chat_template(turns, tokenize=False)
        if _QUESTION not in text or _ANSWER not in text:  # a template for turns of another kind
            return _CHATML
        before, _, rest = text.partition(_QUESTION)
        between, _, after = rest.partition(_ANSWER)
        return before, between, after


def load_tokenizer(name: str, purpose: str) -> Any:
    """A tokenizer, from a folder or a model on the Hub; `purpose` is what cannot be done without.
    Raises `OptionError` and `InputError` as `TokenCounter` does."""
    # Else it says on every run that it found no PyTorch, which a tokenizer does not need.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    if looks_local(name) and not Path(name).expanduser().exists():
        raise InputError(f"{name}: no such folder")
    try:
        from huggingface_hub.utils import logging
        from transformers import AutoTokenizer
    except ImportError:
        raise OptionError(
            f"{purpose} needs transformers: pip install 'skill-factory[tokenizer]'"
        ) from None
    # It tells of each attempt to reach the Hub; our error says it once.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        return AutoTokenizer.from_pretrained(name)
    except Exception as error:  # of several libraries' own trees, which have no common root
        reason = " ".join(redact_hub(str(error)).split())[:300] or type(error).__name__
        raise InputError(f"{name}: no tokenizer can be loaded from there: {reason}") from None


def _marked_special(tokenizer: Any) -> list[str]:
    """Added tokens that are special without having a role, such as a chat template's."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return [token.content for token in added.values() if token.special]
