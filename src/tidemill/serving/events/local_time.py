"""Local time of a posted event as UTC microseconds, by the rules for files: zones, ambiguous and skipped hours."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tidemill.core.clock import to_micros
from tidemill.core.clock_change import first_after_gap
from tidemill.core.contract.contract import ContractColumn
from tidemill.core.errors import BadRequest


def instant(text: object, column: ContractColumn) -> int:
    """Microseconds of an ISO 8601 time; one without a zone is read in the column's zone, and refused without one.

    >>> instant("1970-01-01T01:00:01+01:00", ContractColumn(name="at", kind="time"))
    1000000
    """
    if not isinstance(text, str):
        raise BadRequest(
            f"`{column.name}` is a time and is written as ISO 8601 text", tip="for example 2026-01-31T12:00:00Z"
        )
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"`{column.name}` is no ISO 8601 time", tip="for example 2026-01-31T12:00:00Z") from None
    if found.tzinfo is not None:
        return _micros(found, column)
    if column.zone is None:
        raise BadRequest(f"`{column.name}` has no zone", tip="append Z or an offset, or declare tm.event_time(zone=…)")
    return _micros(_located(found, column), column)


def _micros(found: datetime, column: ContractColumn) -> int:
    try:
        return to_micros(found)
    except OverflowError:
        raise BadRequest(f"`{column.name}` lies outside the years 1 to 9999 in UTC") from None


def _located(naive: datetime, column: ContractColumn) -> datetime:
    """The wall time in the column's zone: first and second reading differ where a clock was turned."""
    zone = ZoneInfo(column.zone or "UTC")
    first, second = naive.replace(tzinfo=zone, fold=0), naive.replace(tzinfo=zone, fold=1)
    before, after = first.utcoffset() or timedelta(), second.utcoffset() or timedelta()
    if before == after:
        return first
    if before > after:  # turned back: this wall time happened twice
        if column.ambiguous == "raise":
            raise BadRequest(f"`{column.name}` happened twice in {column.zone}", tip="send it with its offset")
        return first if column.ambiguous == "earliest" else second
    if column.nonexistent == "raise":
        raise BadRequest(f"`{column.name}` was skipped in {column.zone}", tip="send it with its offset")
    return first_after_gap(naive, zone.key)
