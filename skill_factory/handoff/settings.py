"""The settings of the commands that hand a dataset on, a class a command.

They are options only, no keys of a config file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from skill_factory.core.places import Place
from skill_factory.core.settings.fields import Section, Settings, same_as
from skill_factory.core.settings.value_types import Count, KnownTask
from skill_factory.stages.settings import QuestionsConfig

_PUSH = Section("Pushing")


class PushSettings(Settings):
    """How an SFT folder is pushed to the Hub."""

    private: bool = _PUSH(False, "If the repository is made now, make it private.")
    revision: str | None = _PUSH(None, "Branch to push to.", unset="main", metavar="BRANCH")
    commit_message: str | None = _PUSH(
        None, "What the commit says.", unset="the number of traces", metavar="TEXT"
    )
    create_pr: bool = _PUSH(False, "Open a pull request instead.")
    report: bool = _PUSH(False, "Make the report, and push it as report.html.")


_ENTRY, _CONFIG = Section("The entry"), Section("The training config")


class LlamaFactorySettings(Settings):
    """What LLaMA-Factory is told."""

    output: Path = _CONFIG(
        Path("llamafactory_sft.yaml"), "The training config.", short="-o", metavar="FILE"
    )
    dataset_dir: Path | None = _ENTRY(
        None,
        "Where the dataset_info.json is that gets the entry.",
        unset="the SFT folder",
        metavar="DIR",
    )
    name: str | None = _ENTRY(None, "Name of the entry.", unset="the folder's name", metavar="NAME")
    repo: str | None = _ENTRY(
        None, "Train on this Hub dataset instead of the files.", metavar="REPO"
    )
    model: str | None = _CONFIG(
        None, "Model to train.", unset="as in the example", metavar="PATH|REPO"
    )
    template: str | None = _CONFIG(None, "LLaMA-Factory's template.", unset="qwen", metavar="NAME")
    cutoff_len: Count | None = _CONFIG(None, "Tokens of the longest trace.", unset="4096")
    output_dir: str | None = _CONFIG(
        None, "Where the trained model goes.", unset="./saves/sft", metavar="DIR"
    )
    tokenizer: str | None = _CONFIG(
        None, "Check lengths and template with it.", metavar="PATH|REPO"
    )
    overwrite: bool = _CONFIG(False, "Replace the training config.")


_INPUT, _OUTPUT = Section("Input"), Section("Output")


class TablesSettings(Settings):
    """Where a run's tables go."""

    output: Place = _OUTPUT.required(
        "The copy: a folder, or the URL of one in a store.", metavar="DIR|URL", short="-o"
    )
    overwrite: bool = _OUTPUT(False, "Replace the copy.")


_COMMAND = Section("The command that trains")


class VerlSettings(Settings):
    """Which questions verl trains on, and how."""

    input_dataset: str = _INPUT.required(
        "Questions: a file, a folder, or org/name on the Hub.", metavar="PATH|REPO", short="-i"
    )
    input_config: str | None = same_as(QuestionsConfig, "input_config", section="Input")
    input_split: str | None = same_as(QuestionsConfig, "input_split", section="Input")
    revision: str | None = same_as(QuestionsConfig, "revision", section="Input")
    task: KnownTask | None = same_as(QuestionsConfig, "task", section="Input")
    question_column: str = same_as(QuestionsConfig, "question_column", section="Input")
    answer_column: str = same_as(QuestionsConfig, "answer_column", section="Input")
    task_column: str = same_as(QuestionsConfig, "task_column", section="Input")
    facts_column: str = same_as(QuestionsConfig, "facts_column", section="Input")
    choices_column: str | None = same_as(QuestionsConfig, "choices_column", section="Input")
    several_answers: Literal["any", "all"] | None = same_as(
        QuestionsConfig, "several_answers", section="Input"
    )
    all_numbers: bool = same_as(
        QuestionsConfig,
        "all_numbers",
        section="Input",
        help="Countdown: every number must be used.",
    )
    rounded: bool = same_as(QuestionsConfig, "rounded", section="Input")
    exclude_sft: tuple[Path, ...] = _INPUT(
        (), "Leave out the questions of this SFT folder; again for more.", metavar="DIR"
    )
    output: Path = _OUTPUT.required(
        "Folder for train.parquet, val.parquet and train_grpo.sh.", metavar="DIR", short="-o"
    )
    val_size: Count | None = _OUTPUT(
        None, "Questions to validate on.", unset="a tenth, at most 500"
    )
    seed: int = _OUTPUT(0, "Which questions those are.")
    system_prompt: str | None = _OUTPUT(None, "Goes before every question.", metavar="TEXT")
    overwrite: bool = _OUTPUT(False, "Replace the folder.")
    tokenizer: str | None = _OUTPUT(
        None, "Leave out prompts that are too long.", metavar="PATH|REPO"
    )
    max_prompt_length: Count = _OUTPUT(512, "Tokens of a prompt.")
    max_response_length: Count = _COMMAND(4096, "Tokens of a response.")
    model: str | None = _COMMAND(None, "Model to train.", unset="MODEL", metavar="PATH|REPO")
    gpus: Count = _COMMAND(4, "GPUs of the machine.")
    verl_version: str | None = _COMMAND(
        None, "The verl it is for.", unset="the installed one, else 0.9.1", metavar="V"
    )
