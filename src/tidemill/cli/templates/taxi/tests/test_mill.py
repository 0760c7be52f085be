"""Tests of the project: the graph is valid, and tables and features have the expected values."""

from datetime import datetime, timezone
from pathlib import Path

import narwhals as nw
import numpy as np
import polars as pl

from mill import calendar, mill, trips

PROJECT = Path(__file__).resolve().parent.parent
START = datetime(2021, 3, 1, 12, 0, tzinfo=timezone.utc)


def test_the_graph_can_run() -> None:
    from tidemill.testing import check_project

    check_project(PROJECT)


def test_trips_have_their_minutes_and_at_most_two_hours() -> None:
    ends = [START.replace(minute=30), START.replace(hour=18), START]
    rows = pl.LazyFrame({"picked_up_at": [START] * 3, "dropped_off_at": ends, "pickup_zone": ["a", "b", "c"]})
    assert trips.function(nw.from_native(rows)).to_native().collect()["minutes"].to_list() == [30.0]


def test_the_calendar_is_in_new_york_time() -> None:
    features = calendar.function(np.array(["2021-03-01T02:30"], "datetime64[us]"))
    assert features["hour"][0] == 21.5 and features["weekday"][0] == 6  # Sunday evening


def test_the_model_card_names_whom_it_helps_and_could_harm() -> None:
    assert mill.models["eta"].helps
    assert mill.models["eta"].could_harm
