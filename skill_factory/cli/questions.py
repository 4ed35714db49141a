"""The questions command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skill_factory.cli.common import SETTINGS, clear_errors
from skill_factory.core.terminal import echo
from skill_factory.errors import OptionError, OutputError

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 3


@click.command(context_settings=SETTINGS)
@click.argument("source", metavar="SOURCE")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .parquet or .jsonl file.",
)
@click.option("--count", type=int, help="Questions wanted.  [default: 1000, all of a dataset]")
@click.option("--seed", type=int, help="Which questions those are.  [default: 0]")
@click.option("--numbers", type=int, help="Countdown: numbers in a question.  [default: 3]")
@click.option("--target-max", type=int, help="Countdown: largest target.  [default: 100]")
@click.option("--number-max", type=int, help="Countdown: largest number.  [default: 99]")
@click.option(
    "--all-numbers/--at-most-once",
    default=None,
    help="Countdown: whether every number must be used, or each at most once.  [default]",
)
@click.option(
    "--digits", metavar="N|A..B", help="Multiplication: digits of both factors.  [default: 2..5]"
)
@click.option("--low", type=int, help="Addition: smallest number.  [default: 3]")
@click.option("--high", type=int, help="Addition: largest number.  [default: 19]")
@click.option(
    "--letters", type=int, help="Letter countdown, acronym: letters of the word.  [default: 4]"
)
@click.option(
    "--extra-letters", type=int, help="Letter countdown: letters besides them.  [default: 2]"
)
@click.option("--extra-words", type=int, help="Acronym: words besides those.  [default: 6]")
@click.option(
    "--gym",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the reasoning-gym dataset; can be repeated.",
)
@click.option("--task", metavar="NAME", help="Task of a dataset.  [default: what it says]")
@click.option("--input-config", metavar="NAME", help="Config of a Hub dataset.")
@click.option("--input-split", metavar="NAME", help="Split of a dataset.")
@click.option("--revision", metavar="REV", help="Branch, tag or commit of a Hub dataset.")
@click.option("--question-column", metavar="NAME", help="[default: question]")
@click.option("--answer-column", metavar="NAME", help="Gold answers.  [default: answer]")
@click.option("--task-column", metavar="NAME", help="[default: task_source]")
@click.option("--facts-column", metavar="NAME", help="[default: metadata]")
@click.option(
    "--choices-column",
    metavar="NAME",
    help="What there is to choose from.  [default: choices or options, if it is there]",
)
@click.option(
    "--several-answers",
    type=click.Choice(["any", "all"]),
    help="Of a list of gold answers, one is right, or all are asked for.  [default: by task]",
)
@click.option(
    "--rounded/--exact",
    default=None,
    help="Mathematics: take rounded decimals for exact values, or not.  [default]",
)
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@click.option("--dry-run", is_flag=True, help="Show three questions, write nothing.")
def questions(
    source: str,
    output: Path | None,
    gym: tuple[str, ...],
    overwrite: bool,
    dry_run: bool,
    **settings: Any,
) -> None:
    """Make questions with their gold answers, or bring those of a dataset into our form.

    SOURCE is countdown, multiplication, addition, letter_countdown, acronym, or reasoning-gym:NAME
    for any of its datasets; else a file, a folder or a dataset on the Hub with questions and
    answers. Nothing is written unless all of it can be.
    """
    with clear_errors():
        given = {name: value for name, value in settings.items() if value is not None}
        if gym:
            given["gym"] = dict(map(_gym_setting, gym))
        _questions(given | {"source": source}, output, overwrite, dry_run)


def _questions(
    settings: dict[str, Any], output: Path | None, overwrite: bool, dry_run: bool
) -> None:
    if output is None and not dry_run:
        raise OptionError("name a file to write with -o, or look at some with --dry-run")
    if output is not None:
        _check_output(output, overwrite)
    from skill_factory.runs.config import load_run
    from skill_factory.stages.questions.making import make_questions

    config = load_run(None, {"questions": settings}).questions
    assert config is not None
    made = make_questions(config)
    if output is not None and not dry_run:
        _write(made.table, output)
    for row in made.table.slice(0, _SHOWN).to_pylist():
        echo(f"{row['question']}\n  {row['task_source']}: {row['answer']}\n")
    echo(made.summary())


def _gym_setting(text: str) -> tuple[str, Any]:
    """A key and its value, read as YAML is."""
    from skill_factory.core.yaml_files import UNREADABLE, parse

    key, sign, value = text.partition("=")
    try:
        if not key or not sign:
            raise ValueError("no = in it")
        return key, parse(value)[0]
    except UNREADABLE:
        raise OptionError(f"--gym {text}: expected KEY=VALUE, as min_terms=2") from None


def _check_output(path: Path, overwrite: bool) -> None:
    if path.suffix not in (".parquet", ".jsonl"):
        raise OptionError(f"{path}: expected a .parquet or .jsonl file")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path}: exists already; choose another output, or replace it with --overwrite"
        )


def _write(table: pa.Table, path: Path) -> None:
    """Write a table as its file's suffix says, whole or not at all."""
    import json

    import pyarrow.parquet as pq

    from skill_factory.core.files import new_file, resolved

    with new_file(resolved(path)) as part:
        if path.suffix == ".parquet":
            pq.write_table(table, part)
        else:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
            part.write_text("".join(lines), encoding="utf-8")
