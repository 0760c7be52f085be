"""A mill with a lake of real tables: reviews of people, items with hostile texts, a derived table, and a wide one."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conftest import Mill
from tidemill.backends.delta.delta_tables import DeltaTables
from tidemill.backends.file_leases import FileLeases
from tidemill.backends.folder_objects import FolderObjects
from tidemill.backends.polars import PolarsEngine
from tidemill.console import ConsoleStores
from tidemill.core.clock import as_of, to_micros
from tidemill.core.records.external_pin import ExternalPin
from tidemill.core.records.ingest import Increment, RowCounts, Verdict
from tidemill.lake import Lake
from tidemill.loop.online.feature_metadata_files import DeclaredFeatures, DeclaredTable, write_declared

FIRST = date(2018, 9, 1)
_TIME = pa.timestamp("us", "UTC")


class TableMill(Mill):
    """A mill whose publications are real."""

    def __init__(self, root: Path, name: str = "magazines") -> None:
        super().__init__(root, name)
        self.open()
        self.lake = Lake(DeltaTables(root / "lake"), PolarsEngine(), self.ledger, FolderObjects(root / "lake"))
        self.external: dict[str, ExternalPin] = {}
        self.leases = FileLeases(root, self.lines)

    def stores(self, **more: Any) -> ConsoleStores:
        return super().stores(snapshot=lambda publication: self.lake.view(publication=publication), **more)

    def arrive(self, stream: str, day: int, tables: dict[str, pa.Table], *, hold: bool = False, **more: Any) -> None:
        """An increment of a stream with rows for each table."""
        self.numbers[stream] = self.numbers.get(stream, 0) + 1
        rows = next(iter(tables.values())).num_rows
        increment = Increment(
            stream=stream, number=self.numbers[stream], day=FIRST + timedelta(days=day),
            as_of=to_micros(as_of(FIRST + timedelta(days=day))), arrived_at=to_micros(self.clock.now()),
            counts=RowCounts(arrived=rows + 3, refused=2, repeated=1, merged=rows), commitment="c" * 64, **more,
        )  # fmt: skip
        with self.leases.take("lake") as lease, self.lake.draft(lease) as draft:
            if hold:
                draft.hold(increment, Verdict(outcome="hold"), next(iter(tables.values())))
                return
            for name, found in tables.items():
                own = {"_increment": [increment.number] * len(found), "_row": range(len(found))}
                for column, values in own.items():
                    found = found.append_column(column, pa.array(values, pa.int64()))
                draft.append(name, found)
            draft.external = dict(self.external)
            draft.publish(increment, Verdict(outcome="pass"))
        self.later(minutes=10)


def table_mill(root: Path, text: str = "A quiet magazine") -> TableMill:
    """Ten days of reviews, of which the fourth is held, after a backfill; `text` is the title of every item."""
    mill = TableMill(root)
    chance = np.random.default_rng(3)

    def reviews(n: int, day: int) -> pa.Table:
        start = to_micros(as_of(FIRST + timedelta(days=day - 1)))
        return pa.table({
            "user_id": [f"u{k % 40}" for k in range(n)], "stars": chance.integers(1, 6, n).astype(float),
            "note": [f"{text} {day} {k}" for k in range(n)],
            "at": pa.array(start + chance.integers(0, 86_400_000_000, n), _TIME),
        })  # fmt: skip

    names = [f"M{k}" for k in range(12)]
    items = pa.table({"item_id": names, "title": [text] * 12, "price": [k + 0.5 for k in range(12)]})
    wide = pa.table({f"c{k:02}": pa.array([float(k), None] * 15) for k in range(45)})
    mill.arrive("items", 0, {"items": items})
    past = reviews(400, 0)
    mill.arrive("reviews", 0, {"reviews": past, "ratings": past.drop_columns(["note"])}, backfill=True)
    mill.arrive("wide", 0, {"wide": wide})
    for day in range(1, 11):
        rows = reviews(20 + day, day)
        mill.arrive("reviews", day, {"reviews": rows, "ratings": rows.drop_columns(["note"])}, hold=day == 4)
    tables = (
        DeclaredTable(name="items", is_stream=True, key=("item_id",)),
        DeclaredTable(name="reviews", is_stream=True, personal=("user_id",), key=("user_id", "at")),
        DeclaredTable(
            name="ratings", inputs=("reviews",), personal=("user_id",), models=("for_you",), views=("taste",)
        ),
        DeclaredTable(name="wide", is_stream=True, key=("_row",)),
    )
    write_declared(mill.serving, DeclaredFeatures(tables=tables))
    return mill
