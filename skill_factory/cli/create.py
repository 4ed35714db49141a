"""The `create` command: `skill-factory create`, or `python -m skill_factory.sft_data_creation`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skill_factory.cli.common import SETTINGS, Command, clear_errors, config_option
from skill_factory.cli.options_from_settings import given_by_stage, options
from skill_factory.core.places import is_remote, place
from skill_factory.core.terminal import echo
from skill_factory.core.whole_files import looks_local
from skill_factory.errors import OptionError
from skill_factory.stages.create.settings import HUB, CreateConfig

if TYPE_CHECKING:
    from skill_factory.stages.create.result import CreateResult


@click.command(cls=Command, context_settings=SETTINGS, params=options("create", CreateConfig))
@config_option("YAML file with any of these settings under the key `create`; flags win.")
def create(config_file: Path | None, **given: Any) -> None:
    """Make an SFT dataset from a reflection-annotated dataset.

    Attempts and reflections of the input become traces: try, reflect, try again, end right. What
    cannot be used is counted, with its reason, in a table at the end and in the output's
    manifest.json.
    """
    with clear_errors():
        from skill_factory.runs.config import load_config

        config = load_config(config_file, given_by_stage(given).get("create", {}))
        check_places(config)
        made = _create(config)
        echo(made.summary())
        if config.dry_run:
            echo("\nDry run: nothing was written.")
            return
        echo(f"\nSFT dataset: {place(config.folder)}")
        if config.repository and config.push:
            from skill_factory.handoff import hub

            folder, repo = Path(config.folder), config.repository
            echo(hub.push(folder, repo, private=config.private).summary())


def _create(config: CreateConfig) -> CreateResult:
    from skill_factory.core import threads as engines  # heavy, and --help does not need them
    from skill_factory.stages.create import pipeline

    engines.save_memory()
    return pipeline.create(config)


def check_places(config: CreateConfig) -> None:
    """Check that there is an input and a place for the output, before anything is made."""
    if not config.input_dataset:
        raise OptionError("no input dataset; name it with -i")
    if config.dry_run:
        return
    if not config.output_dataset:
        raise OptionError("no output dataset; name it with -o")
    if config.repository is not None:
        check_repository(config)
        return
    output = config.output_dataset
    if not (is_remote(output) or looks_local(output) or Path(output).is_dir()):
        raise OptionError(
            f"-o {output}: for a folder write -o ./{output}; for a repository on the Hub, org/name"
        )
    if config.private:
        raise OptionError(f"--private is for a repository on the Hub, and -o {output} is a folder")


def check_repository(config: CreateConfig) -> None:
    """Check that the name is one of a repository, no folder's, and that the Hub's token may write
    there."""
    from skill_factory.core.whole_files import is_repository

    output, repo = config.output_dataset or "", config.repository or ""
    if not is_repository(repo):
        raise OptionError(f"-o {output}: a repository on the Hub is written as {HUB}org/name")
    if not output.startswith(HUB) and Path(output).parent.is_dir():
        raise OptionError(
            f"-o {output}: there is a folder {Path(output).parent} here; for a folder write "
            f"-o ./{output}, and for the repository {HUB}{output}"
        )
    if config.push:
        from skill_factory.handoff.hub_access import check_access

        check_access(repo)
