"""Traffic in a range that ends now, and the metric of a model over its releases and evaluations."""

from __future__ import annotations

import doctest
from typing import Any

import msgspec
import pytest

from conftest import Mill, ask
from tidemill.console import create_app
from tidemill.console.drawings.model_charts import history_chart, latency_chart, live_rate_chart, request_chart
from tidemill.console.pages.model_page import model_page
from tidemill.console.state import model_traffic, time_bins
from tidemill.console.state.metric_history import metric_history
from tidemill.console.state.model_traffic import TrafficStore
from tidemill.core.clock import to_micros
from tidemill.core.errors import BadRequest
from tidemill.core.records.prediction import Prediction
from tidemill.feedback.log_tables import prediction_rows
from tidemill.loop.state.ledger_projection import LedgerProjection
from tidemill.serving.live.server_clock import set_replay

MINUTE = 60_000_000


def _answered(mill: Mill, *minutes: float, model: str = "for_you") -> None:
    """Predictions that were made so many minutes before now."""
    now = to_micros(mill.clock.now())
    made = [
        Prediction(model=model, served_at=now - int(ago * MINUTE), latency_us=400 + k, kind="computed")
        for k, ago in enumerate(minutes)
    ]
    mill.log("predictions", prediction_rows(made))


def _traffic(mill: Mill, asked: str | None = None) -> Any:
    projected = LedgerProjection(mill.ledger).catch_up()
    return TrafficStore().traffic(mill.stores(), projected, "for_you", asked)


def test_bins_cover_their_range() -> None:
    assert doctest.testmod(time_bins).failed == 0
    assert time_bins.LENGTHS[time_bins.bin_length(0, 1440 * MINUTE)] == "hour"
    monday = 4 * 1440 * MINUTE  # 1970-01-05
    assert time_bins.bin_start(monday, 7 * 1440 * MINUTE) == monday


def test_the_last_hour_has_a_bin_for_each_minute(mill: Mill) -> None:
    _answered(mill, 0.5, 10.2, 10.4, 70.0)
    found = _traffic(mill, "hour")
    assert (found.length, found.found.total.requests, found.cut) == (MINUTE, 3, False)
    assert 59 <= len(found.found.periods) <= 61
    assert [one.requests for one in found.found.periods if one.requests] == [2, 1]
    chart = request_chart(found)
    assert chart.title == "Requests per minute"
    assert len(chart.table.rows) == len(found.found.periods)


def test_without_a_request_in_the_last_day_the_whole_log_is_shown(mill: Mill) -> None:
    _answered(mill, 3 * 1440.0, 2 * 1440.0)
    assert _traffic(mill, "day") is None
    assert (_traffic(mill).range, _traffic(mill).found.total.requests) == ("all", 2)
    _answered(mill, 5.0)
    assert _traffic(mill).range == "day"


def test_a_replay_has_its_own_now(mill: Mill) -> None:
    _answered(mill, 3 * 1440.0)
    set_replay(mill.serving, mill.clock.now())
    mill.later(days=9)
    assert _traffic(mill, "week").found.total.requests == 1


def test_of_a_long_log_the_newest_part_is_read_and_said(mill: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_traffic, "MOST_ROWS", 3)
    _answered(mill, *(float(k) for k in range(5)))
    found = _traffic(mill, "all")
    assert found.cut  # the stores of the test read all of it
    mill.publish(mill.increment("reviews", mill.clock.now().date()))
    assert "older ones are not read" in ask(create_app(mill.stores()), "/models/for_you?range=all").text


def test_quantiles_of_few_requests_are_left_out_of_the_chart(mill: Mill) -> None:
    _answered(mill, *(k / 100 for k in range(60)))
    chart = latency_chart(_traffic(mill, "hour"))
    assert chart is not None
    assert chart.table.head == ("From (UTC)", "Of", "Median, ms", "90%, ms")
    rows = {row[1]: row[2:] for row in chart.table.rows}
    assert rows["1"] == rows["0"] == ("\u2013", "\u2013")
    assert all(value != "\u2013" for value in rows["59"])


def test_a_chart_of_latency_without_any_quantile_is_not_drawn(mill: Mill) -> None:
    _answered(mill, 0.5, 10.2, 10.4)
    assert latency_chart(_traffic(mill, "hour")) is None
    assert "Too few requests in each interval" in ask(create_app(mill.stores()), "/models/for_you?range=hour").text


def test_an_unknown_range_is_refused_and_the_page_names_what_is_empty(mill: Mill) -> None:
    with pytest.raises(BadRequest, match="hour"):
        model_page(mill.stores(), LedgerProjection(mill.ledger), "for_you", asked_range="hours")
    assert "No prediction logged yet." in ask(create_app(mill.stores()), "/models/for_you").text
    _answered(mill, 5.0, model="similar")
    assert "No request of this model in this range." in ask(create_app(mill.stores()), "/models/for_you").text


def test_the_metric_of_releases_and_evaluations_is_drawn_with_intervals_and_counts(busy: Mill) -> None:
    page = model_page(busy.stores(), LedgerProjection(busy.ledger), "for_you")
    assert page.history is not None
    names = [(one.series, one.name, one.n) for one in page.history.points]
    assert ("Release", "for_you@2", 563) in names and ("Baseline", "for_you@1", 563) in names
    chart = history_chart(page.history)
    assert chart.table.head[-2:] == ("95% interval", "Users")
    assert all(" to " in row[4] for row in chart.table.rows)


def test_an_evaluation_of_the_same_metric_joins_the_history(busy: Mill) -> None:
    projected = LedgerProjection(busy.ledger).catch_up()
    releases = [release for release, _ in projected.models["for_you"].releases]
    run = next(run for run in busy.runs.all("for_you") if "hit_rate@10[warm]" in run.metrics)
    later = msgspec.structs.replace(run, kind="evaluate", as_of=2**50)
    found = metric_history(releases, [later, run])
    assert found is not None
    assert [(one.series, one.name) for one in found.points if one.series == "Later evaluation"] == [
        ("Later evaluation", later.name)
    ]


def test_the_live_rate_is_drawn_once_a_day_has_passed(mill: Mill) -> None:
    mill.publish(mill.increment("reviews", mill.clock.now().date()))
    mill.feed_back(60)
    assert model_page(mill.stores(), LedgerProjection(mill.ledger), "for_you").live_rate.rates == ()
    for name, column in (("predictions", "served_at"), ("outcomes", "received_at")):
        rows = mill.tables[name]
        if name == "outcomes":  # one of them comes two days later
            at = rows[column].to_pylist()
            at[-1] = at[-1].replace(day=at[-1].day + 2)
            mill.tables[name] = rows.set_column(rows.column_names.index(column), rows.schema.field(column), [at])
    page = model_page(mill.stores(), LedgerProjection(mill.ledger), "for_you")
    assert [one.rate.shown for one in page.live_rate.rates] == [60]
    assert live_rate_chart(page.live_rate).table.rows[0][-1] == "60"
