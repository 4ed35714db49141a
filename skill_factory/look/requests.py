"""What a run asked its model for attempts and reflections, and when it was answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from skill_factory.asking.journal import Journal, journal_to_read
from skill_factory.asking.prompts import Prompt, PromptBank, load_prompts
from skill_factory.asking.requests import Ask
from skill_factory.core.arrays import numbers
from skill_factory.core.columns import Column
from skill_factory.core.settings.checking import checked
from skill_factory.core.settings.fields import SettingError
from skill_factory.core.settings.value_types import Origin
from skill_factory.core.sources.chats import one_line_for_damaged
from skill_factory.core.yaml_files import UNREADABLE, parse
from skill_factory.errors import InputError, SkillFactoryError
from skill_factory.look.folders import RunView
from skill_factory.models import Completion, Messages, Sampling
from skill_factory.models.thinking import Thinking, handle_thinking
from skill_factory.runs.folder import Stage
from skill_factory.runs.model_identity import Known
from skill_factory.stages.sample import grammar_body
from skill_factory.stages.settings import RunConfig

Place = tuple[int, int | None]
"""A row of a run's annotated table, and the place in its list of reflections; None: the attempt."""


class Request(NamedTuple):
    """What was asked for an attempt or a reflection, and how.

    `stage` is sample or reflect; `variant` the prompt variant, None for reflections. `sampling` are
    the settings as they are in a request for sample number 0; of a seed, number `sample` has the
    `sample`-th after it. `key` names prompt, model and settings in the journal, in hex. `at` is
    when it was answered, in seconds since 1970 (UTC); None: the journal has it not, or cannot be
    read. `holds`: whether the journal's answer is the text of the run's table; None as for `at`.
    """

    stage: str
    variant: str | None
    messages: Messages
    sampling: Mapping[str, Any]
    sample: int
    model: str
    key: str
    at: float | None = None
    holds: bool | None = None


class Requests(NamedTuple):
    """Requests by what came of them, and why some of it is not known, if it is not."""

    by_place: dict[Place, Request]
    problem: str | None


class _Wanted(NamedTuple):
    """A request whose answer is not looked up yet, and the text that it should be."""

    place: Place
    request: Request
    ask: bytes
    text: str
    thinking: Thinking


def requests_of(run: RunView, places: Iterable[Place]) -> Requests:
    """The requests that gave some attempts and reflections of a run. The tables and the journal are
    read once: ask for many in one call."""
    wanted: list[_Wanted] = []
    try:
        wanted = list(_wanted(run, sorted(set(places), key=_in_order)))
        path = run.folder.journal
        if not path.is_file():
            raise InputError(f"{path}: is missing; when it was answered is not known")
        with journal_to_read(path) as journal:
            return _looked_up(wanted, journal, path)
    except SkillFactoryError as error:
        return Requests({one.place: one.request for one in wanted}, str(error))


def _in_order(place: Place) -> tuple[int, int]:
    return place[0], -1 if place[1] is None else place[1]


def _looked_up(wanted: Sequence[_Wanted], journal: Journal, path: Path) -> Requests:
    counts: dict[bytes, int] = {}
    for one in wanted:
        counts[one.ask] = max(counts.get(one.ask, 0), one.request.sample + 1)
    answers = {
        (key, idx): answer for key, found in journal.read_all(counts).items()
        for idx, answer in found
    }  # fmt: skip
    times = journal.answered_at(list(counts))
    found = {
        one.place: one.request._replace(
            at=times.get((one.ask, one.request.sample)),
            holds=_holds(one, answers.get((one.ask, one.request.sample))),
        )
        for one in wanted
    }
    lacking = sum(request.at is None for request in found.values())
    problem = (
        f"{path}: lacks {lacking:,} of these requests: the prompts, the sampling or the model's "
        "name are others now"
    )
    return Requests(found, problem if lacking else None)


def _holds(wanted: _Wanted, answer: Completion | None) -> bool | None:
    if answer is None:
        return None
    return handle_thinking(answer, wanted.thinking).completion.text == wanted.text


# -- what is asked --------------------------------------------------------------------------------


class _Asking(NamedTuple):
    """How a run asks: its settings and prompts, and what its journal knows its models by."""

    config: RunConfig
    bank: PromptBank
    models: Mapping[Stage, Known]

    def request(
        self, stage: Stage, variant: str | None, texts: Mapping[str, str], sample: int
    ) -> tuple[Request, bytes]:
        """A request with its key."""
        prompt = self._prompt(variant)
        sampling: Sampling = (
            self.config.sample if stage is Stage.SAMPLE else self.config.reflect
        ).sampling
        grammar = grammar_body(prompt, self.config.model.grammar)
        ask = Ask(prompt.fill(**texts), 1, (), grammar)
        model = self.models[stage]
        key = ask.key(model, sampling)
        settings = ask.drawn(sampling).settings
        return Request(
            str(stage), variant, ask.messages, settings, sample, model.identity, key.hex()
        ), key

    def _prompt(self, variant: str | None) -> Prompt:
        if variant is None:
            return self.bank.reflection
        if variant not in self.bank.variants:
            raise InputError(f"the prompt variant {variant!r} is not in the run's prompts any more")
        return self.bank.variants[variant]


