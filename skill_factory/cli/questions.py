"""The questions command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from skill_factory.cli.common import SETTINGS, Command, clear_errors, other_option
from skill_factory.cli.options_from_settings import given_by_stage, options
from skill_factory.cli.paths import AnyPath
from skill_factory.core.places import Place
from skill_factory.core.terminal import echo
from skill_factory.errors import OptionError, OutputError
from skill_factory.stages.settings import QuestionsConfig

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 3
_OUTPUT = "Output"


@click.command(
    cls=Command,
    context_settings=SETTINGS,
    params=options("questions", QuestionsConfig, leave_out=["source"]),
)
@click.argument("source", metavar="SOURCE")
@other_option(
    *("-o", "--output"),
    section=_OUTPUT,
    metavar="FILE",
    type=AnyPath(dir_okay=False),
    help="A .parquet or .jsonl file.",
)
@other_option("--overwrite", section=_OUTPUT, is_flag=True, help="Replace the file.")
@other_option(
    "--dry-run", section=_OUTPUT, is_flag=True, help="Show three questions, write nothing."
)
def questions(
    source: str, output: Place | None, overwrite: bool, dry_run: bool, **given: Any
) -> None:
    """Make questions with their gold answers, or bring those of a dataset into our form.

    SOURCE is countdown, multiplication, addition, letter_countdown, acronym, or reasoning-gym:NAME
    for any of its datasets; else a file, a folder or a dataset on the Hub with questions and
    answers. Nothing is written unless all of it can be.
    """
    with clear_errors():
        settings = given_by_stage(given).get("questions", {})
        _questions(settings | {"source": source}, output, overwrite, dry_run)


def _questions(
    settings: dict[str, Any], output: Place | None, overwrite: bool, dry_run: bool
) -> None:
    if output is None and not dry_run:
        raise OptionError("name a file to write with -o, or look at some with --dry-run")
    if output is not None:
        _check_output(output, overwrite)
    from skill_factory.runs.config import load_run

    config = load_run(None, {"questions": settings}).questions
    assert config is not None
    from skill_factory.stages.questions.making import make_questions

    made = make_questions(config)
    if output is not None and not dry_run:
        _write(made.table, output)
    for row in made.table.slice(0, _SHOWN).to_pylist():
        echo(f"{row['question']}\n  {row['task_source']}: {row['answer']}\n")
    echo(made.summary())


def _check_output(path: Place, overwrite: bool) -> None:
    if path.suffix not in (".parquet", ".jsonl"):
        raise OptionError(f"{path}: expected a .parquet or .jsonl file")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path}: exists already; choose another output, or replace it with --overwrite"
        )


def _write(table: pa.Table, path: Place) -> None:
    """Write a table as its file's suffix says, whole or not at all."""
    import json

    import pyarrow.parquet as pq

    from skill_factory.core.whole_files import new_file, resolved_place

    with new_file(resolved_place(path)) as part:
        if path.suffix == ".parquet":
            pq.write_table(table, part)
        else:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
            part.write_text("".join(lines), encoding="utf-8")
