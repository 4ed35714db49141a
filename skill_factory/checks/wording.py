"""Wording: what the phrases, attempts and reflections of the traces say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from skill_factory.checks.codes import C
from skill_factory.checks.findings import Code, Hit, Report
from skill_factory.checks.traces import Read
from skill_factory.checks.words import conclusion, first, places, say, says
from skill_factory.core.trace_tags import Verdict

LONG_REFLECTION = 100
"""Characters from which on a reflection that two questions share is a copy: a shorter one may say
the same by chance."""

PHRASE_SHARE = 0.25
"""Of the traces: what stands in more of them, a model learns by heart."""

FEW_TRACES = 20
"""Below so many traces shares say nothing."""

_LONGEST_PHRASE = 300
_MOST_PHRASES = 20_000
_TAIL = 400
"""Characters before a verdict that are looked at for what they conclude."""

_FITS = {"correct": Verdict.CORRECT, "incorrect": Verdict.INCORRECT}
"""The verdict that a phrase of a kind follows; all others follow any."""


class Wording:
    """Looks at the wording of traces, a batch at a time. `phrases` are those of the manifest by
    kind; None: they are not known."""

    def __init__(self, phrases: Mapping[str, Sequence[str]] | None) -> None:
        listed = (phrases or {}).items()
        self._kinds = {text: kind for kind, texts in listed for text in texts}
        self._phrases = Counter[str]()
        self._traces = 0
        self._texts = set[int]()
        self._reflections: dict[int, int] = {}

    def hits(self, reads: Sequence[Read]) -> list[list[Hit]]:
        """What is found in each of some traces that have no error of structure."""
        found = [[*self._phrase_hits(read), *self._copies(read), *_leaks(read)] for read in reads]
        for more in (_given_away(reads), _contradictions(reads)):
            for at, hit in more:
                found[at].append(hit)
        return found

    def tell(self, report: Report) -> None:
        """Add what only all traces together show."""
        if self._traces < FEW_TRACES:
            return
        for phrase, count in self._phrases.most_common():
            if count <= PHRASE_SHARE * self._traces:
                break
            share = f"in {count / self._traces:.0%} of the traces: {phrase}"
            report.tell(C.PHRASE_SHARE, share)

    # -- phrases --

    def _phrase_hits(self, read: Read) -> Iterator[Hit]:
        parts = read.parts
        places = [(f"phrase {number}", part.text) for number, part in enumerate(parts.glue, 1)]
        ends = (("lead phrase", parts.lead), ("closing phrase", parts.closing))
        places += [(place, part.text) for place, part in ends if part]
        self._count({text for _, text in places})
        for place, text in places:
            if len(text) <= _LONGEST_PHRASE and self._run_together(text):
                yield Hit(C.RUN_TOGETHER, place, text)
        verdicts = _verdicts(read)
        for number, (part, verdict) in enumerate(zip(parts.glue, verdicts, strict=False), 1):
            if verdict and (code := self._misfit(part.text, verdict)):
                yield Hit(code, f"phrase {number}", f"after {verdict}: {part.text}")
        lead = parts.lead
        if lead and self._kinds and not _lead_fits(self._kinds.get(lead.text), verdicts):
            yield Hit(C.GLUE, "lead phrase", lead.text)

    def _count(self, texts: set[str]) -> None:
        self._traces += 1
        self._phrases.update(text for text in texts if len(text) <= _LONGEST_PHRASE)
        if len(self._phrases) > _MOST_PHRASES:  # texts of their own; those seen once are let go
            self._phrases = Counter({t: n for t, n in self._phrases.items() if n > 1})

    def _misfit(self, phrase: str, verdict: Verdict) -> Code | None:
        """The code of a phrase that does not fit the verdict before it; None: it fits."""
        if self._kinds:
            wanted = _FITS.get(self._kinds.get(phrase, ""))
            return C.GLUE if wanted and wanted is not verdict else None
        opposite = "after_right" if verdict is Verdict.INCORRECT else "after_wrong"
        return C.GLUE_WORDS if _phrase_says(opposite, phrase) else None

    def _run_together(self, phrase: str) -> bool:
        """Whether it is two phrases without a space, or two that are known."""
        known = self._kinds
        if phrase in known or _is_fused(phrase):
            return _is_fused(phrase)
        return any(phrase.startswith(one) and phrase[len(one) :].strip() in known for one in known)

    # -- copies --

    def _copies(self, read: Read) -> Iterator[Hit]:
        texts = [part.text.strip() for part in read.parts.attempts]
        for number, text in enumerate(texts):
            if text in texts[:number]:
                yield Hit(C.SAME_ATTEMPT, f"attempt {number + 1}", text)
                break
        trace = read.trace
        question, whole = hash(trace.question), hash((trace.question, trace.text))
        if whole in self._texts:
            yield Hit(C.SAME_TRACE, "", trace.question)
        self._texts.add(whole)
        for number, reflection in enumerate(read.parts.reflections, 1):
            text = reflection.part.text
            if len(text) >= LONG_REFLECTION:
                before = self._reflections.setdefault(hash(text.strip()), question)
                if before != question:
                    yield Hit(C.COPIED, f"reflection {number}", text)


def _verdicts(read: Read) -> list[Verdict | None]:
    """The verdict on each attempt; without reflections, the truth."""
    found: list[Verdict | None] = [
        None if truth is None else (Verdict.CORRECT if truth else Verdict.INCORRECT)
        for truth in read.truths
    ]
    for reflection in read.parts.reflections:
        if reflection.attempt is not None:
            found[reflection.attempt] = reflection.verdict and reflection.verdict.verdict
    return found


def _lead_fits(kind: str | None, verdicts: Sequence[Verdict | None]) -> bool:
    """A backtrack follows a wrong attempt, a confirmation two right ones."""
    wanted = {
        "backtrack": [Verdict.INCORRECT],
        "confirmation": [Verdict.CORRECT, Verdict.CORRECT],
    }.get(kind or "", [])
    last = list(verdicts[-len(wanted) :]) if wanted else []
    return all(one is None or one is verdict for one, verdict in zip(last, wanted, strict=False))


@lru_cache(_MOST_PHRASES)
def _phrase_says(kind: str, phrase: str) -> bool:
    return says(kind, phrase)


_FUSED = re.compile(
    r"[a-z\u2019')][.!?…][A-Z][a-z\u2019']"
    r"|[a-z](?:Let|I|Wait|That|This|So|My|Hold|Okay|But|The|One|Another)(?=[ ,\u2019'])"
)


@lru_cache(_MOST_PHRASES)
def _is_fused(phrase: str) -> bool:
    """Whether a sentence begins right behind the end of another.

    >>> _is_fused("Let me try again.One more try."), _is_fused("See e.g. Ohm. I'll try again.")
    (True, False)
    """
    return bool(_FUSED.search(phrase))


# -- attempts and reflections ---------------------------------------------------------------------


def _given_away(reads: Sequence[Read]) -> Iterator[tuple[int, Hit]]:
    """Attempts that say that they were given the answer, each with its trace's place."""
    placed = [
        (at, number, part.text)
        for at, read in enumerate(reads)
        for number, part in enumerate(read.parts.attempts, 1)
    ]
    found = say("given_answer", [text for _, _, text in placed])
    for at, number, text in (placed[i] for i in found.nonzero()[0]):
        if not says("given_answer", reads[at].trace.question):
            yield at, Hit(C.GIVEN_ANSWER, f"attempt {number}", first("given_answer", text))


