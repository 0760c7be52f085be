"""Column statistics of a view: a few summary statistics of each column."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.record_format import Record
from tidemill.features.distribution import Distribution, distribution


class ColumnStatistics(Record, frozen=True):
    """One column: its type, the share of missing values and, for numbers and booleans, mean, minimum and maximum."""

    name: str
    type: str
    missing: float
    #: `None` for lists and for personal columns.
    distinct: int | None = None
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    #: `None` for personal columns, lists, times, and fewer than ten values.
    distribution: Distribution | None = None


def column_statistics(
    rows: pa.Table, names: Collection[str], *, personal: Collection[str] = ()
) -> list[ColumnStatistics]:
    """The statistics of the columns `names`; for a `personal` column only its type and share of missing values.

    >>> rows = pa.table({"n": [1, 2, None], "who": ["a", "b", "c"]})
    >>> [(one.missing, one.distinct, one.mean) for one in column_statistics(rows, ["n", "who"], personal=["who"])]
    [(0.3333333333333333, 2, 1.5), (0.0, None, None)]
    """
    return [_figures(name, rows[name], personal=name in personal) for name in names]


def _figures(name: str, values: pa.ChunkedArray, *, personal: bool) -> ColumnStatistics:
    kind = values.type
    missing = values.null_count / len(values) if len(values) else 0.0
    if personal or pa.types.is_nested(kind) or pa.types.is_null(kind):
        return ColumnStatistics(name=name, type=str(kind), missing=missing)
    distinct = pc.count_distinct(values, mode="only_valid").as_py()
    spread = distribution(values)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)) or not distinct:
        return ColumnStatistics(name=name, type=str(kind), missing=missing, distinct=distinct, distribution=spread)
    numbers = values.cast(pa.float64(), safe=False)
    limits = pc.min_max(numbers).as_py()
    return ColumnStatistics(
        name=name,
        type=str(kind),
        missing=missing,
        distinct=distinct,
        mean=pc.mean(numbers).as_py(),
        min=limits["min"],
        max=limits["max"],
        distribution=spread,
    )
