"""What is left out of an SFT dataset: the rows, questions and traces of a retraction."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128_digest

from skill_factory.core.arrays import Ints, strings
from skill_factory.core.sources.validate import stripped
from skill_factory.errors import InputError

_ID = re.compile(r"[0-9a-f]{32}")
_ENTRY = re.compile(r"(row|question|trace)\s+(\S.*)", re.DOTALL)
_EXPECTED = "expected `row NUMBER`, `question TEXT`, `question ID` or `trace ID`"
_SHOWN = 10
"""Entries without effect that are named one by one."""


class _Entry(NamedTuple):
    """An entry: where it stands, its kind and the words after it."""

    where: str
    kind: str
    word: str


@dataclass(frozen=True, eq=False)
class Excluded:
    """Rows of the input (from 0 over all files, sorted), digests of questions and ids of traces
    that are left out; `entries` are what the user wrote."""

    rows: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    questions: frozenset[bytes] = frozenset()
    traces: frozenset[str] = frozenset()
    entries: tuple[str, ...] = ()
    _read: tuple[_Entry, ...] = ()

    @property
    def question_halves(self) -> npt.NDArray[np.uint64]:
        """The first halves of the questions' digests."""
        return _halves(self.questions)

    def unmatched(
        self, rows: int, asked: npt.NDArray[np.uint64], traces: Iterable[str]
    ) -> list[str]:
        """Notes on the entries without effect: most likely mistakes.

        `rows` is the number of rows of the input, `asked` has the first halves of the digests of
        those of the questions that have an attempt, and `traces` are the ids of the traces that
        were left out.
        """
        left_out = set(traces)
        wrong = {"row": "there is no such row", "question": "no attempt is at this question",
                 "trace": "no such trace is made of this input with these settings"}  # fmt: skip
        questions = [entry for entry in self._read if entry.kind == "question"]
        there = dict(zip(questions, _among(_digests(questions), asked), strict=True))
        notes = [
            f"--exclude: {entry.where}: {entry.kind} {entry.word[:80]!r}: {wrong[entry.kind]}"
            for entry in self._read
            if (entry.kind == "row" and int(entry.word) >= rows)
            or (entry.kind == "question" and not there[entry])
            or (entry.kind == "trace" and entry.word not in left_out)
        ]
        more = len(notes) - _SHOWN
        return notes[:_SHOWN] + [f"--exclude: {more:,} more without effect"] * (more > 0)


def load_excluded(said: str | tuple[str, ...] | None) -> Excluded:
    """What is left out, of a file's path, or of entries (None: nothing).

    A file has an entry a line; blank lines and those that begin with # say nothing. Raises
    `InputError` for a file that cannot be read, and for what is no entry.
    """
    if isinstance(said, str):
        read = [
            _entry(f"line {number}", line, said)
            for number, line in enumerate(_lines(Path(said).expanduser(), said), 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
    else:
        read = [_entry(f"entry {n}", text, "exclude") for n, text in enumerate(said or (), 1)]
    words = {
        kind: [e.word for e in read if e.kind == kind] for kind in ("row", "question", "trace")
    }
    return Excluded(
        np.unique(np.array(list(map(int, words["row"])), np.int64)),
        frozenset(_digests([entry for entry in read if entry.kind == "question"])),
        frozenset(words["trace"]),
        tuple(f"{entry.kind} {entry.word}" for entry in read),
        tuple(read),
    )


def _lines(path: Path, named: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").removeprefix("\ufeff").split("\n")
    except OSError as error:
        raise InputError(f"{named}: cannot read what to exclude: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{named}: cannot read what to exclude: it is not UTF-8") from None


def _entry(where: str, text: str, named: str) -> _Entry:
    found = _ENTRY.fullmatch(text.strip())
    if found is None:
        raise InputError(f"{named}: {where}: {_EXPECTED}, not {text.strip()[:80]!r}")
    kind, word = found.groups()
    if kind == "row" and not re.fullmatch(r"[0-9]{1,18}", word):
        raise InputError(f"{named}: {where}: a row is a number, from 0, not {word[:80]!r}")
    if kind == "trace" and not _ID.fullmatch(word):
        raise InputError(
            f"{named}: {where}: a trace is named by its trace_id, 32 digits from 0 to f, "
            f"not {word[:80]!r}"
        )
    return _Entry(where, kind, word)


def _digests(questions: Iterable[_Entry]) -> list[bytes]:
    """The digests of questions that are named by their id or their text."""
    named = [entry.word for entry in questions]
    texts = stripped(strings(named)).to_pylist()
    return [
        bytes.fromhex(word) if _ID.fullmatch(word) else xxh3_128_digest(text.encode())
        for word, text in zip(named, texts, strict=True)
    ]


def _among(digests: list[bytes], asked: npt.NDArray[np.uint64]) -> list[bool]:
    found: list[bool] = np.isin(_halves(digests), asked).tolist()
    return found


def _halves(digests: Iterable[bytes]) -> npt.NDArray[np.uint64]:
    return np.frombuffer(b"".join(digests), ">u8").reshape(-1, 2)[:, 0].astype(np.uint64)
