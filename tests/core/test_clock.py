from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.clock import FixedClock, SystemClock, as_of, from_micros, last_full_day, to_micros

ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe"]
)
DAYS = st.dates(date(1971, 1, 2), date(2035, 12, 31))
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(TIMES)
def test_micros_and_back(at: datetime) -> None:
    assert from_micros(to_micros(at)) == at
    assert to_micros(at + timedelta(microseconds=1)) == to_micros(at) + 1


def test_micros_are_exact_where_floats_are_not() -> None:
    at = datetime(2018, 9, 19, 23, 59, 59, 999_999, UTC)
    times = [at - timedelta(microseconds=back) for back in range(1_000)]
    assert all(from_micros(to_micros(time)) == time for time in times)
    assert any(from_micros(int(time.timestamp() % 1 * 1e6) + int(time.timestamp()) * 10**6) != time for time in times)
    assert to_micros(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0


@given(DAYS, ZONES)
def test_a_day_is_over_at_its_as_of_and_not_before(day: date, zone: str) -> None:
    end = as_of(day, zone)
    # Apia skipped a whole day: its clock went from the 29th to the 31st of December 2011.
    if end.astimezone(ZoneInfo(zone)).date() == day + timedelta(days=1):
        assert last_full_day(end, zone) == day
        assert last_full_day(end - timedelta(microseconds=1), zone) < day


def test_days_of_23_and_25_hours() -> None:
    start, spring, autumn = as_of(date(2018, 3, 24), "Europe/Berlin"), date(2018, 3, 25), date(2018, 10, 28)
    assert as_of(spring, "Europe/Berlin") - start == timedelta(hours=23)
    assert as_of(autumn, "Europe/Berlin") - as_of(date(2018, 10, 27), "Europe/Berlin") == timedelta(hours=25)
    assert as_of(spring, "Europe/Berlin") != start + timedelta(days=1)  # the wrong variant differs here


def test_a_midnight_review_belongs_to_one_day_only() -> None:
    """An as-of excludes its own instant: a review at midnight is not also on the day before."""
    midnight = datetime(2018, 9, 20, tzinfo=UTC)
    before, after = date(2018, 9, 19), date(2018, 9, 20)
    assert [day for day in (before, after) if as_of(day) - timedelta(days=1) <= midnight < as_of(day)] == [after]
    both_ends = [day for day in (before, after) if as_of(day) - timedelta(days=1) <= midnight <= as_of(day)]
    assert both_ends == [before, after]  # the wrong variant


def test_clocks_are_aware_and_in_utc() -> None:
    clock = FixedClock(datetime(2018, 9, 20, 2, tzinfo=ZoneInfo("Europe/Berlin")))
    assert clock.now() == datetime(2018, 9, 20, tzinfo=UTC)
    clock.set(datetime(2018, 9, 21, 2, tzinfo=ZoneInfo("Europe/Berlin")))
    assert (clock.now().day, clock.now().tzinfo) == (21, UTC)
    before = datetime.now(UTC)
    assert before <= SystemClock().now() <= datetime.now(UTC)
