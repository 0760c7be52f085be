"""Event times as UTC microseconds: Unix timestamps, ISO 8601 text, and local times with daylight saving changes."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from tidemill.core.clock import FIRST_US, LAST_US, OUT_OF_RANGE
from tidemill.core.clock_change import first_after_gap
from tidemill.core.contract.contract import ContractColumn
from tidemill.sources.files.file_url import Unit

UTC_TIME = pl.Datetime("us", "UTC")

_SCALE = {"unix_s": 1_000_000, "unix_ms": 1_000, "unix_us": 1}
_WORDS = {"unix_s": "seconds", "unix_ms": "milliseconds", "unix_us": "microseconds"}
#: Microseconds of a stored unit of a date or time; all 64-bit nanoseconds are in range.
_UNIT_US = {"D": 86_400_000_000, "ms": 1_000, "us": 1}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MARK = r"\s?[-./,\s]\s?"
_DAY, _MONTH = r"(?<day>\d{1,2})(?:st|nd|rd|th)?", r"(?<month>\d{1,2}|[A-Za-z]{3,9})\.?"
_YEAR, _SHORT = r"(?<year>\d{4})", r"(?<year>\d{4}|'?\d{2})"
_CLOCK = (
    r"(?:[T,\s]\s*(?<hour>\d{1,2}):(?<minute>\d{2})(?<second>:\d{2}(?:[.,]\d{1,9})?)?\s?(?:(?<half>[AaPp])\.?[Mm]\.?)?"
    r"\s?(?<zone>[Zz]|[+-]\d{2}:?\d{2})?)?"
)
#: The order of a date's parts -> the texts that are read so. A month may be a name; without a day it is the first.
CALENDARS = {
    "ymd": rf"^{_YEAR}{_MARK}{_MONTH}(?:{_MARK}{_DAY})?{_CLOCK}$",
    "dmy": rf"^(?:{_DAY}{_MARK})?{_MONTH}{_MARK}{_SHORT}{_CLOCK}$",
    "mdy": rf"^{_MONTH}{_MARK}{_DAY}{_MARK}{_SHORT}{_CLOCK}$",
}
_ORDERS = {"ymd": "year first", "dmy": "the day first", "mdy": "the month first"}
_ISO = (
    r"^(?<day>\d{4}-\d{2}-\d{2})(?:[T ](?<time>\d{2}:\d{2})(?<second>:[0-5]\d)?(?:[.,](?<part>\d{1,9}))?)?"
    r"\s?(?:(?<zulu>[Zz])|(?<sign>[+-])(?<hours>\d{2}):?(?<minutes>\d{2})?)?$"
)


class EventTimes(NamedTuple):
    """UTC times, null where missing or invalid; and the reasons, null where a value is missing or valid."""

    values: pl.Series
    reason: pl.Series | None


def read_times(raw: pl.Series, column: ContractColumn, unit: Unit | None) -> EventTimes:
    """Convert a raw column to UTC times: numbers by their unit, text as ISO 8601, naive times in the column's zone."""
    if raw.dtype == pl.Null:
        return EventTimes(raw.cast(UTC_TIME), None)
    if unit in _SCALE:
        return _unix(raw, str(unit))
    if isinstance(raw.dtype, pl.Date | pl.Datetime):
        inside, outside = in_range(raw)
        zone = getattr(raw.dtype, "time_zone", None)
        if zone is None:
            read = _local(inside.cast(pl.Datetime("us")), column)
        else:
            read = EventTimes(inside.cast(pl.Datetime("us", zone)).dt.convert_time_zone("UTC"), None)
        return EventTimes(read.values, _either(outside, read.reason))
    if raw.dtype != pl.String:
        why = f"is a number without a unit; declare one: `{column.name}:unix_s`"
        return EventTimes(pl.Series([None], dtype=UTC_TIME).new_from_index(0, len(raw)), _why(raw.is_not_null(), why))
    return _iso(raw, column) if unit in (None, "iso") else _calendar(raw, column, str(unit))


