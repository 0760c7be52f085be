from __future__ import annotations

from datetime import datetime

import pytest

from tidemill.core.contract.contract import Event, event_time, field, item, subject
from tidemill.core.errors import TypeMismatch


class Review(Event):
    user_id: str = subject()
    item_id: str = item()
    rating: float = field(ge=1, le=5, unit="stars")
    reviewed_at: datetime = event_time(zone="UTC")


class Item(Event):
    item_id: str = item()
    updated_at: datetime = event_time(zone="UTC", ambiguous="earliest", nonexistent="forward")
    category: str | None = None
    in_stock: bool = True
    price: float | None = field(ge=0)
    stock: int = field(default=0)
    seen_at: datetime | None = None


def test_a_contract_has_the_columns_in_declared_order() -> None:
    assert Review.contract.name == "Review"
    assert Review.contract.names == ["user_id", "item_id", "rating", "reviewed_at"]
    assert [column.kind for column in Review.contract.columns] == ["str", "str", "float", "time"]
    assert Review.contract.role("subject") == ["user_id"]
    assert Review.contract.role("item") == ["item_id"]
    assert Review.contract.event_time == "reviewed_at"


def test_a_column_knows_range_unit_zone_and_default() -> None:
    rating = Review.contract["rating"]
    assert (rating.ge, rating.le, rating.unit, rating.optional) == (1, 5, "stars", False)
    assert Review.contract["reviewed_at"].zone == "UTC"
    updated = Item.contract["updated_at"]
    assert (updated.ambiguous, updated.nonexistent) == ("earliest", "forward")
    defaults = {name: (Item.contract[name].optional, Item.contract[name].default) for name in Item.contract.names}
    assert defaults == {
        "item_id": (False, None),
        "updated_at": (False, None),
        "category": (True, None),
        "in_stock": (True, True),
        "price": (True, None),
        "stock": (True, 0),
        "seen_at": (True, None),
    }
    with pytest.raises(KeyError):
        Review.contract["colour"]


def declare(**columns: tuple[object, object]) -> type[Event]:
    about = {"__annotations__": {name: hint for name, (hint, _) in columns.items()}}
    values = {name: value for name, (_, value) in columns.items() if value is not ...}
    return type("Row", (Event,), about | values)


AT = {"at": (datetime, event_time())}


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"x": (str, ...)}, "declares 0 event times"),
        ({**AT, "other": (datetime, event_time())}, "declares 2 event times"),
        ({**AT, "_x": (str, ...)}, "start with an underscore"),
        ({**AT, "x": (list, ...)}, r"Row\.x has the type"),
        ({**AT, "x": (str | int, ...)}, r"Row\.x has the type"),
        ({"at": (str, event_time())}, "must be annotated `datetime`"),
        ({**AT, "who": (int, subject())}, "must be annotated `str`"),
        ({**AT, "what": (float, item())}, "must be annotated `str`"),
    ],
)
def test_a_contract_that_cannot_hold_is_refused_where_it_is_written(columns: dict, says: str) -> None:
    with pytest.raises(TypeMismatch, match=says):
        declare(**columns)


def test_a_plain_time_is_no_event_time() -> None:
    made = declare(**AT, seen=(datetime, ...))
    assert made.contract.role("event_time") == ["at"]
