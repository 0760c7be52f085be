"""Arrived rows: in memory, or where an engine's workers keep them, by their day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidemill.core.contract.contract import ROW
from tidemill.core.empty_tables import empty_table
from tidemill.core.ports import Engine
from tidemill.core.source_read import DAY
from tidemill.lake.part_exchange import fit_in_memory

EPOCH = date(1970, 1, 1)
#: The day number of a line whose day could not be read: before all other days.
UNKNOWN = -(2**31)
#: Before and after every day.
FIRST, LAST = UNKNOWN, 2**31 - 1


@dataclass(frozen=True)
class ManyRows:
    """Rows that stay where an engine's workers keep them."""

    engine: Engine
    #: Columns of `good_schema`, and the mark `UNFIT`.
    frame: nw.LazyFrame[Any]
    schema: pa.Schema
    #: Day, in days since 1970 -> number of rows.
    by_day: Mapping[int, int]

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return sum(self.by_day.values())

    def collect(self) -> pa.Table:
        """The rows in memory, in `_row` order."""
        names = self.schema.names
        return self.engine.collect(self.frame.select(*names)).select(names).cast(self.schema).sort_by(ROW)

    def of_days(self, first: int, last: int) -> ManyRows:
        """The rows of the days from `first` to `last`."""
        frame, day = self.frame, nw.col(DAY)
        if first > FIRST:
            frame = frame.filter(day >= nw.lit(EPOCH + timedelta(days=first)))
        if last < LAST:
            frame = frame.filter(day <= nw.lit(EPOCH + timedelta(days=last)))
        by_day = {day: n for day, n in self.by_day.items() if first <= day <= last}
        return ManyRows(self.engine, frame, self.schema, by_day)


class RowsByDay:
    """Rows in memory whose days are found without another look at all rows."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        days: npt.NDArray[np.int64] = table[DAY].cast(pa.int32()).fill_null(UNKNOWN).to_numpy().astype(np.int64)
        self._days, self._order = days, np.argsort(days, kind="stable")
        present, rows = np.unique(days, return_counts=True)
        #: Day, in days since 1970 -> number of rows.
        self.by_day: Mapping[int, int] = dict(zip(present.tolist(), rows.tolist(), strict=True))

    def of_days(self, first: int, last: int) -> pa.Table:
        """The rows of the days from `first` to `last`."""
        start, end = np.searchsorted(self._days, [first, last + 1], sorter=self._order)
        places = np.sort(self._order[start:end])
        if len(places) and places[-1] - places[0] + 1 == len(places):  # neighbours, as in a backfill: no copy
            return self.table.slice(places[0], len(places))
        return self.table.take(pa.array(places))


def in_memory(rows: pa.Table | ManyRows) -> pa.Table | ManyRows:
    """The rows; collected, if they are few."""
    if not isinstance(rows, ManyRows) or not fit_in_memory(rows.num_rows):
        return rows
    return rows.collect() if rows.num_rows else empty_table(rows.schema)
