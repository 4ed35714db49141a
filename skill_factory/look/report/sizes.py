"""How long things are: a histogram with round bins."""

from __future__ import annotations

import numpy as np

from skill_factory.core.arrays import Ints
from skill_factory.look.report.contents import Bin, Histogram

_MOST_BINS = 12
_ROUND = (1, 2, 5)


def histogram(sizes: Ints, unit: str, axis: str) -> Histogram | None:
    """Bins of one round width, up to the 99th percentile; the last one takes what is longer. None:
    there is nothing.

    >>> [bin.name for bin in histogram(np.array([3, 12, 25]), "traces", "characters").bins]
    ['0-4', '5-9', '10-14', '15-19', '20 and more']
    """
    if not len(sizes):
        return None
    most = int(np.percentile(sizes, 99))
    width = next(
        step * 10**power
        for power in range(12)
        for step in _ROUND
        if most // (step * 10**power) < _MOST_BINS
    )
    last = most // width
    counts = np.bincount(np.minimum(sizes // width, last), minlength=last + 1)
    names = [f"{at * width:,}-{(at + 1) * width - 1:,}" for at in range(last)]
    names.append(f"{last * width:,} and more")
    bins = [Bin(name, (int(count),)) for name, count in zip(names, counts, strict=True)]
    return Histogram(unit, axis, (unit,), bins)
