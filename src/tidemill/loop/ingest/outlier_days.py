"""Outlier days: a few rows dated years before or after all others, as a wrong clock or a default date leaves them.

They are held for a person's decision, because they would extend the history of every table by years.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import NamedTuple

from tidemill.core.formatting import count
from tidemill.core.records.ingest import Failure

#: More days than this between two days with rows separate them into two periods.
GAP_DAYS = 730
#: A period of at most this share of the rows of the largest one, or of a single row, is an outlier.
SHARE = 0.05

_EPOCH = date(1970, 1, 1)


class Period(NamedTuple):
    """A number of rows, and their first and last day (in days since 1970)."""

    first: int
    last: int
    rows: int


def main_period(rows_by_day: Mapping[int, int], known: Period | None = None) -> Period:
    """The rows that are no outliers, of rows by day (since 1970) and those that are `known` already.

    >>> main_period({0: 1, 19_723: 1, 19_724: 2})
    Period(first=19723, last=19724, rows=3)
    """
    found = [Period(day, day, n) for day, n in rows_by_day.items()]
    periods: list[Period] = []
    for one in sorted([*found, *([known] if known else [])]):
        before = periods[-1] if periods else None
        if before is not None and one.first - before.last <= GAP_DAYS:
            periods[-1] = Period(before.first, max(before.last, one.last), before.rows + one.rows)
        else:
            periods.append(one)
    largest = max(periods, key=lambda one: (one.rows, one.last))
    limit = max(1, SHARE * largest.rows)
    kept = [one for one in periods if one is largest or one.rows > limit]
    return Period(kept[0].first, kept[-1].last, sum(one.rows for one in kept))


def outlier_failure(table: str, column: str, rows_by_day: Mapping[int, int], period: Period) -> Failure:
    """The failed check of outlier days, all before or all after the main period."""
    low, high, n = min(rows_by_day), max(rows_by_day), sum(rows_by_day.values())
    apart, where = (period.first - high, "before") if high < period.first else (low - period.last, "after")
    others = _span(period.first, period.last)
    says = f"{count(n, 'row')} of {_span(low, high)}, {apart:,} days {where} all others ({others})"
    return Failure(
        table=table,
        check="outlier_days()",
        column=column,
        n=n,
        observed=float(apart),
        low=0.0,
        high=float(GAP_DAYS),
        severity="hold",
        says=f"{says}: the history of the tables would extend to that time",
    )


def _span(low: int, high: int) -> str:
    first, last = (_EPOCH + timedelta(days=day) for day in (low, high))
    return str(first) if low == high else f"{first} to {last}"
