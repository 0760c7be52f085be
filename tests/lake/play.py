"""A stretch of days that a test plays to the end, or kills at a failpoint: `python play.py FOLDER [FAILPOINT[:K]]`.

Day 3 is held, day 5 has no rows, day 6 repeats and contradicts rows of day 1, and two batches go to a log table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from shop_lake import HOLD, KEY, PASS, Shop, increment, reviews

from tidemill.core.storage.failpoint import arm

BY = ["user_id", "item_id"]
ROWS = {
    1: [("ann", "x", 0, 5.0), ("bob", "x", 1, 3.0), ("bob", "y", 2, 4.0)],
    2: [("ann", "y", 0, 2.0)],
    3: [("bad", "x", 0, 99.0)],
    4: [("bob", "x", 1, 1.0), ("cleo", "x", 2, 2.0)],
    5: [],
    6: [("ann", "x", -120, 1.0), ("bob", "x", -119, 3.0)],
}


def play(shop: Shop) -> list[str]:
    """Finish what was left, then every day that the ledger does not have; the sentences of recovery."""
    with shop.leases.take("run") as lease:
        said = shop.lake.recover(lease)
        done = {state.increment.number for state in shop.lake.increments("reviews")}
        for number in sorted(set(ROWS) - done):
            _day(shop, number, lease)
        for number in (1, 2):
            shop.lake.record("predictions", pa.table({"id": [f"p{number}"]}), number, {"offset": str(number)}, lease)
    return said


def _day(shop: Shop, number: int, lease: Any) -> None:
    rows = reviews(*ROWS[number], first_row=number * 100, increment=number, day=number - 1)
    shop.lake.quarantine("reviews", number, pa.table({"_row": pa.array([number], pa.int64()), "raw": [b"sealed"]}))
    draft = shop.lake.draft(lease)
    merged = draft.merge_stream("reviews", rows, KEY)
    if number == 3:
        draft.hold(increment(number), HOLD, rows)
        return
    touched = merged.changed.select(BY)
    newest = draft.scan("reviews", touched).unique(BY, keep="last", order_by=["reviewed_at", "_row"])
    draft.upsert("ratings", shop.engine.collect(newest), by=BY, touched=touched)
    draft.publish(increment(number), PASS)


def told(shop: Shop) -> dict[str, Any]:
    """Everything that has to be the same whether a play was interrupted or not; the ledger's order included."""
    view = shop.lake.view()
    log = shop.lake.log("predictions")
    return {
        "tables": {name: sorted(view.arrow(name).to_pylist(), key=repr) for name in view.versions},
        "each publication": [
            shop.lake.view(publication=number).rows("reviews") for number in range(1, view.publication + 1)
        ],
        "log": [] if log is None else log.to_pylist(),
        "lines": [(line.act, line.about) for line in shop.ledger.find() if line.act != "log"],
        "log lines": [line.details["number"] for line in shop.ledger.find("log")],
        "states": [(one.increment.number, one.state, one.publication) for one in shop.lake.increments("reviews")],
        "held": shop.lake.held("reviews", 3).rows.to_pylist(),
        "quarantined": _rows(shop.lake.quarantined("reviews")),
    }


def _rows(table: pa.Table | None) -> list[dict[str, Any]]:
    return [] if table is None else table.to_pylist()


def sound(shop: Shop) -> None:
    """The ledger and the lake verify against each other, and no file is left that nothing names."""
    assert shop.ledger.verify(shop.lake.heads()) == []
    assert shop.lake.verify() == []
    own = shop.root / "lake" / "_tidemill"
    assert list((own / "intents").glob("*")) == []
    assert list((shop.root / "lake").rglob("*.partial")) == []
    assert list((shop.root / "lake" / ".incoming").glob("*")) == []
    named: set[str] = set()
    for table in ("reviews", "ratings", "predictions"):
        named |= {path for commit in shop.tables.history(table) for path in commit.added}
    lying = {path.name for table in ("reviews", "ratings", "predictions") for path in _data(shop, table)}
    assert lying == named


def _data(shop: Shop, table: str) -> list[Path]:
    return list((shop.root / "lake" / table).glob("*.parquet*"))


def main(folder: str, failpoint: str | None = None, step: Callable[[Shop], Any] = play) -> None:
    arm(failpoint)
    step(Shop(Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
