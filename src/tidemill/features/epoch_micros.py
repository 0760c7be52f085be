"""Epoch microseconds (`micros`): stored times as int64, and instants to compare a frame's times with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tidemill.core.errors import TypeMismatch

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = (
    (limit.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) for limit in (datetime.min, datetime.max)
)


def micros_of(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column of times as int64 microseconds since 1970 UTC, null where missing.

    `TypeMismatch` where it is neither a time nor a whole number.

    >>> micros_of(pa.chunked_array([pa.array([1], pa.timestamp("ms", "UTC"))]), "at").to_pylist()
    [1000]
    """
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
    if not pa.types.is_integer(column.type):
        raise TypeMismatch(
            f"the times in {name!r} are {column.type}", tip="use a timestamp, or int64 microseconds since 1970 UTC"
        )
    return column.cast(pa.int64())


def plain_micros(column: pa.ChunkedArray, name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The same as arrays: int64 (n,), 0 where missing, and a validity mask, bool (n,)."""
    micros = micros_of(column, name)
    if not micros.null_count:
        return micros.to_numpy(), np.ones(len(micros), np.bool_)
    return pc.fill_null(micros, 0).to_numpy(), pc.is_valid(micros).to_numpy()


def instant(frame: nw.LazyFrame[Any], column: str, at: int) -> Any:
    """`at` (microseconds) in the type that `column` of a frame is compared with.

    An instant before year 1 or after year 9999 is clipped to that range.
    """
    if frame.collect_schema()[column].is_integer():
        return at
    return _EPOCH + timedelta(microseconds=min(max(at, _FIRST), _LAST))
