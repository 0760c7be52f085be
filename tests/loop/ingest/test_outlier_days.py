"""Outlier days are held and named; the work of a run is bounded by the days that have rows."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.clock import as_of, to_micros
from tidemill.core.errors import UsageError
from tidemill.core.storage import failpoint
from tidemill.loop.ingest.arrivals import EMPTY_DAYS, _due_days
from tidemill.loop.ingest.outlier_days import GAP_DAYS, Period, main_period
from tidemill.loop.pipeline.increment_history import increment_history
from tidemill.loop.pipeline.resolve_hold import accept_hold, replace_hold

LAST = FIRST + timedelta(days=4)
LONE = ("lone", "i1", 3.0, date(1970, 1, 1))


def held(project: Project) -> list[str]:
    stores, graph = project.open()
    return [one.failures[0].says for one in increment_history(stores, graph, "reviews") if one.state == "held"]


@pytest.mark.parametrize(
    ("days", "period"),
    [
        ([0, 20_000, 20_001, 20_001], (20_000, 20_001)),
        ([20_000] * 50 + [40_000], (20_000, 20_000)),
        ([20_000] * 50 + [0, 40_000, 40_000], (20_000, 20_000)),
        ([0, 20_000], (20_000, 20_000)),  # one row against one: the later day is believed
        ([0] * 10 + [20_000] * 50, (0, 20_000)),  # a fifth of the rows is no accident
        ([0] * 10 + [10_000] + [20_000] * 50, (0, 20_000)),  # nor is what lies between
        ([0, GAP_DAYS, GAP_DAYS, GAP_DAYS], (0, GAP_DAYS)),
    ],
)
def test_the_main_period_of_a_first_read(days: list[int], period: tuple[int, int]) -> None:
    assert main_period(Counter(days))[:2] == period
    assert main_period(Counter(days[::-1]))[:2] == period


def test_the_main_period_of_a_later_read_includes_the_history() -> None:
    known = Period(18_000, 20_004, 1000)
    assert main_period({0: 50, 17_500: 1, 19_000: 1, 20_005: 1}, known) == (17_500, 20_005, 1003)
    assert main_period({0: 51, 30_000: 9}, known) == (0, 20_004, 1051)
    assert main_period({}, known) == known


def test_of_a_long_period_without_rows_only_the_last_day_is_an_increment() -> None:
    assert _due_days(1, 5, [2]) == [1, 2, 3, 4, 5]
    assert _due_days(1, 40_000, [1, 20_000]) == [1, 19_999, 20_000, 40_000]
    assert _due_days(1, 1 + EMPTY_DAYS + 1, [1, EMPTY_DAYS + 2]) == list(range(1, EMPTY_DAYS + 3))


@pytest.mark.parametrize("backfill", [False, True])
def test_a_lone_row_of_1970_is_held_and_the_rest_flows(project: Project, backfill: bool) -> None:
    project.write("reviews.csv", [LONE, *daily(5)])
    report = project.run(LAST, backfill=backfill)
    assert report.increments == (3 if backfill else 7)  # with the items; not one for each day since 1970
    assert report.held == [("reviews", 1)]
    assert held(project) == [
        f"1 row of 1970-01-01, 19,723 days before all others ({FIRST} to {LAST}): "
        "the history of the tables would extend to that time"
    ]
    stores, graph = project.open()
    times = stores.lake.view().arrow("reviews")["reviewed_at"].to_pylist()
    assert len(times) == 60 and min(times).date() == FIRST
    assert min(stores.lake.view().arrow("items")["updated_at"].to_pylist()).year == 2023
    assert project.run(LAST).increments == 0
    assert accept_hold(stores, graph, "reviews", 1, who="me", reason="a real one").publication is not None
    rows = {row["reviewed_at"].year: row["_known_at"] for row in project.rows("reviews")}
    assert rows[1970] == as_of(LAST)  # known since now, whatever its own day says


def test_a_lone_day_after_the_rest_is_held_and_the_stream_goes_on(project: Project) -> None:
    project.write("reviews.csv", [*daily(5, first=date(2012, 1, 1)), ("lone", "i1", 3.0, LAST)])
    report = project.run(LAST)
    assert report.held == [("reviews", 6)]  # after five days; those without rows are one increment
    assert report.increments == 8
    project.write("reviews-2.csv", daily(1, first=LAST + timedelta(days=1)))
    assert project.run(LAST + timedelta(days=1)).merged == 12
    assert len(held(project)) == 1


def test_a_late_row_far_before_the_history_is_held_and_others_are_not(project: Project) -> None:
    project.write("reviews-1.csv", daily(3))
    project.run(FIRST + timedelta(days=2))
    project.write("reviews-2.csv", [LONE, ("late", "i2", 4.0, FIRST - timedelta(days=5)), *daily(1, first=LAST)])
    report = project.run(LAST)
    assert (report.held, report.merged) == ([("reviews", 4)], 13)


def test_many_early_rows_of_a_first_read_are_no_outliers(project: Project) -> None:
    project.write("reviews.csv", [*daily(2, first=date(1999, 1, 1)), *daily(5)])
    assert project.run(LAST).held == []


def test_the_newest_facts_of_a_snapshot_may_be_of_any_time(project: Project) -> None:
    items = project.path / "data" / "items.jsonl"
    items.write_text(items.read_text() + '{"item_id": "i99", "updated_at": "1970-01-01", "category": "c"}\n')
    project.write("reviews.csv", daily(5))
    assert project.run(LAST).held == []


def test_a_corrected_file_replaces_outlier_days(project: Project) -> None:
    project.write("reviews.csv", [LONE, *daily(5)])
    project.run(LAST)
    stores, graph = project.open()
    file = project.path / "fixed.csv"
    file.write_text(f"i1,lone,3.0,{to_micros(datetime(1969, 12, 30, tzinfo=UTC)) // 10**6}\n")
    assert replace_hold(stores, graph, "reviews", 1, file, who="me").publication is not None


@pytest.mark.parametrize("point", ["hold.ledger:1", "publish.ledger:1", "publish.ledger:3", "hold.ledger:2"])
def test_a_run_killed_around_outlier_days_is_completed_by_the_next(
    project: Project, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [LONE, *daily(5), ("lone", "i2", 3.0, LAST + timedelta(days=900))]
    project.write("reviews.csv", rows)
    until = LAST + timedelta(days=901)

    class DiedError(BaseException):
        pass

    def die(*_: object) -> None:
        raise DiedError

    monkeypatch.setattr(failpoint.os, "kill", die)
    failpoint.arm(point)
    with pytest.raises(DiedError):
        project.run(until)
    failpoint.arm("")
    project.run(until)
    assert len(held(project)) == 2
    assert len(project.rows("reviews")) == 60
    assert project.run(until).increments == 0


def test_a_day_in_the_future_cannot_be_ingested(project: Project) -> None:
    project.write("reviews.csv", daily(1))
    tomorrow = (project.clock.now() + timedelta(days=1)).date()
    with pytest.raises(UsageError, match="in the future"):
        project.run(tomorrow)
    project.run(tomorrow - timedelta(days=1))
