"""Draft changes: what a publication draft adds to a table and removes from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import pyarrow as pa

from tidemill.lake.deduplicate import winning_rows
from tidemill.lake.row_equality import Mask


@dataclass(frozen=True)
class StreamMerge:
    """Result of merging rows of a stream into its table. Arrived rows = repeated + contradicted + merged."""

    repeated: int
    contradicted: int
    merged: int
    #: Rows removed because a newer row has the same key.
    removed: pa.Table
    #: Number of rows of the table that were read for the merge.
    rows_read: int
    #: All arrived rows, and a mask of the added ones.
    rows: pa.Table
    wins: Mask

    @property
    def added(self) -> pa.Table:
        """The added rows, in the order of arrival."""
        return winning_rows(self.rows, self.wins)

    @property
    def changed(self) -> pa.Table:
        """The added and the removed rows, whose keys must be recomputed downstream."""
        return pa.concat_tables([self.added, self.removed])

    def keys(self, columns: Sequence[str]) -> pa.Table:
        """The distinct values of `columns` in the changed rows, without copying the other columns."""
        names = list(columns)
        both = pa.concat_tables([winning_rows(self.rows.select(names), self.wins), self.removed.select(names)])
        return both.group_by(names, use_threads=False).aggregate([])

    @property
    def n_changed(self) -> int:
        """The number of added and removed rows."""
        return int(self.wins.sum()) + len(self.removed)


@dataclass(frozen=True)
class TableChange:
    """Result of an update of a derived table: only rows that differ are added and removed."""

    added: pa.Table
    removed: pa.Table
    rows_read: int

    @property
    def changed(self) -> pa.Table:
        """The added and the removed rows."""
        return pa.concat_tables([self.added, self.removed])

    @property
    def n_changed(self) -> int:
        """The number of added and removed rows."""
        return len(self.added) + len(self.removed)

    def keys(self, columns: Sequence[str]) -> pa.Table:
        """The distinct values of `columns` in the changed rows."""
        return self.changed.select(list(columns)).group_by(list(columns), use_threads=False).aggregate([])


@dataclass(frozen=True)
class StagedChange:
    """Result of an update of many rows, where they are: the changed rows are in staged files."""

    n_changed: int
    #: The added and the removed rows; to be evaluated before the publication.
    changed: nw.LazyFrame[Any]

    def keys(self, columns: Sequence[str]) -> nw.LazyFrame[Any]:
        """The distinct values of `columns` in the changed rows."""
        return self.changed.select(*columns).unique()


@dataclass(frozen=True)
class StagedMerge(StagedChange):
    """Result of merging many rows of a stream into its table. Arrived rows = repeated + contradicted + merged."""

    repeated: int
    contradicted: int
    merged: int
    #: Number of rows of the table that were read for the merge.
    rows_read: int
