"""Confidence interval of a proportion: Wilson's score interval (Wilson 1927, doi:10.1080/01621459.1927.10502953).

It equals `scipy.stats.binomtest(positive, n).proportion_ci(method="wilson")`, which is not used because importing
`scipy.stats` is too slow for the command line.
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)


def wilson_interval(positive: float, n: int) -> tuple[float, float]:
    """The 95% interval of the proportion `positive / n`; (0, 1) if `n` is 0.

    >>> [round(end, 4) for end in wilson_interval(5, 10)]
    [0.2366, 0.7634]
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = positive / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
