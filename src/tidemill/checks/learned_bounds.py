"""Learned bounds: a day's conformal rank among the previous days, so that the false alarm rate is known.

Days vary by more than sampling error: a bound on rows raises an alarm on most days when the rate itself changes. So
the unit is the day. A day's distance from the median of its weekday, in units of the typical distance, is ranked among
those of all days (conformal prediction: Vovk, Gammerman, Shafer 2005). Of exchangeable days, a share of `rate` has
such a rank, for every distribution. With several metrics, a day's distance is the maximum over its metrics, so that
one budget covers them all and no metric needs more history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Days of history required before a check can fail: twelve of each weekday.
LEAST_DAYS = 84
#: Days of history to use; older ones are no longer comparable.
MOST_DAYS = 364
#: False alarms a day that all learned checks of one table may raise together: one a month.
BUDGET = 12 / 365.25


class HistoricalRank(NamedTuple):
    """The rank of a day's metric in its history."""

    #: Days of history in the ranking; with fewer than `LEAST_DAYS` the check cannot fail.
    n: int
    #: Whether the day is further from the median than the budget allows.
    odd: bool
    #: The range in which it would not have been odd.
    low: float
    high: float
    #: False alarms a day, over all metrics together.
    rate: float


def historical_ranks(
    today: Mapping[str, float], day: int, history: Sequence[tuple[int, Mapping[str, float]]], counts: frozenset[str]
) -> dict[str, HistoricalRank]:
    """Rank each metric of `today` among `history` (pairs of day number and metrics, oldest first), two-sided.

    Metrics in `counts` are counts, whose variance grows with their mean: they are ranked by square root.
    """
    other_days = ((when, metrics) for when, metrics in reversed(history) if when != day)
    past = list(islice(other_days, MOST_DAYS))[::-1]
    weekdays = np.array([*(when for when, _ in past), day]) % 7
    n_days = {name: sum(name in metrics for _, metrics in past) for name in today}
    found = {name: HistoricalRank(n, False, -np.inf, np.inf, 0.0) for name, n in n_days.items()}
    ready = [name for name, n in n_days.items() if n >= LEAST_DAYS]
    if not ready:
        return found
    lines = {name: _line(name, [*(metrics for _, metrics in past), today], weekdays, name in counts) for name in ready}
    max_distance = np.max([line.distance for line in lines.values()], axis=0)  # (n_days + 1,)
    allowed = int(BUDGET * len(max_distance))  # the number of days that may be outliers
    reach = float(np.sort(max_distance[:-1])[-allowed])
    for name, line in lines.items():
        low, high = (_unscaled(line.middle + end * line.unit, name in counts) for end in (-reach, reach))
        odd = bool(line.distance[-1] > reach)
        found[name] = HistoricalRank(n_days[name], odd, low, high, allowed / len(max_distance))
    return found


class _TrendLine(NamedTuple):
    """One metric over all days, the current day last."""

    #: Distance of each day from its weekday's median, in units of the typical distance; 0 where not measured.
    distance: NDArray[np.float64]
    #: The median of the current weekday and the typical distance, both on the scale on which the metric is ranked.
    middle: float
    unit: float


def _line(name: str, days: Sequence[Mapping[str, float]], weekdays: NDArray[np.int64], counts: bool) -> _TrendLine:
    values = np.array([metrics.get(name, np.nan) for metrics in days])
    values = np.sqrt(values + 0.375) if counts else values  # Anscombe 1948: stabilises the variance of counts
    usual = np.empty_like(values)
    for weekday in np.unique(weekdays):  # includes the current day, so that all days are exchangeable
        of_weekday = weekdays == weekday
        measured = values[of_weekday & ~np.isnan(values)]
        usual[of_weekday] = np.median(measured) if len(measured) else np.nan
    distance = np.nan_to_num(np.abs(values - usual))
    # a constant metric has no typical distance: use the smallest unit, so that any change is an outlier
    unit = float(np.median(distance) or distance.mean() or np.finfo(np.float64).tiny)
    return _TrendLine(np.nan_to_num(distance / unit), float(usual[-1]), unit)


def _unscaled(end: float, counts: bool) -> float:
    return max(max(end, 0.0) ** 2 - 0.375, 0.0) if counts else end
