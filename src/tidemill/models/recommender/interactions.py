"""Interactions: user, item and time of each event as integer codes; the input of learners and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.errors import TooLittleData, UnknownName, nearest

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Interactions:
    """Events sorted by user, time and row number: ties are fixed, because their order affects results.

    `user` int32, `item` int32, `time` int64 microseconds, all of one length. Codes are indices into `users` and
    `items`, which are sorted; every user and item has at least one event.
    """

    users: Sequence[str]
    items: Sequence[str]
    user: I32
    item: I32
    time: I64

    def __len__(self) -> int:
        return len(self.time)

    @property
    def n_items(self) -> int:
        """Number of items with an event."""
        return len(self.items)

    @property
    def n_users(self) -> int:
        """Number of users with an event."""
        return len(self.users)

    @classmethod
    def none(cls) -> Interactions:
        """No events."""
        return cls([], [], np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64))

    @classmethod
    def from_arrow(cls, table: pa.Table, *, user: str, item: str, time: str, row: str | None = None) -> Interactions:
        """From a table with string ids and UTC timestamps (or int64 microseconds).

        `row` names the column that orders events at the same time; by default the table's order does. Raises
        `UnknownName` for a missing column, `TooLittleData` for a table without rows or with nulls in these columns.
        """
        columns = [name for name in (user, item, time, row) if name is not None]
        for name in columns:
            if name not in table.column_names:
                raise UnknownName(f"the interactions have no column `{name}`: {nearest(name, table.column_names)}")
        table = table.select(columns).combine_chunks()
        if table.num_rows == 0:
            raise TooLittleData("there are no interactions to train on")
        empty = [name for name in columns if table.column(name).null_count]
        if empty:
            raise TooLittleData(f"interactions need a value in every row; these columns have nulls: {', '.join(empty)}")
        users, user_codes = _codes(table.column(user))
        items, item_codes = _codes(table.column(item))
        times = _micros(table.column(time))
        rows = np.asarray(table.column(row)) if row else np.arange(table.num_rows)
        order = np.lexsort((rows, times, user_codes))
        return cls(users, items, user_codes[order], item_codes[order], times[order])

    @cached_property
    def starts(self) -> I64:
        """int64 (n_users + 1): the start index of each user's events."""
        counts = np.bincount(self.user, minlength=self.n_users)
        return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)

    def history(self, user: int) -> tuple[I32, I64]:
        """Item codes and times of one user's events, oldest first."""
        span = slice(int(self.starts[user]), int(self.starts[user + 1]))
        return self.item[span], self.time[span]

    def where(self, keep: Mask) -> Interactions:
        """A subset of the events; users and items without one are dropped and codes are dense again."""
        users, user = _dense(self.users, self.user[keep])
        items, item = _dense(self.items, self.item[keep])
        return Interactions(users, items, user, item, self.time[keep])

    def before(self, time: int) -> Interactions:
        """Events strictly earlier than `time` (microseconds)."""
        return self.where(self.time < time)

    def since(self, time: int) -> Interactions:
        """Events at `time` (microseconds) or later."""
        return self.where(self.time >= time)


def _codes(column: Any) -> tuple[list[str], I32]:
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    order = np.asarray(pc.sort_indices(encoded.dictionary))
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return encoded.dictionary.take(pa.array(order)).to_pylist(), rank[np.asarray(encoded.indices)]


def _micros(column: Any) -> I64:
    kind = column.type
    if pa.types.is_integer(kind):
        return np.asarray(column.cast(pa.int64())).astype(np.int64)
    return np.asarray(column.cast(pa.timestamp("us", tz=kind.tz)).cast(pa.int64())).astype(np.int64)


def _dense(names: Sequence[str], codes: I32) -> tuple[list[str], I32]:
    present = np.flatnonzero(np.bincount(codes, minlength=len(names)))
    renumber = np.full(len(names), -1, np.int32)
    renumber[present] = np.arange(len(present), dtype=np.int32)
    return [names[i] for i in present.tolist()], renumber[codes]
