"""All checks on a dataset: each trace is read once, and every check looks at what was read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from skill_factory.checks import structure
from skill_factory.checks.audit import Audit, audit_beside
from skill_factory.checks.balance import Balance
from skill_factory.checks.codes import CODES, C
from skill_factory.checks.figures import tell_audit, tell_balance
from skill_factory.checks.findings import Code, Hit, Report, Severity, codes_of
from skill_factory.checks.leakage import Against
from skill_factory.checks.lengths import TrainerReplay
from skill_factory.checks.own import load_check
from skill_factory.checks.rewards import RewardReplay
from skill_factory.checks.settings import CheckSettings
from skill_factory.checks.traces import Read, Trace, chat_traces, read_traces
from skill_factory.checks.wording import Wording
from skill_factory.core.copies import fetched, named
from skill_factory.core.places import RemotePath, remote_path
from skill_factory.core.token_counts import TokenCounter
from skill_factory.core.whole_files import is_repository, verified_manifest
from skill_factory.errors import InputError
from skill_factory.tasks import load_installed, load_task


@dataclass(frozen=True)
class Checks:
    """What is looked at. `task`: that of all questions; None: what the dataset says. `config`,
    `split` and `revision` choose of a dataset of chats, as `find_source` has them. `against` are
    sets that must share no question with it, `own` checks of the user's, `ignored` codes' ids.
    `wording`: also what is said, the audit and the balance; without, only what stops a trainer."""

    task: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    rewards: bool = True
    counter: TokenCounter | None = None
    cutoff_len: int | None = None
    own: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    ignored: Collection[str] = ()
    wording: bool = True


Audited = Callable[[], Audit | str | None]
"""Waits for the audit of an input; text: why there is none."""


def check(name: str | Path, checks: Checks | None = None, audited: Audited | None = None) -> Report:
    """Look at every trace of an SFT folder, or of a dataset of chats: a file, a folder, or one on
    the Hub. `audited`: gives the audit of the folder's input; None: it is made here.

    Raises `InputError` for what is neither, or cannot be read, `TaskError` for an unknown task,
    `OptionError` for an unknown check; `PluginError` for a task or check from outside that cannot
    be loaded, or raises.
    """
    checks = checks or Checks()
    if (remote := remote_path(str(name))) and _is_made(remote):
        with fetched(remote) as copy:
            return check(copy, checks, audited)
    folder = Path(name).expanduser()
    if (folder / "sft" / "manifest.json").is_file() and not (folder / "sft_train").is_dir():
        folder /= "sft"  # of a run's folder
    is_folder = folder.is_dir() and (folder / "manifest.json").is_file()
    if is_folder or (folder.is_dir() and not any(folder.rglob("*.*"))):
        manifest = verified_manifest(folder)
        traces = read_traces(folder)
        return _check(traces, manifest["counts"]["traces"], checks, folder, manifest, audited)
    if not (remote or folder.exists() or is_repository(str(name))):
        raise InputError(f"{name}: no such file or folder")
    chats = chat_traces(str(name), checks.config, checks.split, checks.revision)
    return _check(chats, None, checks, None, None)


def _is_made(folder: RemotePath) -> bool:
    """Whether it is an SFT folder, or a run's with one in it."""
    return any((one / "manifest.json").is_file() for one in (folder, folder / "sft"))


def _check(
    batches: Iterable[list[Trace]],
    total: int | None,
    checks: Checks,
    folder: Path | None,
    manifest: dict[str, Any] | None,
    audited: Audited | None = None,
) -> Report:
    report = Report(ignored=checks.ignored)
    looks = _Looks(checks, manifest and manifest["phrases"])
    with _auditing(checks, folder, manifest, audited) as audit:
        with tqdm(desc="check", unit=" traces", total=total, disable=None, leave=False) as bar:
            for traces in batches:
                report.traces += len(traces)
                looks.add(traces, report)
                bar.update(len(traces))
        looks.tell(report)
        if checks.wording:
            tell_balance(looks.balance, _audited(audit(), report), report)
    order = {code: place for place, code in enumerate([*CODES, *report.findings])}
    report.findings = dict(sorted(report.findings.items(), key=lambda one: order[one[0]]))
    return report


