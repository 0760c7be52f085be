"""How a tabular model is asked follows from names and types, and what does not fit is refused before anything runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pytest

import tidemill as tm
from tidemill.backends.polars import PolarsEngine
from tidemill.core.errors import GraphError, RuleRefused, SettingRefused, TypeMismatch, UnknownName
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.mill import Mill
from tidemill.loop.project.model_signatures import SignatureSpec


class Trip(tm.Event):
    driver: str = tm.subject()
    zone: str = tm.item()
    miles: float | None = None
    riders: int = 1
    night: bool = False
    minutes: float | None = None
    dropped_at: datetime | None = None
    picked_at: datetime = tm.event_time(zone="UTC")


def clock(picked_at: Any) -> dict[str, Any]:
    hours = picked_at.astype("datetime64[h]").astype(np.int64)
    return {"hour": hours % 24}


def pace(miles: Any, mean_minutes: Any) -> dict[str, Any]:
    return {"pace": mean_minutes / miles}


def made() -> tuple[Mill, Any, Any]:
    mill = Mill("taxi")
    trips = mill.stream("trips", Trip, key="_row")

    @mill.features(entity="zone", window="7 days", every="1 day", ttl="2 days")
    def busy(trips: Any) -> Any:
        return trips.group_by("zone").agg(n=nw.len(), mean_minutes=nw.col("minutes").mean())

    return mill, trips, busy


def asked(mill: Mill, **about: Any) -> SignatureSpec:
    mill.model("eta", **({"target": "minutes", "learn": tm.auto(minutes=1)} | about))
    return ProjectGraph(mill, PolarsEngine(), Path(__file__).parent.parent).askings["eta"]


def test_inputs_are_all_columns_but_the_target_times_and_people() -> None:
    mill, trips, _ = made()
    found = asked(mill, examples=trips)
    assert [field.name for field in found.inputs] == ["zone", "miles", "riders", "night"]
    assert {field.name: field.kind for field in found.inputs} == {
        "zone": "str", "miles": "float", "riders": "int", "night": "bool",
    }  # fmt: skip
    assert found.columns.time == "picked_at"
    assert [field.name for field in found.request if field.role == "event_time"] == ["picked_at"]


def test_a_view_is_looked_up_by_its_entity_and_a_function_may_read_what_it_gives() -> None:
    mill, trips, busy = made()
    found = asked(
        mill, examples=trips, inputs=["miles"], features=[busy, mill.on_demand()(pace), mill.on_demand()(clock)]
    )
    assert [field.name for field in found.inputs] == ["miles", "n", "mean_minutes", "pace", "hour"]
    (lookup,) = found.lookups
    assert (lookup.view, lookup.entity, lookup.ttl_us) == ("busy", "zone", 2 * 86_400_000_000)
    assert [one.takes for one in found.computed] == [("miles", "mean_minutes"), ("picked_at",)]
    assert {field.name for field in found.request} == {"zone", "miles", "picked_at"}
    assert sorted(found.modules) == ["features/clock.py", "features/pace.py"]
    assert b"def pace(" in found.modules["features/pace.py"]


def test_a_column_of_a_view_that_is_called_like_another_takes_the_name_of_its_view() -> None:
    mill, trips, _ = made()

    @mill.features(entity="zone", window="1 day", every="1 day")
    def today(trips: Any) -> Any:
        return trips.group_by("zone").agg(miles=nw.col("miles").sum())

    found = asked(mill, examples=trips, features=[today])
    assert "today.miles" in [field.name for field in found.inputs]


def test_the_first_view_of_rows_gives_the_examples_where_none_are_named() -> None:
    mill, _, busy = made()

    @mill.features(entity="zone")
    def trip(trips: Any) -> Any:
        return trips.select("zone", "miles", "minutes", "picked_at", "_known_at", "_row")

    found = asked(mill, features=[trip, busy])
    assert found.model.examples == "trip"
    assert [field.name for field in found.inputs] == ["zone", "miles", "n", "mean_minutes"]


@pytest.mark.parametrize(
    ("about", "error", "says"),
    [
        ({"target": "minute"}, UnknownName, "did you mean `minutes`"),
        ({"inputs": ["mile"]}, UnknownName, "did you mean `miles`"),
        ({"inputs": ["driver"]}, GraphError, "identifies a person"),
        ({"inputs": ["minutes"]}, GraphError, "its target"),
        ({"fairness": ["sex"]}, UnknownName, "the attribute 'sex'"),
        ({"group": "drivers"}, UnknownName, "did you mean `driver`"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(about: dict[str, Any], error: type[Exception], says: str) -> None:
    mill, trips, _ = made()
    with pytest.raises(error, match=says):
        asked(mill, examples=trips, **about)


def test_a_view_whose_entity_the_examples_lack_is_refused() -> None:
    mill, _, busy = made()

    @mill.table()
    def short(trips: Any) -> Any:
        return trips.select("miles", "minutes", "picked_at")

    with pytest.raises(UnknownName, match="have no column 'zone'"):
        asked(mill, examples=short, features=[busy])


def test_a_view_cannot_be_joined_as_of_no_time() -> None:
    mill, _, busy = made()

    @mill.table()
    def timeless(trips: Any) -> Any:
        return trips.select("zone", "miles", "minutes")

    with pytest.raises(TypeMismatch, match="no event time"):
        asked(mill, examples=timeless, features=[busy])


def test_a_view_of_rows_that_says_not_when_it_was_known_is_refused() -> None:
    mill, trips, _ = made()

    @mill.features(entity="zone")
    def newest_trip(trips: Any) -> Any:
        return trips.select("zone", "riders", "picked_at")

    with pytest.raises(GraphError, match="drops `_known_at`"):
        asked(mill, examples=trips, features=[newest_trip])


def test_a_window_over_a_table_that_says_not_when_its_rows_were_known_is_refused() -> None:
    mill, trips, _ = made()

    @mill.table()
    def short(trips: Any) -> Any:
        return trips.select("zone", "minutes", "picked_at")

    @mill.features(entity="zone", window="1 day", every="1 day")
    def pace_of_zone(short: Any) -> Any:
        return short.group_by("zone").agg(n=nw.len())

    with pytest.raises(GraphError, match="'short' drops `_known_at`"):
        asked(mill, examples=trips)


def test_a_function_that_asks_for_what_is_not_there_or_for_the_answer_is_refused() -> None:
    mill, trips, _ = made()

    def wrong(mile: Any) -> dict[str, Any]:
        return {"x": mile}

    with pytest.raises(UnknownName, match="did you mean `miles`"):
        asked(mill, examples=trips, features=[mill.on_demand()(wrong)])
    mill, trips, _ = made()

    def knows(minutes: Any) -> dict[str, Any]:
        return {"x": minutes}

    with pytest.raises(GraphError, match="'minutes' is the target of model 'eta'"):
        asked(mill, examples=trips, features=[mill.on_demand()(knows)])


def test_a_function_that_cannot_travel_is_refused() -> None:
    mill, trips, _ = made()

    def inner(miles: Any) -> dict[str, Any]:
        return {"x": miles}

    with pytest.raises(RuleRefused, match="defined inside another function"):
        asked(mill, examples=trips, features=[mill.on_demand()(inner)])


@pytest.mark.parametrize(
    ("window", "every", "says"),
    [
        ("7 days", None, "needs `every=`"),
        ("7 days", "2 days", "not a multiple of every="),
        ("soon", "1 day", "not a valid duration"),
    ],
)
def test_a_window_is_whole_steps(window: str, every: str | None, says: str) -> None:
    mill = Mill("taxi")
    with pytest.raises(SettingRefused, match=says):
        mill.features(entity="zone", window=window, every=every)(lambda trips: trips)
