"""The sample of a report as a value of JSON: traces as spans of texts, and questions with all their
attempts. A text that stands in several places is there once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from skill_factory.core.trace_tags import read_verdict
from skill_factory.look.folders import Trace
from skill_factory.look.spans import Kind, Span

KINDS = list(Kind)
_TRUTH = {None: "?", True: "R", False: "W"}
_SIGNS = ("<", ">", "&", "\u2028", "\u2029")
_WITHOUT_TRUTH = (Kind.GLUE, Kind.LEAD, Kind.CLOSING, Kind.TAG, Kind.OTHER)


def as_json(value: Any) -> str:
    r"""JSON that can stand in a script element of a page, whatever its texts say: no text of it can
    end the element or begin another one.

    >>> as_json(["</script>"])
    '["\\u003c/script\\u003e"]'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in _SIGNS:
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode("utf-8", "replace").decode()


def letters_of(spans: Iterable[Span]) -> str:
    """The truth of a trace's attempts in their order, as `contents.Pattern` has it."""
    return "".join(_TRUTH[span.correct] for span in spans if span.kind is Kind.ATTEMPT)


class Sample:
    """Collects traces and questions until they take `room` bytes; `value` is all of it.

    The value has `texts`, `words`, `kinds`; `traces`, each with its `id`, `label`, question (`q`,
    a place in `questions`), `pattern` (as `contents.Pattern`), `variants` and `spans`: kind, text,
    truth (1 right or true, 0 not, -1 not known), name, origin; a response also its `set`, `model`
    and `step`; and `questions`, each with its text, gold answer, numbers, traces and attempts.
    Texts, names and origins are places in `texts` and `words`.
    `full`: something had no room. `too_long`: how many things were left out as they are alone more
    than a quarter of the room.
    """

    def __init__(self, room: int) -> None:
        self._room = self._left = room
        self.full = False
        self.too_long = 0
        self._texts: dict[str, int] = {}
        self._words: dict[str, int] = {}
        self._traces: list[dict[str, Any]] = []
        self._questions: list[dict[str, Any]] = []
        self._question_at: dict[str, int] = {}

    def value(self, traces: int, questions: int, seed: int) -> dict[str, Any]:
        """What the page's script reads: a sample of so many traces and questions, drawn by a
        seed."""
        return {
            "of": {"traces": traces, "questions": questions},
            "seed": seed,
            "texts": list(self._texts),
            "words": list(self._words),
            "kinds": KINDS,
            "traces": self._traces,
            "questions": self._questions,
        }

    def question(
        self, key: str, text: str, numbers: Mapping[str, int], gold: str | None = None
    ) -> int | None:
        """The place of a question, which is made if it is not there; None: it has no room. `gold`:
        its gold answer; None: that is not shown."""
        if key not in self._question_at:
            texts = {"text": text} | ({} if gold is None else {"gold": gold})
            with_room = self._add(self._questions, {**numbers, "attempts": [], "traces": []}, texts)
            if not with_room:
                return None
            self._question_at[key] = len(self._questions) - 1
        return self._question_at[key]

    def attempt(
        self, question: int, row: Mapping[str, Any], origin: str, told: Sequence[str]
    ) -> None:
        """Add an attempt, as `QuestionSample.rows` has it; `origin` says where it comes from, and
        `told` that of its reflections."""
        value = {key: row[key] for key in ("correct", "variant", "answer")}
        reflections = [text or "" for text in row["reflections"]]
        texts = {"text": row["text"] or ""}
        listed = self._questions[question]["attempts"]
        if not self._add(listed, value, texts, reflections):
            return
        listed[-1]["origin"] = self._word(origin)
        listed[-1]["reflections"] = [
            [self._text(text), _verdict(text), _is_true(text, row["correct"]), self._word(where)]
            for text, where in zip(reflections, told, strict=True)
        ]

    def trace(
        self,
        question: int,
        trace: Trace,
        variants: Sequence[str | None] = (),
        origins: Sequence[str] = (),
        groups: Mapping[str, str] | None = None,
    ) -> None:
        """Add a trace; `origins` says of each span where it comes from, empty: not known. `groups`:
        the set, model and step of a response."""
        spans = trace.spans()
        said = [*origins, *[""] * (len(spans) - len(origins))]
        value = {
            "id": trace.id,
            "label": trace.label or "",
            "q": question,
            "pattern": letters_of(spans),
            "variants": list(dict.fromkeys(variant for variant in variants if variant)),
            **(groups or {}),
        }
        pieces = [span.text for span in spans]
        if not self._add(self._traces, value, {}, pieces, 24 * len(spans)):
            return
        self._questions[question]["traces"].append(len(self._traces) - 1)
        self._traces[-1]["spans"] = [
            [
                KINDS.index(span.kind),
                self._text(span.text),
                _truth(span),
                self._word(_name(span)),
                self._word(origin),
            ]
            for span, origin in zip(spans, said, strict=True)
        ]

    def _add(
        self,
        into: list[dict[str, Any]],
        value: dict[str, Any],
        texts: Mapping[str, str],
        more: Sequence[str] = (),
        around: int = 60,
    ) -> bool:
        """Add a value with texts, if they have room; `more` are texts that will be part of it."""
        new = {text for text in (*texts.values(), *more) if text not in self._texts}
        size = sum(len(as_json(text).encode()) + 1 for text in new) + around
        size += len(as_json(value).encode())
        if size > self._room // 4:
            self.too_long += 1
            return False
        if size > self._left:
            self.full = True
            return False
        self._left -= size
        into.append(value | {key: self._text(text) for key, text in texts.items()})
        return True

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def _word(self, word: str) -> int:
        if word not in self._words:
            self._words[word] = len(self._words)
            self._left -= len(as_json(word).encode()) + 1
        return self._words[word]


def _name(span: Span) -> str:
    return "" if span.kind is Kind.TAG else span.name


def _truth(span: Span) -> int:
    """1 right or true, 0 wrong or false, -1 not known."""
    truth = span.true if span.kind is Kind.REFLECTION else span.correct
    return -1 if truth is None or span.kind in _WITHOUT_TRUTH else int(truth)


def _verdict(text: str) -> str | None:
    found = read_verdict(text)
    return found.verdict if found else None


def _is_true(text: str, correct: bool | None) -> bool | None:
    said = _verdict(text)
    if said is None or correct is None:
        return None
    return (said == "Correct") == correct
