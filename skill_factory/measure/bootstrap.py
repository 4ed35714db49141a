"""95 % intervals by bootstrap over questions.

A figure is a ratio of two sums over responses: what is counted, by what it is counted of. The
responses to one question are alike, so questions are drawn, with all their responses: as many as
there are, with replacement, `draws` times. The interval goes from the 2.5th to the 97.5th
percentile of the figure in those draws (Efron and Tibshirani, An Introduction to the Bootstrap,
1993, chapter 13; the cluster bootstrap of Field and Welsh, JRSS B 69, 2007). Two models that
answered the same questions are drawn together, so that what is hard for both does not widen the
difference.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_AT_ONCE = 4_000_000
"""Weights that are in memory at a time."""

_TAILS = (2.5, 97.5)


class Sums(NamedTuple):
    """What is counted (`above`) and what it is counted of (`below`), for each question (rows) and
    figure (columns); 0 and 0 where a question has nothing to say of a figure."""

    above: Floats
    below: Floats

    def ratios(self) -> Floats:
        """The figures of all questions together; NaN: nothing to count them of."""
        return _divided(self.above.sum(0), self.below.sum(0))


class Intervals(NamedTuple):
    """Where 95 % of the draws of each figure lie; NaN where less than two questions have it."""

    low: Floats
    high: Floats


def intervals(sums: Sums, draws: int, seed: int) -> Intervals:
    """The intervals of all figures."""
    drawn = [_drawn(sums, weights) for weights in _weights(len(sums.above), draws, seed)]
    return _between(drawn, (sums.below > 0).sum(0))


def paired_intervals(first: Sums, other: Sums, draws: int, seed: int) -> Intervals:
    """The intervals of `other` less `first`, which have the same questions in the same order."""
    drawn = [
        _drawn(other, weights) - _drawn(first, weights)
        for weights in _weights(len(first.above), draws, seed)
    ]
    return _between(drawn, ((first.below > 0) & (other.below > 0)).sum(0))


def _weights(questions: int, draws: int, seed: int) -> Iterator[Floats]:
    """How often each question (columns) is in each draw (rows), some draws at a time."""
    random = np.random.default_rng(seed)
    size = max(1, min(draws, _AT_ONCE // max(questions, 1)))
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        if not questions:
            return
        chosen = random.integers(0, questions, (rows, questions))
        chosen += np.arange(rows)[:, None] * questions
        counts = np.bincount(chosen.ravel(), minlength=rows * questions)
        yield counts.reshape(rows, questions).astype(np.float64)


def _drawn(sums: Sums, weights: Floats) -> Floats:
    return _divided(weights @ sums.above, weights @ sums.below)


def _divided(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _between(drawn: list[Floats], questions: npt.NDArray[np.int64]) -> Intervals:
    if not drawn:
        nothing = np.full(len(questions), np.nan)
        return Intervals(nothing, nothing)
    with warnings.catch_warnings():  # a figure that no draw has
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanpercentile(np.concatenate(drawn), _TAILS, axis=0)
    few = questions < 2
    low[few], high[few] = np.nan, np.nan
    return Intervals(low, high)
