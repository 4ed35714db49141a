"""What can be wrong with traces; a check of a user's own begins with `Check` and `Trace`."""

from skill_factory.checks.own import Check as Check
from skill_factory.checks.traces import Trace as Trace
