"""Publications: all tables at once, read again as they were, and nothing taken twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from shop_lake import FIRST_DAY, HOLD, KEY, PASS, Shop, contents, increment, publish, reviews

from tidemill.core.clock import as_of
from tidemill.core.errors import KeyAbsent, NotPublished, SchemaChanged, StaleWriter
from tidemill.lake.publications import Publications

ANN, BOB = ("ann", "x", 0, 5.0), ("bob", "x", 1, 3.0)


def end(day: int) -> datetime:
    return as_of(FIRST_DAY + timedelta(days=day))


def users(shop: Shop, **which: object) -> list[str]:
    return [row["user_id"] for row in contents(shop.lake.view(**which).arrow("reviews"))]  # type: ignore[arg-type]


def test_a_publication_makes_rows_visible_and_says_so_in_one_line(shop: Shop) -> None:
    merged = publish(shop, 1, reviews(ANN, BOB))
    assert (merged.merged, merged.repeated, merged.contradicted, merged.rows_read) == (2, 0, 0, 0)
    view = shop.lake.view()
    assert view.publication == 1 and view.rows("reviews") == 2
    assert users(shop) == ["ann", "bob"]
    (line,) = shop.ledger.find("publish")
    assert line.about == "stream:reviews"
    assert line.refs_out == ("publication:shop@1", f"table:reviews@{view.versions['reviews']}")
    assert shop.lake.verify() == []


def test_nothing_is_there_before_the_first_publication(shop: Shop) -> None:
    with pytest.raises(NotPublished, match="nothing is published"):
        shop.lake.view()
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        assert draft.schema("reviews") is None
        with pytest.raises(NotPublished, match="reviews"):
            draft.scan("reviews")


def test_a_draft_is_seen_by_itself_alone(shop: Shop) -> None:
    publish(shop, 1, reviews(ANN))
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        draft.merge_stream("reviews", reviews(BOB, first_row=9, increment=2), KEY)
        assert shop.engine.collect(draft.scan("reviews")).num_rows == 2
        assert users(shop) == ["ann"]
    assert users(shop) == ["ann"]
    assert len(list((shop.root / "lake" / "reviews").glob("*.parquet"))) == 1


def test_a_draft_reads_only_the_rows_of_given_keys(shop: Shop) -> None:
    publish(shop, 1, reviews(ANN, BOB, ("bob", "y", 2, 4.0)))
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        found = shop.engine.collect(draft.scan("reviews", pa.table({"user_id": ["bob", "eve"]})))
        assert sorted(found["item_id"].to_pylist()) == ["x", "y"]
        assert draft.rows_read == 3


def test_every_publication_can_be_read_again(shop: Shop, reopen: Callable[[], Shop]) -> None:
    publish(shop, 1, reviews(ANN))
    publish(shop, 2, reviews(BOB, first_row=9, increment=2, day=1))
    for opened in (shop, reopen()):
        assert users(opened, publication=1) == ["ann"]
        assert users(opened, publication=2) == users(opened) == ["ann", "bob"]
        with pytest.raises(NotPublished, match="the last one is 2"):
            opened.lake.view(publication=3)


def test_a_data_time_gives_the_last_publication_that_knew_nothing_later(shop: Shop) -> None:
    publish(shop, 1, reviews(ANN))
    publish(shop, 2, reviews(BOB, first_row=9, increment=2, day=1))
    assert users(shop, at=end(0)) == ["ann"]
    assert users(shop, at=end(1) - timedelta(microseconds=1)) == ["ann"]
    assert users(shop, at=end(1)) == ["ann", "bob"]
    with pytest.raises(NotPublished, match="as of"):
        shop.lake.view(at=end(0) - timedelta(microseconds=1))


def late_acceptance(shop: Shop) -> None:
    """Day 1 is published; day 2 held, day 3 published, and day 2 accepted after it."""
    publish(shop, 1, reviews(ANN))
    with shop.lease() as lease:
        shop.lake.draft(lease).hold(increment(2), HOLD, reviews(BOB, first_row=9, increment=2, day=1))
    publish(shop, 3, reviews(("cleo", "x", 0, 2.0), first_row=20, increment=3, day=2))
    publish(shop, 2, reviews(BOB, first_row=9, increment=2, day=1))


def test_a_day_accepted_late_does_not_carry_later_days_into_its_own_time(shop: Shop) -> None:
    late_acceptance(shop)
    assert users(shop) == ["ann", "bob", "cleo"]
    assert users(shop, at=end(1)) == ["ann"]
    assert users(shop, at=end(2)) == ["ann", "bob", "cleo"]
    assert users(shop, publication=2) == ["ann", "cleo"]


def test_the_test_above_catches_a_resolution_by_each_publications_own_day(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong: the accepted day's as-of, taken alone, names tables in which the third day already is."""
    right = Publications._read

    def wrong(self, line):
        known = right(self, line)
        return type(known)(
            publication=known.publication,
            as_of=known.publication.as_of,
            published_at=known.published_at,
            seq=known.seq,
            increment=known.increment,
        )

    monkeypatch.setattr(Publications, "_read", wrong)
    late_acceptance(shop)
    assert users(shop, at=end(1)) == ["ann", "bob", "cleo"]


