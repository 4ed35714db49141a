"""Work in threads, in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from skill_factory.core.threads import in_order


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_order(workers: int) -> None:
    def slow(n: int) -> int:
        time.sleep(0.001 * (n % 3))
        return n * n

    assert list(in_order(slow, range(50), workers)) == [(n, n * n) for n in range(50)]


def test_few_items_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 99:
            taken += 1
            yield taken

    for n, _ in in_order(lambda n: n, items(), 3):
        assert taken <= n + 3


@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_failure_is_the_one_raised(workers: int) -> None:
    def fails(n: int) -> int:
        raise ValueError(f"task {n}")

    def items() -> Iterator[int]:
        yield 0
        raise OSError("source")

    with pytest.raises(ValueError, match="task 0"):
        list(in_order(fails, items(), workers))


def test_the_results_before_a_failing_item_are_given_first() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("source")

    results = in_order(lambda n: n, items(), 8)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="source"):
        next(results)


def test_tasks_that_have_not_begun_are_dropped() -> None:
    begun = []
    gate = threading.Event()

    def task(n: int) -> int:
        begun.append(n)
        if n:
            gate.wait(5)
        return n

    results = in_order(task, range(9), 1)
    next(results)
    gate.set()
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 3
