"""What a run's settings come to: which model is asked and how hard, and whether all of them go
together."""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path
from typing import Any

from skill_factory.asking.collect import Pace
from skill_factory.errors import OptionError
from skill_factory.models import Model
from skill_factory.models.servers import OpenAIModel
from skill_factory.runs.folder import public_address
from skill_factory.stages.create.phrases import load_phrases
from skill_factory.stages.settings import ModelConfig, RunConfig, is_address

LOCAL_REQUESTS = 32
"""Requests at a time for a model in this process: enough for it to choose from."""


def settled(config: RunConfig) -> RunConfig:
    """The settings with what else they would depend on: the environment, the current folder.
    Raises `OptionError` for an address in the environment that is none."""
    model, sample, own = config.model, config.sample, _own_address()
    if not model.local and model.base_url in (None, public_address(own)):
        if not is_address(own):  # not shown: there may be a password in it
            raise OptionError("$OPENAI_BASE_URL: is no address of a server: http://HOST:PORT/v1")
        # A run's folder has the address without a password that may be in it.
        model = model.model_copy(update={"base_url": own})
    if sample.prompts:
        prompts = str(Path(sample.prompts).expanduser().absolute())
        sample = sample.model_copy(update={"prompts": prompts})
    return config.model_copy(update={"model": model, "sample": sample})


def _own_address() -> str:
    """The server that is asked where no setting names one."""
    return os.environ.get("OPENAI_BASE_URL") or "http://localhost:8000/v1"


def see_key(config: ModelConfig, given: Container[str]) -> None:
    """See that no key is sent on the word of a run's own config.yaml alone: the folder may be
    another's, with a server of theirs in it. `given` names the settings that come from the user.

    A key goes out without being asked for by name if it is $OPENAI_API_KEY, for a server that the
    user or their environment names. Raises `OptionError` for any other.
    """
    name, address = config.api_key_env, public_address(config.base_url)
    if config.local or "api_key_env" in given or not os.environ.get(name):
        return
    theirs = "base_url" in given or address in ("", public_address(_own_address()))
    if theirs and name == ModelConfig.model_fields["api_key_env"].default:
        return
    raise OptionError(
        f"only the run's own config.yaml says to send the key in ${name} to "
        f"{address or public_address(_own_address())}; if that is right, add --api-key-env {name}"
    )


def see_create(run: RunConfig, folder: Path) -> None:
    """See that the settings of step 2 go with a run, before anything is asked."""
    config = run.create
    if config.output_dataset and not config.repository:
        raise OptionError(
            f"create.output_dataset: the SFT folder of a run is {folder / 'sft'}; name a "
            "repository on the Hub to push it to, or leave it out"
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
    there = run.sample.prompt_variants
    if config.prompt_variants and not set(config.prompt_variants) & set(there):
        raise OptionError(
            f"create.prompt_variants: none of {', '.join(config.prompt_variants)} is asked; "
            f"sample.prompt_variants are {', '.join(there)}"
        )


def make_model(config: ModelConfig) -> Model:
    """The model that a config names; raises `ModelError` if it cannot be one."""
    if config.local:
        from skill_factory.models.local import LocalModel

        return LocalModel(config.local, context=config.context)
    return OpenAIModel(
        config.base_url or "",
        config.name,
        api_key_env=config.api_key_env,
        timeout=config.timeout,
        identity=config.identity,
    )


def see_enough(config: RunConfig) -> None:
    """See that a question can get as many attempts as a trace needs, before anything is asked."""
    most = config.sample.samples * len(config.sample.prompt_variants)
    if config.create.attempts > most and set(config.create.formats) != {"paper"}:
        raise OptionError(
            f"create.attempts: {config.create.attempts} are more than the {most} attempts "
            "that a question gets: lower it, or raise sample.samples"
        )


async def only_model(config: ModelConfig) -> str | None:
    """The name of the only model that a server has; raises `ModelError`."""
    model = make_model(config)
    try:
        await model.preflight()
        return model.model if isinstance(model, OpenAIModel) else None
    finally:
        await model.close()


def pace(config: ModelConfig, skip: bool) -> Pace:
    return Pace(
        concurrency=min(config.concurrency, LOCAL_REQUESTS) if config.local else config.concurrency,
        patience=config.patience,
        tries=config.tries,
        skip_too_long=skip or config.skip_too_long,
        retry_refused=config.retry_refused,
        prompt_price=config.prompt_price,
        completion_price=config.completion_price,
    )


def stamp(source: str | None) -> list[Any]:
    """What tells that a local file or folder was changed; empty for what is neither."""
    if not source:
        return []
    path = Path(source).expanduser()
    files = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    found = [(file, file.stat()) for file in files if file.is_file()]
    return [[str(file), stat.st_size, stat.st_mtime_ns] for file, stat in found]
