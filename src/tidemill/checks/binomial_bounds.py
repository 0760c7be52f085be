"""Binomial bounds: exact one-sided confidence limits of a proportion (Clopper and Pearson, Biometrika 26, 1934).

The naive estimate k/n raises an alarm half of the time on a source that is exactly at the limit, and every day with
fifty checks of it. The exact bound raises one at most at the rate that its confidence states, for every n.
"""

from __future__ import annotations

import scipy  # its parts are loaded when they are first used


def upper(k: int, n: int, confidence: float) -> float:
    """The largest share that k of n does not contradict at `confidence`.

    >>> round(upper(0, 3, 0.999), 3)
    0.9
    """
    return 1.0 if k >= n else float(scipy.special.betaincinv(k + 1, n - k, confidence))


def lower(k: int, n: int, confidence: float) -> float:
    """The smallest share that k of n does not contradict at `confidence`.

    >>> round(lower(3, 3, 0.999), 3)
    0.1
    """
    return 0.0 if k <= 0 else float(scipy.special.betaincinv(k, n - k + 1, 1 - confidence))
