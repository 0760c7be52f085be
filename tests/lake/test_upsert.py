"""Tables made by touched keys are the tables made whole, and files that hold no touched row stay as they are."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shop_lake import KEY, PASS, Shop, contents, increment, reviews

from tidemill.lake.publication_draft import PublicationDraft

BY = ["user_id"]


def summary(frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Rows of a key depend on rows of that key alone."""
    return frame.group_by("user_id").agg(n=nw.len(), best=nw.col("rating").max())


class Day:
    """One day, its summary made by touched keys; `upsert` may be a wrong one."""

    def __init__(self, shop: Shop, upsert: Any = PublicationDraft.upsert) -> None:
        self.shop, self.upsert = shop, upsert
        self.number = 0

    def play(self, *rows: tuple[str, str, int, float]) -> Any:
        self.number += 1
        day = reviews(*rows, first_row=self.number * 100, increment=self.number)
        with self.shop.lease() as lease, self.shop.lake.draft(lease) as draft:
            changed = draft.merge_stream("reviews", day, KEY).changed
            touched = changed.select(BY)
            new = self.shop.engine.collect(summary(draft.scan("reviews", touched)))
            made = self.upsert(draft, "summary", new, by=BY, touched=touched)
            draft.publish(increment(self.number), PASS)
        return made

    def check(self) -> None:
        view = self.shop.lake.view()
        whole = self.shop.engine.collect(summary(view.scan("reviews")))
        assert contents(view.arrow("summary")) == contents(whole)


day = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("xy"), st.integers(0, 1), st.sampled_from([1.0, 2.0])),
    max_size=5,
)


def law(days: list, upsert: Any = PublicationDraft.upsert) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = Day(Shop(Path(folder)), upsert)
        for rows in days:
            shop.play(*rows)
            shop.check()
        assert shop.shop.lake.verify() == []


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(day, min_size=1, max_size=4))
def test_touched_keys_give_the_same_table_as_everything(days: list) -> None:
    law(days)


CONTRADICTED = [[("a", "x", 0, 1.0), ("b", "x", 0, 1.0)], [("a", "x", 0, 2.0)]]


def _only_adds(draft: PublicationDraft, table: str, rows: pa.Table, **about: Any) -> Any:
    """Wrong: the old rows of touched keys stay beside the new ones."""
    draft.append(table, rows)


def _ignores_keys_that_lost_all_rows(
    draft: PublicationDraft, table: str, rows: pa.Table, *, by: list, touched: pa.Table
) -> Any:
    """Wrong: a touched key without a new row keeps its old one."""
    return PublicationDraft.upsert(draft, table, rows, by=by, touched=rows.select(by))


def test_the_law_catches_one_that_only_adds() -> None:
    law(CONTRADICTED)
    with pytest.raises(AssertionError):
        law(CONTRADICTED, _only_adds)


def gone(shop: Shop, upsert: Any) -> list[dict[str, Any]]:
    """A key that was in a derived table and has no row any more."""
    for number, rows in enumerate([[("a", 1), ("b", 1)], [("b", 2)]], 1):
        new = pa.table({"user_id": [user for user, _ in rows], "n": [n for _, n in rows]})
        with shop.lease() as lease, shop.lake.draft(lease) as draft:
            upsert(draft, "t", new, by=BY, touched=pa.table({"user_id": ["a", "b"]}))
            draft.publish(increment(number), PASS)
    return contents(shop.lake.view().arrow("t"))


def test_a_touched_key_without_a_new_row_leaves_the_table(shop: Shop) -> None:
    assert gone(shop, PublicationDraft.upsert) == [{"user_id": "b", "n": 2}]


def test_the_one_above_catches_a_wrong_variant(shop: Shop) -> None:
    assert gone(shop, _ignores_keys_that_lost_all_rows) != [{"user_id": "b", "n": 2}]


def test_equal_rows_stay_where_they_are(shop: Shop) -> None:
    shop_day = Day(shop)
    shop_day.play(("a", "x", 0, 2.0), ("b", "x", 0, 1.0))
    version = shop.lake.view().versions["summary"]
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        same = shop.lake.view().arrow("summary")
        made = draft.upsert("summary", same, by=BY, touched=same.select(BY))
        assert draft.replace("summary", same).changed.num_rows == 0
        draft.publish(increment(9), PASS)
    assert made.changed.num_rows == 0
    assert shop.lake.view().versions["summary"] == version


def test_only_files_with_touched_rows_are_written_again(shop: Shop) -> None:
    shop_day = Day(shop)
    shop_day.play(("a", "x", 0, 2.0), ("b", "x", 0, 1.0))
    shop_day.play(("c", "x", 1, 2.0))
    before = shop.lake.view().paths("summary")
    made = shop_day.play(("c", "y", 1, 5.0))
    after = shop.lake.view().paths("summary")
    assert before[0] in after and before[1] not in after
    assert sorted(row["best"] for row in made.changed.to_pylist()) == [2.0, 5.0]


def test_a_whole_table_is_replaced_by_its_difference(shop: Shop) -> None:
    for number, values in enumerate([[1, 2, 3], [1, 2, 4, 4]], 1):
        with shop.lease() as lease, shop.lake.draft(lease) as draft:
            made = draft.replace("t", pa.table({"n": values}))
            draft.publish(increment(number), PASS)
    assert sorted(made.added["n"].to_pylist()) == [4, 4]
    assert made.removed["n"].to_pylist() == [3]
    assert sorted(shop.lake.view().arrow("t")["n"].to_pylist()) == [1, 2, 4, 4]


def test_old_files_are_not_read_for_a_new_day(shop: Shop) -> None:
    shop_day = Day(shop)
    shop_day.play(*[(f"user {i}", "x", 0, 1.0) for i in range(50)])
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        new = draft.merge_stream("reviews", reviews(("user 1", "x", 0, 1.0), first_row=900, day=3), KEY)
        old = draft.merge_stream("reviews", reviews(("user 1", "x", 0, 1.0), first_row=901), KEY)
    assert (new.rows_read, new.merged) == (0, 1)
    assert (old.rows_read, old.repeated) == (50, 1)


def test_a_table_can_change_twice_in_one_publication(shop: Shop) -> None:
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        for value in (1.0, 2.0):
            rows = pa.table({"user_id": ["a"], "best": [value]})
            draft.upsert("t", rows, by=BY, touched=rows.select(BY))
        draft.publish(increment(1), PASS)
    assert contents(shop.lake.view().arrow("t")) == [{"user_id": "a", "best": 2.0}]
    assert shop.lake.verify() == []
