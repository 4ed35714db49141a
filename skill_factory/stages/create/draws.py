"""Draws that are the same on every machine, also without replacement from very many."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """Uniform draws that are the same on every machine and Python.

    Built on `random.Random.random` alone: of that module only its sequence is promised to stay
    (https://docs.python.org/3/library/random.html#notes-on-reproducibility).
    """

    def __init__(self, seed: int) -> None:
        self._uniform = random.Random(seed).random

    def below(self, n: int) -> int:
        """A number from 0 to n - 1."""
        return int(self._uniform() * n)

    def between(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return low + int(self._uniform() * (high - low + 1))

    def one(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self._uniform() * len(items))]

    def some(self, items: Sequence[T], n: int) -> list[T]:
        """n different items in random order; n is at most their number."""
        left, uniform = list(items), self._uniform
        for i in range(n):
            j = i + int(uniform() * (len(left) - i))
            left[i], left[j] = left[j], left[i]
        return left[:n]

    def places(self, size: int, n: int) -> list[int]:
        """What `some` draws of range(size), in a time that depends on n alone."""
        moved: dict[int, int] = {}
        found = []
        for i in range(n):
            j = i + int(self._uniform() * (size - i))
            found.append(moved.get(j, j))
            moved[j] = moved.get(i, i)
        return found

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All items in random order."""
        return self.some(items, len(items))


class Marks:
    """A row of marks, each set or not; to count them and to find one takes logarithmic time (a
    binary indexed tree: Fenwick, 1994)."""

    def __init__(self, places: Iterable[int], size: int) -> None:
        self.count = 0
        self._tree = [0] * (size + 1)
        for place in places:
            self.set(place, True)

    def set(self, place: int, on: bool) -> None:
        """Set a mark that is not there, or take one away that is."""
        change = 1 if on else -1
        self.count += change
        place += 1
        while place < len(self._tree):
            self._tree[place] += change
            place += place & -place

    def before(self, place: int) -> int:
        """How many marks are set left of a place."""
        found = 0
        while place:
            found += self._tree[place]
            place &= place - 1
        return found

    def find(self, k: int) -> int:
        """The place of the k-th mark from the left, from 0; there must be more than k."""
        place, step = 0, 1 << len(self._tree).bit_length()
        while step := step >> 1:
            if place + step < len(self._tree) and self._tree[place + step] <= k:
                place += step
                k -= self._tree[place]
        return place


class Urn:
    """Items to be drawn without replacement, in groups; a draw takes logarithmic time.

    Groups stand in the order of their first item that is left. `groups` None: each item is its own.
    """

    def __init__(self, items: Sequence[int], groups: Sequence[object] | None) -> None:
        self._items = items
        self._alone = groups is None
        members: dict[object, list[int]] = {}
        for place in range(len(items)):
            members.setdefault(place if groups is None else groups[place], []).append(place)
        # Slots are the items' places again, those of a group together.
        self._place = [place for group in members.values() for place in group]
        self._slots: dict[object, range] = {}
        self._group: dict[int, object] = {}
        """By the place of the first item that is left of it."""
        start = 0
        for group, places in members.items():
            self._slots[group] = range(start, start + len(places))
            self._group[places[0]] = group
            start += len(places)
        self._left = Marks(range(len(items)), len(items))
        self._first = Marks(self._group, len(items))

    def __len__(self) -> int:
        """The number of groups with an item left that are not hidden."""
        return self._first.count

    def take(self, draws: Draws, n: int) -> list[int]:
        """Draw n groups in random order, and an item of each."""
        firsts = [self._first.find(k) for k in draws.places(len(self), n)]
        return [self._items[self._take_of(draws, first)] for first in firsts]

    def _take_of(self, draws: Draws, first: int) -> int:
        """Draw from the group whose first item is at this place; gives the place of what is
        drawn."""
        group = self._group[first]
        slots = self._slots[group]
        before = self._left.before(slots.start)
        left = self._left.before(slots.stop) - before
        slot = self._left.find(before + (0 if self._alone else draws.below(left)))
        self._left.set(slot, False)
        place = self._place[slot]
        if place == first:
            self._first.set(place, False)
            del self._group[place]
            if left > 1:
                self._name_first(group, self._place[self._left.find(before)])
        return place

    def _name_first(self, group: object, place: int) -> None:
        self._group[place] = group
        self._first.set(place, True)

    @contextmanager
    def without(self, groups: Iterable[object]) -> Iterator[None]:
        """Hide groups while the block runs."""
        wanted = [self._slots[group] for group in groups if group in self._slots]
        hidden = []
        for slots in wanted:
            before = self._left.before(slots.start)
            if self._left.before(slots.stop) > before:
                hidden.append(self._place[self._left.find(before)])
        for place in hidden:
            self._first.set(place, False)
        try:
            yield
        finally:
            for place in hidden:
                self._first.set(place, True)
