from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tidemill.core.clock import to_micros
from tidemill.core.contract.contract import ContractColumn, Event, event_time, field, item, subject
from tidemill.core.errors import BadRequest
from tidemill.serving.events.event_validation import EventValidator
from tidemill.serving.events.local_time import instant

NOW = to_micros(datetime(2026, 6, 1, tzinfo=UTC))


class Order(Event):
    user_id: str = subject()
    item_id: str = item()
    pieces: int = field(ge=1)
    price: float = field(ge=0)
    gift: bool = False
    note: str | None = None
    at: datetime = event_time(zone="Europe/Berlin")


GOOD: dict[str, Any] = {"user_id": "ada", "item_id": "a", "pieces": 2, "price": 3, "at": "2026-05-31T12:00:00"}


def door() -> EventValidator:
    return EventValidator(Order.contract, lambda kind, name: f"{kind}:{name[::-1]}")


def test_a_row_is_typed_defaulted_and_pseudonymised() -> None:
    (event,) = door().validate([GOOD], NOW)
    noon = to_micros(datetime(2026, 5, 31, 10, tzinfo=UTC))
    assert event.row == {"item_id": "a", "pieces": 2, "price": 3.0, "gift": False, "note": None, "at": noon}
    assert isinstance(event.row["price"], float)
    assert event.people["user_id"].surrogate == "user_id:ada" and event.people["user_id"].identifier == "ada"
    assert event.received_at == NOW


@pytest.mark.parametrize(
    ("field_name", "value"),
    [
        ("user_id", ""), ("user_id", 5), ("user_id", None), ("user_id", "x" * 513), ("item_id", ""), ("item_id", None),
        ("pieces", 0), ("pieces", 1.5), ("pieces", True), ("pieces", "2"), ("pieces", 1e300), ("pieces", None),
        ("pieces", 10**30), pytest.param("pieces", 10**400, id="pieces-400-digits"),
        ("price", -0.01), ("price", "3"), ("price", False), ("price", float("nan")), ("price", 1e300),
        pytest.param("price", 10**400, id="price-400-digits"),
        ("gift", 1), ("gift", "yes"), ("note", 5), ("at", 1780000000), ("at", "31.5.2026"), ("at", None),
        ("at", "2026-06-01T04:00:00"), ("at", "0001-01-01T00:00:00+14:00"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name_and_never_by_value(field_name: str, value: object) -> None:
    with pytest.raises(BadRequest) as caught:
        door().validate([{**GOOD, "user_id": "Secret.Person", field_name: value}], NOW)
    assert field_name in caught.value.message
    assert "Secret" not in str(caught.value)


def test_an_unknown_field_names_the_nearest_and_not_itself() -> None:
    with pytest.raises(BadRequest) as caught:
        door().validate([{**GOOD, "pices": 1}], NOW)
    assert "pieces" in str(caught.value.tip)


def test_the_row_is_named_among_many() -> None:
    with pytest.raises(BadRequest, match="row 1"):
        door().validate([GOOD, {**GOOD, "pieces": 0}], NOW)


def test_the_future_is_refused_but_not_in_a_replay() -> None:
    ahead = {**GOOD, "at": "2026-06-03T00:00:00Z"}
    with pytest.raises(BadRequest, match="future"):
        door().validate([ahead], NOW)
    assert len(door().validate([ahead], NOW, replaying=True)) == 1


def berlin(**more: Any) -> ContractColumn:
    return ContractColumn(name="at", kind="time", zone="Europe/Berlin", **more)


def utc(*at: int) -> int:
    return to_micros(datetime(*at, tzinfo=UTC))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("2026-07-01T12:00:00", berlin(), utc(2026, 7, 1, 10)),
        ("2026-01-01T12:00:00", berlin(), utc(2026, 1, 1, 11)),
        ("2026-07-01T12:00:00-05:00", berlin(), utc(2026, 7, 1, 17)),
        # 25 October 2026: 02:30 happens twice, first in summer time
        ("2026-10-25T02:30:00", berlin(ambiguous="earliest"), utc(2026, 10, 25, 0, 30)),
        ("2026-10-25T02:30:00", berlin(ambiguous="latest"), utc(2026, 10, 25, 1, 30)),
        ("2026-10-25T02:30:00", berlin(), None),
        # 29 March 2026: from 02:00 to 03:00 there is no local time; the clock is turned at 01:00 UTC
        ("2026-03-29T02:30:00", berlin(nonexistent="forward"), utc(2026, 3, 29, 1)),
        ("2026-03-29T02:30:00", berlin(), None),
        ("2026-07-01T12:00:00", ContractColumn(name="at", kind="time"), None),
    ],
)
def test_wall_times_follow_the_contract_s_zone(text: str, column: ContractColumn, expected: int | None) -> None:
    if expected is None:
        with pytest.raises(BadRequest):
            instant(text, column)
    else:
        assert instant(text, column) == expected
