"""Simulated shop source: the same rows for the same URL, numbered in order of arrival."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tidemill.core.contract.contract import Contract, ContractColumn
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import SchemaChanged, nearest
from tidemill.core.row_ids import row_id
from tidemill.core.source_read import DAY, REFUSED, ReadRequest, ReadStats, SourceRead, SourceState, good_schema
from tidemill.sources.days import day_of
from tidemill.sources.files.type_conversion import POLARS, to_arrow
from tidemill.sources.simulated_shop.shop_url import parse_shop_url
from tidemill.sources.simulated_shop.truth import shop_of

#: The format of the state: one entry `rows`, the number of rows returned so far.
FORMAT = 1
_NUMBER = 1  # the shop delivers one endless file


class ShopSource:
    """Ratings or the items' snapshot of a simulated shop, by a `shop:` URL (see `ShopUrl` for its options).

    Columns are filled by role (person, item, time), then by the names `rating` or `stars`, `category`, `in_stock`,
    `price`. A row arrives on its own day or, if it is late, on a later one. Raises `SchemaChanged` where the contract
    requires a column that the shop does not have.
    """

    kind = "shop"

    def __init__(self, url: str, contract: Contract, base: Path) -> None:
        self._url = parse_shop_url(url)
        self._contract = contract
        self.shop = shop_of(self._url)
        self._reviews = (self._url.table or ("reviews" if contract.role("subject") else "items")) == "reviews"
        offered = _REVIEW if self._reviews else _ITEM
        self._fields = {column.name: _field(column, offered, contract) for column in contract.columns}

    def read(self, request: ReadRequest) -> SourceRead:
        """See `Source.read`; the rows have event times of their own, so `arrival` and `now` are ignored."""
        seen = _rows_given(request.state)
        if request.nothing_due:
            return SourceRead.empty(self._contract, self._state(seen))
        rows = self._rows(request.until)
        new = rows[seen:]
        return SourceRead(
            good=to_arrow([self._frame(new, seen, request.zone)] if new else [], good_schema(self._contract)),
            refused=empty_table(REFUSED),
            state=self._state(max(seen, len(rows))),
            names={_NUMBER: "shop"},
            stats=ReadStats(lines=len(new)),
        )

    def _state(self, rows: int) -> SourceState:
        return SourceState.from_entries(self.kind, FORMAT, {"rows": rows})

    def _rows(self, until: date | None) -> list[dict[str, Any]]:
        """All rows that arrived up to a day, in order of arrival."""
        start, opened = self._url.start, self._url.days
        days = opened if until is None else max(0, (until - start).days + 1)
        each = self.shop.reviews if self._reviews else self.shop.items_changed
        return [row for day in range(days) for row in each(start + timedelta(days=day))]

    def _frame(self, rows: list[dict[str, Any]], seen: int, zone: str) -> pl.DataFrame:
        columns = []
        for column in self._contract.columns:
            field = self._fields[column.name]
            values = [column.default if field is None else row[field] for row in rows]
            if column.kind == "str":
                values = [None if value is None else str(value) for value in values]
            columns.append(pl.Series(column.name, values, dtype=POLARS[column.kind], strict=False))
        frame = pl.DataFrame(columns)
        first = row_id(_NUMBER, seen + 1)
        return frame.with_columns(
            pl.int_range(first, first + len(rows), dtype=pl.Int64).alias("_row"),
            pl.Series(DAY, day_of(frame[self._contract.event_time], zone)),
        )


_REVIEW = {"subject": "user_id", "item": "item_id", "event_time": "at", "rating": "rating", "stars": "rating"}
_ITEM = {"item": "item_id", "event_time": "at", "category": "category", "in_stock": "in_stock", "price": "price"}


def _rows_given(state: SourceState | None) -> int:
    """The number of rows that earlier reads returned."""
    if state is None:
        return 0
    state.require_format(FORMAT)
    if state.format == 0:
        return state.entry("positions", dict[str, int], {}).get(str(_NUMBER), 0)
    return state.entry("rows", int, 0)


def _field(column: ContractColumn, offered: Mapping[str, str], contract: Contract) -> str | None:
    """The shop's field for a column; `None` where it has none and the column may be missing."""
    field = offered.get(column.role or column.name)
    if field is None and not column.optional:
        raise SchemaChanged(
            f"the simulated shop has no `{column.name}`, which {contract.name} requires"
            f" ({nearest(column.name, offered)})",
            tip=f"set a default for `{column.name}` in mill.py, or remove it",
        )
    return field