def _auditing(
    checks: Checks,
    folder: Path | None,
    manifest: dict[str, Any] | None,
    audited: Audited | None,
) -> AbstractContextManager[Audited]:
    """The audit of a folder's input, made beside unless it is made elsewhere."""
    if audited is not None:
        return nullcontext(audited)
    if folder and manifest and checks.wording:
        return audit_beside(folder, manifest)
    return nullcontext(lambda: None)


def _audited(found: Audit | str | None, report: Report) -> Audit | None:
    """The audit of a folder's input, told; None where there is no folder, or no input."""
    if isinstance(found, str):
        report.tell(C.NO_AUDIT, f"the input is not to be had: {named(found)}")
        return None
    if found is not None:
        tell_audit(found, report)
    return found


class _Looks:
    """The checks that look at traces, and what they remember between batches."""

    def __init__(self, checks: Checks, phrases: dict[str, list[str]] | None) -> None:
        load_installed()
        task = load_task(checks.task) if checks.task else None
        self._own = [load_check(name) for name in checks.own]
        self._wording = Wording(phrases) if checks.wording else None
        self._rewards = RewardReplay(task) if checks.rewards else None
        self._trainer = TrainerReplay(checks.counter, checks.cutoff_len) if checks.counter else None
        self._against = Against(checks.against, task and task.name) if checks.against else None
        self.balance = Balance()

    def add(self, traces: Sequence[Trace], report: Report) -> None:
        """Look at some traces. Those with an error of structure are looked at no further."""
        reads = list(map(Read, traces))
        tokens = structure.has_chat_token(traces)
        sound = []
        for read, token in zip(reads, tokens, strict=True):
            if not _put(report, read.trace, structure.hits(read, token)):
                sound.append(read)
        if self._wording:
            kept, found = [], self._wording.hits(sound)
            for read, hits in zip(sound, found, strict=True):
                if not _put(report, read.trace, hits):
                    kept.append(read)
            self.balance.add(sound)
            self.balance.add_questions(traces)
            sound = kept
        self._add_sound([read.trace for read in sound], report)

    def _add_sound(self, traces: list[Trace], report: Report) -> None:
        if self._against:
            for trace in traces:
                _put(report, trace, self._against.hits(trace))
        traces = [trace for trace in traces if not _put(report, trace, self._faults(trace))]
        if self._trainer:
            self._trainer.add(traces, report)
        for trace, hit in self._rewards.hits(traces) if self._rewards else ():
            _put(report, trace, [hit])

    def _faults(self, trace: Trace) -> Iterator[Hit]:
        for one in self._own:
            yield from (Hit(one.code, "", fault) for fault in one.faults(trace))

    def tell(self, report: Report) -> None:
        """Add what only all traces together show."""
        for one in (self._wording, self._trainer, self._rewards):
            if one is not None:
                one.tell(report)
        if self._against:
            for trace, hit in self._against.near_copies():
                report.add(hit.code, trace, hit.place, hit.text)


def _put(report: Report, trace: Trace, hits: Iterable[Hit]) -> bool:
    """Add what was found in a trace; whether an error is among it."""
    wrong = False
    for code, place, text in hits:
        report.add(code, trace.id, place, text)
        wrong |= code.severity is Severity.ERROR
    return wrong


def checks_of(settings: CheckSettings) -> Checks:
    """What settings say is to be looked at; raises `OptionError` for an unknown code, `InputError`
    for a tokenizer that cannot be loaded."""
    return Checks(
        task=settings.task,
        config=settings.input_config,
        split=settings.input_split,
        revision=settings.revision,
        rewards=settings.rewards,
        counter=TokenCounter(settings.tokenizer) if settings.tokenizer else None,
        cutoff_len=settings.cutoff_len,
        own=settings.checks,
        against=settings.against,
        ignored=codes_of(settings.ignore, [*CODES.values(), *map(_code_of, settings.checks)]),
    )


def _code_of(name: str) -> Code:
    return load_check(name).code