def _asking_of(run: RunView) -> _Asking:
    path = run.folder.settings
    try:
        content = parse(path.read_text(encoding="utf-8"))[0]
        # The other stages may name code of the user's own, and ask nothing.
        chosen = {stage: content[stage] for stage in ("model", "sample", "reflect")}
        config = checked(RunConfig, chosen, origin=Origin(path.parent, trusted=False))
    except (OSError, *UNREADABLE, KeyError, TypeError, SettingError) as error:
        raise InputError(
            f"{path}: cannot be read, so what was asked is not known: {error}"
        ) from None
    records = run.folder.records.items()
    models = {stage: Known(record.identity) for stage, record in records if record.identity}
    if lacking := [stage for stage in (Stage.SAMPLE, Stage.REFLECT) if stage not in models]:
        where = run.path / "manifest.json"
        raise InputError(f"{where}: does not say which model {lacking[0]} asked")
    prompts = config.sample.prompts
    return _Asking(config, load_prompts(Path(prompts) if prompts else None), models)


def _wanted(run: RunView, places: Sequence[Place]) -> Iterator[_Wanted]:
    asking = _asking_of(run)
    rows = _read_rows(run, [row for row, _ in places])
    for place in places:
        row, number = rows[place[0]], place[1]
        response = row[Column.RESPONSES][0]
        if number is None:
            texts = {"question": row[Column.QUESTION], "answer": row[Column.GOLD]}
            stage, variant, sample = Stage.SAMPLE, row[Column.VARIANT], row[Column.SAMPLE]
            text, thinking = response, asking.config.sample.thinking
        else:
            if number >= len(row[Column.REFLECTION]):
                raise InputError(f"{run.path}: row {place[0]} has lost reflection {number}")
            shown = row.get(Column.TEXT_ALONE)
            texts = {"question": row[Column.QUESTION],
                     "attempt": response if shown is None else shown}  # fmt: skip
            stage, variant = Stage.REFLECT, None
            sample = row[Column.REFLECTION_SAMPLES][number]
            text, thinking = row[Column.REFLECTION][number], asking.config.reflect.thinking
        request, key = asking.request(stage, variant, texts, sample)
        yield _Wanted(place, request, key, text, thinking)


_COLUMNS = [
    *(Column.QUESTION, Column.GOLD, Column.VARIANT, Column.SAMPLE, Column.RESPONSES),
    *(Column.REFLECTION, Column.REFLECTION_SAMPLES),
]


def _read_rows(run: RunView, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Some rows of the annotated table, with `text_alone` of the graded one, which has the same
    order."""
    annotated, graded = run.table(Stage.REFLECT), run.table(Stage.GRADE)
    if annotated is None:
        raise InputError(f"{run.folder.path(Stage.REFLECT)}: is missing")
    found = dict(_taken(annotated, rows, _COLUMNS))
    if len(found) < len(set(rows)):
        raise InputError(f"{annotated}: has fewer rows than when the traces were made")
    alone = [Column.RESPONSE, Column.TEXT_ALONE]
    if graded is not None and Column.TEXT_ALONE in pq.read_schema(graded).names:
        for row, beside in _taken(graded, rows, alone):
            if beside[Column.RESPONSE] == found[row][Column.RESPONSES][0]:
                found[row][Column.TEXT_ALONE] = beside[Column.TEXT_ALONE]
    return found


def _taken(
    path: Path, rows: Sequence[int], columns: list[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Some rows of a table, with their numbers."""
    wanted, first = np.unique(np.array(rows, np.int64)), 0
    with one_line_for_damaged(path), pq.ParquetFile(path) as file:
        if lacking := [name for name in columns if name not in file.schema_arrow.names]:
            raise InputError(f"{path}: has no column {lacking[0]!r}, so it is no table of a run")
        for batch in file.iter_batches(columns=columns):
            start, stop = np.searchsorted(wanted, (first, first + batch.num_rows))
            chosen = wanted[start:stop]
            yield from zip(
                chosen.tolist(), batch.take(numbers(chosen - first)).to_pylist(), strict=True
            )
            first += batch.num_rows
            if stop == len(wanted):
                return