def _contradictions(reads: Sequence[Read]) -> Iterator[tuple[int, Hit]]:
    """Reflections that conclude the opposite of their verdict, each with its trace's place."""
    placed = []
    for at, read in enumerate(reads):
        for number, reflection in enumerate(read.parts.reflections, 1):
            if (found := reflection.verdict) is not None:
                end = found.start - reflection.part.start
                body = reflection.part.text[max(0, end - _TAIL) : end].rpartition("<verdict>")[0]
                placed.append((at, number, found.verdict, body))
    bodies = [body for *_, body in placed]
    either = say("says_wrong", bodies) | say("says_right", bodies)
    for at, number, verdict, body in (placed[i] for i in either.nonzero()[0]):
        concluded = conclusion(body)
        if concluded is not None and concluded[0] is not verdict:
            text = f"{concluded[1]} ... {verdict}"
            yield at, Hit(C.CONTRADICTS, f"reflection {number}", text)


def _leaks(read: Read) -> Iterator[Hit]:
    """Reflections on wrong attempts that state the gold answer, which neither the question nor the
    attempt has, and which nothing in them is equal to: no working led there."""
    gold = read.trace.ground_truth
    gold = str(gold).strip() if isinstance(gold, str | int | float) else ""
    if len(gold) < 2 or gold in read.trace.question:
        return
    for number, reflection in enumerate(read.parts.reflections, 1):
        text, about = reflection.part.text, reflection.attempt
        if about is None or gold not in text or gold in read.parts.attempts[about].text:
            continue
        truth, verdict = read.truths[about], reflection.verdict
        wrong = truth is False or (
            truth is None and verdict is not None and verdict.verdict is Verdict.INCORRECT
        )
        if wrong and (stated := _stated(gold, text)):
            yield Hit(C.GOLD_LEAK, f"reflection {number}", stated)


_GOES_ON = re.compile(r" ?[-+*/=^]")
_WORKED_OUT = re.compile(r"(?:=|\b(?:equals?|equal to|gives|makes|get))[ $({*\n]*$")


def _stated(gold: str, text: str) -> str:
    """Where a text states an answer as the right one without working it out; empty: nowhere."""
    found = [one.start for one in places(gold, text) if not _GOES_ON.match(text, one.stop)]
    if any(_WORKED_OUT.search(text, max(0, at - 20), at) for at in found):
        return ""
    for at in found:
        if says("states_gold", text[max(0, at - 80) : at]):
            return text[max(0, at - 60) : at + len(gold) + 20]
    return ""
