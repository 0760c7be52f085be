"""Amazon's reviews and metadata as they come, recognised by looking."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from source_reader import Item, Reader, Review, rows

from tidemill.core.contract.contract import Event, event_time, item
from tidemill.core.source_read import ReadRequest, SourceRead
from tidemill.sources import FileSource

Read = Callable[..., SourceRead]
AT = datetime(2017, 7, 14, 2, 40, tzinfo=UTC)


class Good(Event):
    item_id: str = item()
    updated_at: datetime = event_time(zone="UTC")
    category: str | None = None
    price: float | None = None
    title: str | None = None


def test_ratings_without_a_header_in_both_orders(read_once: Read) -> None:
    new = b"B00005N7P0,AH2IFH762VY5U,5.0,1500000000\n" * 3
    old = b"A39HTATAQ9V7YF,0205616461,5.0,1500000000\n" * 3
    assert rows(read_once(new), "user_id", "item_id", "rating", "reviewed_at")[0] == (
        "AH2IFH762VY5U",
        "B00005N7P0",
        5.0,
        AT,
    )
    assert rows(read_once(old), "user_id", "item_id")[0] == ("A39HTATAQ9V7YF", "0205616461")


def test_reviews_of_2018_and_2023(read_once: Read) -> None:
    old = {"overall": 5.0, "reviewerID": "A1", "asin": "B1", "unixReviewTime": 1_500_000_000, "reviewText": "…"}
    new = {"rating": 5.0, "user_id": "A1", "asin": "B0", "parent_asin": "B1", "timestamp": 1_500_000_000_000}
    for line in (old, new):
        read = read_once(json.dumps(line).encode() + b"\n")
        assert rows(read, "user_id", "item_id", "rating", "reviewed_at") == [("A1", "B1", 5.0, AT)]


def test_metadata_takes_the_last_category_and_a_price_where_there_is_one(read_once: Read) -> None:
    goods = [
        {"asin": "B1", "category": ["All", "Hunting &amp; Firearms"], "title": "One", "price": "$1,012.50"},
        {"asin": "B2", "category": [], "title": "Two", "price": ".a-box-inner{background-color:#fff}"},
    ]
    content = b"".join(json.dumps(good).encode() + b"\n" for good in goods)
    read = read_once(content, Good.contract, arrival=AT, until=AT.date())
    assert rows(read, "item_id", "category", "price", "title", "updated_at") == [
        ("B1", "Hunting & Firearms", 1012.5, "One", AT),
        ("B2", None, None, "Two", AT),
    ]


def test_the_magazine_ratings_whole_and_day_by_day(magazine: Path) -> None:
    last = date(2018, 9, 19)
    reader = Reader(magazine.parent, Review.contract)
    backfill = reader(f"file:{magazine.name}", last - timedelta(days=400))
    assert (backfill.stats.lines, backfill.refused.num_rows) == (89_689, 0)
    assert backfill.first_day() == date(2001, 10, 26)
    rest = reader(f"file:{magazine.name}", last)
    assert backfill.good.num_rows + rest.good.num_rows == 89_689 and rest.stats.pending == 0
    days = [last - timedelta(days=n) for n in range(399, -1, -1)]
    parts = [rest.of_day(day, first=n == 0)[0] for n, day in enumerate(days)]
    assert sum(part.num_rows for part in parts) == rest.good.num_rows
    together = pl.concat([pl.DataFrame(pl.from_arrow(each)) for each in (backfill.good, *parts)])
    assert together["_row"].n_unique() == 89_689
    assert together.n_unique(["user_id", "item_id", "reviewed_at"]) == 88_467
    assert (together["reviewed_at"].dt.date() == together["_day"]).all()
    again = reader(f"file:{magazine.name}", last + timedelta(days=1))
    assert (again.good.num_rows, again.stats.files_skipped) == (0, 1)


def test_the_magazine_items(magazine_items: Path) -> None:
    source = FileSource(f"file:{magazine_items.name}", Item.contract, magazine_items.parent)
    start = datetime(2001, 10, 26, tzinfo=UTC)
    read = source.read(ReadRequest(until=date(2017, 8, 15), arrival=start))
    frame = pl.DataFrame(pl.from_arrow(read.good))
    assert (frame.height, frame["item_id"].n_unique(), read.refused.num_rows) == (3_385, 2_320, 0)
    assert frame["in_stock"].all() and set(frame["updated_at"]) == {start} and set(frame["_day"]) == {start.date()}
    assert not frame["category"].drop_nulls().str.contains("&amp;").any()


def test_reviews_with_text_as_they_come(data_dir: Path) -> None:
    for name, n in [("AMAZON_FASHION", 3_176), ("Magazine_Subscriptions", 2_375), ("Gift_Cards", 2_972)]:
        source = FileSource(f"file:amazon/{name}_5_2018.json.gz", Review.contract, data_dir)
        read = source.read(ReadRequest())
        assert (read.good.num_rows, read.refused.num_rows) == (n, 0)


class Trip(Event):
    zone_id: int
    picked_up: datetime = event_time(zone="America/New_York", ambiguous="earliest", nonexistent="forward")


def test_green_taxi_trips_in_new_york_s_days(data_dir: Path) -> None:
    source = FileSource(
        "file:nyc-green-taxi/*.parquet?columns=zone_id=PULocationID,picked_up=lpep_pickup_datetime",
        Trip.contract,
        data_dir,
    )
    read = source.read(ReadRequest(zone="America/New_York"))
    frame = pl.DataFrame(pl.from_arrow(read.good))
    assert frame.height == 400_038
    local = frame["picked_up"].dt.convert_time_zone("America/New_York").dt.date()
    assert (local == frame["_day"]).all()
