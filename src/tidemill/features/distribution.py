"""Distribution of a column: a histogram of numbers, the most frequent values of categories.

Values shared by fewer rows than `FEWEST_USERS` are merged or omitted, so that no one can be identified.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tidemill.core.record_format import Record
from tidemill.core.records.quality import FEWEST_USERS

#: Stretches of a histogram, and values that are named.
STRETCHES, NAMED = 16, 8
#: The share at each end of the numbers that the first and the last stretch hold beside their own.
_TAIL = 0.01
#: Beyond, floats may tell no whole numbers apart.
_EXACT = 2.0**50
#: A text that is longer than this is no category.
_LONGEST = 60


class HistogramBin(Record, frozen=True):
    """Numbers from `low` to below `high`; `n` is `None` where there are some, and too few to be told."""

    low: float
    high: float
    n: int | None


class FrequentValue(Record, frozen=True):
    """A value that many rows have."""

    value: str
    n: int


class Distribution(Record, frozen=True):
    """The spread of a column: either stretches of numbers, or frequent values and how many rows have others."""

    n: int
    stretches: tuple[HistogramBin, ...] = ()
    frequent: tuple[FrequentValue, ...] = ()
    #: Rows that have another value; `None` where there are some, and too few to be told.
    others: int | None = 0


def distribution(values: pa.ChunkedArray) -> Distribution | None:
    """The spread of a column of numbers, flags or texts; `None` for other types, and of fewer than ten values.

    Of numbers, one row in a hundred at each end, and never fewer than ten, lie in the outermost stretches, wherever
    they are: a long tail does not press the rest together.

    >>> found = distribution(pa.chunked_array([list(range(100)) * 5]))
    >>> sum(one.n for one in found.stretches), found.stretches[0]
    (500, HistogramBin(low=1.0, high=8.0, n=40))
    >>> distribution(pa.chunked_array([["a"] * 20 + ["b"] * 3])).frequent
    (FrequentValue(value='a', n=20),)
    """
    there = values.drop_null()
    if len(there) < FEWEST_USERS:
        return None
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _of_numbers(there)
    if pa.types.is_boolean(kind):
        return _of_values(there.cast(pa.string()))
    return _of_values(there) if pa.types.is_string(kind) or pa.types.is_large_string(kind) else None


def _of_numbers(values: pa.ChunkedArray) -> Distribution | None:
    numbers = np.sort(values.cast(pa.float64(), safe=False).to_numpy())
    numbers = numbers[np.isfinite(numbers)]
    n = len(numbers)
    if n < FEWEST_USERS:
        return None
    different = np.unique(numbers)
    if len(different) <= NAMED:
        return _of_values(pa.chunked_array([pa.array([f"{number:g}" for number in numbers])]))
    ends = max(FEWEST_USERS, int(_TAIL * n))
    low, high = (float(numbers[min(place, n - 1)]) for place in (ends - 1, max(n - ends, 0)))
    if not high > low:
        return None
    edges = _edges(low, high, whole=bool((numbers == np.floor(numbers)).all()))
    counts = np.histogram(np.clip(numbers, low, high), edges)[0]
    return Distribution(
        n=n,
        stretches=tuple(
            HistogramBin(low=float(edges[k]), high=float(edges[k + 1]), n=_told(int(count)))
            for k, count in enumerate(counts)
        ),
    )


def _edges(low: float, high: float, *, whole: bool) -> NDArray[np.float64]:
    """Where stretches meet, float64 (at most 17); of whole numbers at whole numbers, so that each holds as many."""
    if not whole or high - low > _EXACT:
        return np.linspace(low, high, STRETCHES + 1)
    step = np.ceil((high - low + 1) / STRETCHES)
    return np.asarray(np.arange(low, high + step + 0.5, step), np.float64)


def _of_values(values: pa.ChunkedArray) -> Distribution | None:
    counted = pc.value_counts(values).to_pylist()
    counted.sort(key=lambda one: (-one["counts"], one["values"]))
    frequent = [one for one in counted[:NAMED] if one["counts"] >= FEWEST_USERS and len(one["values"]) <= _LONGEST]
    if not frequent:
        return None
    left = len(values) - sum(one["counts"] for one in frequent)
    return Distribution(
        n=len(values),
        frequent=tuple(FrequentValue(value=one["values"], n=one["counts"]) for one in frequent),
        others=_told(left),
    )


def _told(n: int) -> int | None:
    return n if not n or n >= FEWEST_USERS else None
