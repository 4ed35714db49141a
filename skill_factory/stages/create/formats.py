"""The formats: which attempts stand in a trace, and in what order (method, section "Formats").

A format is a list of slots. A slot is a small pure function from one question's pool and a source
of draws to a recipe; it raises `Unfillable` where the pool does not allow it. To add a format,
write the slot and name it in `FORMATS`; one of a user's own is named `module:name` or
`file.py:name`, or installed under the entry point group `skill_factory.formats`
(docs/extending.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from skill_factory.core.ledger import Reason
from skill_factory.errors import OptionError, PluginError
from skill_factory.plugins import Door, check_unchanged, guarded, is_reference, takes
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

    def one(
        self,
        draws: Draws,
        items: Sequence[int],
        taken: Sequence[int] = (),
        lack: Reason = Reason.TOO_FEW_ATTEMPTS,
    ) -> int:
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

    def some(
        self, draws: Draws, items: Sequence[int], n: int, taken: Sequence[int] = ()
    ) -> list[int]:
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


def shortest(draws: Draws, lengths: Lengths) -> Sequence[int]:
    """A trace of one attempt."""
    return [1]


def longest(draws: Draws, lengths: Lengths) -> Sequence[int]:
    """One trace, of the longest length or of one that is drawn."""
    return [draws.between(2, lengths.longest) if lengths.sampled else lengths.longest]


def each(draws: Draws, lengths: Lengths) -> Sequence[int]:
    """A trace of each length."""
    return range(1, lengths.longest + 1)


Planner = Callable[[Pool, Draws, Lengths], Planned]


class Format(NamedTuple):
    """A format: its `name`, and a `slot(pool, draws, n)` that gives the recipe of a trace of n
    attempts. `about` is a line for a person.

    `lengths` says which traces there are of a question: `longest`, `shortest` or `each`. A slot is
    only asked where the pool has a correct attempt, and as many attempts as the longest trace.
    `planner(pool, draws, lengths)` is for a format that does not go by lengths, in place of `slot`:
    it yields a recipe, or why there is none, for each of its slots. All that is random must come
    from `draws`. `least`: how many attempts the longest trace must have.
    """

    name: str
    slot: Slot | None = None
    about: str = ""
    lengths: LengthsOf = longest
    planner: Planner | None = None
    least: int = 1

    def plan(self, pool: Pool, draws: Draws, lengths: Lengths) -> Planned:
        """For one question and one repeat, a recipe or a reason for each of its slots."""
        if self.planner is not None:
            yield from self.planner(pool, draws, lengths)
        elif self.slot is not None:
            for n in self.lengths(draws, lengths):
                yield _fill(self.slot, pool, draws, n, lengths.longest)

    @property
    def samples_lengths(self) -> bool:
        """Whether its lengths can be sampled."""
        return self.slot is not None and self.lengths is longest


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


FORMATS = {
    one.name: one
    for one in (
        Format(
            "0C",
            lambda *args: _then_correct(*args)._replace(label="0C"),
            "one right attempt",
            shortest,
        ),
        Format("*C", _then_correct, "L attempts, the last one right"),
        Format("*C_full", _then_correct, "as *C, once for each length from 1 to L", each),
        Format(
            "*C*IC",
            _then_incorrect,
            "a right attempt, later a wrong one; the answer goes back to the right one",
            least=2,
        ),
        Format(
            "*CC",
            _then_two_correct,
            "L attempts, the last two right, and a phrase that says so",
            least=2,
        ),
        Format("random", _any, "as *C_full, but the last attempt may be wrong", each),
        Format("no_reflection", _without_reflections, "as *C_full, without the reflections", each),
        Format(
            "paper",
            about="Algorithm 1 of the paper: until no right attempt is left",
            planner=_paper,
        ),
    )
}
"""The built-in formats by name."""


# -- from outside ---------------------------------------------------------------------------------


def _admitted(found: Format, where: str) -> Format:
    """A format from outside, whose recipes are seen to be what they must; raises `PluginError` for
    one of the wrong shape."""
    if (problem := _problem(found)) is not None:
        raise PluginError(f"{where}: {problem}")
    return found._replace(planner=partial(_seen, found, where))


def _problem(found: Format) -> str | None:
    name = found.name
    if not (isinstance(name, str) and name and not set(name) & set(" \t\n\r\0,:/\\")):
        return f"name: expected text without spaces , : / or \\, found {name!r:.80}"
    if (found.slot is None) == (found.planner is None):
        return "expected a slot or a planner, one of the two"
    for what, arguments in (("slot", "pool, draws, n"), ("planner", "pool, draws, lengths")):
        function = getattr(found, what)
        if function is not None and not takes(function, 3):
            return f"{what}: expected a function of ({arguments}), found {function!r:.80}"
    if found.lengths not in (shortest, longest, each) and not takes(found.lengths, 2):
        return f"lengths: expected shortest, longest or each, found {found.lengths!r:.80}"
    if type(found.least) is not int or not isinstance(found.about, str):
        return "expected `least` to be a whole number and `about` text"
    return None


def _seen(found: Format, where: str, pool: Pool, draws: Draws, lengths: Lengths) -> Planned:
    """The plan of a format from outside."""

    def wrong(recipes: Any) -> str | None:
        return next(filter(None, (_misfit(recipe, pool) for recipe in recipes)), None)

    # All at once, so that what raises does so here.
    about = f"a question with {len(pool.all)} attempts"
    planned = guarded(lambda: list(found.plan(pool, draws, lengths)), where, "plan", wrong, about)
    yield from planned()


def _misfit(recipe: object, pool: Pool) -> str | None:
    """What should have been planned instead; None: a trace can be made."""
    if isinstance(recipe, Unfillable):
        return None if isinstance(recipe.reason, str) else "the reason to be a Reason"
    if not isinstance(recipe, Recipe):
        return "recipes"
    attempts, n = recipe.attempts, len(pool.all)
    if not isinstance(attempts, list) or not attempts or not all(_is_place(a, n) for a in attempts):
        return f"attempts to be a list of numbers of the pool's {n}"
    if any(pool.clashes(one, attempts[:at]) for at, one in enumerate(attempts)):
        return "no attempt twice" + ("" if pool.variants is None else ", nor a prompt variant")
    if not (isinstance(recipe.label, str) and recipe.label and recipe.label.isprintable()):
        return "the label to be text in one line"
    if not isinstance(recipe.reflects, bool):
        return "reflects to be True or False"
    if not _is_place(recipe.answer_of, len(attempts)) or not (
        recipe.restated is None or _is_place(recipe.restated, len(attempts))
    ):
        return "answer_of and restated to be places in attempts"
    return None if recipe.lead is None or isinstance(recipe.lead, Kind) else "lead to be a Kind"


def _is_place(found: object, count: int) -> bool:
    return type(found) is int and 0 <= found < count


_DOOR: Door[Format] = Door("format", Format, _admitted, FORMATS.__contains__)


def format_of(word: str, folder: Path | None = None, *, trusted: bool = True) -> Format:
    """The format that a user names: built in, installed, or code, `module:name` or `file.py:name`.

    A relative file is looked for in the current folder, then in `folder`. Not `trusted`: code must
    have been loaded before. Raises `OptionError` if there is none, `PluginError` for one that
    cannot be loaded.
    """
    if word in FORMATS:
        return FORMATS[word]
    if is_reference(word):
        return _DOOR.load(word, folder, trusted)
    if (found := _DOOR.installed(word)) is not None:
        return found
    raise OptionError(
        f"unknown format {word!r}; the formats are {', '.join(chain(FORMATS, _DOOR.loaded))}"
    )


def settled(word: str, folder: Path | None = None, *, trusted: bool = True) -> str:
    """A format's name as it stands in settings: a reference gets the whole path of its file. Raises
    as `format_of`; and `PluginError` for a file that was changed after it was loaded."""
    name = format_of(word, folder, trusted=trusted).name
    if not is_reference(word):
        return word
    check_unchanged(_DOOR.references[name], "format")
    return _DOOR.references[name]


def known_formats() -> dict[str, str]:
    """A line of text for each format by name: the built-in ones, those installed, those loaded."""
    return {name: one.about for name, one in FORMATS.items()} | _DOOR.meanings()
