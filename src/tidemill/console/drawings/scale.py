"""Scale of a shared axis from 0 to 100 for metrics and their intervals, and round tick values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tidemill.core.records.quality import Metric


@dataclass(frozen=True)
class IntervalBar:
    """An interval and its point, in hundredths of the axis."""

    low: float
    high: float
    at: float

    @property
    def width(self) -> float:
        """Width of the interval, never so thin that it vanishes."""
        return round(max(self.high - self.low, 0.6), 2)


class IntervalAxis:
    """An axis that includes every given interval and zero, with a margin at both ends.

    >>> IntervalAxis([Metric(value=0.5, low=0.0, high=1.0)]).bar(Metric(value=0.5, low=0.25, high=0.75))
    IntervalBar(low=26.85, high=73.15, at=50.0)
    """

    def __init__(self, metrics: Iterable[Metric]) -> None:
        values = [0.0] + [value for metric in metrics for value in (metric.low, metric.high, metric.value)]
        spread = (max(values) - min(values)) or 1.0
        self._low = min(values) - 0.04 * spread
        self._span = 1.08 * spread

    def place(self, value: float) -> float:
        """Position of a value."""
        return round(100 * (value - self._low) / self._span, 2)

    @property
    def zero(self) -> float:
        """Position of zero."""
        return self.place(0.0)

    def bar(self, metric: Metric) -> IntervalBar:
        """Position of an interval."""
        return IntervalBar(low=self.place(metric.low), high=self.place(metric.high), at=self.place(metric.value))


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers inside a range, about `about` of them.

    >>> ticks(0.0, 1.0), ticks(13, 187)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [50.0, 100.0, 150.0])
    """
    if not high > low:
        return [low]
    rough = (high - low) / about
    size = 10.0 ** math.floor(math.log10(rough))
    step = next((size * k for k in (1, 2, 5) if size * k >= 0.7 * rough), size * 10)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{k * step:.10g}") for k in range(first, last + 1)]
