"""What `explain`, `verify` and `diff` print, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skill_factory.core.terminal import Line, Piece, Style, one_line
from skill_factory.look.diff import Change, Mix, SftDiff, TraceDiff
from skill_factory.look.diff_runs import TOP, Moved, RunDiff, Score
from skill_factory.look.explain import Explanation
from skill_factory.look.origins import Phrase, SourceText, Use
from skill_factory.look.requests import Request
from skill_factory.look.show import style_of
from skill_factory.look.spans import Kind, Span
from skill_factory.look.verify import Verification

_WIDEST = 60
"""Characters that are shown of a value, a question or a name."""

_IDS = 3
"""Trace ids that are shown of a kind; JSON has more."""


def as_json(found: Any, **more: Any) -> str:
    """A dataclass or named tuple, and what is in it, as JSON; `more` stands beside its fields.

    In ASCII without a control: a terminal obeys none of it, so it is printed as it is.
    """
    return json.dumps(plain(found) | more, indent=2).replace("\x7f", "\\u007f")


def plain(value: Any) -> Any:
    """A value as JSON has it: fields and items by their names."""
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if hasattr(value, "_asdict"):
        return {name: plain(one) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def short(value: Any) -> str:
    """A value on one line, not too long."""
    line = one_line("none" if value is None else value)
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 3]}..."


# -- explain --------------------------------------------------------------------------------------

_INDENT = Piece("    ")


def explanation_lines(found: Explanation) -> Iterator[Line]:
    """A trace with the origin of all its text, for a terminal."""
    trace = found.trace
    yield [Piece(f"trace {trace.id}", Style.BOLD), Piece(f"  {trace.label}", Style.GREY)]
    for problem in found.problems:
        yield [Piece(f"Note: {problem}")]
    yield from _heading("question", Style.BOLD, found.question, found.question_holds)
    yield from _texts(trace.question)
    for origin, request in found.spans:
        span = origin.span
        if span.kind is Kind.TAG:
            yield [Piece(" ".join(span.text.split()), Style.GREY)]
            continue
        yield from _heading(_name(span), style_of(span), origin.source, origin.holds)
        yield from _request_lines(request) if request else ()
        yield from _texts(span.text)
    yield [Piece(_VERDICTS[found.holds])]


def _name(span: Span) -> str:
    """What a span is, and of an answer which attempt gave it."""
    if span.kind is Kind.OTHER:
        return "text of no known origin"
    if span.kind is Kind.ANSWER and span.step is not None:
        return f"{span.name} of attempt {span.step + 1}"
    return span.name


def explanation_json(found: Explanation) -> str:
    """The same as JSON: each span with its source, whether that holds, and its request."""
    trace = found.trace
    spans = [
        plain(origin.span)
        | {"name": _name(origin.span), "source": plain(origin.source), "holds": origin.holds}
        | {"request": plain(request)}
        for origin, request in found.spans
    ]
    question = {"text": trace.question, "source": plain(found.question),
                "holds": found.question_holds}  # fmt: skip
    said = {"trace_id": trace.id, "label": trace.label, "question": question, "spans": spans}
    return as_json(said | {"text": trace.text, "problems": found.problems, "holds": found.holds})


_VERDICTS = {
    True: "All of it is what its sources say; the spans join to the trace.",
    False: "Not all of it is what its sources say.",
    None: "Some of its sources are gone.",
}


def _heading(
    name: str, style: Style, source: Phrase | SourceText | None, holds: bool | None
) -> Iterator[Line]:
    yield [Piece(name, style)]
    if isinstance(source, Phrase):
        yield _about(f"{source.kind} phrase {source.number} (id {source.id})")
    elif isinstance(source, SourceText):
        yield _about(of_source(source))
    if holds is False and source is not None:
        yield [Piece(f"  its source says something else: {short(source.text)}", Style.RED)]


def of_source(source: SourceText) -> str:
    """Where a text of the input is, in words."""
    there = source.file is None or source.row == source.file_row
    file = "" if there else f", row {source.file_row} of {source.file}"
    parts = [f"row {source.row} of {source.dataset}{file}", f"column {source.column}"]
    parts += [] if source.response is None else [f"response {source.response}"]
    parts += [] if source.reflection is None else [f"reflection {source.reflection}"]
    parts += ["which is not there any more" if source.digest is None else f"XXH3 {source.digest}"]
    return ", ".join(parts)


def _request_lines(request: Request) -> Iterator[Line]:
    variant = f" as {request.variant}" if request.variant else ""
    at = "" if request.at is None else f", answered {_time(request.at)}"
    yield _about(f"{request.stage}{variant}, sample {request.sample} of {request.model}{at}")
    yield _about(f"request {request.key}, {json.dumps(request.sampling, ensure_ascii=False)}")
    if request.holds is False:
        yield [Piece("  the journal has another answer to it", Style.RED)]
    for message in request.messages:
        yield _about(f"{message['role']}:")
        for line in message["content"].split("\n"):
            yield [_INDENT, _INDENT, Piece(line, Style.GREY)]


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds").replace("+00:00", " UTC")


def _about(text: str) -> Line:
    return [Piece(f"  {text}", Style.GREY)]


def _texts(text: str) -> Iterator[Line]:
    """A text, indented: no line of it looks like one of ours."""
    for line in text.split("\n"):
        yield [_INDENT, Piece(line)]


def of_uses(uses: Iterable[Use], row: int) -> str:
    """Which traces use a row."""
    lines = [
        f"{use.trace_id}  {use.label}, attempt {', '.join(str(step + 1) for step in use.steps)}"
        for use in uses
    ]
    return "\n".join(
        [*lines, f"row {row} is used in {len(lines):,} trace{'s' * (len(lines) != 1)}"]
    )


# -- verify ---------------------------------------------------------------------------------------


def of_verification(found: Verification) -> str:
    """Whether a folder is what it should be, and each finding."""
    lines = [f"{finding.cause}: {finding.text}" for finding in found.findings]
    if found.traces:
        lines += _of_traces(found.traces, "in the folder", "made again")
    if found.same:
        return "\n".join([*lines, f"{found.folder}: the same was made again"])
    why = "it was made again, and is not the same" if found.rebuilt else "it cannot be made again"
    return "\n".join([*lines, f"{found.folder}: {why}"])


# -- diff -----------------------------------------------------------------------------------------


def of_diff(found: SftDiff | RunDiff) -> str:
    """What differs between two SFT folders or two runs."""
    return of_run_diff(found) if isinstance(found, RunDiff) else of_sft_diff(found)


def of_sft_diff(found: SftDiff) -> str:
    """What differs between two SFT folders."""
    lines = [*_of_changes(found.made), *_of_traces(found.traces, "in the first", "in the second")]
    if found.differ:
        lines += ["", *_of_mix(*found.mix)]
    return "\n".join(lines) if found.differ else "The two SFT folders are the same."


def of_run_diff(found: RunDiff) -> str:
    """What differs between two runs."""
    if not found.differ:
        return "The two runs are the same."
    lines = [*_of_changes(found.settings), *_of_scores(found)]
    if any(found.only):
        lines.append(f"questions in one run only: {found.only[0]:,} and {found.only[1]:,}")
    for name, moved in (("prompt variant", found.variants), ("question", found.questions)):
        if moved:
            lines += ["", f"{name + 's that differ: ' + format(len(moved), ','):42}{_HEAD}"]
            lines += map(_of_moved, moved[:TOP])
    if found.sft:
        lines += ["", "SFT folders", of_sft_diff(found.sft)]
    return "\n".join(lines)


def _of_changes(changes: Iterable[Change]) -> Iterator[str]:
    for name, before, after in changes:
        yield f"{name}: {short(before)} -> {short(after)}"


def _of_traces(found: TraceDiff, first: str, second: str) -> Iterator[str]:
    counts = (("removed", found.removed, f"only {first}"), ("added", found.added, f"only {second}"))
    yield f"traces that are the same: {found.same:,}"
    for name, count, where in counts:
        if count:
            yield f"traces {where}: {count:,}{_named(found.ids[name], count)}"
    if found.changed:
        of = "" if found.examined == found.changed else f" (of the first {found.examined:,})"
        spans = ", ".join(f"{kind} {count:,}" for kind, count in found.spans.most_common())
        ids = _named(found.ids["changed"], found.changed)
        yield f"traces with another text: {found.changed:,}{ids}"
        yield f"  what differs in them{of}: {spans}"


def _named(ids: list[str], count: int) -> str:
    return f": {', '.join(ids[:_IDS])}{', ...' if count > _IDS else ''}"


_HEAD = f"{'before':>12}{'after':>12}"


def _of_mix(before: Mix, after: Mix) -> Iterator[str]:
    yield f"{'':42}{_HEAD}"
    yield _row("traces", before.traces, after.traces)
    for label in sorted(before.labels | after.labels):
        yield _row(f"  label {short(label)}", before.labels[label], after.labels[label])
    for number in sorted(before.attempts | after.attempts):
        name = f"  of {number} attempt{'s' * (number != 1)}"
        yield _row(name, before.attempts[number], after.attempts[number])
    yield _row("right attempts", before.right, after.right)
    yield _row("wrong attempts", before.wrong, after.wrong)
    yield _row("mean length in characters", round(before.characters), round(after.characters))


def _row(name: str, before: int, after: int) -> str:
    return f"{name:42}{before:12,}{after:12,}"


def _of_scores(found: RunDiff) -> Iterator[str]:
    yield f"{'':42}{_HEAD}"
    before, after = (score or Score() for score in found.total)
    yield _row("attempts", before.attempts, after.attempts)
    yield f"{'accuracy':42}{_share(before.accuracy)}{_share(after.accuracy)}"
    yield f"{'true verdicts':42}{_share(before.truth)}{_share(after.truth)}"


def _of_moved(one: Moved) -> str:
    parts = [
        f"{short(one.name)[:40]:42}{_share(one.before.accuracy)}{_share(one.after.accuracy)}",
        f"   verdicts{_share(one.before.truth)}{_share(one.after.truth)}",
    ]
    return "".join(parts if one.before.truth != one.after.truth else parts[:1])


def _share(value: float | None) -> str:
    return f"{'-' if value is None else format(100 * value, '.1f') + ' %':>12}"
