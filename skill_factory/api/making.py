"""From Python: `questions`, `create`, `run`, `push`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skill_factory.api.common import PathLike, disk
from skill_factory.api.made import SFT, Run, as_dataset
from skill_factory.core.copies import fetched
from skill_factory.core.places import RemotePath, place
from skill_factory.errors import OptionError

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import pyarrow as pa

    from skill_factory.core.sources.batches import Source
    from skill_factory.handoff.hub import Pushed


def questions(source: PathLike, **settings: Any) -> datasets.Dataset:
    """Questions with their gold answers, made or read: `question`, `answer`, `task_source` and
    `metadata`, all text. `source` and settings are those of `skill-factory questions`. What was
    left out is told in the dataset's `info.description`.

    Raises `OptionError` for a setting, `InputError` for a dataset.
    """
    from skill_factory.runs.config import load_run
    from skill_factory.runs.keywords import as_texts
    from skill_factory.stages.questions.making import make_questions

    with disk():
        given = {"source": str(source)} | as_texts(settings)
        config = load_run(None, {"questions": given}).questions
        assert config is not None
        made = make_questions(config)
    dataset = as_dataset(made.table)
    dataset.info.description = made.summary()
    return dataset


def create(
    data: PathLike | datasets.Dataset | pd.DataFrame | pa.Table,
    folder: PathLike | None = None,
    *,
    config: PathLike | None = None,
    **settings: Any,
) -> SFT:
    """Make an SFT dataset of attempts and reflections: `skill-factory create`.

    `data` is a file, a folder, a dataset on the Hub, or rows in memory. `folder` None: with
    `dry_run=True` only. Settings are those of the config's key `create`. Pushes nowhere: see
    `push`. Raises `SkillFactoryError`s, `NothingMadeError` where no trace could be made.
    """
    from skill_factory.runs.config import load_config
    from skill_factory.runs.keywords import as_texts
    from skill_factory.stages.create import pipeline

    if folder is None and not settings.get("dry_run"):
        raise OptionError("no folder: name one, or say dry_run=True")
    _check_create(data, settings)
    given = {"push": False} | as_texts(settings)
    given["input_dataset"] = str(data) if isinstance(data, str | Path) else None
    if folder is not None:
        there = place(folder)
        given["output_dataset"] = (
            str(folder) if isinstance(there, RemotePath) else str(there.expanduser().absolute())
        )
    with disk():
        read = load_config(Path(config) if config else None, given)
        made = pipeline.create(read, _in_memory(data))
    return SFT(None if read.dry_run else place(read.folder), made.summary(), made.ledger.as_dict())


def _check_create(data: Any, settings: Mapping[str, Any]) -> None:
    """Raises `OptionError` for settings of `create` that would not be used."""
    if isinstance(data, str) and not data.strip():
        raise OptionError("data: expected a path or a dataset on the Hub, not an empty name")
    for name, argument in (("input_dataset", "data"), ("output_dataset", "folder")):
        if name in settings:
            raise OptionError(f"{name}: is the argument {argument}")
    for name in ("push", "private"):
        if settings.get(name):
            raise OptionError(f"{name}: nothing is pushed here; push the folder with `sf.push`")
    for name in ("input_config", "input_split", "revision"):
        if settings.get(name) is not None and not isinstance(data, str | Path):
            raise OptionError(f"{name}: is for a path or a dataset on the Hub, not rows in memory")


def _in_memory(data: Any) -> Source | None:
    """Rows in memory as step 2 reads them; None for a path."""
    if isinstance(data, str | Path):
        return None
    import datasets
    import pyarrow as pa

    from skill_factory.core.sources.batches import IN_MEMORY, no_origin
    from skill_factory.core.sources.hf_datasets import LoadedSource

    if type(data).__module__.partition(".")[0] == "pandas":
        data = pa.Table.from_pandas(data, preserve_index=False)
    if isinstance(data, pa.Table):
        data = as_dataset(data)
    if not isinstance(data, datasets.Dataset):
        raise OptionError(
            f"data: {type(data).__name__}; expected a path, a datasets.Dataset, a pandas DataFrame "
            "or a pyarrow Table"
        )
    return LoadedSource(IN_MEMORY, no_origin(), data)


def run(
    config: PathLike | Mapping[str, Any],
    folder: PathLike,
    *,
    first: str | None = None,
    last: str = "create",
    progress: Callable[[str], None] | None = print,
    **settings: Any,
) -> Run:
    """All stages in one folder: `skill-factory run`. What is there is gone on with. Pushes nowhere:
    see `push`.

    `config` is a config file, or its content as a mapping. Settings are those of any stage, where
    their names are unique (`count=20`, `samples=4`), or a mapping under a stage's name
    (`sample={"temperature": 1.0}`). `first` and `last` are stages: questions, sample, grade,
    reflect or create. The first is made anew; None: all, each only where it is not made yet.
    `progress` takes each line that is told; None: nothing is.

    Works where an event loop runs, as in a notebook. Ctrl-C there stops it as in a terminal: the
    answers that came are kept, and the same call goes on from there. Raises `SkillFactoryError`s.
    """
    from skill_factory.runs.config import load_run
    from skill_factory.runs.folder import STAGES
    from skill_factory.runs.keywords import config_content, settings_by_stage, stage_named
    from skill_factory.runs.run import Run as Going

    tell = progress or (lambda line: None)
    begin, end = stage_named("first", first or "questions"), stage_named("last", last)
    if STAGES.index(begin) > STAGES.index(end):
        raise OptionError(f"first: {begin} comes after last, {end}")
    with disk():
        settled = load_run(config_content(config), settings_by_stage(settings))
        going = Going(Path(folder), settled, tell)
        going.go(begin, end, anew=first is not None)
    return Run(Path(folder))


def push(
    folder: PathLike,
    repo: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    create_pr: bool = False,
) -> Pushed:
    """Push an SFT folder to a dataset repository on the Hub: `skill-factory push`. Raises
    `OptionError` for a name that no repository can have, `HubError` for what the Hub does."""
    from skill_factory.handoff import hub

    with disk(), fetched(place(folder)) as here:
        return hub.push(
            here,
            repo,
            private=private,
            revision=revision,
            message=message,
            create_pr=create_pr,
        )
