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

#: The number of bins of a histogram, and the largest number of frequent values listed.
STRETCHES, NAMED = 16, 8
#: The share of the numbers at each end that is clipped into the first and the last bin.
_TAIL = 0.01
#: The widest range of integer bin edges, so that float64 represents them exactly.
_EXACT = 2.0**50
#: Strings longer than this are not treated as categories.
_LONGEST = 60


class HistogramBin(Record, frozen=True):
    """The numbers in [low, high); `n` is `None` where there are some, but too few to be published."""

    low: float
    high: float
    n: int | None


class FrequentValue(Record, frozen=True):
    """A value that many rows have."""

    value: str
    n: int


class Distribution(Record, frozen=True):
    """Either a histogram (`stretches`), or the frequent values and the number of rows that have other values."""

    n: int
    stretches: tuple[HistogramBin, ...] = ()
    frequent: tuple[FrequentValue, ...] = ()
    #: Rows that have another value; `None` where there are some, but too few to be published.
    others: int | None = 0


def distribution(values: pa.ChunkedArray) -> Distribution | None:
    """The distribution of numbers, times (UTC microseconds), booleans or strings; `None` for other types, and for fewer
    than ten values.

    Numbers are clipped so that the outermost bins include 1% of the rows at each end (at least ten rows): a long tail
    does not compress the rest of the histogram.

    >>> found = distribution(pa.chunked_array([list(range(100)) * 5]))
    >>> sum(one.n for one in found.stretches), found.stretches[0]
    (500, HistogramBin(low=1.0, high=8.0, n=40))
    >>> distribution(pa.chunked_array([["a"] * 20 + ["b"] * 3])).frequent
    (FrequentValue(value='a', n=20),)
    """
    valid = values.drop_null()
    if len(valid) < FEWEST_USERS:
        return None
    kind = values.type
    if pa.types.is_temporal(kind):
        return _of_numbers(as_micros(valid), named=False) if is_time(kind) else None
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _of_numbers(valid)
    if pa.types.is_boolean(kind):
        return _of_values(valid.cast(pa.string()))
    return _of_values(valid) if pa.types.is_string(kind) or pa.types.is_large_string(kind) else None


def is_time(kind: pa.DataType) -> bool:
    """Whether a column of this type has times or days."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def as_micros(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times or days as UTC microseconds, int64."""
    return values.cast(pa.timestamp("us", values.type.tz if pa.types.is_timestamp(values.type) else None)).cast(
        pa.int64()
    )


def _of_numbers(values: pa.ChunkedArray, *, named: bool = True) -> Distribution | None:
    numbers = np.sort(values.cast(pa.float64(), safe=False).to_numpy())
    numbers = numbers[np.isfinite(numbers)]
    n = len(numbers)
    if n < FEWEST_USERS:
        return None
    if named and len(np.unique(numbers)) <= NAMED:
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
    """Bin edges, float64 (at most 17,); for integers at integers, so that every bin covers as many of them."""
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
    others_n = len(values) - sum(one["counts"] for one in frequent)
    return Distribution(
        n=len(values),
        frequent=tuple(FrequentValue(value=one["values"], n=one["counts"]) for one in frequent),
        others=_told(others_n),
    )


def _told(n: int) -> int | None:
    return n if not n or n >= FEWEST_USERS else None
