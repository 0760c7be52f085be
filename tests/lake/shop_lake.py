"""A lake on real back-ends, and rows of reviews made by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from tidemill.backends.delta.delta_tables import DeltaTables
from tidemill.backends.file_leases import FileLease, FileLeases
from tidemill.backends.folder_objects import FolderObjects
from tidemill.backends.polars import PolarsEngine
from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.clock import FixedClock, as_of, to_micros
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ports import Engine, Objects
from tidemill.core.records.ingest import Increment, RowCounts, Verdict
from tidemill.lake import Lake

FIRST_DAY = date(2018, 1, 1)
KEY = ("user_id", "item_id", "reviewed_at")
PASS, HOLD = Verdict(outcome="pass"), Verdict(outcome="hold")


class Shop:
    """A lake with its ledger and lease in one folder; opening it again is another process's view of it."""

    def __init__(
        self,
        root: Path,
        engine: Engine | None = None,
        objects: Objects | None = None,
        tables: DeltaTables | None = None,
    ) -> None:
        self.root = root
        self.clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
        lines = SqliteLedger(root / "ledger.sqlite")
        self.ledger = Ledger(lines, Keys.open(root / "keys", create=True), self.clock, Account(name="tester"))
        if self.ledger.last("open") is None:
            self.ledger.append("open", details={"mill": "shop", "id": "0"})
        self.leases = FileLeases(root, lines)
        self.tables = tables or DeltaTables(root / "lake")
        self.engine = engine or PolarsEngine()
        self.objects = objects or FolderObjects(root / "lake")
        self.lake = Lake(self.tables, self.engine, self.ledger, self.objects)

    def lease(self) -> FileLease:
        return self.leases.take("run")


def reviews(*rows: tuple[str, str, int, float], first_row: int = 1, increment: int = 1, day: int = 0) -> pa.Table:
    """Rows of (user, item, hour of the first day, stars); `_row` counts up from `first_row`."""
    start = to_micros(datetime(2018, 1, 1, tzinfo=UTC))
    n = len(rows)
    known = to_micros(as_of(FIRST_DAY + timedelta(days=day)))
    return pa.table(
        {
            "user_id": pa.array([row[0] for row in rows], pa.string()),
            "item_id": pa.array([row[1] for row in rows], pa.string()),
            "rating": pa.array([row[3] for row in rows], pa.float64()),
            "reviewed_at": pa.array(
                [start + (day * 24 + row[2]) * 3_600_000_000 for row in rows], pa.timestamp("us", "UTC")
            ),
            "_row": pa.array(range(first_row, first_row + n), pa.int64()),
            "_increment": pa.array([increment] * n, pa.int64()),
            "_known_at": pa.array([known] * n, pa.timestamp("us", "UTC")),
        }
    )


def increment(
    number: int, stream: str = "reviews", *, day: int | None = None, replaces: int | None = None
) -> Increment:
    on = FIRST_DAY + timedelta(days=number - 1 if day is None else day)
    return Increment(
        stream=stream,
        number=number,
        day=on,
        as_of=to_micros(as_of(on)),
        backfill=False,
        arrived_at=to_micros(as_of(on)),
        first_event=None,
        last_event=None,
        counts=RowCounts(arrived=0, refused=0, repeated=0, contradicted=0, merged=0),
        commitment="c" * 64,
        replaces_increment=replaces,
    )


def contents(table: pa.Table) -> list[dict[str, Any]]:
    """The rows in an order of their own, without the lake's columns."""
    found = table.drop_columns([name for name in table.column_names if name.startswith("_")]).to_pylist()
    return sorted(found, key=repr)


def publish(shop: Shop, number: int, rows: pa.Table, *, stream: str = "reviews", day: int | None = None) -> Any:
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        merged = draft.merge_stream(stream, rows, KEY)
        draft.publish(increment(number, stream, day=day), PASS)
        return merged
