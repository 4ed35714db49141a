"""Push an SFT folder to the Hub: in one commit, merged with what is there, checked afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from skill_factory.core.whole_files import is_repository, sha256, verified_manifest
from skill_factory.errors import HubError, InputError, OptionError
from skill_factory.handoff.hub_errors import asked_to_wait, reason_of, status_of
from skill_factory.stages.create.card import (
    CONFIG,
    REPORT,
    REPORT_SIGNATURE,
    config_files,
    pushed_card,
)
from skill_factory.stages.create.settings import without_scheme

MAX_FILES = 50
"""Files of one push."""

_WAITS = (2.0, 8.0, 30.0)
"""Seconds before the commit is tried again; a `Retry-After` of the Hub's wins, up to a minute."""

_DATA = (".parquet", ".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".arrow", ".zip", ".tar")

_OURS = (f"{CONFIG}/", "plan.parquet", "manifest.json", "dataset_info.json", "README.md", REPORT)


class Pushed(NamedTuple):
    """Where a folder is now.

    `changed` counts the files that were not there yet, or are there no longer; 0: no commit was
    needed. `request` is the address of a pull request, None without one.
    """

    repo: str
    revision: str
    commit: str
    changed: int
    request: str | None

    def summary(self) -> str:
        """For a person: what is where, and how to load it."""
        if not self.changed:
            return f"{self.repo}: everything was there already ({self.revision})"
        where = f"pull request {self.request}" if self.request else f"branch {self.revision}"
        more = f", revision={self.revision!r}" if self.revision != "main" else ""
        return (
            f"Pushed to {self.repo}, {where}: {self.changed} files changed, "
            "and the Hub's digests agree\n"
            f'load_dataset("{self.repo}", "{CONFIG}", split="train"{more})'
        )


def push(
    folder: Path,
    repo: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    create_pr: bool = False,
    report: Path | None = None,
) -> Pushed:
    """Make the dataset `repo` hold an SFT folder under the config `sft_train`, split `train`.

    The repository and the branch `revision` (None: main) are made if they are not there. Other
    configs, and the rest of the card, stay; older traces of `sft_train` go. What an earlier try
    has uploaded is not sent again. `report` is a page to put beside them; without, a report of ours
    that is there goes if it is of another dataset. Afterwards the Hub's
    digests are compared with the folder's.

    Raises `OptionError` for a name that no repository can have, or a pull request to a branch,
    `InputError` for what is no whole SFT folder, `HubError` for whatever the Hub or the way to it
    does; the folder is never changed.
    """
    repo = without_scheme(repo)
    if not is_repository(repo):
        raise OptionError(f"{repo}: a repository on the Hub is written as org/name")
    if create_pr and revision:
        raise OptionError("--create-pr opens a pull request on main; leave --revision out")
    manifest = verified_manifest(folder)
    resume = _command(folder, repo, private, revision, message, create_pr, report is not None)
    if not sys.stderr.isatty():
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise HubError(
            f"{repo}: no token to push with: log in with `hf auth login`, or set HF_TOKEN. {resume}"
        )
    api = HfApi()
    with _explained(repo, resume):
        _make_repository(api, repo, private, revision)
        head = api.dataset_info(repo, revision=revision).sha
        there = _remote(api, repo, head)
        with tempfile.TemporaryDirectory(prefix="skill-factory-") as work:
            found = _report_there(api, repo, head, there, Path(work), manifest)
            has_report = report is not None or found is True
            files = _staged(folder, Path(work), api, repo, head, there, report, has_report)
            stale = [path for path in there if path.startswith(f"{CONFIG}/") and path not in files]
            stale += [REPORT] if found is False and report is None else []
            missing = [path for path, file in files.items() if not _same(file, there.get(path))]
            if not missing and not stale:
                return Pushed(repo, revision or "main", str(head), 0, None)
            message = message or f"Upload {manifest['counts']['traces']:,} traces"
            done = _commit(api, repo, files, stale, message, revision, create_pr, str(head))
            _compare(api, repo, done.commit, files)
            return done._replace(changed=len(missing) + len(stale))


def _command(
    folder: Path,
    repo: str,
    private: bool,
    revision: str | None,
    message: str | None,
    create_pr: bool,
    report: bool,
) -> str:
    """How to go on after a failure."""
    words = ["skill-factory", "push", str(folder), repo, *(["--private"] if private else [])]
    words += ["--revision", revision] if revision else []
    words += ["--commit-message", message] if message else []
    words += ["--create-pr"] if create_pr else []
    words += ["--report"] if report else []
    return f"Nothing is lost, {folder} is whole; to go on: {shlex.join(words)}"


def _make_repository(api: Any, repo: str, private: bool, revision: str | None) -> None:
    api.create_repo(repo, repo_type="dataset", private=private or None, exist_ok=True)
    if private and not api.dataset_info(repo).private:
        raise HubError(
            f"{repo}: exists and is public, so --private has no effect; "
            "make it private in its settings, or push to another repository"
        )
    if revision:
        api.create_branch(repo, repo_type="dataset", branch=revision, exist_ok=True)


def _remote(api: Any, repo: str, revision: str | None) -> dict[str, str]:
    """The files of a revision: their sha256 where the Hub stores them apart, else their git id."""
    tree = api.list_repo_tree(repo, repo_type="dataset", recursive=True, revision=revision)
    return {
        entry.path: entry.lfs.sha256 if entry.lfs else entry.blob_id
        for entry in tree
        if hasattr(entry, "blob_id")
    }


def _same(file: Path, digest: str | None) -> bool:
    """Whether a file has the digest that `_remote` gives."""
    if digest is None or len(digest) == 64:
        return digest is not None and digest == sha256(file)
    content = file.read_bytes()
    return digest == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _report_there(
    api: Any,
    repo: str,
    head: str | None,
    there: dict[str, str],
    work: Path,
    manifest: dict[str, Any],
) -> bool | None:
    """Whether the report that is there is of this dataset; None: there is none of ours."""
    if REPORT not in there:
        return None
    got = api.hf_hub_download(repo, REPORT, repo_type="dataset", revision=head, local_dir=work)
    page = Path(got).read_bytes()
    if REPORT_SIGNATURE.encode() not in page[:_HEAD]:
        return None
    return str(manifest["output"]["digest"]).encode() in page


_HEAD = 4096
"""Bytes of a page that say what made it."""


def _staged(
    folder: Path,
    work: Path,
    api: Any,
    repo: str,
    head: str | None,
    there: dict[str, str],
    report: Path | None,
    has_report: bool,
) -> dict[str, Path]:
    """What is to be in the repository, by its path there: the folder's files, with the card and
    dataset_info.json merged into those that are there, and the report. `has_report`: the card names
    it."""
    files = {
        str(path.relative_to(folder)): path
        for path in sorted([*folder.glob(f"{CONFIG}/*.parquet"), *folder.glob("*.*")])
        if path.is_file()
        and str(path.relative_to(folder)).startswith(_OURS)
        and path.name != REPORT  # one that lies there may be of other traces
    }
    if report is not None:
        files[REPORT] = report
    if len(files) > MAX_FILES:
        raise InputError(f"{folder}: {len(files)} files, more than one commit of {MAX_FILES} holds")

    def theirs(name: str) -> str | None:
        if name not in there:
            return None
        got = api.hf_hub_download(repo, name, repo_type="dataset", revision=head, local_dir=work)
        return Path(got).read_text(encoding="utf-8")

    ours, theirs_now = (folder / "README.md").read_text(encoding="utf-8"), theirs("README.md")
    try:
        _refuse_overlap(repo, theirs_now, files)
        default = _unnamed_configs(repo, head, there, theirs_now)
        if theirs_now is None and default:
            theirs_now = ""
        card = pushed_card(ours, repo, theirs_now, default, has_report)
    except ValueError as error:
        raise HubError(f"{repo}: the header of its README.md cannot be read: {error}") from None
    entries = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    try:
        entries = json.loads(theirs("dataset_info.json") or "{}") | entries
    except (ValueError, TypeError, RecursionError):
        raise HubError(
            f"{repo}: its dataset_info.json is no JSON object; mend or remove it"
        ) from None
    out = work / "merged"
    out.mkdir()
    (out / "README.md").write_text(card, encoding="utf-8")
    (out / "dataset_info.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    return files | {name: out / name for name in ("README.md", "dataset_info.json")}


def _unnamed_configs(
    repo: str, head: str | None, there: dict[str, str], card: str | None
) -> list[dict[str, Any]]:
    """What `datasets` finds in a repository whose card names no configs, as configs to name.

    Raises `HubError` for data in other formats than ours: `datasets` (5.2) reads all configs of a
    repository with the loader of the first one, so one of the two could not be loaded.
    """
    if not any(_is_data(path) for path in there):
        return []
    import datasets

    named = [name for name in config_files(card) if name != CONFIG]
    try:
        builder = datasets.load_dataset_builder(repo, *named[:1], revision=head)
    except (datasets.exceptions.DataFilesNotFoundError, datasets.data_files.EmptyDatasetError):
        return []  # nothing that it knows how to load, so there is nothing to keep
    if builder.name != "parquet":
        raise HubError(
            f"{repo}: holds data in the format {builder.name}, and `datasets` reads a repository "
            "in one format; push to another repository"
        )
    place = f"hf://datasets/{repo}@{head}/"
    splits = [
        {"split": str(split), "path": [str(url).removeprefix(place) for url in urls]}
        for split, urls in (builder.config.data_files or {}).items()
    ]
    return [] if named else [{"config_name": builder.config.name, "data_files": splits}]


def _is_data(path: str) -> bool:
    """Whether a file of a repository is data of others, which `datasets` would load."""
    name = path.removesuffix(".gz").removesuffix(".zst")
    return name.endswith(_DATA) and not path.startswith((*_OURS, "."))


def _refuse_overlap(repo: str, card: str | None, files: Iterable[str]) -> None:
    """Raises `HubError` if another config's pattern would take our files for its own."""
    for name, patterns in config_files(card).items():
        for pattern in patterns:
            taken = [path for path in files if fnmatch(path, pattern.replace("**/", "*"))]
            if name != CONFIG and taken:
                raise HubError(
                    f"{repo}: its config {name!r} takes {pattern}, and with that {taken[0]}; "
                    "name its own files in its README.md, or push to another repository"
                )


def _commit(
    api: Any,
    repo: str,
    files: dict[str, Path],
    stale: list[str],
    message: str,
    revision: str | None,
    create_pr: bool,
    head: str,
) -> Pushed:
    """One commit of everything, on top of `head`.

    Not `upload_folder`: with Xet it begins a second commit after five minutes, and a reader between
    the two finds half a dataset (huggingface_hub 2.4). `create_commit` makes one, but does not try
    again by itself.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import HfHubHTTPError

    operations = [
        *(CommitOperationDelete(path) for path in stale),
        *(CommitOperationAdd(path, str(file)) for path, file in files.items()),
    ]
    for wait in (*_WAITS, None):
        try:
            made = api.create_commit(
                repo,
                operations,
                repo_type="dataset",
                commit_message=message,
                revision=revision,
                create_pr=create_pr,
                parent_commit=head,
            )
            request = made.pr_url
            where = made.pr_revision if request else revision
            return Pushed(repo, where or "main", made.oid, 0, request)
        except HfHubHTTPError as error:
            status = status_of(error)
            # A second try of a pull request could open a second one.
            if wait is None or create_pr or status not in (429, 500, 502, 503, 504):
                raise
            time.sleep(asked_to_wait(error, wait))
        except Exception:  # the connection, in one of three libraries' words
            if create_pr or (commit := _arrived_anyway(api, repo, revision, files, head)) is None:
                raise
            return Pushed(repo, revision or "main", commit, 0, None)
    raise AssertionError("the last try returns or raises")


def _arrived_anyway(
    api: Any, repo: str, revision: str | None, files: dict[str, Path], head: str
) -> str | None:
    """The commit that holds all files, though its answer was lost; None: there is none."""
    try:
        now = str(api.dataset_info(repo, revision=revision).sha)
        _compare(api, repo, now, files)
    except Exception:  # the first failure is reported
        return None
    return now if now != head else None


def _compare(api: Any, repo: str, commit: str, files: dict[str, Path]) -> None:
    there = _remote(api, repo, commit)
    for path, file in files.items():
        if not _same(file, there.get(path)):
            raise HubError(f"{repo}: {path} is not on the Hub as it is here, though it was sent")


@contextmanager
def _explained(repo: str, resume: str) -> Iterator[None]:
    """Say in one line what went wrong, and how to go on."""
    try:
        yield
    except (HubError, InputError) as error:
        raise type(error)(f"{error}. {resume}") from None
    except Exception as error:  # of four libraries' own trees, which have no common root
        raise HubError(f"{repo}: {reason_of(repo, error)}. {resume}") from None
