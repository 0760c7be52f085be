"""The newest row of each entity, and views made of them."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import GraphError, UnknownName
from tidemill.features import newest_by_key

_SCHEMA = pa.schema([("k", pa.string()), ("at", pa.int64()), ("price", pa.float64()), ("tags", pa.list_(pa.string()))])
_ROW = st.fixed_dictionaries(
    {
        "k": st.none() | st.sampled_from("abc"),
        "at": st.none() | st.integers(0, 3),
        "price": st.none() | st.integers(0, 3).map(float),
        "tags": st.just(["x"]),
    }
)


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _by_hand(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple((row[name] is not None, row[name] or 0) for name in ("at", "price"))

    for row in rows:
        if row["k"] is not None and (row["k"] not in found or order(row) >= order(found[row["k"]])):
            found[row["k"]] = row
    return found


@settings(deadline=None)
@given(st.lists(_ROW, max_size=12), st.randoms(use_true_random=False))
def test_it_is_the_last_in_order_whatever_order_rows_come_in(rows: list[dict[str, Any]], chance: random.Random) -> None:
    found = newest_by_key(_table(rows), "k", order_by=["at"])
    assert {row["k"]: row for row in found.to_pylist()} == _by_hand(rows)
    assert found["k"].to_pylist() == sorted(_by_hand(rows))
    mixed = rows.copy()
    chance.shuffle(mixed)
    assert newest_by_key(_table(mixed), "k", order_by=["at"]).equals(found)


def test_that_law_catches_an_order_that_is_not_total() -> None:
    """Keeping whichever of two equal times comes last: two engines, two answers."""

    def last_come(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {row["k"]: row for row in sorted(rows, key=lambda row: row["at"])}

    tie = [{"k": "a", "at": 1, "price": 2.0, "tags": ["x"]}, {"k": "a", "at": 1, "price": 1.0, "tags": ["x"]}]
    assert last_come(tie) != last_come(tie[::-1])
    assert newest_by_key(_table(tie), "k", order_by=["at"]).equals(
        newest_by_key(_table(tie[::-1]), "k", order_by=["at"])
    )


def test_without_an_order_several_rows_of_one_entity_are_refused() -> None:
    rows = pa.table({"k": ["a", "b", "a"], "n": [1, 2, 3]})
    with pytest.raises(GraphError, match="have the same k"):
        newest_by_key(rows, "k")
    assert newest_by_key(rows.slice(0, 2), "k").num_rows == 2


def test_unknown_columns_are_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean `updated_at`"):
        newest_by_key(pa.table({"k": ["a"], "updated_at": [1]}), "k", order_by=["update_at"])