def test_a_publication_time_gives_what_was_live_then(shop: Shop) -> None:
    for number in (1, 2):
        shop.clock.set(datetime(2026, 3, number, tzinfo=UTC))
        publish(shop, number, reviews((f"user {number}", "x", 0, 1.0), first_row=number, day=number))
    assert users(shop, published_at=datetime(2026, 3, 1, 12, tzinfo=UTC)) == ["user 1"]
    assert users(shop, published_at=datetime(2026, 3, 2, tzinfo=UTC)) == ["user 1", "user 2"]
    with pytest.raises(NotPublished, match="published by"):
        shop.lake.view(published_at=datetime(2026, 2, 28, tzinfo=UTC))


def test_an_increment_is_published_once(shop: Shop) -> None:
    publish(shop, 1, reviews(ANN))
    with pytest.raises(StaleWriter, match="already published"):
        publish(shop, 1, reviews(BOB))
    assert users(shop) == ["ann"]


def test_rows_that_come_again_change_nothing(shop: Shop) -> None:
    publish(shop, 1, reviews(ANN, BOB))
    before = shop.lake.view().versions
    merged = publish(shop, 2, reviews(ANN, BOB, first_row=50, increment=2))
    assert (merged.repeated, merged.merged, merged.changed.num_rows) == (2, 0, 0)
    assert shop.lake.view().versions == before
    assert shop.lake.view().arrow("reviews")["_row"].to_pylist() == [1, 2]


def test_a_day_without_rows_is_one_line_and_no_version(shop: Shop) -> None:
    publish(shop, 1, reviews(ANN))
    files = sorted(path for path in (shop.root / "lake").rglob("*") if path.is_file())
    publish(shop, 2, reviews(increment=2, day=1))
    assert sorted(path for path in (shop.root / "lake").rglob("*") if path.is_file()) == files
    assert (shop.lake.view().publication, shop.lake.view().rows("reviews")) == (2, 1)
    assert shop.lake.verify() == []


def test_several_tables_change_at_once(shop: Shop) -> None:
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        draft.declare("items", pa.schema([("item_id", pa.string())]))
        draft.merge_stream("reviews", reviews(ANN, BOB), KEY)
        draft.replace("counts", pa.table({"n": [2]}))
        published = draft.publish(increment(1), PASS, details={"files": "[]"})
    assert set(published.versions) == {"items", "reviews", "counts"} == set(shop.lake.view().versions)
    assert shop.lake.view().rows("items") == 0
    assert shop.lake.view().arrow("items").schema.names == ["item_id"]
    assert shop.ledger.last("publish").details["files"] == "[]"  # type: ignore[union-attr]
    assert shop.lake.verify() == []


def test_columns_can_be_read_alone(shop: Shop) -> None:
    publish(shop, 1, reviews(ANN))
    assert shop.lake.view().arrow("reviews", ["rating"]).to_pylist() == [{"rating": 5.0}]
    assert shop.lake.view().schema("reviews").names == reviews().column_names
    with pytest.raises(NotPublished, match="did you mean `reviews`"):
        shop.lake.view().arrow("review")


