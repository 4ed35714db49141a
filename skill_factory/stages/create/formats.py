"""The formats: which attempts stand in a trace, and in what order (method, section "Formats").

A format is a list of slots. A slot is a small pure function from one question's pool and a source
of draws to a recipe; it raises `Unfillable` where the pool does not allow it. To add a format,
write the slot and name it in `_SLOTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from skill_factory.core.ledger import Reason
from skill_factory.stages.create.draws import Draws, Urn
from skill_factory.stages.create.phrases import Kind


class Unfillable(Exception):
    """The pool cannot fill a slot; a counted skip, never a shorter trace."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Pool:
    """The valid attempts of one question, numbered from 0; `all` is `correct` and `incorrect`
    together.

    `variants` has the attempts' prompt variants if those of one trace must differ, else None.
    """

    all: Sequence[int]
    correct: Sequence[int]
    incorrect: Sequence[int]
    variants: Sequence[object] | None

    def clashes(self, attempt: int, taken: Sequence[int]) -> bool:
        """Whether an attempt cannot stand in a trace beside those taken."""
        if self.variants is None:
            return attempt in taken
        return any(self.variants[attempt] == self.variants[t] for t in taken)

    def beside(self, items: Sequence[int], taken: Sequence[int]) -> Sequence[int]:
        """Those of the items that can stand in a trace beside those taken."""
        if not taken:
            return items
        if self.variants is None:
            return [item for item in items if item not in taken]
        return [item for item in items if not self.clashes(item, taken)]

    def one(self, draws: Draws, items: Sequence[int], taken: Sequence[int], lack: Reason) -> int:
        """One of the items beside those taken; raises `Unfillable` (`lack`: there was none to begin
        with)."""
        if not items:
            raise Unfillable(lack)
        free = self.beside(items, taken)
        if not free:
            raise Unfillable(lack if self.variants is None else Reason.TOO_FEW_VARIANTS)
        return draws.one(free)

    def others(self, draws: Draws, n: int, taken: Sequence[int]) -> list[int]:
        """n attempts of any correctness, in random order, beside those taken; raises
        `Unfillable`."""
        if n == 0:
            return []
        return self.some(draws, self.all, n, taken)

    def some(self, draws: Draws, items: Sequence[int], n: int, taken: Sequence[int]) -> list[int]:
        """n of the items beside those taken: with unique variants, n variants, then an attempt of
        each."""
        free = self.beside(items, taken)
        if self.variants is None:
            if len(free) < n:
                raise Unfillable(Reason.TOO_FEW_ATTEMPTS)
            return draws.some(free, n)
        groups = self.by_variant(free)
        if len(groups) < n:
            raise Unfillable(Reason.TOO_FEW_VARIANTS)
        return [draws.one(group) for group in draws.some(groups, n)]

    def by_variant(self, items: Sequence[int]) -> list[list[int]]:
        """The items in groups of one prompt variant; each its own group where variants may
        repeat."""
        groups: dict[object, list[int]] = {}
        for item in items:
            groups.setdefault(item if self.variants is None else self.variants[item], []).append(
                item
            )
        return list(groups.values())


class Recipe(NamedTuple):
    """What stands in one trace, in order; positions in the pool.

    `lead` is the kind of phrase that opens the text after the thinking, None if it opens with the
    closing phrase. `restated` and `answer_of` count from 0 in `attempts`; `restated` None: no
    attempt is given again.
    """

    label: str
    attempts: list[int]
    answer_of: int
    lead: Kind | None = None
    restated: int | None = None
    reflects: bool = True


Slot = Callable[[Pool, Draws, int], Recipe]
Planned = Iterator[Recipe | Unfillable]


@dataclass(frozen=True)
class Lengths:
    """`longest`: attempts in the longest trace. `sampled`: a single trace draws its length from 2
    to that."""

    longest: int
    sampled: bool = False


def _then_correct(pool: Pool, draws: Draws, n: int) -> Recipe:
    last = pool.one(draws, pool.correct, (), Reason.NO_CORRECT_ATTEMPT)
    return Recipe(f"{n}C", [*pool.others(draws, n - 1, [last]), last], n - 1)


