"""The formats, slot by slot: method, section "Formats"."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skill_factory.core.ledger import Reason
from skill_factory.stages.create.draws import Draws
from skill_factory.stages.create.formats import FORMATS, Lengths, Pool, Recipe, Unfillable
from skill_factory.stages.create.phrases import Kind


def pool(correct: int, incorrect: int, variants: list[int] | None = None) -> Pool:
    total = correct + incorrect
    return Pool(range(total), range(correct), range(correct, total), variants)


def plan(
    name: str, of: Pool, longest: int = 5, seed: int = 0, sampled: bool = False
) -> list[Recipe]:
    made = list(FORMATS[name].plan(of, Draws(seed), Lengths(longest, sampled)))
    return [recipe for recipe in made if isinstance(recipe, Recipe)]


def skips(name: str, of: Pool, longest: int = 5) -> list[Reason]:
    made = FORMATS[name].plan(of, Draws(0), Lengths(longest))
    return [recipe.reason for recipe in made if isinstance(recipe, Unfillable)]


seeds = st.integers(0, 2**64 - 1)
pools = st.builds(pool, st.integers(1, 8), st.integers(0, 8))


@given(pools, seeds, st.sampled_from(sorted(FORMATS)), st.integers(2, 6), st.booleans())
def test_what_holds_for_every_trace(
    of: Pool, seed: int, name: str, longest: int, sampled: bool
) -> None:
    for recipe in plan(name, of, longest, seed, sampled):
        assert len(set(recipe.attempts)) == len(recipe.attempts)
        assert set(recipe.attempts) <= set(of.all)
        assert 0 <= recipe.answer_of < len(recipe.attempts)
        if name != "random":
            assert recipe.attempts[recipe.answer_of] in of.correct
        if name not in ("*C*IC", "random"):
            assert recipe.answer_of == len(recipe.attempts) - 1
        assert recipe.reflects == (name != "no_reflection")


@given(pools, seeds)
def test_lengths_and_labels(of: Pool, seed: int) -> None:
    assume(len(of.all) >= 5)
    assert [(r.label, len(r.attempts)) for r in plan("0C", of, seed=seed)] == [("0C", 1)]
    assert [(r.label, len(r.attempts)) for r in plan("*C", of, seed=seed)] == [("5C", 5)]
    assert [r.label for r in plan("*C_full", of, seed=seed)] == ["1C", "2C", "3C", "4C", "5C"]
    for name in ("*C_full", "random", "no_reflection"):
        assert [len(r.attempts) for r in plan(name, of, seed=seed)] == [1, 2, 3, 4, 5]
    (sampled,) = plan("*C", of, seed=seed, sampled=True)
    assert sampled.label == f"{len(sampled.attempts)}C"
    assert 2 <= len(sampled.attempts) <= 5


@given(pools, seeds)
def test_backtracking_ends_wrong_and_returns_to_the_latest_correct_attempt(
    of: Pool, seed: int
) -> None:
    for recipe in plan("*C*IC", of, seed=seed):
        right = [i for i, attempt in enumerate(recipe.attempts) if attempt in of.correct]
        assert recipe.attempts[-1] in of.incorrect
        assert recipe.restated == recipe.answer_of == right[-1]
        assert recipe.lead is Kind.BACKTRACK


@given(pools, seeds)
def test_confirming_ends_on_two_correct_attempts(of: Pool, seed: int) -> None:
    for recipe in plan("*CC", of, seed=seed):
        assert set(recipe.attempts[-2:]) <= set(of.correct)
        assert (recipe.lead, recipe.restated) == (Kind.CONFIRMATION, None)


@given(pools, seeds, st.integers(1, 5))
def test_algorithm_1_uses_every_correct_attempt_once(of: Pool, seed: int, longest: int) -> None:
    recipes = plan("paper", of, longest, seed)
    used = Counter(attempt for recipe in recipes for attempt in recipe.attempts)
    assert max(used.values()) == 1
    assert set(of.correct) <= set(used)
    for recipe in recipes:
        right = sum(attempt in of.correct for attempt in recipe.attempts)
        assert 1 <= right <= longest
        assert len(recipe.attempts) - right < right
        assert recipe.attempts[-1] in of.correct


@given(
    st.integers(1, 6).flatmap(
        lambda c: st.tuples(st.just(c), st.lists(st.integers(0, 4), min_size=c, max_size=12))
    ),
    seeds,
    st.sampled_from(sorted(FORMATS)),
    st.integers(2, 5),
)
def test_unique_variants_are_unique_and_found_if_there_are_enough(
    made: tuple[int, list[int]], seed: int, name: str, longest: int
) -> None:
    correct, variants = made
    of = pool(correct, len(variants) - correct, variants)
    for recipe in plan(name, of, longest, seed):
        used = [variants[attempt] for attempt in recipe.attempts]
        assert len(set(used)) == len(used)
    kinds = len(set(variants))
    enough = len(variants) >= longest and kinds >= longest
    if name in ("*C", "*C_full", "random", "no_reflection") and enough:
        assert not skips(name, of, longest)
    if name == "*CC" and enough and len(set(variants[:correct])) >= 2:
        assert not skips(name, of, longest)
    if name == "*C*IC" and enough:
        pairs = {(r, w) for r in variants[:correct] for w in variants[correct:] if r != w}
        assert bool(pairs) == (not skips(name, of, longest))
    if name == "paper":
        used_once = [attempt for r in plan(name, of, longest, seed) for attempt in r.attempts]
        assert set(of.correct) <= set(used_once)


@pytest.mark.parametrize(
    ("name", "of", "reason", "times"),
    [
        ("*C_full", pool(0, 9), Reason.NO_CORRECT_ATTEMPT, 5),
        ("*C_full", pool(2, 2), Reason.TOO_FEW_ATTEMPTS, 5),
        ("0C", pool(2, 2), Reason.TOO_FEW_ATTEMPTS, 1),
        ("random", pool(0, 9), Reason.NO_CORRECT_ATTEMPT, 5),
        ("*C*IC", pool(6, 0), Reason.NO_INCORRECT_ATTEMPT, 1),
        ("*CC", pool(1, 6), Reason.ONE_CORRECT_ATTEMPT, 1),
        ("paper", pool(0, 9), Reason.NO_CORRECT_ATTEMPT, 1),
        ("*C", pool(3, 3, [0, 1, 2, 3, 0, 1]), Reason.TOO_FEW_VARIANTS, 1),
        ("*C_full", pool(3, 3, [0, 1, 2, 3, 0, 1]), Reason.TOO_FEW_VARIANTS, 1),
        ("*CC", pool(2, 5, [0, 0, 1, 2, 3, 4, 5]), Reason.TOO_FEW_VARIANTS, 1),
        ("*C*IC", pool(3, 2, [0] * 5), Reason.TOO_FEW_VARIANTS, 1),
    ],
)
def test_what_a_pool_lacks_is_a_reason(name: str, of: Pool, reason: Reason, times: int) -> None:
    assert skips(name, of) == [reason] * times


def test_paper_needs_no_full_pool() -> None:
    assert [r.attempts for r in plan("paper", pool(1, 0))] == [[0]]


def test_draws_are_fair() -> None:
    draws, of = Draws(1), pool(3, 3)
    last, first = Counter[int](), Counter[int]()
    for _ in range(6000):
        (recipe,) = FORMATS["*C"].plan(of, draws, Lengths(5))
        assert isinstance(recipe, Recipe)
        last[recipe.attempts[-1]] += 1
        first[recipe.attempts[0]] += 1
    # A correct attempt that is not last (2 of 3) stands first as often as the other four. Four
    # standard deviations are 146.
    assert all(abs(last[i] - 2000) < 150 for i in range(3))
    assert all(abs(first[i] - 800) < 150 for i in range(3))
    assert all(abs(first[i] - 1200) < 150 for i in range(3, 6))


def test_algorithm_1_draws_lengths_uniformly() -> None:
    sizes = Counter[int]()
    for seed in range(4000):
        first = plan("paper", pool(8, 0), longest=4, seed=seed)[0]
        sizes[len(first.attempts)] += 1
    assert all(abs(sizes[n] - 1000) < 130 for n in (1, 2, 3, 4))


@given(seeds, st.integers(0, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_places_are_what_some_draws(seed: int, made: tuple[int, int]) -> None:
    size, n = made
    assert Draws(seed).places(size, n) == Draws(seed).some(range(size), n)


def drawn_from_lists(of: Pool, draws: Draws, longest: int) -> Iterator[list[int]]:
    """Algorithm 1 on plain lists, which takes a time that grows with the square of the pool."""
    right, wrong = list(of.correct), list(of.incorrect)
    while right:
        n = min(draws.between(1, longest), len(of.by_variant(right)))
        *some, last = of.some(draws, right, n, ())
        free = of.beside(wrong, [*some, last])
        n_wrong = min(draws.between(0, n - 1), len(of.by_variant(free)))
        mixed = draws.shuffled([*some, *of.some(draws, free, n_wrong, ())])
        yield [*mixed, last]
        right = [r for r in right if r not in {*mixed, last}]
        wrong = [w for w in wrong if w not in mixed]


@given(
    st.integers(1, 25).flatmap(
        lambda c: st.tuples(st.just(c), st.lists(st.integers(0, 6), min_size=c, max_size=50))
    ),
    st.booleans(),
    seeds,
    st.integers(1, 6),
)
def test_algorithm_1_draws_as_from_plain_lists(
    made: tuple[int, list[int]], unique: bool, seed: int, longest: int
) -> None:
    correct, variants = made
    of = pool(correct, len(variants) - correct, variants if unique else None)
    expected = list(drawn_from_lists(of, Draws(seed), longest))
    assert [r.attempts for r in plan("paper", of, longest, seed)] == expected


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [None, 4, 60_000])
def test_algorithm_1_is_quick_on_a_question_with_very_many_attempts(kinds: int | None) -> None:
    total = 60_000
    of = pool(total // 2, total // 2, [i % kinds for i in range(total)] if kinds else None)
    start = time.process_time()
    made = plan("paper", of)
    assert time.process_time() - start < 30  # on plain lists, several minutes
    assert sum(len(r.attempts) for r in made) > total // 2


def test_draws_stay_the_same_on_every_python() -> None:
    draws = Draws(2**63 + 5)
    assert draws.some(range(10), 10) == [3, 5, 2, 4, 1, 6, 9, 7, 8, 0]
    assert [draws.below(100) for _ in range(5)] == [77, 99, 7, 50, 70]
