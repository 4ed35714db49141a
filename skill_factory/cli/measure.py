"""The commands that measure what training did: measure, compare."""

from __future__ import annotations

from typing import Any

import click

from skill_factory.cli.common import SETTINGS, Command, clear_errors
from skill_factory.cli.options_from_settings import options, read
from skill_factory.cli.paths import PLACE
from skill_factory.core.copies import all_fetched
from skill_factory.core.places import Place
from skill_factory.core.terminal import echo
from skill_factory.measure.settings import CompareSettings, MeasureSettings


@click.command(cls=Command, context_settings=SETTINGS, params=options("measure", MeasureSettings))
@click.argument("files", metavar="FILES...", type=PLACE, nargs=-1, required=True)
def measure(files: tuple[Place, ...], **given: Any) -> None:
    """Measure responses that are there: accuracy, use of the skills, text, with 95 % intervals.

    FILES are parquet or JSON with columns of your naming, dumps of verl, completions of TRL,
    samples of lm-eval, logs of inspect_ai, answers of vllm run-batch, or folders of these. With
    training steps in them, each step is measured.
    """
    with clear_errors():
        settings = read(MeasureSettings, "measure", given)
        from tqdm import tqdm

        from skill_factory.core import threads
        from skill_factory.measure.files import measure_files

        threads.save_memory()
        with (
            all_fetched(files) as here,
            tqdm(desc="measure", unit=" responses", disable=None, leave=False) as bar,
        ):
            measured = measure_files(here, settings, bar.update)
            echo(measured.summary())


@click.command(cls=Command, context_settings=SETTINGS, params=options("compare", CompareSettings))
@click.argument("models", metavar="DIR|FILE...", type=PLACE, nargs=-1, required=True)
def compare(models: tuple[Place, ...], **given: Any) -> None:
    """Compare models: a column each, with 95 % intervals and differences to the first.

    Each is a folder that `measure` or `evaluate` made, or files that `measure` takes. Differences
    are of the questions that both answered.
    """
    with clear_errors():
        settings = read(CompareSettings, "compare", given)
        from skill_factory.core import threads
        from skill_factory.measure.compare import compare as compared
        from skill_factory.measure.compare import printed
        from skill_factory.measure.compare_layout import written

        threads.save_memory()
        with all_fetched(models) as here:
            found = compared(here, settings)
        if settings.output is not None:
            from skill_factory.look.report.build import write_comparison

            write_comparison(found, settings.output)
        flags = {".json": settings.json, ".md": settings.markdown, ".tex": settings.latex}
        form = next((kind for kind, wanted in flags.items() if wanted), "")
        echo(written(printed(found, settings), form))
