"""Held and refused rows: kept aside, said in the ledger, settled once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from shop_lake import HOLD, KEY, PASS, Shop, increment, publish, reviews

from tidemill.core.errors import CorruptFile, NoSuchIncrement

BAD = reviews(("ann", "x", 0, 99.0), increment=2, day=1)


def hold(shop: Shop, number: int, rows: pa.Table, refused: pa.Table | None = None) -> None:
    with shop.lease() as lease:
        draft = shop.lake.draft(lease)
        draft.merge_stream("reviews", rows, KEY)
        draft.hold(increment(number), HOLD, rows, refused=refused, details={"files": "[]"})


def states(shop: Shop) -> list[tuple[int, str, int | None]]:
    return [(one.increment.number, one.state, one.publication) for one in shop.lake.increments("reviews")]


def test_held_rows_are_in_no_table_and_come_back_as_they_were(shop: Shop) -> None:
    publish(shop, 1, reviews(("ann", "x", 0, 5.0)))
    refused = pa.table({"_row": [7], "raw": [b"sealed"]})
    hold(shop, 2, BAD, refused)
    found = shop.lake.held("reviews", 2)
    assert found.rows.equals(BAD) and found.refused is not None and found.refused.equals(refused)
    assert (found.increment, found.verdict) == (increment(2), HOLD)
    assert shop.lake.view().rows("reviews") == 1
    assert len(list((shop.root / "lake" / "reviews").glob("*.parquet"))) == 1
    assert states(shop) == [(1, "published", 1), (2, "held", None)]
    assert shop.ledger.last("hold").details["files"] == "[]"  # type: ignore[union-attr]
    assert shop.lake.verify() == []


def test_days_after_a_held_one_flow_and_an_accepted_one_arrives_once(shop: Shop) -> None:
    publish(shop, 1, reviews(("ann", "x", 0, 5.0)))
    hold(shop, 2, BAD)
    publish(shop, 3, reviews(("bob", "x", 0, 4.0), first_row=20, increment=3, day=2))
    shop.ledger.append("accept", about="stream:reviews", details={"number": 2, "who": "eve", "reason": "checked"})
    assert states(shop)[1] == (2, "accepted", None)
    publish(shop, 2, shop.lake.held("reviews", 2).rows)
    assert states(shop) == [(1, "published", 1), (2, "accepted", 3), (3, "published", 2)]
    with pytest.raises(NoSuchIncrement, match="published"):
        shop.lake.held("reviews", 2)
    assert sorted(shop.lake.view().arrow("reviews")["rating"].to_pylist()) == [4.0, 5.0, 99.0]


def test_other_rows_can_take_the_place_of_a_held_increment(shop: Shop) -> None:
    hold(shop, 1, BAD)
    publish(shop, 1, reviews(("ann", "x", 0, 4.0)))
    assert states(shop) == [(1, "replaced", 1)]


def test_a_later_increment_can_name_what_it_replaces(shop: Shop) -> None:
    hold(shop, 1, BAD)
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        draft.merge_stream("reviews", reviews(("ann", "x", 0, 4.0)), KEY)
        draft.publish(increment(2, replaces=1), PASS)
    assert states(shop) == [(1, "replaced", None), (2, "published", 1)]


def test_a_replacement_that_is_held_too_is_what_is_held_then(shop: Shop) -> None:
    hold(shop, 1, BAD)
    better = reviews(("ann", "x", 0, 42.0))
    hold(shop, 1, better)
    assert shop.lake.held("reviews", 1).rows.equals(better)
    assert shop.lake.verify() == []


def test_an_increment_that_is_not_held_is_named_with_those_that_are(shop: Shop) -> None:
    with pytest.raises(NoSuchIncrement, match="none was ever held"):
        shop.lake.held("reviews", 2)
    hold(shop, 2, BAD)
    with pytest.raises(NoSuchIncrement, match="held so far: 2"):
        shop.lake.held("reviews", 1)


def test_a_flipped_byte_in_held_rows_is_found(shop: Shop) -> None:
    hold(shop, 1, BAD)
    (file,) = (shop.root / "lake" / "_tidemill" / "held").iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptFile, match="differ"):
        shop.lake.held("reviews", 1)
    assert any("differ" in says for says in shop.lake.verify())
    file.unlink()
    assert any("missing" in says for says in shop.lake.verify())


def refused(*rows: int) -> pa.Table:
    n = len(rows)
    return pa.table({"_row": pa.array(rows, pa.int64()), "reason": ["broken"] * n, "raw": [b"sealed"] * n})


def test_refused_rows_are_kept_by_increment(shop: Shop, tmp_path: Path) -> None:
    assert shop.lake.quarantined("reviews") is None
    shop.lake.quarantine("reviews", 1, refused(1, 2))
    shop.lake.quarantine("reviews", 10, refused(3))
    shop.lake.quarantine("reviews", 2, refused())
    found = shop.lake.quarantined("reviews")
    assert found is not None
    assert found.select(["_increment", "_row"]).to_pylist() == [
        {"_increment": 1, "_row": 1},
        {"_increment": 1, "_row": 2},
        {"_increment": 10, "_row": 3},
    ]


def test_the_same_increment_again_takes_the_place_of_what_was_refused_of_it(shop: Shop) -> None:
    shop.lake.quarantine("reviews", 1, refused(1, 2))
    shop.lake.quarantine("reviews", 1, refused(1))
    assert shop.lake.quarantined("reviews")["_row"].to_pylist() == [1]  # type: ignore[index]
    shop.lake.quarantine("reviews", 1, refused())
    assert shop.lake.quarantined("reviews") is None
