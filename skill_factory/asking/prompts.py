"""Every string a model is asked: the prompt variants and the reflection prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skill_factory.core.yaml_files import UNREADABLE, parse
from skill_factory.errors import PromptError

Messages = list[dict[str, str]]

_BUILT_IN = Path(__file__).with_name("prompts.yaml")
_SLOT = re.compile(r"\{(question|attempt|answer)\}")
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Prompt:
    """Messages with places to fill in. `hint`: it shows the gold answer. `grammar` None: the model
    may write anything."""

    messages: tuple[tuple[str, str], ...]
    hint: bool = False
    grammar: str | None = None

    def fill(self, **texts: str) -> Messages:
        """The messages with {question}, {attempt} and {answer} in them replaced, once: what comes
        in is data, even where it looks like a place to fill in."""
        return [
            {"role": role, "content": _SLOT.sub(lambda slot: texts[slot[1]], content)}
            for role, content in self.messages
        ]

    @property
    def slots(self) -> set[str]:
        """The places there are to fill in."""
        return {slot for _, content in self.messages for slot in _SLOT.findall(content)}


@dataclass(frozen=True)
class PromptBank:
    """The prompt variants by name, and the reflection prompt. `own` are the variants of the user's
    file."""

    variants: Mapping[str, Prompt]
    reflection: Prompt
    own: tuple[str, ...] = ()


def load_prompts(path: Path | None) -> PromptBank:
    """The built-in prompts, with those of a file in their place or beside them (None: no file).

    Raises `PromptError` for a prompt that does not ask for what is read from its answers, shows the
    gold answer without being a hint, or has an unknown key.
    """
    content, own = _content(_BUILT_IN), tuple[str, ...]()
    if path is not None:
        mine = _content(path)
        own = tuple(map(str, mine.get("variants", {})))
        content = {
            "variants": content["variants"] | mine.get("variants", {}),
            "reflection": mine.get("reflection", content["reflection"]),
        }
    where = str(path or _BUILT_IN)
    variants = {
        str(name): _prompt(where, f"variants.{name}", said)
        for name, said in content["variants"].items()
    }
    for name, prompt in variants.items():
        _check_variant(where, name, prompt)
    reflection = _prompt(where, "reflection", content["reflection"])
    _check_reflection(where, reflection)
    return PromptBank(variants, reflection, own)


def _content(path: Path) -> dict[str, Any]:
    try:
        content, _ = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PromptError(f"{path}: cannot read the prompts: {error.strerror}") from None
    except UNREADABLE as error:
        raise PromptError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not content.keys() <= {"variants", "reflection"}:
        raise PromptError(f"{path}: expected the keys variants and reflection")
    if not isinstance(content.get("variants", {}), dict):
        raise PromptError(f"{path}: variants: expected prompts by their names")
    return content


def _prompt(where: str, key: str, said: Any) -> Prompt:
    if not isinstance(said, dict) or not said.keys() <= {"user", "messages", "hint", "grammar"}:
        raise PromptError(f"{where}: {key}: expected user or messages, and perhaps hint, grammar")
    messages = said.get("messages") or [{"role": "user", "content": said.get("user")}]
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise PromptError(f"{where}: {key}: a message has a role ({', '.join(_ROLES)}) and content")
    if not isinstance(said.get("grammar", ""), str):
        raise PromptError(f"{where}: {key}: a grammar is a text, in GBNF")
    if messages[-1]["role"] != "user":
        raise PromptError(f"{where}: {key}: the last message must be the user's")
    return Prompt(
        tuple((message["role"], message["content"]) for message in messages),
        said.get("hint") is True,
        said.get("grammar"),
    )


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.keys() == {"role", "content"}
        and message["role"] in _ROLES
        and isinstance(message["content"], str)
        and bool(message["content"].strip())
    )


def _check_variant(where: str, name: str, prompt: Prompt) -> None:
    text = "\n".join(content for _, content in prompt.messages)
    for needed, lacks in (
        ("question" in prompt.slots, "has no {question}"),
        ("<answer>" in text and "</answer>" in text, "does not ask for <answer> tags"),
        ("attempt" not in prompt.slots, "has {attempt}, which only the reflection prompt may have"),
        (prompt.hint or "answer" not in prompt.slots, "shows {answer} without `hint: true`"),
        (not prompt.hint or "answer" in prompt.slots, "is a hint, but has no {answer}"),
    ):
        if not needed:
            raise PromptError(f"{where}: variants.{name}: the prompt {lacks}")


def _check_reflection(where: str, prompt: Prompt) -> None:
    text = "\n".join(content for _, content in prompt.messages)
    for needed, lacks in (
        ({"question", "attempt"} <= prompt.slots, "needs {question} and {attempt}"),
        ("<verdict>" in text and "</verdict>" in text, "does not ask for <verdict> tags"),
        ("answer" not in prompt.slots, "may not show the gold answer"),
    ):
        if not needed:
            raise PromptError(f"{where}: reflection: the prompt {lacks}")