def _unix(raw: pl.Series, unit: str) -> EventTimes:
    """Integers exactly; fractions rounded to the microsecond."""
    scale = _SCALE[unit]
    number = raw.str.strip_chars().cast(pl.Int64, strict=False) if raw.dtype == pl.String else raw
    if number.dtype.is_unsigned_integer():
        number = number.cast(pl.Int64, strict=False)
    if raw.dtype == pl.String and number.null_count() > raw.null_count():
        whole, real = number, raw.str.strip_chars().cast(pl.Float64, strict=False)
        parts = pl.select(pl.coalesce(_scaled(whole, scale), _scaled(real, scale))).to_series()
    else:
        parts = _scaled(number, scale)
    values = parts.cast(UTC_TIME)
    if values.null_count() == raw.null_count():
        return EventTimes(values, None)
    is_number = raw.str.strip_chars().cast(pl.Float64, strict=False) if raw.dtype == pl.String else raw
    failed = raw.is_not_null() & values.is_null()
    out_of_range = f"{OUT_OF_RANGE} when read as {_WORDS[unit]}; has its unit changed?"
    reason = pl.select(
        pl.when(failed & is_number.is_not_null())
        .then(pl.lit(out_of_range))
        .when(failed)
        .then(pl.lit(f"is not a number of {_WORDS[unit]}"))
    ).to_series()
    return EventTimes(values, reason)


