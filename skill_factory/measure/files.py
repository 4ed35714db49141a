"""Measure files: read, grade, measure, write a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from skill_factory.core.copies import named
from skill_factory.core.places import Place
from skill_factory.core.whole_files import new_folder, resolved_place
from skill_factory.errors import InputError
from skill_factory.measure.figures import Measured
from skill_factory.measure.layout import summary_text
from skill_factory.measure.reading import ResponseFiles
from skill_factory.measure.rules import MeasureRules, phrases_of
from skill_factory.measure.settings import MeasureSettings, ReadingSettings
from skill_factory.measure.sources.formats import File
from skill_factory.measure.word_rules import load_word_rules
from skill_factory.measure.write import RESPONSES_FILE, measure_responses
from skill_factory.tasks.judging import cores


@dataclass(frozen=True)
class MeasuredFiles:
    """What was measured: the figures of each group, why some responses could not be graded
    (`losses`), and why some are not there (`failed`)."""

    folder: Place
    groups: list[Measured]
    losses: Counter[str]
    failed: Counter[str]

    def summary(self) -> str:
        """For a person."""
        lines = [summary_text(self.groups)]
        if self.losses or self.failed:
            lines.append("")
        lines += [
            f"{count:,} responses are not graded: {why}" for why, count in self.losses.most_common()
        ]
        lines += [f"{count:,} responses are not there: {why}" for why, count in self.failed.items()]
        return "\n".join([*lines, "", f"Measured: {self.folder}"])


def measure_files(
    paths: tuple[Path, ...],
    settings: MeasureSettings,
    progress: Callable[[int], object] = lambda rows: None,
) -> MeasuredFiles:
    """Measure what some files hold into the folder of the settings, whole or not at all.

    Raises `InputError`, `ColumnError`, `OptionError`, `TaskError` and `PluginError` for what cannot
    be read or graded, `OutputError` for a place that cannot be written.
    """
    rules = rules_of(settings)
    reading = ResponseFiles(settings)
    files = reading.files(paths)
    output = resolved_place(settings.output)
    with new_folder(output, settings.overwrite, holds=RESPONSES_FILE) as folder:
        groups = measure_responses(
            _read(reading, files),
            folder,
            rules,
            manifest=lambda: _manifest(files, settings, reading),
            progress=progress,
        )
    return MeasuredFiles(settings.output, groups, reading.losses, reading.failed)


def rules_of(settings: ReadingSettings) -> MeasureRules:
    """The rules that settings come to; raises `InputError` for files that they name."""
    return MeasureRules(
        answer_pattern=settings.answer_pattern,
        phrases=phrases_of(settings.sft),
        words=load_word_rules(settings.word_rules),
        draws=settings.draws,
        seed=settings.seed,
        workers=settings.workers or cores(),
    )


def _read(reading: ResponseFiles, files: list[File]) -> Iterator[pa.RecordBatch]:
    yield from reading.batches(files)
    if not reading.read:
        names = ", ".join(str(file.path) for file in files[:3])
        raise InputError(
            f"{names}: there are no responses in {'it' if len(files) == 1 else 'them'}"
        )


def _manifest(
    files: list[File], settings: MeasureSettings, reading: ResponseFiles
) -> dict[str, Any]:
    return {
        "input": {
            "files": [named(str(file.path)) for file in files],
            "responses": reading.read,
            "not_graded": dict(sorted(reading.losses.items())),
            "failed": dict(sorted(reading.failed.items())),
        },
        "settings": settings.model_dump(exclude={"output", "overwrite"}),
    }
