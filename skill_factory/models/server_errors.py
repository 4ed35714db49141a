"""What a server's error means: 429 and 5xx, a prompt that is too long, filtered or refused."""

from __future__ import annotations

import math
import re
import time
from email.utils import parsedate_to_datetime

from skill_factory.models import (
    Kind,
    ModelError,
    Refusal,
    RefusedError,
    TooLongError,
    Trouble,
)

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|(maximum|available|max) (context|model) len"
    r"|(maximum|available) context|context (length|size|window|limit)|max_model_len"
    r"|(prompt|inputs?|messages?|conversation) (\w+ ){0,2}too (long|large)"
    r"|prompt (\w+ )*contains \d+ tokens|request too large for model"
    r"|(maximum|allowed) (prompt|input) length|maximum input tokens"
    r"|range of input length|input length should be|reduce the length of"
    r"|reduce your (prompt|message|input)|prompt token count"
    r"|input token count.{0,40}exceed|input tokens? exceed|requested token count exceeds"
    r"|(inputs?|prompt)\W{0,2} tokens \+ \W?max_new_tokens|\W?inputs?\W? must have less than"
    r"|exceeded model token limit|token limit exceeded|too many (input |prompt )?tokens",
    re.IGNORECASE,
)
"""How servers say that a prompt does not fit: OpenAI, llama.cpp, vLLM, SGLang, TGI, Ollama,
LM Studio, Together, Groq, Gemini, Mistral, Anthropic, Bedrock, DashScope, Moonshot, xAI, Cohere."""

_FILTERED = re.compile(
    r"content.?filter|content.?(management )?policy|responsible.?ai|data_?inspection"
    r"|inappropriate content|content exists risk|considered high risk|usage policy"
    r"|(requires|flagged).{0,40}moderation|moderation.{0,80}flagged|prohibited_content"
    r"|sensitive (content|information)|guardrail_intervened",
    re.IGNORECASE | re.DOTALL,
)
"""How a content filter is told: OpenAI, Azure, DashScope, DeepSeek, Moonshot, OpenRouter, Gemini,
Zhipu, Bedrock."""

_EXTRA = re.compile(r"\b(top_k|repetition_penalty|max_tokens|temperature|top_p|seed|grammar)\b")
"""Settings that some servers refuse."""

_LONGEST = 1e9
"""Seconds: the longest wait. A server that asks for a longer or an endless one asks for this."""


def filters(status: object, text: str) -> bool:
    """Whether an error is a content filter's."""
    return status in (400, 403, 422, 451) and _FILTERED.search(text) is not None


def refusal(who: str, status: int, text: str, said: str, retry_after: str | None) -> Exception:
    """What an error status means, where no key and no name is at fault; `said` is the error's
    message as it may be shown, `text` all of it, `who` the server."""
    told = f"status {status}: {said}"
    if filters(status, text):
        return RefusedError(f"{who} filters a prompt ({told})", status, Refusal.CONTENT_FILTER)
    if status in (400, 413, 422, 500) and _TOO_LONG.search(text):
        return TooLongError(
            f"{who}: a prompt is too long for the model ({said}): serve it with a longer context, "
            "lower max_tokens, or leave out what is longest",
            status,
        )
    if (kind := _kind(status, text)) is not None:
        return Trouble(kind, told, _seconds(retry_after), status)
    odd = _EXTRA.search(text)
    cure = f"; if it does not know {odd[0]}, set that to none" if odd else ""
    message = f"{who} refuses the request ({told}){cure}"
    if status in (400, 413, 422):
        return RefusedError(message, status, Refusal.REFUSED)
    return ModelError(message, status)


def _kind(status: int, text: str) -> Kind | None:
    """What trouble an error status is; None: asking again is of no use."""
    if status == 429 and "insufficient_quota" not in text:
        return Kind.BUSY
    if status in (502, 503, 504):
        return Kind.GONE
    return Kind.FAULTY if status >= 500 or status in (408, 409, 425) else None


def _seconds(header: str | None) -> float | None:
    """What a Retry-After header asks for: seconds, or a date (RFC 9110, 10.2.3).

    >>> _seconds("1.5"), _seconds("soon"), _seconds("Fri, 31 Dec 99999 23:59:59 GMT")
    (1.5, None, 1000000000.0)
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = _until(header)
    return None if math.isnan(seconds) else min(max(0.0, seconds), _LONGEST)


def _until(date: str) -> float:
    """Seconds until a date, which may lie beyond all calendars; NaN: it is none."""
    if re.search(r"\b\d{5,}\b", date):
        return math.inf
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return math.nan
