"""What can be wrong with traces; a check of a user's own begins with `Check` and `Trace`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skill_factory.checks.own import Check as Check
    from skill_factory.checks.traces import Trace as Trace

__all__ = ["Check", "Trace"]


def __getattr__(name: str) -> Any:
    """`Check` and `Trace`, imported when they are used: the help of `check` needs neither."""
    if name not in __all__:
        raise AttributeError(name)
    from skill_factory.checks import own, traces

    return own.Check if name == "Check" else traces.Trace
