"""The grades of a run."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pyarrow.parquet as pq

from skill_factory.asking.progress import Meter
from skill_factory.core.ledger import Account
from skill_factory.runs.context import Context
from skill_factory.runs.fingerprint import code_of
from skill_factory.runs.folder import Stage
from skill_factory.runs.stage import Made, as_dicts
from skill_factory.stages.grade import OnRay, Outcome, grade_file

_MOST_WORKERS = 8
"""Processes, unless told otherwise."""


class GradeStage:
    """Makes graded.parquet."""

    stage = Stage.GRADE

    def __init__(self, context: Context) -> None:
        self._context = context

    def settings(self) -> Any:
        """As `StageOfRun` has it: which prompt variants are hints belongs to it, and a grader of
        the user's own."""
        config, asked = self._context.config.grade, self._context.config.questions
        named = config.model_dump(exclude={"workers", "engine", "ray_address"})
        code = code_of(config.task or (asked.task if asked else None))
        return [named, sorted(self._context.hints), *code]

    def make(self) -> Made:
        """As `StageOfRun` has it."""
        counts = self._grade()
        right, wrong = counts[Outcome.RIGHT], counts[Outcome.WRONG]
        account = Account(counts.total(), right + wrong)
        for outcome, count in counts.items():
            if outcome not in (Outcome.RIGHT, Outcome.WRONG):
                account.lose(outcome, count)
        self._context.tell_made(self.stage, {"attempts": account})
        self._context.say(f"right {right:,}, wrong {wrong:,}")
        return Made(as_dicts({"attempts": account}) | {"grades": {"right": right, "wrong": wrong}})

    def _grade(self) -> Counter[str]:
        """Grade all attempts; how many there are of each outcome."""
        config, folder = self._context.config.grade, self._context.folder
        source, done = folder.input_of(self.stage), 0
        on_ray = OnRay(config.ray_address, config.workers) if config.engine == "ray" else None
        with Meter("grade", pq.read_metadata(source).num_rows) as meter:

            def progress(rows: int, so_far: Counter[str]) -> None:
                nonlocal done
                done += rows
                right = so_far[Outcome.RIGHT]
                meter.show(done, f"right {100 * right / so_far.total():.0f} %")

            return grade_file(
                source,
                folder.path(self.stage),
                hints=self._context.hints,
                words=config.hint_words,
                task=config.task,
                keep_cut_off=config.keep_cut_off,
                workers=config.workers or min(_MOST_WORKERS, os.cpu_count() or 1),
                on_ray=on_ray,
                progress=progress,
            )
