"""A Ray cluster: one that is joined, or one started on this machine, and tasks on its workers.

`Cluster.in_order` is `threads.in_order` on other machines: https://docs.ray.io/en/latest/ray-core.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

from skill_factory import __version__
from skill_factory.core.terminal import only_this_thread_prints
from skill_factory.errors import ClusterError, SkillFactoryError, first_line
from skill_factory.tasks.judging import cores

S = TypeVar("S")
T = TypeVar("T")

RETRIES = 10
"""How often a task is done again whose worker or node died. One that dies for want of memory is
done again without end by Ray's own rule, once there is room."""

CONNECT_SECONDS = 5.0
"""For an answer of the address by the clock; Ray itself would wait for a minute, and more."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How an HTTP/2 client begins, with empty settings (RFC 9113, section 3.4): Ray speaks gRPC."""


@contextmanager
def joined(address: str | None, workers: int | None) -> Iterator[Cluster]:
    """A cluster to work on. `address` None: what RAY_ADDRESS names, as in a submitted job; without
    that, one is started on this machine, and all of it is gone afterwards. `workers` is the most
    tasks at a time; None: one for each core of the cluster.

    Raises `ClusterError` if Ray is not installed, or there is no cluster.
    """
    ray = _installed()
    if ray.is_initialized():  # by the user's own program, which ends it as well
        yield Cluster(ray, workers)
        return
    named = "--ray-address" if address else "RAY_ADDRESS"
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    work = tempfile.mkdtemp(prefix="ray-") if address == "local" else None
    with only_this_thread_prints():
        try:
            _connect(ray, f"{named} {address}", address, workers, work)
            yield Cluster(ray, workers)
        finally:
            ray.shutdown()
            if work:
                shutil.rmtree(work, ignore_errors=True)


def _installed() -> Any:
    # Before Ray is imported: it would say at each start that it tells its makers of it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a machine may be busy
    # Its workers would give way to all else on the machine, which threads of ours do not.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterError(
            f"--engine ray needs Ray ({error}): pip install 'skill-factory[ray]'"
        ) from None
    return ray


def _connect(ray: Any, named: str, address: str, workers: int | None, work: str | None) -> None:
    """Start a cluster in the folder `work`, or join the one at the address, which is `named` so in
    errors."""
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    own = {"num_cpus": workers or cores(), "include_dashboard": False, "_temp_dir": work}
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    if address not in ("local", "auto"):
        _check_answers(named, address)
    try:
        ray.init(address=address, **(own if work else {}), **quiet)
    except (Exception, SystemExit) as error:  # of many kinds, which have no common root
        where = "Ray cannot be started here" if work else f"{named}: cannot join"
        raise ClusterError(f"{where}: {first_line(error)}") from None


def _check_answers(named: str, address: str) -> None:
    """Raises `ClusterError` where nothing answers that could be Ray."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host or not port.isdigit():
        raise ClusterError(
            f"{named}: expected the HOST:PORT of a cluster's head node, as 10.0.0.1:6379, or auto"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") in ("0", ""):
                connection.settimeout(CONNECT_SECONDS)
                connection.sendall(_PREFACE)
                if connection.recv(9)[3:4] != b"\x04":  # its settings
                    raise ConnectionError("something answers that is not Ray")
    except (OSError, OverflowError) as error:
        problem = "no answer" if isinstance(error, TimeoutError) else error
        raise ClusterError(f"{named}: no Ray cluster is there: {problem}") from None


# -- tasks ----------------------------------------------------------------------------------------


class _Failure(NamedTuple):
    """An error of the user's, or of a disk: carried to the driver as it is."""

    error: Exception


@dataclass(frozen=True)
class Job:
    """What a worker does with an item: `function`, once a process is `prepared`.

    `version` is the driver's: workers with another one would make something else.
    """

    function: Callable[[Any], Any]
    prepare: Callable[[], None]
    version: str = __version__

    def __call__(self, item: Any) -> Any:
        """What became of an item, or the `_Failure`."""
        try:
            self._check()
            self.prepare()
            return self.function(item)
        except (SkillFactoryError, OSError) as error:
            return _Failure(error)

    def _check(self) -> None:
        if self.version != __version__:
            raise ClusterError(
                f"skill-factory is {__version__} on the worker {socket.gethostname()}, and "
                f"{self.version} here: install the same on all nodes"
            )


