"""How much each server is asked: the one with the fewest requests in flight is asked next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skill_factory.asking.pace import Pace, Throttle
from skill_factory.models import Kind, Model, ModelError, Trouble
from skill_factory.models.server_pool import ServerPool


@dataclass(eq=False)
class Lane:
    """A server, or a model in this process, with its own pace."""

    model: Model
    throttle: Throttle
    in_flight: int = 0

    def room(self, now: float) -> int:
        """How many more requests it may be sent."""
        return self.throttle.room(now) - self.in_flight


class Lanes:
    """The lanes of a model: one, or those of a pool's servers, which come and go. `changed` is
    called when they have changed."""

    def __init__(self, model: Model, pace: Pace, changed: Callable[[], None]) -> None:
        self._model, self._pace, self._changed = model, pace, changed
        self._pool = model if isinstance(model, ServerPool) else None
        self._lanes = [] if self._pool else [Lane(model, Throttle(pace))]
        if self._pool:
            self._pool.changed = self._follow
            self._follow()

    @property
    def capacity(self) -> int:
        """How many requests may be in flight at most."""
        return self._pace.concurrency * max(1, len(self._lanes))

    @property
    def servers(self) -> tuple[int, int] | None:
        """How many servers answer, and how many there are; None: there is one."""
        return (len(self._lanes), len(self._pool.listed)) if self._pool else None

    def room(self, now: float) -> int:
        """How many requests may be in flight just now."""
        return sum(lane.throttle.room(now) for lane in self._lanes)

    def free(self, now: float) -> Lane | None:
        """The lane that is to be asked next; None: none has room."""
        best = None
        for lane in self._lanes:
            if lane.room(now) > 0 and (best is None or lane.in_flight < best.in_flight):
                best = lane
        return best

    def sleep(self, now: float, due: list[float]) -> float:
        """Seconds until something changes by itself, as `Throttle.sleep`."""
        return min((lane.throttle.sleep(now, due) for lane in self._lanes), default=1.0)

    def validate(self, now: float) -> None:
        """Raise `ModelError` when patience is at its end."""
        if self._pool:
            self._pool.validate_left()
        if not all(lane.throttle.exhausted(now) for lane in self._lanes):
            return
        if self._lanes:
            throttle = self._lanes[0].throttle
            why = f"{throttle.last}{throttle.asks_for_too_much(now)}"
        elif self._pool and self._pool.exhausted(now):
            why = self._pool.last_trouble
        else:
            return
        raise ModelError(
            f"{self._model.identity}: no answer for too long; the last trouble: {why}. All answers "
            "are kept: the same command goes on from here"
        )

    def struggle(self, lane: Lane, trouble: Trouble, started: float) -> bool:
        """Take in a trouble of a request that was sent when it `started`; whether its server is
        away, and others have its work now."""
        lane.throttle.struggle(trouble, started)
        if not self._pool:
            return False
        away = lane.throttle.is_dead and trouble.kind is not Kind.BUSY
        if away and lane in self._lanes:
            self._pool.leave(lane.model, trouble)
        return lane not in self._lanes

    def set_aside(self, lane: Lane, error: ModelError) -> bool:
        """Ask a server no more that cannot be asked; False: there are no others."""
        if self._pool:
            self._pool.set_aside(lane.model, error)
        return self._pool is not None

    def _follow(self) -> None:
        """Have a lane for each server that may be asked; those that stay keep theirs."""
        assert self._pool is not None
        lanes = {lane.model: lane for lane in self._lanes}
        self._lanes = [
            lanes.get(member) or Lane(member, Throttle(self._pace))
            for member in self._pool.members.values()
        ]
        self._changed()
