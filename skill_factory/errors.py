"""What can go wrong at the border, and nothing else.

    SkillFactoryError           one clear line for the user: what, where, what to do; exit code 1
    ├── ConfigError             a config file
    ├── OptionError             options that do not go together; exit code 2
    ├── InputError              a dataset that cannot be read, or not as asked
    │   └── ColumnError         a column that is missing or of the wrong type
    ├── PhraseError             a phrase file
    ├── PromptError             a prompt file
    ├── ModelError              a server that cannot be asked (`models`)
    ├── AskedBeforeError        answers that a run has would be asked for anew, unasked-for
    ├── ClusterError            a Ray cluster that cannot be used
    ├── TaskError               a task that is not known, or whose grader is not installed
    ├── PluginError             a task, format, source or check from outside (`plugins`)
    ├── HubError                a repository that could not be pushed to; carries how to go on
    ├── FaultError              a trace that was made has a fault (`checks`)
    ├── OutputError             a place that cannot be written
    └── NothingMadeError        all rows were set aside: 0 traces; carries the reasons

What a model says is never an error: it is counted (`ledger`). A broken promise of our own
code (`LedgerError`) is no `SkillFactoryError`: it deserves its traceback.
"""

from __future__ import annotations


class SkillFactoryError(Exception):
    """Base of all errors that the command line shows as one message, without a traceback."""


class ConfigError(SkillFactoryError):
    """A config file with an unknown key or a wrong value."""


class OptionError(SkillFactoryError):
    """Options with a wrong value, or that contradict each other."""


class InputError(SkillFactoryError):
    """An input dataset that is missing, empty or unreadable."""


class ColumnError(InputError):
    """An input column that is missing or has the wrong type."""


class PhraseError(SkillFactoryError):
    """A phrase file with a fault."""


class PromptError(SkillFactoryError):
    """A prompt file with a fault, or a prompt that does not ask for what is read from answers."""


class AskedBeforeError(SkillFactoryError):
    """Answers that a run has would be asked for anew, as the model, a prompt or the sampling has
    changed."""


class ClusterError(SkillFactoryError):
    """A Ray cluster that is not there, or whose workers cannot do the work."""


class TaskError(SkillFactoryError):
    """A task that is not known, or whose grader is not installed."""


class PluginError(SkillFactoryError):
    """A task, format, question source or check from outside that is missing, has the wrong shape,
    raises, or returns what it must not."""


class HubError(SkillFactoryError):
    """A push that failed; what was to be pushed is still where it was."""


class FaultError(SkillFactoryError):
    """A trace that was made, and is not kept, has a fault."""


class OutputError(SkillFactoryError):
    """An output that exists already or cannot be written."""


class NothingMadeError(SkillFactoryError):
    """No trace could be made; `reasons` is the printed ledger, with the run's notes."""

    def __init__(self, message: str, reasons: str) -> None:
        super().__init__(message)
        self.reasons = reasons


class LedgerError(AssertionError):
    """Counts that do not add up: a fault of ours, never of the data."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without its full stop."""
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__


def of_disk(error: OSError) -> str:
    """What the system says of an error of the disk, and of which file."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
