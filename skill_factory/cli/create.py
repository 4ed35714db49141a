"""The `create` command: `skill-factory create`, or `python -m skill_factory.cli.create`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skill_factory.cli.common import COUNT, SETTINGS, clear_errors
from skill_factory.core.files import looks_local
from skill_factory.core.terminal import Guarded, echo
from skill_factory.errors import OptionError
from skill_factory.stages.create.formats import FORMATS
from skill_factory.tasks import TASKS

if TYPE_CHECKING:
    from skill_factory.stages.create.settings import CreateConfig

# Options that take several values after one flag, as argparse's nargs="+" does; click has no such
# thing.
_SEVERAL = {
    "--formats",
    "--prompt-variants",
    "--prompt_variants_to_use",
    "--drop-reflections-containing",
}


class _SeveralValues(Guarded):
    """Reads `--formats A B` as `--formats A --formats B`. The command has no arguments that this
    could swallow."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        flag, values = "", 0
        for arg in args:
            if arg.startswith("-") and arg != "-":
                flag, value, _ = arg.partition("=")
                values = 1 if value else 0
                spread.append(arg)
                continue
            if flag in _SEVERAL and values:
                spread.append(flag)
            spread.append(arg)
            values += 1
        return super().parse_args(ctx, spread)


def _commas(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...] | None:
    names = tuple(part.strip() for value in values for part in value.split(",") if part.strip())
    if values and not names:
        raise click.BadParameter("expected a name")
    return names or None


