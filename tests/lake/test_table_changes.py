"""Which keys differ between two versions: told exactly, and by reading only the files that they do not share."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shop_lake import Shop, publish, reviews

from tidemill.core.errors import CorruptFile
from tidemill.lake import LakeSnapshot, changed_keys

COLUMNS = ("user_id", "item_id", "reviewed_at", "_row")


def users(shop: Shop, one: int, other: int, columns: tuple[str, ...] = COLUMNS) -> set[str]:
    before, after = (shop.lake.view(publication=number) for number in (one, other))
    found = changed_keys(before, after, "reviews", "user_id", columns)["user_id"].to_pylist()
    assert len(found) == len(set(found))
    return set(found)


def by_hand(one: LakeSnapshot, other: LakeSnapshot, columns: tuple[str, ...]) -> set[str]:
    counts = [
        Counter(tuple(row[c] for c in columns) for row in view.arrow("reviews").to_pylist()) for view in (one, other)
    ]
    return {row[0] for row in (counts[0] - counts[1]) + (counts[1] - counts[0])}


def test_new_late_and_replaced_rows_are_told_by_their_users(shop: Shop) -> None:
    publish(shop, 1, reviews(("anna", "a", 1, 5.0), ("bert", "a", 2, 3.0), ("cleo", "b", 2, 3.0)))
    publish(shop, 2, reviews(("dora", "c", 3, 2.0), first_row=10, increment=2))
    publish(shop, 3, reviews(("bert", "a", 2, 4.0), ("anna", "z", 0, 1.0), first_row=20, increment=3))
    assert users(shop, 1, 2) == {"dora"}
    assert users(shop, 2, 3) == {"anna", "bert"}  # of bert's rating another row counts now
    assert users(shop, 1, 3) == users(shop, 3, 1) == {"anna", "bert", "dora"}
    assert users(shop, 2, 3, ("user_id", "item_id", "reviewed_at")) == {"anna"}
    assert users(shop, 3, 3) == set()


def test_files_that_both_versions_have_are_not_read(shop: Shop) -> None:
    publish(shop, 1, reviews(*((f"u{n}", "a", 1, 5.0) for n in range(50))))
    publish(shop, 2, reviews(("anna", "b", 3, 2.0), first_row=100, increment=2))
    view = shop.lake.view(publication=1)
    (shared,) = view.paths("reviews")
    with open(shared, "r+b") as file:  # noqa: PTH123 - in place, as a failing disk does it
        file.seek(30)
        file.write(b"\0\0\0")
    assert users(shop, 1, 2) == {"anna"}
    with pytest.raises(CorruptFile):
        shop.lake.view(publication=2).arrow("reviews", keys=pa.table({"user_id": ["anna"]}))


def test_rows_of_some_keys_alone_are_read(shop: Shop) -> None:
    publish(shop, 1, reviews(("anna", "a", 1, 5.0), ("bert", "a", 2, 3.0), ("anna", "b", 2, 3.0)))
    found = shop.lake.view().arrow("reviews", ["user_id", "item_id"], keys=pa.table({"user_id": ["anna", "nobody"]}))
    assert sorted(found["item_id"].to_pylist()) == ["a", "b"]
    assert found.column_names == ["user_id", "item_id"]


ROW = st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz"), st.integers(0, 3), st.sampled_from([1.0, 2.0]))


@settings(max_examples=25)
@given(days=st.lists(st.lists(ROW, max_size=5), min_size=2, max_size=5))
def test_the_changed_users_are_those_whose_rows_differ(days: list[Any], tmp_path_factory: Any) -> None:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    for number, rows in enumerate(days, 1):
        publish(shop, number, reviews(*rows, first_row=100 * number, increment=number))
    for one in range(1, len(days)):
        views = [shop.lake.view(publication=number) for number in (one, len(days))]
        assert users(shop, one, len(days)) == by_hand(*views, COLUMNS)


def test_a_table_made_whole_again_names_only_who_changed(shop: Shop) -> None:
    def whole(number: int, rows: pa.Table) -> None:
        with shop.lease() as lease, shop.lake.draft(lease) as draft:
            draft.reshape("reviews", rows)
            draft.rebuild(int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000 + number)

    publish(shop, 1, reviews(("anna", "a", 1, 5.0), ("bert", "a", 2, 3.0)))
    whole(2, reviews(("bert", "a", 2, 3.0), ("anna", "a", 1, 5.0)))
    whole(3, reviews(("bert", "a", 2, 3.0), ("anna", "q", 1, 5.0)))
    assert not set(shop.lake.view(publication=2).files("reviews")) & set(shop.lake.view(publication=1).files("reviews"))
    assert users(shop, 1, 2, ("user_id", "item_id", "reviewed_at")) == set()
    assert users(shop, 2, 3, ("user_id", "item_id", "reviewed_at")) == {"anna"}
