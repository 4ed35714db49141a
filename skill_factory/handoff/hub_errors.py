"""What the Hub, and the libraries that speak to it, mean by their errors."""

from __future__ import annotations

from collections.abc import Iterator

from skill_factory.core.redaction import redact_hub


def reason_of(repo: str, error: Exception) -> str:
    """Why a push to a repository failed, in words, without what is secret."""
    owner = repo.split("/")[0]
    chain = list(_causes(error))
    status = status_of(error)
    answers = [getattr(cause, "server_message", None) for cause in chain]
    words = redact_hub(next(filter(None, answers), str(chain[-1])))
    reason = " ".join(words.split())[:300].rstrip(".") or type(chain[-1]).__name__
    if status == 401:
        return "the Hub does not accept the token: log in with `hf auth login`, or set HF_TOKEN"
    if status in (403, 404):
        return (
            f"no right to write there: there is no user or organisation {owner!r}, "
            "or the token may not write to it"
        )
    if status == 429:
        return "the Hub asks to slow down (429); wait a few minutes"
    if status in (409, 412):
        return "the repository was changed by someone else at the same time"
    if status is not None and status >= 500:
        return f"the Hub is out of order ({status}); try later"
    if status is not None:
        return f"the Hub refused ({status}): {reason}"
    return f"the connection to the Hub failed: {reason}"


def status_of(error: Exception) -> int | None:
    """The HTTP status that an error or its cause is about; None: there was no answer."""
    for cause in _causes(error):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__


def asked_to_wait(error: Exception, otherwise: float) -> float:
    """The seconds that an answer's `Retry-After` asks for, a minute at most; `otherwise` if it asks
    for none."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    seconds = headers.get("Retry-After", "")
    return min(float(seconds), 60.0) if seconds.isdigit() else otherwise
