"""Event times, zones with their changes of clocks, and days that never overlap."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_reader import COLUMNS, lines, refusals, rows

from tidemill.core.clock import FIRST_DAY, FIRST_US, LAST_DAY, LAST_US, as_of, to_micros
from tidemill.core.clock_change import first_after_gap
from tidemill.core.contract.contract import ContractColumn, Event, event_time, item
from tidemill.core.errors import SchemaChanged
from tidemill.core.source_read import SourceRead
from tidemill.sources import day_bounds
from tidemill.sources.days import day_of
from tidemill.sources.files.event_times import read_times
from tidemill.sources.files.file_url import Unit

Read = Callable[..., SourceRead]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo"]


def times(*texts: str | None, **about: object) -> tuple[list[datetime | None], list[str | None]]:
    column = ContractColumn(name="at", kind="time", role="event_time", **about)  # type: ignore[arg-type]
    found = read_times(pl.Series("at", texts, dtype=pl.String), column, None)
    return found.values.to_list(), [None] * len(texts) if found.reason is None else found.reason.to_list()


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2024-02-29", utc(2024, 2, 29)),
        ("2024-02-29T12:30", utc(2024, 2, 29, 12, 30)),
        ("2024-02-29 12:30:15", utc(2024, 2, 29, 12, 30, 15)),
        ("2024-02-29T12:30:15.5", utc(2024, 2, 29, 12, 30, 15, 500_000)),
        ("2024-02-29T12:30:15.123456789Z", utc(2024, 2, 29, 12, 30, 15, 123_456)),
        ("2024-02-29T12:30:15+05:45", utc(2024, 2, 29, 6, 45, 15)),
        ("2024-02-29T12:30:15-0330", utc(2024, 2, 29, 16, 0, 15)),
        ("2024-02-29T12:30:15+02", utc(2024, 2, 29, 10, 30, 15)),
        (" 2024-02-29 12:30:15 z ", utc(2024, 2, 29, 12, 30, 15)),
    ],
)
def test_iso_times(text: str, at: datetime) -> None:
    assert times(text, zone="UTC") == ([at], [None])


@pytest.mark.parametrize("text", ["2023-02-29", "29.02.2024", "2024-02-29T25:00", "2024-02-29T12:30:60", "soon", "15"])
def test_what_is_no_time_is_said(text: str) -> None:
    assert times(text, None, "2024-02-29", zone="UTC")[1] == ["is not an ISO 8601 time", None, None]


@pytest.mark.parametrize(
    ("raw", "unit"),
    [
        (pl.Series(["0099-12-31", "0100-01-01", "9899-12-31T23:59:59.999999Z", "9900-01-01T00:00:00+00:00"]), None),
        (pl.Series(["0001-01-01T00:00:00+14:00", "0100-01-01Z", "9899-12-31", "9999-12-31T23:59:59-12:00"]), "iso"),
        (pl.Series([FIRST_US - 1, FIRST_US, LAST_US, LAST_US + 1]), "unix_us"),
        (pl.Series([-(2**63), FIRST_US // 10**6, LAST_US // 10**6, 2**63 - 1]), "unix_s"),
        (pl.Series([-1e300, FIRST_US / 1e6, LAST_US // 10**6, float("inf")]), "unix_s"),
        (pl.Series([-(2**31), FIRST_US // 86_400_000_000, LAST_US // 86_400_000_000, 2**31 - 1]).cast(pl.Date), None),
        (pl.Series([-(2**62), FIRST_US, LAST_US, 2**62]).cast(pl.Datetime("us", "Asia/Tokyo")), None),
        (pl.Series([-(2**62), FIRST_US // 1000, LAST_US // 1000, 2**62]).cast(pl.Datetime("ms")), None),
    ],
)
def test_times_near_the_ends_of_the_calendar_are_refused_in_every_format(raw: pl.Series, unit: Unit | None) -> None:
    column = ContractColumn(name="at", kind="time", role="event_time", zone="UTC")
    found = read_times(raw, column, unit)
    assert found.values.is_null().to_list() == [True, False, False, True]
    assert found.reason is not None
    said = found.reason.to_list()
    assert said[1:3] == [None, None]
    assert all(reason.startswith("is outside the years 100 to 9899") for reason in (said[0], said[3]))
    assert day_of(found.values).to_list()[1:3] == [FIRST_DAY, LAST_DAY]


def test_an_unsigned_number_of_more_than_63_bits_is_out_of_range() -> None:
    column = ContractColumn(name="at", kind="time", role="event_time", zone="UTC")
    found = read_times(pl.Series([1, 2**64 - 1], dtype=pl.UInt64), column, "unix_s")
    assert found.values.is_null().to_list() == [False, True]


@given(st.datetimes(datetime(1902, 1, 1), datetime(2099, 1, 1)), st.sampled_from(ZONES))
def test_local_times_agree_with_the_standard_library(naive: datetime, zone: str) -> None:
    place = ZoneInfo(zone)
    early, late = (naive.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1))
    exists = early.astimezone(place).replace(tzinfo=None) == naive
    for ambiguous, wanted in (("earliest", early), ("latest", late)):
        values, reasons = times(naive.isoformat(), zone=zone, ambiguous=ambiguous, nonexistent="forward")
        assert reasons == [None]
        assert values == [wanted if exists else first_after_gap(naive, zone)]


def test_a_time_told_twice_and_one_skipped() -> None:
    twice, skipped = "2024-10-27T02:30", "2024-03-31T02:30"
    values, reasons = times(twice, skipped, "2024-06-01", zone="Europe/Berlin")
    assert values == [None, None, utc(2024, 5, 31, 22)]
    assert [reason and reason.split(":")[0] for reason in reasons] == [
        "occurs twice in Europe/Berlin",
        "does not occur in Europe/Berlin",
        None,
    ]
    assert times(twice, zone="Europe/Berlin", ambiguous="earliest")[0] == [utc(2024, 10, 27, 0, 30)]
    assert times(twice, zone="Europe/Berlin", ambiguous="latest")[0] == [utc(2024, 10, 27, 1, 30)]
    assert times(skipped, twice, zone="Europe/Berlin", nonexistent="forward")[0] == [utc(2024, 3, 31, 1), None]


def test_a_time_without_a_zone_is_refused_and_one_with_its_own_is_taken() -> None:
    values, reasons = times("2024-02-29T12:00", "2024-02-29T12:00Z")
    assert values == [None, utc(2024, 2, 29, 12)]
    assert "without a zone" in str(reasons[0]) and reasons[1] is None


@pytest.mark.parametrize(
    ("unit", "text"), [("unix_s", "1500000000.25"), ("unix_ms", "1500000000250"), ("unix_us", "1500000000250000")]
)
def test_unix_times_to_the_microsecond(unit: str, text: str) -> None:
    column = ContractColumn(name="at", kind="time", role="event_time")
    at = utc(2017, 7, 14, 2, 40, 0, 250_000)
    for raw in (pl.Series([text]), pl.Series([text, "x"]), pl.Series([float(text)])):
        assert read_times(raw, column, unit).values[0] == at  # type: ignore[arg-type]


def test_a_unit_that_changed_is_refused_by_the_column_s_name(read_once: Read) -> None:
    milliseconds = lines(*range(20), start=1_500_000_000_000_000)
    with pytest.raises(SchemaChanged, match=r"not valid: `reviewed_at` is outside.*has its unit changed"):
        read_once(milliseconds, query=COLUMNS)


class Sale(Event):
    thing: str = item()
    at: datetime = event_time(zone="Europe/Berlin", ambiguous="earliest", nonexistent="forward")


def days_of(
    instants: list[datetime], days: list[date], zone: str, inside: Callable[[int, int, int], bool]
) -> list[int]:
    """In how many of `days` each instant lies, by a rule over (low, t, high)."""
    return [
        sum(inside(day_bounds(day, zone)[0], to_micros(at), day_bounds(day, zone)[1]) for day in days)
        for at in instants
    ]


def half_open(low: int, at: int, high: int) -> bool:
    return low <= at < high


def both_ends(low: int, at: int, high: int) -> bool:
    """The wrong variant: a filter that includes both ends of the day."""
    return low <= at <= high


@given(st.dates(date(1971, 1, 1), date(2099, 1, 1)), st.sampled_from(ZONES), st.integers(0, 90_000))
def test_every_instant_lies_in_exactly_one_day(day: date, zone: str, seconds: int) -> None:
    around = [day + timedelta(days=n) for n in range(-2, 4)]
    midnight = datetime.fromtimestamp(day_bounds(day, zone)[0] / 1e6, UTC)
    instants = [midnight, midnight + timedelta(seconds=seconds), midnight - timedelta(microseconds=1)]
    assert days_of(instants, around, zone, half_open) == [1, 1, 1]


def test_a_day_filter_that_takes_midnight_twice_is_caught() -> None:
    """Reviews stamped at midnight must not land on the day before as well."""
    midnight = utc(2018, 9, 19)
    days = [date(2018, 9, 18), date(2018, 9, 19)]
    assert days_of([midnight], days, "UTC", half_open) == [1]
    assert days_of([midnight], days, "UTC", both_ends) == [2]


def test_a_midnight_review_stays_on_its_day_wherever_the_machine_stands(
    read_once: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = lines(0, start=1_537_315_200)
    monkeypatch.setenv("TZ", "America/New_York")
    assert rows(read_once(midnight, query=COLUMNS), "_day") == [(date(2018, 9, 19),)]
    wrong = read_once(midnight, query=COLUMNS, zone="America/New_York")  # the wrong variant: days of the machine
    assert rows(wrong, "_day") == [(date(2018, 9, 18),)]


def test_a_midnight_review_comes_with_its_own_day_only(read_once: Read) -> None:
    content = lines(0, 1, 2, start=1_537_228_800)  # midnights of 18, 19 and 20 September 2018
    read = read_once(content, query=COLUMNS, until=date(2018, 9, 19))
    by_day = {day: read.of_day(day, first=False)[0].num_rows for day in (date(2018, 9, 18), date(2018, 9, 19))}
    assert by_day == {date(2018, 9, 18): 1, date(2018, 9, 19): 1}
    assert read.stats.pending == 1 and read.good.num_rows == 2


@pytest.mark.parametrize("zone", ZONES)
def test_the_rows_of_a_day_are_those_between_its_bounds(read_once: Read, zone: str) -> None:
    """`_day` and `day_bounds` and the run's as-of say the same, also on days of 23 and 25 hours."""
    content = b"".join(f"B{n},U,3,{1_711_800_000 + n * 3_600}\n".encode() for n in range(24 * 7))
    read = read_once(content, query="?columns=item_id,user_id,rating,reviewed_at:unix_s", zone=zone)
    frame = pl.DataFrame(pl.from_arrow(read.good))
    for (day,), part in frame.group_by("_day"):
        low, high = day_bounds(day, zone)  # type: ignore[arg-type]
        assert high == to_micros(as_of(day, zone))  # type: ignore[arg-type]
        assert part["reviewed_at"].dt.epoch("us").is_between(low, high, closed="left").all()


def test_a_skipped_local_time_in_a_file_flows_where_the_contract_says_so(read_once: Read) -> None:
    read = read_once(
        b"T1,2024-03-31T02:30:00\nT2,2024-10-27T02:30:00\n", Sale.contract, "?columns=thing,at", zone="Europe/Berlin"
    )
    assert rows(read, "at", "_day") == [
        (utc(2024, 3, 31, 1), date(2024, 3, 31)),
        (utc(2024, 10, 27, 0, 30), date(2024, 10, 27)),
    ]
    assert refusals(read) == []
