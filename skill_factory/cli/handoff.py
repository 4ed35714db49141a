"""The commands that hand a dataset on: push, export, check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from skill_factory.cli.common import COUNT, SETTINGS, clear_errors
from skill_factory.core.files import is_repository
from skill_factory.core.terminal import echo
from skill_factory.errors import OptionError

_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))


@click.command(context_settings=SETTINGS)
@_FOLDER
@click.argument("repo", metavar="REPO")
@click.option("--private", is_flag=True, help="If the repository is made now, make it private.")
@click.option("--revision", metavar="BRANCH", help="Branch to push to.  [default: main]")
@click.option("--commit-message", metavar="TEXT", help="[default: the number of traces]")
@click.option("--create-pr", is_flag=True, help="Open a pull request instead.")
def push(
    folder: Path,
    repo: str,
    private: bool,
    revision: str | None,
    commit_message: str | None,
    create_pr: bool,
) -> None:
    """Push an SFT folder to the Hub dataset REPO, as the config sft_train, in one commit.

    Other configs of the repository and the rest of its card stay. A push that failed goes on where
    it was when it is run again.
    """
    with clear_errors():
        if not is_repository(repo):
            raise OptionError(f"{repo}: a repository on the Hub is written as org/name")
        if create_pr and revision:
            raise OptionError("--create-pr opens a pull request on main; leave --revision out")
        from skill_factory.handoff import hub

        done = hub.push(
            folder,
            repo,
            private=private,
            revision=revision,
            message=commit_message,
            create_pr=create_pr,
        )
    echo(done.told())


@click.group(context_settings=SETTINGS)
def export() -> None:
    """Write what trainers want beside the data."""


@export.command("llama-factory", context_settings=SETTINGS)
@_FOLDER
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="llamafactory_sft.yaml",
    help="The training config.  [default: ./llamafactory_sft.yaml]",
)
@click.option(
    "--dataset-dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the dataset_info.json is that gets the entry.  [default: the SFT folder]",
)
@click.option("--name", metavar="NAME", help="Name of the entry.  [default: the folder's name]")
@click.option("--repo", metavar="REPO", help="Train on this Hub dataset instead of the files.")
@click.option("--model", metavar="PATH|REPO", help="Model to train.")
@click.option("--template", metavar="NAME", help="LLaMA-Factory's template.  [default: qwen]")
@click.option("--cutoff-len", type=COUNT, help="[default: 4096]")
@click.option("--output-dir", metavar="DIR", help="Where the trained model goes.")
@click.option("--tokenizer", metavar="PATH|REPO", help="Check lengths and template with it.")
@click.option("--overwrite", is_flag=True, help="Replace the training config.")
def export_llama_factory(
    folder: Path,
    output: Path,
    dataset_dir: Path | None,
    name: str | None,
    repo: str | None,
    model: str | None,
    template: str | None,
    cutoff_len: int | None,
    output_dir: str | None,
    tokenizer: str | None,
    overwrite: bool,
) -> None:
    """Write an entry in dataset_info.json and a training config for LLaMA-Factory.

    Refused if it would drop a trace of the SFT folder DIR or, with --tokenizer, cut one off.
    """
    with clear_errors():
        from skill_factory.handoff import llama_factory

        done = llama_factory.export(
            folder,
            output,
            dataset_dir=dataset_dir,
            name=name,
            repo=repo,
            overwrite=overwrite,
            tokenizer=tokenizer,
            model_name_or_path=model,
            template=template,
            cutoff_len=cutoff_len,
            output_dir=output_dir,
        )
    echo(done.told())


@export.command("verl", context_settings=SETTINGS)
@click.option(
    "-i", "--input-dataset", required=True, metavar="PATH|REPO", help="Dataset of questions."
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for train.parquet, val.parquet and train_grpo.sh.",
)
@click.option(
    "--exclude-sft",
    multiple=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Leave out the questions of this SFT folder; can be repeated.",
)
@click.option(
    "--task", metavar="NAME", help="Task of all questions.  [default: what the input says]"
)
@click.option("--input-config", metavar="NAME", help="Config of a Hub dataset.")
@click.option("--input-split", metavar="NAME", help="Split of the input dataset.")
@click.option("--revision", metavar="REV", help="Branch, tag or commit of a Hub dataset.")
@click.option("--question-column", default="question", help="[default: question]")
@click.option("--answer-column", default="answer", help="[default: answer]")
@click.option("--task-column", default="task_source", help="[default: task_source]")
@click.option("--facts-column", default="metadata", help="[default: metadata]")
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
@click.option("--all-numbers", is_flag=True, help="Countdown: every number must be used.")
@click.option("--rounded", is_flag=True, help="Mathematics: take decimals for exact values.")
@click.option(
    "--val-size",
    type=COUNT,
    help="Questions to validate on.  [default: a tenth, at most 500]",
)
@click.option("--seed", type=int, default=0, help="Which questions are those.  [default: 0]")
@click.option("--system-prompt", metavar="TEXT", help="Goes before every question.")
@click.option("--tokenizer", metavar="PATH|REPO", help="Leave out prompts that are too long.")
@click.option("--max-prompt-length", type=COUNT, default=512, help="[default: 512]")
@click.option("--max-response-length", type=COUNT, default=4096, help="[default: 4096]")
@click.option("--model", metavar="PATH|REPO", help="Model to train.")
@click.option("--gpus", type=COUNT, default=4, help="[default: 4]")
@click.option(
    "--verl-version", metavar="V", help="Write the command for it.  [default: the installed one]"
)
@click.option("--overwrite", is_flag=True, help="Replace the folder.")
def export_verl(
    input_dataset: str,
    input_config: str | None,
    input_split: str | None,
    question_column: str,
    answer_column: str,
    task_column: str,
    facts_column: str,
    choices_column: str | None,
    task: str | None,
    several_answers: str | None,
    all_numbers: bool,
    rounded: bool,
    **settings: Any,
) -> None:
    """Write parquet files of questions for verl, and the command that trains on them."""
    with clear_errors():
        from skill_factory.handoff import verl
        from skill_factory.tasks.golds import Several

        columns = verl.Columns(
            question_column, answer_column, task_column, facts_column, choices_column
        )
        several = Several(several_answers) if several_answers else None
        done = verl.export(
            input_dataset,
            columns=columns,
            rules=verl.Rules(task, several, all_numbers, rounded),
            config=input_config,
            split=input_split,
            **settings,
        )
    echo(done.told())


@click.command(context_settings=SETTINGS)
@_FOLDER
@click.option("--task", metavar="NAME", help="Task of all questions.  [default: what is known]")
@click.option(
    "--check",
    "checks",
    multiple=True,
    metavar="NAME",
    help="A check of your own too, file.py:NAME; can be repeated.",
)
@click.option("--rewards/--no-rewards", default=True, help="Replay rewards.  [default]")
@click.option("--tokenizer", metavar="PATH|REPO", help="Look at lengths and special tokens.")
@click.option(
    "--cutoff-len",
    type=COUNT,
    help="Find traces of more tokens; with --tokenizer.",
)
@click.option("-v", "--verbose", is_flag=True, help="Name every trace that has a fault.")
@click.pass_context
def check(
    context: click.Context,
    folder: Path,
    task: str | None,
    checks: tuple[str, ...],
    rewards: bool,
    tokenizer: str | None,
    cutoff_len: int | None,
    verbose: bool,
) -> None:
    """Look at every trace of an SFT folder; exit code 1 if any has a fault.

    The files are whole; no trainer drops a row; each trace can be read back; each earns the reward
    1.0, and 0.0 when its final answer is made wrong, taken away, or moved before the thinking's
    end; none is longer than --cutoff-len.
    """
    with clear_errors():
        if cutoff_len and not tokenizer:
            raise OptionError("--cutoff-len counts tokens; name a --tokenizer")
        from skill_factory.core import tokens
        from skill_factory.handoff import check as checking

        counter = tokens.TokenCounter(tokenizer) if tokenizer else None
        report = checking.check(
            folder,
            task=task,
            rewards=rewards,
            counter=counter,
            cutoff_len=cutoff_len,
            checks=checks,
        )
    echo(report.told(report.traces if verbose else 10))
    if report.faults:
        context.exit(1)
    echo("No fault found.")