def _scaled(number: pl.Series, scale: int) -> pl.Series:
    """Microseconds as Int64, null where out of range."""
    low, high = number.min(), number.max()
    whole = isinstance(low, int) and isinstance(high, int) and number.dtype == pl.Int64
    if whole and FIRST_US // scale <= low and high <= LAST_US // scale:  # type: ignore[operator]  # both are int here
        return number * scale
    inside = number.is_between(FIRST_US // scale, LAST_US // scale) & number.is_not_null()
    kept = pl.select(pl.when(inside).then(number)).to_series()
    if kept.dtype.is_float():
        return (kept * scale).round(0).cast(pl.Int64, strict=False)
    return kept.cast(pl.Int64) * scale


def _calendar(raw: pl.Series, column: ContractColumn, unit: str) -> EventTimes:
    return _iso(iso_texts(raw, unit), column, f"is not a date with {_ORDERS[unit]}")


def iso_texts(raw: pl.Series, unit: str) -> pl.Series:
    """Dates and times whose parts have this order as ISO 8601; "?" for any other text.

    >>> iso_texts(pl.Series(["31.12.2024", "1. Feb 99 5:07 pm", "13/13/2024"]), "dmy").to_list()
    ['2024-12-31T00:00:00', '1999-02-01T17:07:00', '2024-13-13T00:00:00']
    """
    parts = raw.str.strip_chars().str.extract_groups(CALENDARS[unit]).struct.unnest()
    named = pl.col("month").str.to_lowercase().str.slice(0, 3)
    month = named.replace_strict(_MONTHS, range(1, 13), default=None, return_dtype=pl.Int64)
    year, hour = pl.col("year").str.strip_chars("'").cast(pl.Int64), pl.col("hour").cast(pl.Int64).fill_null(0)
    short = year + pl.when(year < 69).then(2000).otherwise(1900)  # POSIX
    half = pl.col("half").str.to_lowercase()
    hour = pl.when(half.is_null()).then(hour).otherwise(hour % 12 + pl.when(half == "p").then(12).otherwise(0))
    second = pl.coalesce("second", pl.lit(":00"))
    whole = pl.col("day").is_not_null() | (pl.col("year").str.len_chars() == 4)  # 3/12 is no month of 2012
    text = parts.select(
        pl.when(whole).then(
            pl.format(
                "{}-{}-{}T{}:{}{}{}",
                pl.when(pl.col("year").str.len_chars() < 4).then(short).otherwise(year),
                pl.coalesce(pl.col("month").cast(pl.Int64, strict=False), month).cast(pl.String).str.zfill(2),
                pl.coalesce("day", pl.lit("1")).str.zfill(2),
                hour.cast(pl.String).str.zfill(2),
                pl.coalesce("minute", pl.lit("00")),
                second,
                pl.coalesce("zone", pl.lit("")),
            )
        )
    ).to_series()
    return pl.select(pl.when(raw.is_not_null()).then(text.fill_null("?"))).to_series()


def _iso(raw: pl.Series, column: ContractColumn, why: str = "is not an ISO 8601 time") -> EventTimes:
    parts = raw.str.strip_chars().str.extract_groups(_ISO).struct.unnest()
    clock = pl.coalesce("time", pl.lit("00:00")) + pl.coalesce("second", pl.lit(":00"))
    read = parts.select(
        (pl.col("day") + "T" + clock + "." + pl.coalesce("part", pl.lit("0")).str.slice(0, 6))
        .str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        .alias("naive"),
        (pl.col("zulu").is_not_null() | pl.col("sign").is_not_null()).fill_null(False).alias("placed"),
        (
            (pl.col("hours").cast(pl.Int64) * 60 + pl.col("minutes").cast(pl.Int64).fill_null(0))
            * pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
        )
        .fill_null(0)
        .alias("offset"),
    )
    naive, outside = in_range(read["naive"])
    unread = raw.is_not_null() & read["naive"].is_null()
    read = read.with_columns(naive)
    absolute = (
        read.select(pl.when("placed").then(pl.col("naive") - pl.duration(minutes="offset")))
        .to_series()
        .dt.replace_time_zone("UTC")
    )
    floating = read.select(pl.when(~pl.col("placed")).then("naive")).to_series()
    values, reason = absolute, None
    if floating.null_count() < len(floating):
        local, reason = _local(floating, column)
        values = pl.select(pl.coalesce(absolute, local)).to_series()
    if unread.any():
        reason = _either(_why(unread, why), reason)
    return EventTimes(values, _either(outside, reason))


def in_range(times: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Dates or times, null where out of range, and the reasons; compared as integers: Polars panics on such times."""
    unit_us = _UNIT_US.get(getattr(times.dtype, "time_unit", "D"))
    if unit_us is None:
        return times, None
    outside = ~times.to_physical().is_between(FIRST_US // unit_us, LAST_US // unit_us).fill_null(True)
    if not outside.any():
        return times, None
    return pl.select(pl.when(~outside).then(times).alias(times.name)).to_series(), _why(outside, OUT_OF_RANGE)


def _either(first: pl.Series | None, second: pl.Series | None) -> pl.Series | None:
    """The first reason of each value, if it has one."""
    if first is None or second is None:
        return second if first is None else first
    return pl.select(pl.coalesce(first, second)).to_series()


def _local(naive: pl.Series, column: ContractColumn) -> EventTimes:
    """Naive times in the column's zone; the contract decides on ambiguous and non-existent times."""
    if column.zone is None:
        how = "event_time" if column.role == "event_time" else "field"
        why = f"is a time without a zone; declare `{column.name}: datetime = tm.{how}(zone=…)`"
        return EventTimes(
            pl.Series([None], dtype=UTC_TIME).new_from_index(0, len(naive)), _why(naive.is_not_null(), why)
        )
    if column.zone == "UTC":
        return EventTimes(naive.dt.replace_time_zone("UTC"), None)
    policy = "null" if column.ambiguous == "raise" else column.ambiguous
    values = naive.dt.replace_time_zone(column.zone, ambiguous=policy, non_existent="null").dt.convert_time_zone("UTC")
    if values.null_count() == naive.null_count():
        return EventTimes(values, None)
    unresolved = naive.is_not_null() & values.is_null()
    occurs_twice = naive.dt.replace_time_zone(column.zone, ambiguous="earliest", non_existent="null").is_not_null()
    if column.nonexistent == "forward":
        skipped = unresolved & ~occurs_twice
        values = _move_forward(values, naive, skipped, column.zone)
        unresolved = unresolved & occurs_twice
    if not unresolved.any():
        return EventTimes(values, None)
    said = pl.select(
        pl.when(unresolved & occurs_twice)
        .then(pl.lit(f"occurs twice in {column.zone}: the clocks were set back (`ambiguous=` resolves it)"))
        .when(unresolved)
        .then(pl.lit(f"does not occur in {column.zone}: the clocks were set forward (`nonexistent=` resolves it)"))
    ).to_series()
    return EventTimes(values, said)


def _move_forward(values: pl.Series, naive: pl.Series, skipped: pl.Series, zone: str) -> pl.Series:
    """Move non-existent local times to the instant at which the clocks were set forward."""
    moved = {at: first_after_gap(at, zone) for at in naive.filter(skipped).unique().to_list()}
    if not moved:
        return values
    ends = naive.replace_strict(list(moved), list(moved.values()), default=None, return_dtype=UTC_TIME)
    return pl.select(pl.when(skipped).then(ends).otherwise(values)).to_series()


def _why(mask: pl.Series, reason: str) -> pl.Series:
    return pl.select(pl.when(mask).then(pl.lit(reason))).to_series()