def _then_incorrect(pool: Pool, draws: Draws, n: int) -> Recipe:
    wrong = [i for i in pool.incorrect if not all(pool.clashes(c, [i]) for c in pool.correct)]
    if pool.incorrect and not wrong:
        raise Unfillable(Reason.TOO_FEW_VARIANTS)
    last = pool.one(draws, wrong, (), Reason.NO_INCORRECT_ATTEMPT)
    right = pool.one(draws, pool.correct, [last], Reason.NO_CORRECT_ATTEMPT)
    before = draws.shuffled([right, *pool.others(draws, n - 2, [right, last])])
    correct = set(pool.correct)
    latest = max(i for i, attempt in enumerate(before) if attempt in correct)
    return Recipe("*C*IC", [*before, last], latest, Kind.BACKTRACK, latest)


def _then_two_correct(pool: Pool, draws: Draws, n: int) -> Recipe:
    if len(pool.correct) < 2:
        raise Unfillable(Reason.ONE_CORRECT_ATTEMPT)
    two = pool.some(draws, pool.correct, 2, ())
    return Recipe("*CC", [*pool.others(draws, n - 2, two), *two], n - 1, Kind.CONFIRMATION)


def _any(pool: Pool, draws: Draws, n: int) -> Recipe:
    last = draws.one(pool.all)
    return Recipe("random", [*pool.others(draws, n - 1, [last]), last], n - 1)


def _without_reflections(pool: Pool, draws: Draws, n: int) -> Recipe:
    return _then_correct(pool, draws, n)._replace(label="no_reflection", reflects=False)


def _fill(slot: Slot, pool: Pool, draws: Draws, n: int, longest: int) -> Recipe | Unfillable:
    if not pool.correct:
        return Unfillable(Reason.NO_CORRECT_ATTEMPT)
    if len(pool.all) < longest:
        return Unfillable(Reason.TOO_FEW_ATTEMPTS)
    try:
        return slot(pool, draws, n)
    except Unfillable as skip:
        return skip


LengthsOf = Callable[[Draws, Lengths], Sequence[int]]


def _shortest(draws: Draws, lengths: Lengths) -> Sequence[int]:
    return [1]


def _longest(draws: Draws, lengths: Lengths) -> Sequence[int]:
    return [draws.between(2, lengths.longest) if lengths.sampled else lengths.longest]


def _each(draws: Draws, lengths: Lengths) -> Sequence[int]:
    return range(1, lengths.longest + 1)


def _format(slot: Slot, lengths_of: LengthsOf) -> Callable[[Pool, Draws, Lengths], Planned]:
    def plan(pool: Pool, draws: Draws, lengths: Lengths) -> Planned:
        for n in lengths_of(draws, lengths):
            yield _fill(slot, pool, draws, n, lengths.longest)

    return plan


def _paper(pool: Pool, draws: Draws, lengths: Lengths) -> Planned:
    """Algorithm 1 (paper, section 3.2): until no correct attempt is left, up to L of them and fewer
    incorrect ones."""
    if not pool.correct:
        yield Unfillable(Reason.NO_CORRECT_ATTEMPT)
    variants = pool.variants

    def urn(items: Sequence[int]) -> Urn:
        return Urn(items, variants and [variants[item] for item in items])

    right, wrong = urn(pool.correct), urn(pool.incorrect)
    while right:
        n = min(draws.between(1, lengths.longest), len(right))
        *some, last = right.take(draws, n)
        with wrong.without(variants[item] for item in (*some, last) if variants):
            taken = wrong.take(draws, min(draws.between(0, n - 1), len(wrong)))
        mixed = draws.shuffled([*some, *taken])
        yield Recipe("paper", [*mixed, last], len(mixed))


_SLOTS: dict[str, tuple[Slot, LengthsOf]] = {
    "0C": (lambda *args: _then_correct(*args)._replace(label="0C"), _shortest),
    "*C": (_then_correct, _longest),
    "*C_full": (_then_correct, _each),
    "*C*IC": (_then_incorrect, _longest),
    "*CC": (_then_two_correct, _longest),
    "random": (_any, _each),
    "no_reflection": (_without_reflections, _each),
}
"""Formats whose traces have a length of their own: what is in one, and which lengths there are."""

FORMATS: dict[str, Callable[[Pool, Draws, Lengths], Planned]] = {
    **{name: _format(slot, lengths_of) for name, (slot, lengths_of) in _SLOTS.items()},
    "paper": _paper,
}
"""Formats by name. Each yields, for one question and one repeat, a recipe or a reason for each of
its slots."""

SAMPLED_FORMATS = frozenset(name for name, (_, lengths) in _SLOTS.items() if lengths is _longest)
"""Formats whose lengths can be sampled."""

NEEDS_TWO_ATTEMPTS = frozenset({"*C*IC", "*CC"})
"""Formats that cannot be made with a longest trace of 1."""