def _do(job: Job, item: Any) -> Any:
    return job(item)


_ITEM = "item"


def _do_batch(job: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """A Ray Data batch of pickled items, with what became of them in their place."""
    import ray

    do = ray.get(job)
    return {_ITEM: [pickle.dumps(do(pickle.loads(item))) for item in batch[_ITEM]]}


def opened(answer: Any) -> Any:
    """What a `Job` gave; an error that it carries is raised."""
    if isinstance(answer, _Failure):
        raise answer.error
    return answer


@dataclass(frozen=True)
class Cluster:
    """The workers of a cluster; `limit` is the most tasks at a time (None: no limit)."""

    ray: Any
    limit: int | None

    @property
    def cores(self) -> int:
        """How many there are now, on all its nodes."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def in_order(
        self, name: str, function: Callable[[S], T], prepare: Callable[[], None], items: Iterable[S]
    ) -> Iterator[tuple[S, T]]:
        """Each item with `function(item)`, in the items' order, while workers work ahead. The tasks
        have this name wherever Ray shows them.

        Items are taken as they are needed. A task whose worker dies is done again, elsewhere. The
        first error is raised when its turn comes; what has begun is then ended.
        """
        ray, waiting = self.ray, deque[tuple[S, Any]]()
        task = ray.remote(_do).options(name=name, num_cpus=1, max_retries=RETRIES)
        job = ray.put(Job(function, prepare))
        most = self.limit or 2 * self.cores
        try:
            for item in items:
                waiting.append((item, task.remote(job, item)))
                if len(waiting) >= most:
                    yield self._taken(waiting)
            while waiting:
                yield self._taken(waiting)
        finally:
            self._end([answer for _, answer in waiting])

    def over_dataset(
        self, function: Callable[[S], T], prepare: Callable[[], None], items: Sequence[S]
    ) -> Iterator[tuple[S, T]]:
        """As `in_order`, by Ray Data, a block and a task an item: what it does well is to keep the
        workers busy, and the results few."""
        data, job = self.ray.data, self.ray.put(Job(function, prepare))
        context = data.DataContext.get_current()
        options = context.execution_options
        before = context.enable_progress_bars, options.preserve_order
        context.enable_progress_bars, options.preserve_order = False, True
        rows = [{_ITEM: pickle.dumps(item)} for item in items]
        done = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            partial(_do_batch, job),
            batch_size=None,
            num_cpus=1,
            compute=data.TaskPoolStrategy(min(self.limit or len(rows), len(rows))),
        )
        try:
            with explained():
                for item, row in zip(items, done.iter_rows(), strict=True):
                    yield item, opened(pickle.loads(row[_ITEM]))
        finally:
            context.enable_progress_bars, options.preserve_order = before

    def _taken(self, waiting: deque[tuple[S, Any]]) -> tuple[S, Any]:
        item, answer = waiting[0]
        with explained():
            found = opened(self.ray.get(answer))
        waiting.popleft()
        return item, found

    def _end(self, answers: list[Any]) -> None:
        """End tasks, and wait for it: nothing is written after the output's folder is cleared."""
        if not answers or not self.ray.is_initialized():  # it is left already
            return
        for answer in answers:
            self.ray.cancel(answer, force=True)
        self.ray.wait(answers, num_returns=len(answers), timeout=10)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what Ray says of dead workers and nodes, and of code that they lack, into a
    `ClusterError`. An error of our own code keeps its traceback."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayTaskError as error:
        cause = error.cause
        if not isinstance(cause, ImportError) and "failed to import" not in str(cause):
            raise
        raise ClusterError(
            "a worker cannot import skill_factory, or what it needs: install skill-factory "
            f"{__version__} on all nodes"
        ) from None
    except RayError as error:
        raise ClusterError(
            f"Ray gave a task up after {RETRIES} tries; what it says: {first_line(error)}"
        ) from None
