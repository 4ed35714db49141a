"""A page that shows how a run goes, while it goes on: written anew every minute, whole."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from skill_factory.asking.requests import Ask
from skill_factory.asking.tally import Tally
from skill_factory.errors import SkillFactoryError
from skill_factory.look.report.build import validate_output, write_page, write_report
from skill_factory.look.report.page import live_page
from skill_factory.look.report.settings import ReportSettings
from skill_factory.models import Completion
from skill_factory.runs.folder import Stage
from skill_factory.runs.watcher import Watcher

EVERY = 60.0
"""Seconds between two writings, and after which the page loads itself anew."""

_LAST = 6
"""Answers that are shown."""

_LONGEST = 1_500
"""Characters of an answer, and of what was asked, that are shown."""


class Round(NamedTuple):
    """A round of asking: how many samples it is of, what became of them, and that in words."""

    name: str
    total: int
    tally: Tally
    line: str

    @property
    def done(self) -> int:
        """Samples that are there or will not come."""
        tally = self.tally
        return tally.had + tally.skipped + tally.answered + tally.failed


class Answer(NamedTuple):
    """An answer: when, of which stage, to which prompt, and both texts."""

    at: str
    stage: str
    prompt: str
    asked: str
    text: str
    tokens: int | None


@dataclass
class StageTime:
    """When a stage began, and how many seconds it took; None: it goes on."""

    name: str
    began: str
    start: float
    seconds: float | None = None


class LiveReport(Watcher):
    """A context manager around a run: it writes the page, and, once the run is at its end, the
    report on what was made. That the page cannot be written is told once, and ends nothing.

    Raises `OutputError` at first if something else has the page's name.
    """

    def __init__(self, folder: Path, path: Path, say: Callable[[str], None]) -> None:
        validate_output(path)
        self._folder, self._path, self._say = folder, path, say
        self._began = self._now()
        self._stages: list[StageTime] = []
        self._rounds: dict[str, Round] = {}
        self._answers: deque[Answer] = deque(maxlen=_LAST)
        self._next = 0.0
        self._failed = False
        self._end = ""

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._guarded(self._write_report)
            return
        stopped = isinstance(error, KeyboardInterrupt)
        self._end = "It was stopped." if stopped else f"It ended with an error: {error}"
        self._write()

    def begins(self, stage: Stage) -> None:
        """As `Watcher`: the page is written."""
        self._stages.append(StageTime(str(stage), self._now(), time.monotonic()))
        self._write()

    def ends(self, stage: Stage) -> None:
        """As `Watcher`: the page is written."""
        if not self._stages or self._stages[-1].name != stage:
            self._stages.append(StageTime(str(stage), self._now(), time.monotonic()))
        last = self._stages[-1]
        last.seconds = time.monotonic() - last.start
        self._write()

    def asks(self, name: str, total: int, tally: Tally, line: str) -> None:
        """As `Watcher`: the page is written when a round begins, and when it is time."""
        new = name not in self._rounds
        self._rounds[name] = Round(name, total, tally, line)
        if new or time.monotonic() >= self._next:
            self._write()

    def answered(self, stage: str, ask: Ask, answers: Sequence[Completion]) -> None:
        """As `Watcher`: the last answers are kept."""
        asked = ask.messages[-1]["content"]
        shown = asked if isinstance(asked, str) else str(asked)
        for one in answers[:1]:
            self._answers.append(
                Answer(
                    self._now(), stage, " ".join(ask.name[2:]), shown[:_LONGEST],
                    one.text[:_LONGEST], one.completion_tokens,
                )
            )  # fmt: skip

    # -- writing ----------------------------------------------------------------------------------

    def _write(self) -> None:
        self._next = time.monotonic() + EVERY
        self._guarded(lambda: write_page(self._path, self._page()))

    def _page(self) -> bytes:
        tallies = [one.tally for one in self._rounds.values()]
        costs = [tally.cost for tally in tallies if tally.cost is not None]
        page = live_page(
            {
                "title": self._folder.resolve().name,
                "began": self._began,
                "written": self._now(),
                "end": self._end,
                "stages": self._stages,
                "all": [str(stage) for stage in Stage],
                "rounds": list(self._rounds.values()),
                "answered": sum(tally.answered for tally in tallies),
                "failed": sum(tally.failed for tally in tallies),
                "tokens": sum(t.prompt_tokens + t.completion_tokens for t in tallies),
                "cost": sum(costs) if costs else None,
                "answers": list(reversed(self._answers)),
            },
            0 if self._end else int(EVERY),
        )
        return page.encode("utf-8", "replace")

    def _write_report(self) -> None:
        settings = ReportSettings(output=self._path, overwrite=True)
        self._say(f"\nReport: {write_report([self._folder], settings).summary()}")

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (SkillFactoryError, OSError) as error:
            if not self._failed:
                self._say(f"Note: the report is not written: {error}")
            self._failed = True

    def _now(self) -> str:
        return datetime.now().astimezone().strftime("%H:%M:%S")
