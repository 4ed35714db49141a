"""A run's settings with what else they depend on, and whether all of them go together."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.redaction import public_address
from skill_factory.core.settings.value_types import is_address
from skill_factory.core.whole_files import is_repository
from skill_factory.errors import OptionError
from skill_factory.stages.create.excluded import load_excluded
from skill_factory.stages.create.phrases import load_phrases
from skill_factory.stages.create.settings import HUB
from skill_factory.stages.settings import ModelConfig, RunConfig

NOBODYS_ADDRESS = "http://localhost:8000/v1"
"""Where a server is looked for if nothing says where it is."""


def resolve(config: RunConfig) -> RunConfig:
    """The settings with what else they would depend on: the environment, the current folder.
    Raises `OptionError` for an address in the environment that is none."""
    model, sample = resolve_model(config.model), config.sample
    if sample.prompts:
        prompts = str(Path(sample.prompts).expanduser().absolute())
        sample = sample.model_copy(update={"prompts": prompts})
    create = config.create
    if isinstance(create.exclude, str):
        create = create.model_copy(
            update={"exclude": str(Path(create.exclude).expanduser().absolute())}
        )
    return config.model_copy(update={"model": model, "sample": sample, "create": create})


def resolve_model(model: ModelConfig) -> ModelConfig:
    """A model's settings with the address that the environment names, where they name none. Raises
    `OptionError` if that is none, or if a model is to be served and none is named."""
    if model.serve:
        if not model.name:
            raise OptionError("serve: which model? Give its path, or its name on the Hub (--model)")
        return model
    own = _own_address()
    if model.base_urls:
        path = str(Path(model.base_urls).expanduser().absolute())
        return model.model_copy(update={"base_urls": path})
    named = model.base_url or (public_address(own),)
    if model.local or public_address(own) not in named:
        return model
    if not is_address(own):  # not shown: there may be a password in it
        raise OptionError("$OPENAI_BASE_URL: is no address of a server: http://HOST:PORT/v1")
    # A run's folder has the address without a password that may be in it.
    urls = tuple(own if url == public_address(own) else url for url in named)
    return model.model_copy(update={"base_url": urls})


def _own_address() -> str:
    """The server that is asked where no setting names one."""
    return os.environ.get("OPENAI_BASE_URL") or NOBODYS_ADDRESS


def validate_key(config: ModelConfig, given: Collection[str]) -> None:
    """Raise `OptionError` if a key would be sent on the word of a run's own config.yaml alone: the
    folder may be another's, with a server of theirs in it. `given` names the settings that come
    from the user.

    A key goes out without being asked for by name if it is $OPENAI_API_KEY, for a server that the
    user or their environment names.
    """
    name, own = config.api_key_env, public_address(_own_address())
    if config.local or config.serve or "api_key_env" in given or not os.environ.get(name):
        return
    named = [public_address(url) for url in config.base_url or (own,)]
    theirs = {"base_url", "base_urls"} & set(given) or not (
        config.base_urls or any(address != own for address in named)
    )
    if theirs and name == ModelConfig.model_fields["api_key_env"].default:
        return
    raise OptionError(
        f"only the run's own config.yaml says to send the key in ${name} to "
        f"{config.base_urls or ', '.join(named)}; if that is right, add --api-key-env {name}"
    )


def validate_create(run: RunConfig, folder: Path) -> None:
    """Raise an error if the settings of `create` do not go with a run."""
    config = run.create
    if config.output_dataset and not config.repository:
        raise OptionError(
            f"create.output_dataset: the SFT folder of a run is {folder / 'sft'}; name a "
            "repository on the Hub to push it to, or leave it out"
        )
    if config.repository and not is_repository(config.repository):
        raise OptionError(
            f"create.output_dataset: {config.output_dataset}: a repository on the Hub is written "
            f"as {HUB}org/name"
        )
    for name, known in type(config).model_fields.items():
        elsewhere = name.startswith("input_") or name.endswith("_column")
        if (elsewhere or name in ("revision", "dry_run")) and getattr(
            config, name
        ) != known.default:
            raise OptionError(
                f"create.{name}: has no place in a run: the input is its own annotated.parquet"
            )
    load_phrases(Path(config.phrases) if config.phrases else None)
    load_excluded(config.exclude)
    there = run.sample.prompt_variants
    if config.prompt_variants and not set(config.prompt_variants) & set(there):
        raise OptionError(
            f"create.prompt_variants: none of {', '.join(config.prompt_variants)} is asked; "
            f"sample.prompt_variants are {', '.join(there)}"
            f"{did_you_mean(config.prompt_variants[0], there)}"
        )


def validate_attempts(config: RunConfig) -> None:
    """Raise `OptionError` if a question cannot get as many attempts as a trace needs."""
    most = config.sample.samples * len(config.sample.prompt_variants)
    if config.create.attempts > most and set(config.create.formats) != {"paper"}:
        raise OptionError(
            f"create.attempts: {config.create.attempts} are more than the {most} attempts "
            "that a question gets: lower it, or raise sample.samples"
        )
