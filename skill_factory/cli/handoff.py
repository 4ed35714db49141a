"""The commands that hand a dataset on: push, export."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from skill_factory.cli.common import SETTINGS, Command, Group, clear_errors
from skill_factory.cli.options_from_settings import options, read
from skill_factory.cli.paths import PATH, PLACE
from skill_factory.core.copies import fetched
from skill_factory.core.places import Place
from skill_factory.core.terminal import echo
from skill_factory.handoff.settings import (
    LlamaFactorySettings,
    PushSettings,
    TablesSettings,
    VerlSettings,
)

_FOLDER = click.argument("folder", metavar="DIR", type=PATH)


@click.command(cls=Command, context_settings=SETTINGS, params=options("push", PushSettings))
@click.argument("folder", metavar="DIR", type=PLACE)
@click.argument("repo", metavar="REPO")
def push(folder: Place, repo: str, **given: Any) -> None:
    """Push an SFT folder to the Hub dataset REPO, as the config sft_train, in one commit.

    Other configs of the repository and the rest of its card stay. A push that failed goes on where
    it was when it is run again.
    """
    with clear_errors():
        settings = read(PushSettings, "push", given)
        from skill_factory.handoff import hub

        with (
            fetched(folder) as here,
            _report_on(here) if settings.report else nullcontext() as report,
        ):
            done = hub.push(
                here,
                repo,
                private=settings.private,
                revision=settings.revision,
                message=settings.commit_message,
                create_pr=settings.create_pr,
                report=report,
            )
    echo(done.summary())


@contextmanager
def _report_on(folder: Path) -> Iterator[Path]:
    """The report on a folder, as a file for a while."""
    from skill_factory.look.report.build import write_report
    from skill_factory.look.report.settings import ReportSettings

    with tempfile.TemporaryDirectory(prefix="skill-factory-") as work:
        page = Path(work) / "report.html"
        write_report([folder], ReportSettings(output=page))
        yield page


@click.group(cls=Group, context_settings=SETTINGS)
def export() -> None:
    """Write what trainers want beside the data, or a run's tables for others to read."""


@export.command(
    "llama-factory",
    cls=Command,
    context_settings=SETTINGS,
    params=options("llama_factory", LlamaFactorySettings),
)
@_FOLDER
def export_llama_factory(folder: Path, **given: Any) -> None:
    """Write an entry in dataset_info.json and a training config for LLaMA-Factory.

    Refused if it would drop a trace of the SFT folder DIR or, with --tokenizer, cut one off.
    """
    with clear_errors():
        settings = read(LlamaFactorySettings, "llama_factory", given)
        from skill_factory.handoff import llama_factory

        done = llama_factory.export(
            folder,
            settings.output,
            dataset_dir=settings.dataset_dir,
            name=settings.name,
            repo=settings.repo,
            overwrite=settings.overwrite,
            tokenizer=settings.tokenizer,
            model_name_or_path=settings.model,
            template=settings.template,
            cutoff_len=settings.cutoff_len,
            output_dir=settings.output_dir,
        )
    echo(done.summary())


@export.command(
    "verl", cls=Command, context_settings=SETTINGS, params=options("verl", VerlSettings)
)
def export_verl(**given: Any) -> None:
    """Write parquet files of questions for verl, and the command that trains on them."""
    with clear_errors():
        settings = read(VerlSettings, "verl", given)
        from skill_factory.handoff import verl
        from skill_factory.tasks.golds import Several

        several = Several(settings.several_answers) if settings.several_answers else None
        done = verl.export(
            settings.input_dataset,
            settings.output,
            columns=verl.QuestionColumns(
                settings.question_column,
                settings.answer_column,
                settings.task_column,
                settings.facts_column,
                settings.choices_column,
            ),
            rules=verl.QuestionRules(
                settings.task, several, settings.all_numbers, settings.rounded
            ),
            config=settings.input_config,
            split=settings.input_split,
            revision=settings.revision,
            exclude_sft=settings.exclude_sft,
            val_size=settings.val_size,
            seed=settings.seed,
            system_prompt=settings.system_prompt,
            tokenizer=settings.tokenizer,
            max_prompt_length=settings.max_prompt_length,
            max_response_length=settings.max_response_length,
            model=settings.model,
            verl_version=settings.verl_version,
            gpus=settings.gpus,
            overwrite=settings.overwrite,
        )
    echo(done.summary())


@export.command(
    "tables", cls=Command, context_settings=SETTINGS, params=options("tables", TablesSettings)
)
@click.argument("folder", metavar="RUN", type=PATH)
def tables(folder: Path, **given: Any) -> None:
    """Copy the folder of a run or an evaluation without its journal, to a folder or a store.

    The copy is for show, report, compare and create. A run goes on in its own folder alone.
    """
    with clear_errors():
        settings = read(TablesSettings, "tables", given)
        from skill_factory.runs.export_tables import export_tables

        done = export_tables(folder, settings.output, overwrite=settings.overwrite)
    echo(done.summary())
