"""The functions of `import skill_factory`: the commands, from a script or a notebook.

Paths are `str` or `Path`. Settings are keywords, named as in a config file. Every error is a
`SkillFactoryError`, with the words of the command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.errors import InputError, OptionError, OutputError, of_disk
from skill_factory.tasks import Grade

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import pyarrow as pa

    from skill_factory.checks.findings import Report
    from skill_factory.core.sources.batches import Source
    from skill_factory.handoff.hub import Pushed
    from skill_factory.look.diff import SftDiff
    from skill_factory.look.diff_runs import RunDiff
    from skill_factory.look.explain import Explanation
    from skill_factory.look.folders import Trace
    from skill_factory.look.verify import Verification
    from skill_factory.runs.folder import Stage

PathLike = str | Path


@dataclass(frozen=True)
class SFT:
    """An SFT dataset on disk. `folder` None: a dry run, nothing was written.

    `summary` is what the command prints at its end; `ledger` has by kind (rows, attempts,
    reflections, questions, traces) what was read, kept and lost, with the reasons.
    """

    folder: Path | None
    summary: str
    ledger: dict[str, Any]

    @property
    def manifest(self) -> dict[str, Any]:
        """Settings, versions, digests and counts, as manifest.json has them."""
        return _manifest_in(self._folder())

    def dataset(self) -> datasets.Dataset:
        """The traces: conversations (or messages), sft_template_type_idx, trace_id."""
        return _dataset(self.table())

    def to_pandas(self) -> pd.DataFrame:
        """The traces as a data frame; a conversation is an array of turns."""
        return self.table().to_pandas()

    def table(self) -> pa.Table:
        """The traces as an Arrow table."""
        return _read(self._folder() / "sft_train")

    def plan(self) -> pa.Table:
        """Where each piece of each trace comes from (`core.tables.PLAN`)."""
        return _read(self._folder() / "plan.parquet")

    def _folder(self) -> Path:
        if self.folder is None:
            raise OptionError("a dry run has written nothing")
        return self.folder


@dataclass(frozen=True)
class Run:
    """A run's folder: of a run that was just made, or of any other."""

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    @property
    def manifest(self) -> dict[str, Any]:
        """Of each stage: what it was made from, and what became of everything."""
        return _manifest_in(self.folder)

    @property
    def sft(self) -> SFT:
        """The SFT dataset; raises `InputError` if it is not there, or not whole."""
        from skill_factory.core.whole_files import verified_manifest

        folder = self.folder / "sft"
        manifest = verified_manifest(folder)
        counts = manifest["counts"]
        summary = f"{counts['traces']:,} traces of {counts['questions']:,} questions"
        return SFT(folder, summary, manifest["ledger"])

    def table(self, name: str) -> pa.Table:
        """A stage's table: questions, attempts, graded or annotated."""
        return _read(self.folder / f"{name}.parquet")

    def to_pandas(self, name: str) -> pd.DataFrame:
        """A stage's table as a data frame."""
        return self.table(name).to_pandas()


def questions(source: PathLike, **settings: Any) -> datasets.Dataset:
    """Questions with their gold answers, made or read: `question`, `answer`, `task_source` and
    `metadata`, all text. `source` and settings are those of `skill-factory questions`. What was
    left out is told in the dataset's `info.description`.

    Raises `OptionError` for a setting, `InputError` for a dataset.
    """
    from skill_factory.runs.config import load_run
    from skill_factory.stages.questions.making import make_questions

    with _disk():
        given = {"source": str(source)} | _texts(settings)
        config = load_run(None, {"questions": given}).questions
        assert config is not None
        made = make_questions(config)
    dataset = _dataset(made.table)
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
    from skill_factory.stages.create import pipeline

    if folder is None and not settings.get("dry_run"):
        raise OptionError("no folder: name one, or say dry_run=True")
    _check_create(data, settings)
    given = {"push": False} | _texts(settings)
    given["input_dataset"] = str(data) if isinstance(data, str | Path) else None
    if folder is not None:
        given["output_dataset"] = str(Path(folder).expanduser().absolute())
    with _disk():
        read = load_config(Path(config) if config else None, given)
        made = pipeline.create(read, _in_memory(data))
    there = None if read.dry_run else Path(read.folder)
    return SFT(there, made.summary(), made.ledger.as_dict())


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


def traces(
    path: PathLike, number: int | None = None, seed: int = 0, **wanted: str
) -> Iterator[Trace]:
    """The traces that a path names, each with its `spans()`; `number` None: all. `wanted` has the
    options trace, question, label and grep of `show`. Raises `InputError` if there are none."""
    from skill_factory.look.choosing import Wanted, traces_in

    with _disk():
        yield from traces_in(Path(path), Wanted(**wanted), number, seed)


def check(data: PathLike, **settings: Any) -> Report:
    """Look for faults in an SFT folder, or in a dataset of chats: `skill-factory check`. The
    report's `errors` are empty for a sound one. Settings are the command's options: `task`,
    `rewards`, `tokenizer`, `cutoff_len`, `checks` (your own, one or several), `against`, `ignore`.
    Raises `InputError` for what holds no traces."""
    from skill_factory.checks.check import check, checks_of
    from skill_factory.checks.settings import CheckSettings
    from skill_factory.core.settings.checking import checked

    for name in ("strict", "json", "verbose"):
        if name in settings:
            raise OptionError(f"{name}: is for the command; see the report's errors and warnings")
    with _disk():
        return check(data, checks_of(checked(CheckSettings, _texts(settings))))


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

    with _disk():
        return hub.push(
            Path(folder),
            repo,
            private=private,
            revision=revision,
            message=message,
            create_pr=create_pr,
        )


