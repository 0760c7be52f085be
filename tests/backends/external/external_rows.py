"""Rows of external tables, and how tests read them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from tidemill.core.backend import BackendContext
from tidemill.core.ports import Engine, ExternalTable
from tidemill.core.records.external_pin import ExternalPin

AT = datetime(2024, 1, 1, 12, 30, 0, 123_000, UTC)


def prices(*items: str, shop: str = "a b/é", price: str = "1.25") -> pa.Table:
    """A row for each item, with every supported type."""
    n = len(items)
    columns = {
        "item_id": pa.array(items, pa.string()),
        "price": pa.array([Decimal(price)] * n, pa.decimal128(10, 2)),
        "stock": pa.array([3] * n, pa.int32()),
        "weight": pa.array([0.5] * n, pa.float32()),
        "sold": pa.array([True] * n),
        "on": pa.array([date(2024, 1, 1)] * n),
        "at": pa.array([AT] * n, pa.timestamp("us", "UTC")),
        "shop": pa.array([shop] * n),
    }
    return pa.table(columns)


def read_rows(table: ExternalTable, engine: Engine, pin: ExternalPin) -> list[dict[str, Any]]:
    """The rows at a pin, sorted by item, after comparing their types with those of the pin."""
    rows = engine.collect(table.frame(engine, pin))
    assert rows.schema.equals(pin.schema())
    return sorted(rows.to_pylist(), key=lambda row: row["item_id"])


def items_at(table: ExternalTable, engine: Engine, pin: ExternalPin) -> list[str]:
    """The items at a pin."""
    return [row["item_id"] for row in read_rows(table, engine, pin)]


def opened(kind: Any, url: str, project: Path = Path("/")) -> Any:
    """The table at a URL."""
    return kind.from_url(url, BackendContext(project=project))
