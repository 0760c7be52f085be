"""Column statistics of a view: a few summary statistics of each column."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.clock import from_micros
from tidemill.core.record_format import Record
from tidemill.features.distribution import Distribution, as_micros, distribution, is_time

_KINDS = {
    ("string", "large_string"): "text", ("double", "float", "halffloat", "decimal"): "number",
    ("int", "uint"): "integer", ("bool",): "boolean", ("timestamp",): "time", ("date",): "day",
}  # fmt: skip


class ColumnStatistics(Record, frozen=True):
    """One column: its type, the share of missing values and, for numbers, booleans and times (UTC microseconds), mean,
    minimum, maximum and quartiles.
    """

    name: str
    type: str
    missing: float
    #: `None` for lists and for personal columns.
    distinct: int | None = None
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    #: First quartile, median and third quartile of numbers and times.
    quartiles: tuple[float, float, float] | None = None
    #: `None` for personal columns, lists, and fewer than ten values.
    distribution: Distribution | None = None
    #: Whether `missing`, `min` and `max` are of all rows, if the rest is of a sample of them.
    exact: bool = True

    @property
    def kind(self) -> str:
        """Its type in plain words: `text`, `number`, `integer`, `boolean`, `time` or `day`; else as it is."""
        return next((kind for names, kind in _KINDS.items() if self.type.startswith(names)), self.type)

    @property
    def is_time(self) -> bool:
        """Whether its values are times or days, in UTC microseconds."""
        return self.kind in ("time", "day")

    def text(self, value: float | None) -> str:
        """One of its values as text, for a terminal."""
        if value is None:
            return "-"
        return f"{from_micros(int(value)):%Y-%m-%d %H:%M}" if self.is_time else f"{value:.4g}"


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
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not (is_number or is_time(kind) or pa.types.is_boolean(kind)) or not distinct:
        return ColumnStatistics(name=name, type=str(kind), missing=missing, distinct=distinct, distribution=spread)
    numbers = (as_micros(values) if is_time(kind) else values).cast(pa.float64(), safe=False)
    limits = pc.min_max(numbers).as_py()
    return ColumnStatistics(
        name=name,
        type=str(kind),
        missing=missing,
        distinct=distinct,
        mean=None if is_time(kind) else pc.mean(numbers).as_py(),
        min=limits["min"],
        max=limits["max"],
        quartiles=None if pa.types.is_boolean(kind) else _quartiles(numbers),
        distribution=spread,
    )


def _quartiles(numbers: pa.ChunkedArray) -> tuple[float, float, float] | None:
    first, median, third = pc.quantile(numbers, [0.25, 0.5, 0.75]).to_pylist()
    return None if first is None else (first, median, third)  # `None`: all are NaN
