"""What was made, as an object: an SFT dataset, a run's folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skill_factory.core.places import Place, RemotePath, read_text
from skill_factory.errors import InputError, OptionError

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class SFT:
    """An SFT dataset on disk or in a store. `folder` None: a dry run, nothing was written.

    `summary` is what the command prints at its end; `ledger` has by kind (rows, attempts,
    reflections, questions, traces) what was read, kept and lost, with the reasons.
    """

    folder: Place | None
    summary: str
    ledger: dict[str, Any]

    @property
    def manifest(self) -> dict[str, Any]:
        """Settings, versions, digests and counts, as manifest.json has them."""
        return _manifest_in(self._folder())

    def dataset(self) -> datasets.Dataset:
        """The traces: conversations (or messages), sft_template_type_idx, trace_id."""
        return as_dataset(self.table())

    def to_pandas(self) -> pd.DataFrame:
        """The traces as a data frame; a conversation is an array of turns."""
        return self.table().to_pandas()

    def table(self) -> pa.Table:
        """The traces as an Arrow table."""
        return _read(self._folder() / "sft_train")

    def plan(self) -> pa.Table:
        """Where each piece of each trace comes from (`core.tables.PLAN`)."""
        return _read(self._folder() / "plan.parquet")

    def _folder(self) -> Place:
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


def _manifest_in(folder: Place) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        found: dict[str, Any] = json.loads(read_text(path))
    except FileNotFoundError:
        raise InputError(f"{path}: is missing") from None
    return found


def _read(path: Place) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise InputError(f"{path}: is missing")
    if isinstance(path, RemotePath):
        return pa.concat_tables(pq.read_table(one.open()) for one in path.files() or [path])
    return pq.read_table(path)


def as_dataset(table: pa.Table) -> datasets.Dataset:
    """A table as a dataset, of the same memory."""
    import datasets
    from datasets.table import InMemoryTable

    return datasets.Dataset(InMemoryTable(table))
