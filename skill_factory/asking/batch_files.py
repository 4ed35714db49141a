"""Let someone else do the asking: requests and answers as files in the OpenAI batch format, for
`vllm run-batch` or a provider's batch service.

A line asks for neighbouring samples of one prompt; its `custom_id` says which: the key in base64
(43 characters of A-Z a-z 0-9 - _), the first index and the number of samples, with "-" between.
In hexadecimal it would not fit the 64 characters that some services allow.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from skill_factory.asking.journal import Journal, Refused, Sample
from skill_factory.asking.keys_on_disk import CountsByKey
from skill_factory.asking.missing_samples import Lacking, allow_again, compare
from skill_factory.asking.requests import Ask, runs, seeded
from skill_factory.core.redaction import redact_environment
from skill_factory.core.whole_files import new_file
from skill_factory.errors import InputError
from skill_factory.models import Completion, Kind, Refusal, RefusedError, Sampling, Trouble
from skill_factory.models.replies import error_message, read_answer, told_error
from skill_factory.models.server_errors import filters
from skill_factory.models.servers import OpenAIModel

_CHUNK = 256
"""Lines, or asks, that are looked up in the journal together."""

_ID = re.compile(r"([A-Za-z0-9_-]{43})-([0-9]{1,9})-([0-9]{1,9})")


@dataclass
class Written:
    """What a file asks for: `requests` for `samples`; those that the journal `had` are left out,
    those of a prompt that stands there `twice`, and those that were `refused` before."""

    requests: int = 0
    samples: int = 0
    had: int = 0
    twice: int = 0
    refused: int = 0


def write_requests(
    path: Path,
    asks: Iterable[Ask],
    model: OpenAIModel,
    sampling: Sampling,
    journal: Journal,
    *,
    together: int = 128,
    retry: bool = False,
) -> Written:
    """Write what the journal lacks as a file of requests, each for at most `together` samples: 1
    for services without `n`. `retry`: also what a server refused before. An older file is replaced.

    What services allow in a file (OpenAI: 50,000 lines, 200 MB) is not looked at: the lines may be
    sent in parts. Raises `ModelError` for a model without a name, and `OutputError`.
    """
    written = Written()
    with (
        new_file(path) as part,
        part.open("w", encoding="utf-8", newline="\n") as out,
        CountsByKey() as seen,
    ):
        for request in _requests(asks, model, sampling, journal, together, retry, written, seen):
            out.write(json.dumps(request, ensure_ascii=False) + "\n")
    return written


def _requests(
    asks: Iterable[Ask],
    model: OpenAIModel,
    sampling: Sampling,
    journal: Journal,
    together: int,
    retry: bool,
    written: Written,
    seen: CountsByKey,
) -> Iterator[dict[str, Any]]:
    """The lines; counts them, and notes them in the journal."""
    rest = iter(asks)
    while chunk := list(islice(rest, _CHUNK)):
        found = compare(chunk, model, sampling, journal, retry)
        _note(found, journal, retry)
        asked = seen.raise_to([(lack.key, lack.ask.count) for lack in found])
        for lack, before in zip(found, asked.before, strict=True):
            ask, key = lack.ask, lack.key
            absent = lack.absent - set(range(before))  # a prompt may be asked for twice
            written.refused += lack.refused
            written.had += ask.count - len(lack.absent) - lack.refused
            written.twice += len(lack.absent) - len(absent)
            written.samples += len(absent)
            for run in runs(absent):
                for first in run[::together]:
                    n = min(together, run.stop - first)
                    written.requests += 1
                    yield {
                        "custom_id": f"{urlsafe_b64encode(key)[:43].decode()}-{first}-{n}",
                        "method": "POST",
                        "url": "/v1/chat/completions",
                        "body": model.request(ask.messages, seeded(ask.drawn(sampling), first), n),
                    }
        journal.note_written(asked.now)


def _note(found: list[Lacking], journal: Journal, retry: bool) -> None:
    """Keep in the journal what is asked: answers come back without their names."""
    journal.note_asked({lack.ask.name: lack.asked for lack in found if lack.asked and lack.absent})
    if retry:
        allow_again(found, journal)


@dataclass
class Taken:
    """What became of a file's answers. In samples: `new`, and those that were `known` already. In
    lines: `failed`, by the reason in `failures`; `unknown`, which answer no request written for
    this journal; `broken`, which are no line of an answer file."""

    new: int = 0
    known: int = 0
    failed: int = 0
    unknown: int = 0
    broken: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reasons: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """For a person."""
        lines = [f"{self.new:,} new samples, {self.known:,} that the journal had"]
        lines += [f"{count:,} requests failed: {why}" for why, count in self.failures.most_common()]
        if self.unknown:
            lines.append(f"{self.unknown:,} lines answer no request of this run")
        if self.broken:
            lines.append(f"{self.broken:,} lines are none of an answer file")
        return "\n".join(lines)


class _Line(NamedTuple):
    """A line of an answer file, with the samples that it is for."""

    key: bytes
    run: range
    line: dict[str, Any]


def read_responses(path: Path, journal: Journal) -> Taken:
    """Take the answers of a file, or of a file of errors, into the journal, in whatever order.

    Reading a file again changes nothing. Raises `InputError` if it cannot be read, `OutputError`.
    """
    taken = Taken()
    try:
        # Some editors and services put a byte order mark at its beginning.
        with path.open(encoding="utf-8-sig", errors="replace") as source:
            lines = _lines(source, taken)
            while chunk := list(islice(lines, _CHUNK)):
                _take(chunk, journal, taken)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    journal.flush()
    return taken


def _lines(source: Iterable[str], taken: Taken) -> Iterator[_Line]:
    """The lines that are for us; counts the others."""
    for text in source:
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            name = line["custom_id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            taken.broken += 1
            continue
        found = _ID.fullmatch(name) if isinstance(name, str) else None
        if found is None:
            taken.unknown += 1
            continue
        key, first, n = found.groups()
        yield _Line(urlsafe_b64decode(key + "="), range(int(first), int(first) + int(n)), line)


def _take(lines: list[_Line], journal: Journal, taken: Taken) -> None:
    keys = [line.key for line in lines]
    have, counts = journal.have(keys), journal.written(keys)
    refused: dict[bytes, Refused] = {}
    for key, run, line in lines:
        if run.stop > counts.get(key, 0):
            taken.unknown += 1
            continue
        try:
            answers = answers_of(line)
        except (Trouble, RefusedError) as error:
            taken.failed += 1
            taken.failures[str(error)] += 1
            if isinstance(error, RefusedError):
                refused[key] = Refused(error.reason, str(error))
            continue
        there = have.setdefault(key, set())
        for idx, answer in zip(run, answers, strict=False):  # a service may give fewer, or more
            if idx in there:
                taken.known += 1
                continue
            there.add(idx)
            journal.add([Sample(key, idx, answer)])
            taken.new += 1
            taken.finish_reasons[answer.finish_reason] += 1
            taken.prompt_tokens += answer.prompt_tokens or 0
            taken.completion_tokens += answer.completion_tokens or 0
    journal.note_refused(refused)
    if journal.behind:
        journal.flush()


def answers_of(line: dict[str, Any]) -> list[Completion]:
    """The completions of a line; raises `Trouble` if it has none, `RefusedError` if its prompt did
    not get past a content filter.

    OpenAI: {"response": {"status_code", "request_id", "body"}, "error": null}, with the error in
    the body, or {"response": null, "error": {"code", "message"}} for what never ran. vLLM
    (entrypoints/openai/run_batch.py): the body is null for errors, and `error` a text or
    {"error": {"message"}}.
    """
    response, error = line.get("response"), told_error(line)
    response = response if isinstance(response, dict) else {}
    body = response.get("body", response)
    status = response.get("status_code", 200)
    if error or status != 200 or told_error(body) or not isinstance(body, dict):
        said = error or body or f"status {status}"
        message = error_message(said, redact_environment)
        if filters(status, _spelt(said)):
            raise RefusedError(message, status, Refusal.CONTENT_FILTER)
        raise Trouble(Kind.FAULTY, message)
    return read_answer(body, 0.0, redact_environment)


def _spelt(said: Any) -> str:
    """JSON as a text; the empty text if it is nested too deeply."""
    try:
        return json.dumps(said)
    except RecursionError:
        return ""