@pytest.mark.parametrize(
    ("rows", "column"),
    [
        (reviews(BOB).rename_columns({"rating": "stars"}), "rating"),
        (reviews(BOB).append_column("extra", pa.array([1])), "extra"),
        (reviews(BOB).set_column(2, "rating", pa.array(["3"])), "rating"),
        (reviews(BOB).set_column(2, "rating", pa.array([3])), "rating"),
        (reviews(BOB).set_column(3, "reviewed_at", pa.array([datetime(2020, 1, 1)])), "reviewed_at"),
    ],
)
def test_a_changed_schema_is_refused_by_naming_the_column(shop: Shop, rows: pa.Table, column: str) -> None:
    publish(shop, 1, reviews(ANN))
    with pytest.raises(SchemaChanged, match=f"`{column}`"):
        publish(shop, 2, rows)
    assert shop.lake.verify() == []
    assert users(shop) == ["ann"]


def test_narrower_types_of_the_same_family_fit(shop: Shop) -> None:
    publish(shop, 1, reviews(ANN))
    narrow = reviews(BOB, first_row=9)
    narrow = narrow.set_column(1, "item_id", narrow["item_id"].cast(pa.large_string()))
    publish(shop, 2, narrow.set_column(4, "_row", narrow["_row"].cast(pa.int32())))
    assert users(shop) == ["ann", "bob"]


def test_a_row_without_its_key_is_refused(shop: Shop) -> None:
    nobody = reviews(BOB).set_column(0, "user_id", pa.array([None], pa.string()))
    with pytest.raises(KeyAbsent, match=r"1 of 1 rows.*`user_id`"):
        publish(shop, 1, nobody)


def test_whoever_writes_beside_us_makes_the_publication_stale(shop: Shop, reopen: Callable[[], Shop]) -> None:
    publish(shop, 1, reviews(ANN))
    foreign = reopen().tables
    foreign.commit("reviews", 1_000, shop.lake.view().versions["reviews"], [], [], {})
    with pytest.raises(StaleWriter):
        publish(shop, 2, reviews(BOB, first_row=9))
    assert any("in no publication" in says for says in shop.lake.verify())


def test_tables_are_made_anew_without_an_increment(shop: Shop) -> None:
    publish(shop, 1, reviews(ANN))
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        draft.replace("counts", pa.table({"n": [1]}))
        draft.rebuild(shop.lake.view().as_of, details={"rebuilt": "counts"})
    assert shop.lake.view().publication == 2
    assert shop.lake.view().arrow("counts").to_pylist() == [{"n": 1}]
    assert [state.increment.number for state in shop.lake.increments("reviews")] == [1]


def test_a_closed_draft_publishes_nothing(shop: Shop) -> None:
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        draft.merge_stream("reviews", reviews(ANN), KEY)
        draft.discard()
        with pytest.raises(StaleWriter, match="closed"):
            draft.publish(increment(1), PASS)


def test_appended_rows_are_kept_as_they_are(shop: Shop) -> None:
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        for _ in range(2):
            draft.append("events", pa.table({"n": [1, 1]}))
        draft.publish(increment(1), PASS)
    assert shop.lake.view().arrow("events").to_pylist() == [{"n": 1}] * 4


def test_the_keys_of_changed_rows_are_told_once(shop: Shop) -> None:
    publish(shop, 1, reviews(ANN, BOB))
    merged = publish(shop, 2, reviews(("ann", "x", 0, 1.0), ("ann", "y", 1, 2.0), BOB, first_row=50, increment=2))
    assert merged.keys(["user_id"]).to_pylist() == [{"user_id": "ann"}]
    assert sorted(row["rating"] for row in merged.changed.to_pylist()) == [1.0, 2.0, 5.0]
    assert merged.added.num_rows == 2


@pytest.mark.parametrize("share", [3, 40])
def test_many_rows_are_laid_down_in_slices_and_none_is_lost(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    monkeypatch.setattr("tidemill.lake.table_draft.SLICE_ROWS", 7)
    many = [(f"user {n % share}", "x", n % share, float(n % share)) for n in range(50)]
    merged = publish(shop, 1, reviews(*many))
    assert (merged.merged, merged.repeated) == (share, 50 - share)
    assert len(users(shop)) == share
    assert shop.lake.verify() == []
