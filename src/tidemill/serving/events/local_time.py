"""Local time of a posted event as UTC microseconds, with the same rules as for files: zones and clock changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tidemill.core.clock import FIRST_DAY, LAST_DAY, OUT_OF_RANGE, to_micros
from tidemill.core.clock_change import first_after_gap
from tidemill.core.contract.contract import ContractColumn
from tidemill.core.errors import BadRequest


def instant(text: object, column: ContractColumn) -> int:
    """Microseconds of an ISO 8601 time; a time without an offset is in the column's zone, or refused without a zone.

    >>> instant("1970-01-01T01:00:01+01:00", ContractColumn(name="at", kind="time"))
    1000000
    """
    if not isinstance(text, str):
        raise BadRequest(
            f"expected a time as ISO 8601 text for `{column.name}`", tip="for example 2026-01-31T12:00:00Z"
        )
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(
            f"`{column.name}` is not a valid ISO 8601 time", tip="for example 2026-01-31T12:00:00Z"
        ) from None
    if not FIRST_DAY <= parsed.date() <= LAST_DAY:
        raise BadRequest(f"`{column.name}` {OUT_OF_RANGE}")
    if parsed.tzinfo is not None:
        return to_micros(parsed)
    if column.zone is None:
        raise BadRequest(
            f"`{column.name}` has no time zone", tip="append Z or an offset, or declare tm.event_time(zone=…)"
        )
    return to_micros(_located(parsed, column))


def _located(naive: datetime, column: ContractColumn) -> datetime:
    """The local time with its offset in the column's zone; `fold` 0 and 1 differ where the clocks change."""
    zone = ZoneInfo(column.zone or "UTC")
    first, second = naive.replace(tzinfo=zone, fold=0), naive.replace(tzinfo=zone, fold=1)
    before, after = first.utcoffset() or timedelta(), second.utcoffset() or timedelta()
    if before == after:
        return first
    if before > after:  # the clocks are set back: this local time occurs twice
        if column.ambiguous == "raise":
            raise BadRequest(
                f"`{column.name}` is ambiguous in {column.zone}: this local time occurs twice",
                tip="send it with its offset",
            )
        return first if column.ambiguous == "earliest" else second
    if column.nonexistent == "raise":
        raise BadRequest(
            f"`{column.name}` does not exist in {column.zone}: the clocks skip this local time",
            tip="send it with its offset",
        )
    return first_after_gap(naive, zone.key)
