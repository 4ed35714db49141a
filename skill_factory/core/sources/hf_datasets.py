"""Datasets that the library `datasets` loads: from the Hub, or a folder with splits or configs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skill_factory.core.columns import Columns
from skill_factory.core.copies import kept_copy, named
from skill_factory.core.places import RemotePath
from skill_factory.core.redaction import redact_hub
from skill_factory.core.sources.annotated_columns import find_columns, read_columns
from skill_factory.core.sources.batches import (
    BATCH_BYTES,
    MAX_BATCH_ROWS,
    Batch,
    UnreadIn,
    add_unread,
)
from skill_factory.core.sources.dataset_cards import card_header, license_of
from skill_factory.errors import InputError, first_line


@dataclass
class LoadedSource:
    """A dataset from the Hub, or a folder read by the rules of `datasets`; a `Source`."""

    name: str
    origin: dict[str, str | None]
    dataset: Any
    license: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    unread: dict[str, UnreadIn] = field(default_factory=dict)

    def count(self) -> int | None:
        return len(self.dataset)

    def size(self) -> int:
        return int(self.dataset.data.nbytes)

    def batches(self, columns: Columns, at_once: int | None = None) -> Iterator[Batch]:
        if not len(self.dataset):
            raise InputError(f"{self.name}: the dataset has no rows")
        inputs = find_columns(self.dataset.features.arrow_schema, columns, self.name)
        rows = (at_once or BATCH_BYTES) * len(self.dataset) // max(1, self.size())
        size = max(1, min(MAX_BATCH_ROWS, rows))
        chosen = self.dataset.select_columns([input_column.name for input_column in inputs])
        count = 0
        for table in chosen.with_format("arrow").iter(size):
            for batch in table.combine_chunks().to_batches():
                taken = read_columns(batch, inputs, self.name, count)
                add_unread(self.unread, taken.unread, self.name, count)
                yield Batch(taken.table, self.name, count, count)
                count += batch.num_rows
        self.rows[self.name] = count


def load(
    name: str | Path | RemotePath, config: str | None, split: str | None, revision: str | None
) -> LoadedSource:
    """Load a dataset by its name on the Hub, or a folder; `split` None: train. Of a folder in a
    store, what is read is a copy, for as long as this process lasts.

    Raises `InputError` for what cannot be loaded.
    """
    # Imported here: `datasets` takes 0.7 s to import, and plain files do not need it.
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    folder = kept_copy(name) if isinstance(name, RemotePath) else name
    license = license_of(card_header(folder)) if isinstance(folder, Path) else None
    not_local = "" if isinstance(folder, Path) else "no local file or folder of this name, and "
    try:
        if isinstance(folder, Path) and ((folder / "state.json").exists()):
            found = datasets.load_from_disk(str(folder))
        elif isinstance(folder, Path) and (folder / "dataset_dict.json").exists():
            found = _split_of(datasets.load_from_disk(str(folder)), name, split)
        elif isinstance(folder, Path):
            found = datasets.load_dataset(str(folder), config, split=split or "train")
        else:
            # Asked first: it names the commit, and `datasets` serves its cache to any token.
            with suppress(OfflineModeIsEnabled):
                info = HfApi().dataset_info(str(name), revision=revision)
                revision, license = info.sha, license_of(info.card_data)
            found = datasets.load_dataset(
                str(name), config, split=split or "train", revision=revision
            )
    except RepositoryNotFoundError:
        raise InputError(
            f"{name}: {not_local}no dataset on the Hub that you may read; "
            "for a private one log in with `hf auth login` or set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"{name}: the dataset has no revision {revision!r}") from None
    except InputError:
        raise
    except Exception as error:  # of four libraries' own trees, which have no common root
        if (splits := _UNKNOWN_SPLIT.search(str(error))) is not None:
            raise _no_split(name, split, re.findall(r"[\w.-]+", splits[1])) from None
        reason = named(redact_hub(first_line(error)))
        if not isinstance(folder, Path) and _UNREACHABLE & {
            kind.__name__ for kind in type(error).__mro__
        }:
            raise InputError(
                f"{name}: {not_local}no network: the Hub cannot be reached ({reason})"
            ) from None
        raise InputError(f"{name}: {not_local}cannot be loaded: {reason}") from None
    origin = {"config": found.info.config_name, "split": str(found.split), "revision": revision}
    return LoadedSource(str(name), origin, found, license)


_UNREACHABLE = {"TransportError", "ConnectionError", "Timeout"}
"""Errors of httpx, Python and requests, one of which huggingface_hub and `datasets` raise when
there is no connection."""

# What `datasets` says of a split that is not there.
_UNKNOWN_SPLIT = re.compile(r"Unknown split .*Should be one of \[(.*)\]")


def _split_of(splits: Mapping[str, Any], name: Any, split: str | None) -> Any:
    if (split or "train") not in splits:
        raise _no_split(name, split, list(splits))
    return splits[split or "train"]


def _no_split(name: Any, asked_for: str | None, splits: list[str]) -> InputError:
    problem = f"has no split {asked_for!r}; it " if asked_for else ""
    return InputError(
        f"{name}: {problem}holds the splits {', '.join(sorted(splits))}; "
        "choose one with --input-split"
    )
