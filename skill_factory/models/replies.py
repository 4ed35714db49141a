"""The answers in a server's chat completion, in all the forms that servers give them.

Nothing that a server writes raises anything but a `Trouble`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from skill_factory.models import (
    Completion,
    Kind,
    Trouble,
)

_CUT_OFF = {"length", "max_length", "model_length", "max_tokens", "max_output_tokens"}
"""Finish reasons of answers that a limit ended, in lower case."""

_FAILED = {"error", "abort", "aborted", "insufficient_system_resource"}
"""Finish reasons of answers that never came to an end."""

_DECODER = json.JSONDecoder(strict=False)
"""Takes line breaks within texts, which some servers leave as they are."""

_SHOWN = 2000
"""Characters of an error message that are read for its one line."""

# -- bodies ---------------------------------------------------------------------------------------


def parse(data: bytes) -> Any:
    """The JSON in a body, whatever encoding of Unicode it is in; raises `Trouble`.

    >>> parse('{"a": "ü"}'.encode("utf-16"))
    {'a': 'ü'}
    """
    try:
        return _DECODER.decode(decoded(data))
    except (ValueError, RecursionError):
        raise Trouble(Kind.FAULTY, "an answer that is no JSON") from None


def decoded(data: bytes) -> str:
    """The text of a body that is JSON, or else UTF-8; it may end in the middle of a character."""
    return data.decode(json.detect_encoding(data), errors="replace")


def one_line(text: str) -> str:
    """A text that others wrote as one short line for a person, whatever is in it.

    >>> one_line("no\\n such \\x1b[31mkey\\x00")
    'no such [31mkey'
    """
    shown = "".join(sign if sign.isprintable() else " " for sign in text[:_SHOWN])
    return " ".join(shown.split())[:300] or "no reason given"


def storable(text: str) -> str:
    """A text without halves of characters, which no file can hold.

    >>> storable("a\\ud800b")
    'a?b'
    """
    return text if text.isascii() else text.encode(errors="replace").decode()


def told_error(body: Any) -> Any:
    """The error that is told in a body, beside answers or in their place; None: there is none, or
    one whose every part is null.

    >>> told_error({"error": {"message": None, "code": None}}), told_error({"error": "no"})
    (None, 'no')
    """
    error = body.get("error") if isinstance(body, dict) else None
    return None if _is_null(error) else error


def _is_null(value: Any) -> bool:
    left = [value]  # no recursion: it may be nested as deeply as the parser of JSON can go
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif one:
            return False
    return True


def _as_it_is(text: str) -> str:
    return text


def error_message(body: Any, clean: Callable[[str], str] = _as_it_is) -> str:
    """What an error says, in one short line; `body` is text, or JSON that was parsed. `clean` takes
    secrets out, before it is cut."""
    if isinstance(body, str):
        with suppress(ValueError, RecursionError):
            body = json.loads(body)
    while isinstance(body, dict) and (inner := _said(body)):
        body = inner
    try:
        return one_line(clean(str(body)))
    except RecursionError:
        return "an error that is nested too deeply"


def _said(body: dict[str, Any]) -> Any:
    names = ("error", "message", "detail", "error_msg")
    return next((body[name] for name in names if not _is_null(body.get(name))), None)


# -- answers --------------------------------------------------------------------------------------


class _Said(NamedTuple):
    text: str
    reasoning: str
    finish_reason: str


def read_answer(
    answer: Any, seconds: float, clean: Callable[[str], str] = _as_it_is
) -> list[Completion]:
    """The answers in the body of a completion, in their order, up to the first that failed.

    An answer without a text counts, as the empty one, if it was cut off or filtered before that
    began, or has some reasoning. Raises `Trouble` if there is none; `clean` takes secrets out of
    what that says.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise Trouble(Kind.FAULTY, "an answer without the form of a chat completion")
    said = list[_Said]()
    for choice in sorted(choices, key=_place):
        try:
            said.append(_read_choice(choice, clean))
        except Trouble:
            if not said:
                raise
            break
    if not said:
        raise Trouble(Kind.FAULTY, "an answer without a text")
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    asked, total = (_tokens(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
    shares = _shares(total, [len(one.text) + len(one.reasoning) for one in said])
    prompt = [asked, *([0] * (len(said) - 1))]
    return [
        Completion(one.text, one.finish_reason, prompt[i], shares[i], seconds, one.reasoning)
        for i, one in enumerate(said)
    ]


def _place(choice: dict[str, Any]) -> int:
    idx = choice.get("index")
    return idx if isinstance(idx, int) else 0


def _read_choice(choice: dict[str, Any], clean: Callable[[str], str]) -> _Said:
    """One answer; raises `Trouble` if it is none."""
    reason = _finish_reason(choice.get("finish_reason"))
    message = choice.get("message")
    if "text" in choice and message is None:  # the completion of a prompt, and no chat's
        message = {"content": choice["text"]}
    error = told_error(choice)
    if error is not None or reason.lower() in _FAILED:
        code = error.get("code") if isinstance(error, dict) else None
        kind = Kind.BUSY if code == 429 else Kind.FAULTY
        raise Trouble(kind, f"an answer with an error: {error_message(error or reason, clean)}")
    if not isinstance(message, dict):
        raise Trouble(Kind.FAULTY, "an answer without the form of a chat completion")
    text, reasoning = _texts(message)
    if text is None and not reasoning and reason not in ("length", "content_filter"):
        raise Trouble(Kind.FAULTY, "an answer without a text")
    return _Said(storable(text or ""), storable(reasoning), reason)


def _finish_reason(said: Any) -> str:
    """A finish reason; SGLang has had objects: {"type": "length", "length": 64}.

    >>> [_finish_reason(said) for said in ("MAX_TOKENS", {"type": "length"}, "stop", None)]
    ['length', 'length', 'stop', 'unknown']
    """
    if isinstance(said, dict):
        said = said.get("type") or said.get("reason")
    if not isinstance(said, str) or not said:
        return "unknown"
    return "length" if said.lower() in _CUT_OFF else storable(said)


def _texts(message: dict[str, Any]) -> tuple[str | None, str]:
    """What a message says, None: nothing; and its reasoning.

    DeepSeek, SGLang and llama.cpp give the reasoning as `reasoning_content`, OpenRouter, Ollama and
    vLLM as `reasoning`, Mistral as a part of the content. A `refusal` is the model's own text.
    """
    text, apart = _of_content(message.get("content"))
    if text is None and isinstance(message.get("refusal"), str):
        text = message["refusal"]
    for name in ("reasoning_content", "reasoning"):
        if isinstance(given := message.get(name), str) and given:
            return text, given
    return text, apart


def _of_content(content: Any) -> tuple[str | None, str]:
    """The text in a message's content, None: there is none; and the reasoning in it."""
    if not isinstance(content, list):
        return (content if isinstance(content, str) else None), ""
    texts = list(_parts(content, "text"))
    reasoning = [text for name in ("thinking", "reasoning") for text in _parts(content, name)]
    return ("".join(texts) if texts else None), "".join(reasoning)


def _parts(content: list[Any], name: str) -> Iterator[str]:
    """The texts of a content's parts of one kind; a part may be a text, or hold parts itself."""
    for part in content:
        if isinstance(part, str) and name == "text":
            yield part
        elif isinstance(part, dict) and part.get("type") in (name, f"output_{name}"):
            inner = part.get(name)
            if isinstance(inner, str):
                yield inner
            elif isinstance(inner, list) and name != "text":
                yield from _parts(inner, "text")


def _tokens(said: Any) -> int | None:
    """A number of tokens, if it can be one."""
    return said if isinstance(said, int) and 0 <= said < 1 << 31 else None


def _shares(total: int | None, lengths: Sequence[int]) -> list[int | None]:
    """Split a number of tokens by the lengths of texts."""
    if total is None:
        return [None] * len(lengths)
    whole, given, done = sum(lengths) or len(lengths), 0, 0
    shares: list[int | None] = []
    for length in lengths:
        done += length if sum(lengths) else 1
        shares.append(total * done // whole - given)
        given = total * done // whole
    return shares


def without_beginning(
    answer: dict[str, Any], completions: list[Completion], begun: str
) -> list[Completion]:
    """What a model has written after an answer that was `begun`; empty: none was. llama.cpp's
    server puts that before it (tools/server/server-task.cpp, `is_continuation`), others do not. Its
    replies have `timings`."""
    if not begun or "timings" not in answer:
        return completions
    return [one._replace(text=one.text.removeprefix(begun)) for one in completions]


def count_choices(answer: Any) -> int:
    """How many choices there are in an answer. A broken one has a huge number: it says nothing of
    how many the server gives at once."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    return len(choices) if isinstance(choices, list) and choices else 1 << 30
