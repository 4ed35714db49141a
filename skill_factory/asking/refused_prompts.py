"""Prompts that a server refuses: the prompt is why when one is, the settings when all are."""

from __future__ import annotations

from skill_factory.asking.journal import Refused
from skill_factory.models import Refusal, RefusedError

ALL_REFUSED = 8
"""Prompts: when the first ones are all refused, it is the settings that are."""

_MOST_REFUSED = 32
"""Prompts: from so many on it is the settings, if fewer requests were answered."""


class Refusals:
    """Prompts that the server refused, by the key of their samples."""

    def __init__(self) -> None:
        self.errors: dict[bytes, RefusedError] = {}
        self.doubtful = 0  # of these, those for which the settings may be to blame
        self._unnoted: dict[bytes, Refused] = {}

    def add(self, key: bytes, error: RefusedError) -> None:
        """Take in a refusal; another one of the same prompt changes nothing."""
        if key not in self.errors:
            self.errors[key] = error.with_traceback(None)  # which holds all that was sent
            self._unnoted[key] = Refused(error.reason, str(error))
            self.doubtful += error.reason is Refusal.REFUSED

    def news(self, evidence: int) -> dict[bytes, Refused]:
        """What the journal is to be told of, once: nothing that the settings may be to blame for.
        `evidence`: how much there is to say that they are good."""
        sure = self.doubtful < evidence
        news = {k: why for k, why in self._unnoted.items() if sure or why.reason != Refusal.REFUSED}
        for key in news:
            del self._unnoted[key]
        return news

    def blamed(self, least: int, pending: int, good: int, evidence: int) -> str:
        """Why asking on is of no use, for a message; empty: it is not known to be.

        It is the settings that are refused if nearly all prompts are, or, without any `evidence`
        that the settings are good, the first ones, `least` or more. It may be the account if a
        filter stops all. `good` requests were answered, and so many are `pending`: a good answer
        takes its time.
        """
        most, refused = max(_MOST_REFUSED, pending), len(self.errors)
        first = evidence == 0 and self.doubtful >= max(least, pending)
        if first or self.doubtful >= max(most, good + pending):
            return f"{self.doubtful} prompts are refused, so the settings may be"
        if evidence == 0 and refused >= most:
            return f"{refused} prompts are refused and none is answered, so the account may be"
        return ""