def explain(folder: PathLike, trace: str) -> Explanation:
    """Where every word of a trace is from: `skill-factory explain`. `trace` is a trace_id, or how
    one begins. Raises `InputError` for what is no SFT folder or run, and a trace that is not
    there."""
    from skill_factory.look import explain as explaining
    from skill_factory.look.diff import sft_of

    with _disk():
        return explaining.explain(sft_of(Path(folder)), trace)


def verify(folder: PathLike, **settings: Any) -> Verification:
    """Make an SFT folder again and compare: `skill-factory verify`. What came of it is `same`, or
    its `findings` say why not. Settings are the command's options: `input`, `formats`, `task`,
    `tokenizer`, `workers`. Raises `InputError` for what is no SFT folder or run."""
    from skill_factory.core.settings.checking import checked
    from skill_factory.look import verify as verifying
    from skill_factory.look.explain_settings import VerifySettings

    if "json" in settings:
        raise OptionError("json: is for the command; see what is returned")
    with _disk():
        return verifying.verify(Path(folder), checked(VerifySettings, _texts(settings)))


def diff(before: PathLike, after: PathLike) -> SftDiff | RunDiff:
    """What differs between two SFT folders, or two runs: `skill-factory diff`. `differ` is False
    if nothing does. Raises `InputError` for what is neither."""
    from skill_factory.look.diff_runs import diff as compare

    with _disk():
        return compare(Path(before), Path(after))


def grade(task: str, answer: str, gold: Any, facts: Mapping[str, Any] | None = None) -> Grade:
    """Whether an answer is right, wrong or undecided. `gold` is the gold answer as a dataset has
    it, `facts` what the task needs besides (Countdown: `numbers`, `target`).

    Raises `TaskError` for a task that is not known, `InputError` for a gold answer that cannot be
    read.
    """
    from skill_factory.tasks import gold_of, graded, load_task, settled
    from skill_factory.tasks.golds import Gold

    known = load_task(settled(task))
    found = gold_of(known, gold, dict(facts or {}))
    if not isinstance(found, Gold):
        raise InputError(f"gold: {gold!r} cannot be read: {found}")
    return graded(known, answer, found.text, found.facts)


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
    from skill_factory.runs.run import Run as Going

    tell = progress or (lambda line: None)
    begin, end = _stage("first", first or "questions"), _stage("last", last)
    if STAGES.index(begin) > STAGES.index(end):
        raise OptionError(f"first: {begin} comes after last, {end}")
    with _disk():
        settled = load_run(_content(config), _by_stage(settings))
        going = Going(Path(folder), settled, tell)
        going.go(begin, end, anew=first is not None)
    return Run(Path(folder))


def _stage(argument: str, name: str) -> Stage:
    from skill_factory.runs.folder import Stage

    try:
        return Stage(name)
    except ValueError:
        there = ", ".join(Stage)
        raise OptionError(
            f"{argument}: expected one of {there}, not {name!r}{did_you_mean(str(name), Stage)}"
        ) from None


def _content(config: Any) -> Path | dict[Any, Any]:
    """A config file's path, or what it would hold."""
    if isinstance(config, str | Path):
        return Path(config)
    if not isinstance(config, Mapping):
        raise OptionError(f"config: expected a path or a mapping, not {type(config).__name__}")
    return {
        stage: _texts(said) if isinstance(said, Mapping) else said for stage, said in config.items()
    }


def _by_stage(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings by the stage that has them; raises `OptionError` for those of no stage, or of
    several."""
    from skill_factory.stages.settings import STAGES

    placed: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        if name in STAGES:
            if not isinstance(value, Mapping):
                raise OptionError(f"{name}: expected a mapping of its settings, {name}={{...}}")
            placed.setdefault(name, {}).update(_texts(value))
            continue
        having = [stage for stage, fields in STAGES.items() if name in fields.model_fields]
        if len(having) != 1:
            where = ", ".join(f"{stage}={{{name!r}: ...}}" for stage in having)
            raise OptionError(
                f"{name}: say which: {where}" if having else f"{name}: no stage has this setting"
            )
        placed.setdefault(having[0], {}).update(_texts({name: value}))
    return placed


def _texts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a config file has them: paths as text."""
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in settings.items()
    }


@contextmanager
def _disk() -> Iterator[None]:
    """Turn errors of the disk into ours."""
    try:
        yield
    except OSError as error:
        raise OutputError(of_disk(error)) from None


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
        data = _dataset(data)
    if not isinstance(data, datasets.Dataset):
        raise OptionError(
            f"data: {type(data).__name__}; expected a path, a datasets.Dataset, a pandas DataFrame "
            "or a pyarrow Table"
        )
    return LoadedSource(IN_MEMORY, no_origin(), data)


def _manifest_in(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: is missing") from None
    return found


def _read(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    if not path.exists():
        raise InputError(f"{path}: is missing")
    return pq.read_table(path)


def _dataset(table: pa.Table) -> datasets.Dataset:
    import datasets
    from datasets.table import InMemoryTable

    return datasets.Dataset(InMemoryTable(table))
