"""Events as codes: the order is total, and no code is without an event."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_worlds import DAY, events

from tidemill.core.errors import TooLittleData, UnknownName
from tidemill.models import Interactions

ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 3), st.integers(0, 10**6)),
    min_size=1,
    max_size=20,
    unique_by=lambda row: row[3],
)


def table(rows: list[tuple[str, str, int, int]]) -> pa.Table:
    users, items, days, numbers = zip(*rows, strict=True)
    return pa.table(
        {
            "user": list(users),
            "item": list(items),
            "at": pa.array([day * DAY for day in days], pa.timestamp("us", tz="UTC")),
            "_row": pa.array(numbers, pa.int64()),
        }
    )


def same(one: Interactions, other: Interactions) -> bool:
    arrays = ("user", "item", "time")
    named = (list(one.users), list(one.items)) == (list(other.users), list(other.items))
    return named and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)


@settings(max_examples=50, deadline=None, database=None, derandomize=True)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(rows, chance) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    about = {"user": "user", "item": "item", "time": "at", "row": "_row"}
    assert same(Interactions.from_arrow(table(rows), **about), Interactions.from_arrow(table(shuffled), **about))


def test_without_the_row_number_ties_depend_on_arrival() -> None:
    rows = [("a", "x", 1, 2), ("a", "y", 1, 1)]
    by_arrival = Interactions.from_arrow(table(rows), user="user", item="item", time="at")
    by_number = Interactions.from_arrow(table(rows), user="user", item="item", time="at", row="_row")
    assert by_arrival.item.tolist() == [0, 1]
    assert by_number.item.tolist() == [1, 0]


def test_ids_are_sorted_and_histories_run_by_time() -> None:
    told = events([("b", "y", 3), ("a", "z", 2), ("b", "x", 1)])
    assert (list(told.users), list(told.items)) == (["a", "b"], ["x", "y", "z"])
    items, times = told.history(1)
    assert items.tolist() == [0, 1]
    assert times.tolist() == [DAY, 3 * DAY]


def test_before_and_since_part_the_events_and_keep_codes_dense() -> None:
    told = events([("a", "x", 1), ("a", "y", 2), ("b", "z", 2), ("c", "y", 3)])
    early, late = told.before(2 * DAY), told.since(2 * DAY)
    assert len(early) + len(late) == len(told)
    assert list(early.items) == ["x"]
    assert list(late.items) == ["y", "z"]
    assert late.item.tolist() == [0, 1, 0]
    assert late.starts.tolist() == [0, 1, 2, 3]


def test_what_is_missing_is_named() -> None:
    rows = table([("a", "x", 1, 1)])
    with pytest.raises(UnknownName, match="did you mean `item`"):
        Interactions.from_arrow(rows, user="user", item="itme", time="at")
    with pytest.raises(TooLittleData):
        Interactions.from_arrow(rows.slice(0, 0), user="user", item="item", time="at")
    holed = rows.set_column(0, "user", pa.array([None], pa.string()))
    with pytest.raises(TooLittleData, match="user"):
        Interactions.from_arrow(holed, user="user", item="item", time="at")