@click.command(
    cls=_SeveralValues,
    context_settings=SETTINGS,
)
@click.option(
    "-i",
    "--input-dataset",
    "--input_reflection_dataset_name",
    "input_dataset",
    metavar="PATH|REPO",
    help="Annotated dataset: a parquet or JSON file, a folder of them, or a dataset on the Hub.",
)
@click.option(
    "-o",
    "--output-dataset",
    "--output_dataset_name",
    "output_dataset",
    metavar="PATH|REPO",
    help="Where the SFT folder goes: a path (./sft), or org/name on the Hub.",
)
@click.option(
    "-c",
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="YAML file with any of these settings under the key `create`; flags win.",
)
@click.option("--input-config", metavar="NAME", help="Config of a Hub dataset.")
@click.option("--input-split", metavar="NAME", help="Split of the input dataset.")
@click.option("--revision", metavar="REV", help="Branch, tag or commit of a Hub dataset.")
@click.option(
    "--attempts",
    "--num_responses_ignore_correctness",
    "attempts",
    type=COUNT,
    help="Attempts in the longest trace; a question needs as many valid ones.  [default: 5]",
)
@click.option(
    "--repeats",
    "--num_repeats_per_question",
    "repeats",
    type=COUNT,
    help="How often each format goes over a question.  [default: 1]",
)
@click.option(
    "--formats",
    multiple=True,
    callback=_commas,
    metavar="NAME...",
    help=f"Formats of the traces, one or several: {', '.join(FORMATS)}.  [default: *C_full]",
)
@click.option(
    "--sample-lengths/--no-sample-lengths",
    "--sampling_response_counts",
    "sample_lengths",
    default=None,
    help="Formats with one trace a question draw its length from 2 to --attempts.",
)
@click.option(
    "--unique-variants/--no-unique-variants",
    "--force_unique_prompting_types",
    "unique_variants",
    default=None,
    help="The attempts of one trace all come from different prompt variants.",
)
@click.option(
    "--prompt-variants",
    "--prompt_variants_to_use",
    "prompt_variants",
    multiple=True,
    callback=_commas,
    metavar="NAME...",
    help="Use attempts of these prompt variants only.  [default: all]",
)
@click.option(
    "--subsample",
    "--subsample_size",
    "subsample",
    type=COUNT,
    help="Keep so many traces, drawn from all.",
)
@click.option(
    "--drop-reflections-containing",
    multiple=True,
    metavar="TEXT...",
    callback=lambda ctx, param, values: values or None,
    help="Drop reflections that contain one of these texts, in any case; commas belong to a text.",
)
@click.option(
    "--task",
    metavar="NAME",
    help=f"Task of all questions: {', '.join(TASKS)}.  [default: what the input says]",
)
@click.option(
    "--max-tokens", type=COUNT, help="Drop traces of more tokens, the chat template's included."
)
@click.option("--tokenizer", metavar="PATH|REPO", help="Tokenizer to count --max-tokens with.")
@click.option(
    "--layout",
    type=click.Choice(["conversations", "messages"]),
    help="Name of the column of the turns; TRL wants messages.  [default: conversations]",
)
@click.option(
    "--phrases", metavar="FILE", help="YAML file with other phrases between the attempts."
)
@click.option("--seed", type=int, help="[default: 0]")
@click.option("--question-column", metavar="NAME", help="[default: question]")
@click.option("--variant-column", metavar="NAME", help="[default: prompt_variant]")
@click.option(
    "--response-column",
    "--response_column",
    "response_column",
    metavar="NAME",
    help="[default: model_responses__mutated_prompts]",
)
@click.option(
    "--correctness-column",
    "--responses_correctness_column",
    "correctness_column",
    metavar="NAME",
    help="[default: model_responses__mutated_prompts__eval_is_correct]",
)
@click.option(
    "--extracted-answer-column",
    "--extracted_answer_column",
    "extracted_answer_column",
    metavar="NAME",
    help="[default: model_responses__mutated_prompts__eval_extracted_answers]",
)
@click.option(
    "--reflection-column",
    "--reflection_column",
    "reflection_column",
    metavar="NAME",
    help="[default: model_responses__mutated_prompts_reflection]",
)
@click.option("--answer-column", metavar="NAME", help="Gold answers.  [default: answer]")
@click.option("--task-column", metavar="NAME", help="Tasks.  [default: task_source]")
@click.option(
    "--facts-column", metavar="NAME", help="What graders need besides.  [default: metadata]"
)
@click.option(
    "--license", metavar="NAME", help="License for the card.  [default: that of the input's card]"
)
@click.option("--model", metavar="NAME", help="For the card: the model whose texts these are.")
@click.option(
    "--push/--no-push", default=None, help="Push to the Hub if -o names a repository.  [default]"
)
@click.option(
    "--private/--no-private", default=None, help="A repository that the push makes is private."
)
@click.option(
    "--workers",
    type=COUNT,
    help="Threads; the result is the same.  [default: cores, at most 4]",
)
@click.option(
    "--overwrite/--no-overwrite",
    default=None,
    help="Replace the output folder once the new one is whole.",
)
@click.option("--dry-run/--no-dry-run", default=None, help="Say what would be made, write nothing.")
def create(config_file: Path | None, **flags: Any) -> None:
    """Make an SFT dataset from a reflection-annotated dataset.

    Attempts and reflections of the input become traces: try, reflect, try again, end right. What
    cannot be used is counted, with its reason, in a table at the end and in the output's
    manifest.json.
    """
    with clear_errors():
        from skill_factory.runs.config import load_config  # takes a quarter of a second

        config = load_config(
            config_file, {name: value for name, value in flags.items() if value is not None}
        )
        _check_places(config)
        from skill_factory.core import engines  # heavy, and --help does not need them
        from skill_factory.stages.create import pipeline

        engines.save_memory()
        made = pipeline.create(config)
        echo(made.summary())
        if config.dry_run:
            echo("\nDry run: nothing was written.")
            return
        echo(f"\nSFT dataset: {config.folder}")
        if config.repository and config.push:
            from skill_factory.handoff import hub

            folder, repo = Path(config.folder), config.repository
            echo(hub.push(folder, repo, private=config.private).summary())


def _check_places(config: CreateConfig) -> None:
    if not config.input_dataset:
        raise OptionError("no input dataset; name it with -i")
    if config.dry_run:
        return
    if not config.output_dataset:
        raise OptionError("no output dataset; name it with -o")
    output = config.output_dataset
    if not (config.repository or looks_local(output) or Path(output).is_dir()):
        raise OptionError(
            f"-o {output}: for a folder write -o ./{output}; for a repository on the Hub, org/name"
        )
    if config.repository and Path(output).parent.is_dir():
        raise OptionError(
            f"-o {output}: there is a folder {Path(output).parent} here; for a folder write "
            f"-o ./{output}, and for the repository make a folder and use `skill-factory push`"
        )
    if config.private and not config.repository:
        raise OptionError(f"--private is for a repository on the Hub, and -o {output} is a folder")
