"""What several samples of one question are worth together: pass@k and majority@k."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

RIGHT = ""
"""The name that all right answers share; no other answer has it."""

Vote = str | None
"""An answer as it is compared with others; None: there is none, and it has no vote."""


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The chance that one of `k` samples, drawn without replacement, is right.

    1 - C(n-c, k)/C(n, k) for `c` right ones of `n` (Chen et al. 2021, arXiv 2107.03374, equation
    1), as a product that does not overflow.

    >>> pass_at_k(4, 1, 2), pass_at_k(4, 3, 2), pass_at_k(4, 0, 1)
    (0.5, 1.0, 0.0)
    """
    if samples - right < k:
        return 1.0
    missed = 1.0
    for wrong in range(samples - right, samples):
        missed *= 1 - k / (wrong + 1)
    return 1 - missed


def majority_at_k(votes: Sequence[Vote], k: int) -> float:
    """The chance that the most frequent answer of `k` samples is right (self-consistency, Wang et
    al. 2022, arXiv 2203.11171); the mean over the groups of `k` neighbouring samples that there
    are.

    All right answers are one answer. If several answers are the most frequent, each is taken with
    the same chance. A sample without an answer has no vote; if none has, nothing is right.

    >>> majority_at_k([RIGHT, "7", RIGHT], 3), majority_at_k([RIGHT, "7"], 2)
    (1.0, 0.5)
    """
    groups = [votes[at : at + k] for at in range(0, len(votes) - k + 1, k)]
    return sum(map(_majority, groups)) / len(groups)


def _majority(votes: Sequence[Vote]) -> float:
    counts = Counter(vote for vote in votes if vote is not None)
    most = max(counts.values(), default=0)
    return 0.0 if counts[RIGHT] < most or not most else 1 / list(counts.values()).count(most)


def sizes(samples: int) -> list[int]:
    """The `k` that are shown of so many samples: powers of two, and all.

    >>> sizes(6), sizes(1)
    ([1, 2, 4, 6], [1])
    """
    powers = [2**power for power in range(samples.bit_length())]
    return sorted({*powers, samples})
