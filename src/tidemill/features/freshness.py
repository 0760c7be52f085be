"""Freshness of a view: the age of its newest rows, and the number of entities whose only value has expired."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.record_format import Record
from tidemill.features.value_intervals import AT


class ViewFreshness(Record, frozen=True):
    """The age of a view's rows as of `now`, microseconds."""

    rows: int
    #: The oldest and the newest event time or boundary of a row; `None` without any.
    oldest_at: int | None
    newest_at: int | None
    #: From the newest one to now.
    age_us: int | None
    #: The share of entities whose value is older than the view's ttl.
    expired: float


def view_freshness(rows: pa.Table, *, ttl_us: int | None, now: int) -> ViewFreshness:
    """Freshness from the `_at` (int64 microseconds) of a view's rows, one row per entity; without `_at` none expires.

    >>> rows = pa.table({"u": ["a", "b"], "_at": [10, 90]})
    >>> view_freshness(rows, ttl_us=50, now=100)
    ViewFreshness(rows=2, oldest_at=10, newest_at=90, age_us=10, expired=0.5)
    """
    if AT not in rows.column_names or rows[AT].null_count == rows.num_rows:
        return ViewFreshness(rows=rows.num_rows, oldest_at=None, newest_at=None, age_us=None, expired=0.0)
    at = rows[AT].cast(pa.int64())
    limits = pc.min_max(at).as_py()
    old = 0 if ttl_us is None else pc.sum(pc.greater(pc.subtract(now, at), ttl_us)).as_py() or 0
    return ViewFreshness(
        rows=rows.num_rows,
        oldest_at=limits["min"],
        newest_at=limits["max"],
        age_us=now - limits["max"],
        expired=old / rows.num_rows,
    )
