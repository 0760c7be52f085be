"""Binomial bounds: exact one-sided confidence limits of a proportion (Clopper and Pearson, Biometrika 26, 1934).

The plain estimate k/n raises an alarm half of the time for a source that is exactly at the limit, so fifty such checks
raise one every day. The exact bound limits the false alarm rate to 1 - confidence, for every n.
"""

from __future__ import annotations

import scipy  # loads its submodules on first use


def upper(k: int, n: int, confidence: float) -> float:
    """The largest share that is consistent with k of n at `confidence`.

    >>> round(upper(0, 3, 0.999), 3)
    0.9
    """
    return 1.0 if k >= n else float(scipy.special.betaincinv(k + 1, n - k, confidence))


def lower(k: int, n: int, confidence: float) -> float:
    """The smallest share that is consistent with k of n at `confidence`.

    >>> round(lower(3, 3, 0.999), 3)
    0.1
    """
    return 0.0 if k <= 0 else float(scipy.special.betaincinv(k, n - k + 1, 1 - confidence))
